//! Names of agents, organizations and devices.

use core::fmt;

/// A name: 1 to 255 characters, none of them a control character or one that hides or reorders
/// text (protocol sections 4 and 10). Not normalized: it is signed as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no character at all.
    #[error("name must have 1 to 255 characters, got none")]
    Empty,
    /// There are too many characters.
    #[error("name must have 1 to 255 characters, got {got}")]
    TooLong {
        /// How many there are.
        got: usize,
    },
    /// A control character (Cc), or one that hides or reorders text.
    #[error("name must not contain the character U+{:04X}", u32::from(*.character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
}

impl Name {
    /// The most characters a name may have.
    pub const MAX_CHARS: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] names the limit or the character.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let got = text.chars().count();
        if got == 0 {
            return Err(NameError::Empty);
        }
        if got > Self::MAX_CHARS {
            return Err(NameError::TooLong { got });
        }
        if let Some(character) = text.chars().find(|c| is_forbidden(*c)) {
            return Err(NameError::Forbidden { character });
        }
        Ok(Self(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether text that people compare must not hold this character (protocol section 4, Names): a control character, or
/// one that changes the direction of text or cannot be seen. Whoever shows text of somebody else leaves these out.
#[must_use]
pub fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{202A}'..='\u{202E}'
                | '\u{2060}'
                | '\u{2066}'..='\u{2069}'
                | '\u{FEFF}'
        )
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(Name::new("ß".repeat(255)).is_ok());
        assert_eq!(Name::new("ß".repeat(256)), Err(NameError::TooLong { got: 256 }));
        assert_eq!(Name::new(""), Err(NameError::Empty));
    }

    #[test]
    fn every_forbidden_range_is_refused_at_both_ends_and_its_neighbors_are_not() {
        for c in [
            '\0', '\n', '\u{7f}', '\u{9f}', '\u{61c}', '\u{200b}', '\u{200f}', '\u{202a}', '\u{202e}',
            '\u{2060}', '\u{2066}', '\u{2069}', '\u{feff}',
        ] {
            assert_eq!(Name::new(format!("a{c}b")), Err(NameError::Forbidden { character: c }));
        }
        for c in ['\u{200a}', '\u{2010}', '\u{2029}', '\u{202f}', '\u{2061}', '\u{2065}', '\u{206a}'] {
            assert!(Name::new(format!("a{c}b")).is_ok(), "{c:?}");
        }
    }

    #[test]
    fn the_error_names_the_character() {
        let error = Name::new("a\u{202e}b").unwrap_err();
        assert_eq!(error.to_string(), "name must not contain the character U+202E");
    }
}
