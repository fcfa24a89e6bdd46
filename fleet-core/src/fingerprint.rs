//! What people compare: 25 Crockford base32 digits over an agent's three public keys.

use core::fmt;
use core::str::FromStr;

use subtle::ConstantTimeEq;

use crate::transcript::Transcript;

const DIGITS: usize = 25;
const GROUP: usize = 5;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// An agent's fingerprint: the first 125 bits of the SHA-256 of its `fleet/v1/keyset` transcript
/// (protocol section 2).
///
/// Displayed as five groups of five upper-case digits joined by `-`. Parsing ignores case, dashes
/// and blanks, and reads O as 0, I and L as 1.
#[derive(Clone, Copy, Eq)]
pub struct Fingerprint([u8; DIGITS]);

/// The text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Not 25 digits.
    #[error("fingerprint must have 25 digits in five groups, got {got}")]
    Length {
        /// How many digits there are.
        got: usize,
    },
    /// A character that is none of the 32 digits.
    #[error("fingerprint must not contain {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
}

impl Fingerprint {
    pub(crate) fn of(keyset: &Transcript) -> Self {
        let hash = keyset.sha256();
        let mut bits = hash.iter().flat_map(|byte| (0..8).rev().map(move |shift| (byte >> shift) & 1));
        let mut digits = [0; DIGITS];
        for digit in &mut digits {
            *digit = bits.by_ref().take(5).fold(0, |value, bit| (value << 1) | bit);
        }
        Self(digits)
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}

impl core::hash::Hash for Fingerprint {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut digits = [0; DIGITS];
        let mut got = 0usize;
        for character in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let digit = digit(character).ok_or(FingerprintError::Character { character })?;
            if let Some(place) = digits.get_mut(got) {
                *place = digit;
            }
            got = got.saturating_add(1);
        }
        if got != DIGITS {
            return Err(FingerprintError::Length { got });
        }
        Ok(Self(digits))
    }
}

fn digit(character: char) -> Option<u8> {
    let canonical = match character.to_ascii_uppercase() {
        'O' => b'0',
        'I' | 'L' => b'1',
        other => u8::try_from(other).ok()?,
    };
    let at = ALPHABET.iter().position(|a| *a == canonical)?;
    u8::try_from(at).ok()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.0.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                f.write_str("-")?;
            }
            let character = ALPHABET.get(usize::from(*digit)).copied().map_or('?', char::from);
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The server must not show the fingerprint of an agent that is not confirmed, and a log
        // is a page that somebody reads.
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Domain;

    fn example() -> Fingerprint {
        Fingerprint::of(&Transcript::new(Domain::Keyset).field(&[1; 32]).field(&[2; 32]).field(&[3; 32]))
    }

    #[test]
    fn the_protocols_example() {
        assert_eq!(example().to_string(), "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R");
    }

    /// Those vectors of `fingerprint` too whose keys are no points, which no agent can have.
    #[test]
    fn vectors() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/fingerprint");
        let mut found = 0;
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            if vector["op"] != "fingerprint" {
                continue;
            }
            let mut keyset = Transcript::new(Domain::Keyset);
            for field in ["identity_pubkey", "miner_signing_pubkey", "sealing_pubkey"] {
                keyset = keyset.field(&hex::decode(vector["in"][field].as_str().unwrap()).unwrap());
            }
            assert_eq!(
                vector["out"]["fingerprint"],
                Fingerprint::of(&keyset).to_string(),
                "{}",
                path.display()
            );
            found += 1;
        }
        assert!(found >= 3, "{found} vectors");
    }

    #[test]
    fn people_may_type_it_their_way() {
        for text in [
            "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R",
            "qgge89tnqy6hkez0zz86psp5r",
            " QGGE8 9TNQY 6HKEZ OZZ86 PSP5R\n",
            "qgge8-9tnqy-6hkez-ozz86-psp5r",
        ] {
            assert!(text.parse::<Fingerprint>().unwrap().matches(&example()), "{text:?}");
        }
        let ones = "1111111111111111111111111".parse::<Fingerprint>().unwrap();
        assert!("IiLl111111111111111111111".parse::<Fingerprint>().unwrap().matches(&ones));
    }

    #[test]
    fn what_is_no_fingerprint_says_why() {
        let error = |text: &str| text.parse::<Fingerprint>().unwrap_err().to_string();
        assert_eq!(error("QGGE8"), "fingerprint must have 25 digits in five groups, got 5");
        assert_eq!(
            error("QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5RX"),
            "fingerprint must have 25 digits in five groups, got 26"
        );
        assert_eq!(error("UGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R"), "fingerprint must not contain 'U'");
        assert_eq!(error(""), "fingerprint must have 25 digits in five groups, got 0");
    }
}
