//! What names a device on the wire: its MAC address or its serial number, never a network address
//! and never a server's id (protocol sections 6 and 9).

use core::fmt;
use core::str::FromStr;

use crate::name::is_forbidden;

/// A device's identity as it reports it.
///
/// As text it is `mac:` and 12 lower-case hex digits, or `sn:` and the serial exactly as the
/// device reports it. Which of the two a device has is fixed when it is discovered: `sn:` for
/// Proto rigs, otherwise `mac:` where the device reports one, otherwise `sn:` (section 9).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The device's MAC address, 6 bytes.
    Mac([u8; 6]),
    /// The device's serial number.
    Serial(Serial),
}

/// A serial number: 1 to 128 characters, none of them a control character or one that hides or
/// reorders text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(String);

/// The text is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It starts with neither `mac:` nor `sn:`.
    #[error("endpoint must start with mac: or sn:")]
    UnknownKind,
    /// What follows `mac:` is not 12 lower-case hex digits, or is all zeros or all ones.
    #[error("endpoint mac: must be followed by the 12 lower-case hex digits of a device's address")]
    Mac,
    /// The serial is empty, too long, or holds a forbidden character.
    #[error("endpoint sn: must be followed by 1 to 128 printable characters")]
    Serial,
}

impl Serial {
    /// The most characters a serial may have.
    pub const MAX_CHARS: usize = 128;

    /// Checks a serial.
    ///
    /// # Errors
    /// [`EndpointError::Serial`].
    pub fn new(text: impl Into<String>) -> Result<Self, EndpointError> {
        let text = text.into();
        let count = text.chars().count();
        if count == 0 || count > Self::MAX_CHARS || text.chars().any(is_forbidden) {
            return Err(EndpointError::Serial);
        }
        Ok(Self(text))
    }

    /// The serial as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Endpoint {
    /// An endpoint by MAC address.
    ///
    /// # Errors
    /// [`EndpointError::Mac`] for all zeros and all ones, which firmware reports when it does not
    /// know: two such devices would pass for one.
    pub const fn mac(address: [u8; 6]) -> Result<Self, EndpointError> {
        match address {
            [0, 0, 0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Err(EndpointError::Mac),
            _ => Ok(Self::Mac(address)),
        }
    }

    /// An endpoint by serial number.
    ///
    /// # Errors
    /// [`EndpointError::Serial`].
    pub fn serial(text: impl Into<String>) -> Result<Self, EndpointError> {
        Serial::new(text).map(Self::Serial)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac([a, b, c, d, e, g]) => write!(f, "mac:{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{g:02x}"),
            Self::Serial(serial) => write!(f, "sn:{}", serial.0),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(serial) = text.strip_prefix("sn:") {
            return Self::serial(serial);
        }
        let digits = text.strip_prefix("mac:").ok_or(EndpointError::UnknownKind)?;
        let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 12 || !digits.bytes().all(lower_hex) {
            return Err(EndpointError::Mac);
        }
        let value = u64::from_str_radix(digits, 16).map_err(|_| EndpointError::Mac)?;
        let [_, _, address @ ..] = value.to_be_bytes();
        Self::mac(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip() {
        for text in ["mac:aabbccddeeff", "sn:PM-0001 x", "sn:mac:aabbccddeeff"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            ("", EndpointError::UnknownKind),
            ("10.0.0.1", EndpointError::UnknownKind),
            ("MAC:aabbccddeeff", EndpointError::UnknownKind),
            ("mac:AABBCCDDEEFF", EndpointError::Mac),
            ("mac:aabbccddeef", EndpointError::Mac),
            ("mac:+abbccddeeff", EndpointError::Mac),
            ("mac:000000000000", EndpointError::Mac),
            ("mac:ffffffffffff", EndpointError::Mac),
            ("sn:", EndpointError::Serial),
            ("sn:a\nb", EndpointError::Serial),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text:?}");
        }
        assert!(Endpoint::serial("x".repeat(128)).is_ok());
        assert!(Endpoint::serial("x".repeat(129)).is_err());
    }
}
