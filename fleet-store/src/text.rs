//! Text that others wrote.

/// The most characters that are kept of a description.
const MAX_CHARS: usize = 255;

/// Text as it can be stored and shown: without control and invisible characters (PostgreSQL refuses NUL, and an
/// upload that can never be stored would be sent for ever) and cut to 255 characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| !fleet_core::name::is_forbidden(*c)).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go_and_length_is_bounded() {
        assert_eq!(clean("Ant\0miner\n S19 é"), "Antminer S19 é");
        assert_eq!(clean(&"ß".repeat(300)).chars().count(), 255);
    }
}
