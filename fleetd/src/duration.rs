//! Spans of time as people write them: `30m`, `12h`, `7d`.

use std::time::Duration;

/// A whole number with its unit: `s`, `m` or `min`, `h`, `d`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit: u64 = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("30min", 1800), ("12h", 43_200), ("7d", 604_800)]
        {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "7", "d", "-1d", "1.5h", "1w", "1 d", "1d ", "99999999999999999999d", "9999999999999999d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
