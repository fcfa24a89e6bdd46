//! Messages to domain types and back.
//!
//! The rules of [`crate::validate`] come first; here stands what they cannot say: the form of names, endpoints and
//! fingerprints, and whether a time has a fraction of a millisecond.

mod gateway;
mod identity;
mod telemetry;

use core::fmt;

use fleet_core::time::UnixMillis;
use prost_types::Timestamp;

pub use telemetry::{
    decode_events, decode_samples, encode_events, encode_samples, sample_from_message, sample_to_message,
};

/// A field of a message has no place in the domain.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    /// The field, as a path from the message.
    pub field: String,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is not there.
    #[error("is required")]
    Missing,
    /// It must have another length.
    #[error("must be exactly {expected} bytes, got {got}")]
    Length {
        /// How many bytes it must have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// It is no time of the protocol.
    #[error("must be a time of whole milliseconds, not before 1970")]
    Time,
    /// It is a value that this version does not know.
    #[error("must be a defined value, got {got}")]
    Undefined {
        /// What it is.
        got: i32,
    },
    /// It is no id.
    #[error(transparent)]
    Id(#[from] fleet_core::id::IdError),
    /// It is no name.
    #[error(transparent)]
    Name(#[from] fleet_core::name::NameError),
    /// It is no key.
    #[error(transparent)]
    Key(#[from] fleet_core::keys::KeyError),
    /// It is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] fleet_core::endpoint::EndpointError),
    /// It is no fingerprint.
    #[error(transparent)]
    Fingerprint(#[from] fleet_core::fingerprint::FingerprintError),
    /// A rule of the .proto files is broken.
    #[error(transparent)]
    Rule(#[from] crate::validate::Rule),
    /// It is not protobuf.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
}

impl ConvertError {
    pub(crate) fn new(field: impl fmt::Display, problem: impl Into<Problem>) -> Self {
        Self { field: field.to_string(), problem: problem.into() }
    }

    /// The same, for a message that is itself a field.
    pub(crate) fn within(self, parent: impl fmt::Display) -> Self {
        Self { field: format!("{parent}.{}", self.field), ..self }
    }
}

impl From<crate::validate::Violation> for ConvertError {
    fn from(violation: crate::validate::Violation) -> Self {
        Self { field: violation.field, problem: violation.rule.into() }
    }
}

#[cfg(any(feature = "client", feature = "server"))]
impl From<ConvertError> for crate::rpc::Status {
    fn from(error: ConvertError) -> Self {
        Self::invalid(error)
    }
}

/// A time as a message holds it.
#[must_use]
pub fn timestamp(time: UnixMillis) -> Timestamp {
    let millis = time.value();
    let nanos = i32::try_from(millis.rem_euclid(1000)).unwrap_or(0).saturating_mul(1_000_000);
    Timestamp { seconds: millis.div_euclid(1000), nanos }
}

/// The latest time that a `google.protobuf.Timestamp` may hold, 9999-12-31T23:59:59Z, in seconds.
const LAST_SECOND: i64 = 253_402_300_799;

/// The time that a message holds.
///
/// # Errors
/// [`Problem::Time`] if it is before 1970, after the year 9999, or has a fraction of a millisecond.
pub fn millis(time: &Timestamp) -> Result<UnixMillis, Problem> {
    let whole = (0..1_000_000_000).contains(&time.nanos) && time.nanos.checked_rem(1_000_000) == Some(0);
    if !whole || !(0..=LAST_SECOND).contains(&time.seconds) {
        return Err(Problem::Time);
    }
    let fraction = i64::from(time.nanos.checked_div(1_000_000).unwrap_or(0));
    UnixMillis::new(time.seconds.saturating_mul(1000).saturating_add(fraction)).map_err(|_| Problem::Time)
}

/// The time in a field that must be there.
///
/// # Errors
/// [`ConvertError`] naming the field.
pub fn required_millis(field: &'static str, time: Option<&Timestamp>) -> Result<UnixMillis, ConvertError> {
    let time = time.ok_or_else(|| ConvertError::new(field, Problem::Missing))?;
    millis(time).map_err(|problem| ConvertError::new(field, problem))
}

/// Bytes of a fixed length.
pub(crate) fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| ConvertError::new(field, Problem::Length { expected: N, got: bytes.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_and_fractions_are_refused() {
        for value in [0, 1, 999, 1000, 1_764_000_000_123, LAST_SECOND * 1000 + 999] {
            let time = UnixMillis::new(value).unwrap();
            assert_eq!(millis(&timestamp(time)).unwrap(), time);
        }
        for (seconds, nanos) in
            [(-1, 0), (0, 1), (0, -1_000_000), (0, 1_000_000_000), (i64::MAX, 0), (LAST_SECOND + 1, 0)]
        {
            assert!(millis(&Timestamp { seconds, nanos }).is_err(), "{seconds} {nanos}");
        }
    }
}
