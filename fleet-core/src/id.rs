//! Identifiers. Each is a positive 64-bit integer that never means two things (protocol section 2).

use core::fmt;

use crate::random::{RandomError, SecureRandom};

/// The value is not one that an identifier of this kind can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be between 1 and {max}, got {got}")]
pub struct IdError {
    /// What the identifier names.
    pub kind: &'static str,
    /// The value that was offered.
    pub got: i64,
    /// The largest value allowed.
    pub max: i64,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The largest value.
            pub const MAX: i64 = $max;

            /// Takes a value from the wire or the database.
            ///
            /// # Errors
            /// [`IdError`] unless the value is in `1..=Self::MAX`.
            pub const fn new(value: i64) -> Result<Self, IdError> {
                if value < 1 || value > Self::MAX {
                    return Err(IdError { kind: $kind, got: value, max: Self::MAX });
                }
                Ok(Self(value))
            }

            /// Draws a value uniformly from `1..2^53`, which every JSON reader can represent.
            ///
            /// # Errors
            /// [`RandomError`] if the random source fails, or gives nothing but zeros.
            pub fn random(random: &dyn SecureRandom) -> Result<Self, RandomError> {
                for _ in 0..DRAWS {
                    let bytes = random.array::<8>()?;
                    // The low 53 bits: zero is the one value to draw again.
                    let value = i64::from_be_bytes(bytes) & MAX_SAFE_INTEGER;
                    if value > 0 {
                        return Ok(Self(value));
                    }
                }
                Err(RandomError)
            }

            /// The value as it is on the wire.
            #[must_use]
            pub const fn value(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = IdError;

            fn try_from(value: i64) -> Result<Self, IdError> {
                Self::new(value)
            }
        }
    };
}

/// The largest integer that JSON numbers carry without loss, 2^53 - 1.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// How often an id is drawn. Zero is drawn again and not made into another value: that keeps ids uniform, and a source
/// that is broken is told from one that is not. A sound one gives four zeros once in 2^212 times.
const DRAWS: usize = 4;

id!(
    /// An organization.
    OrgId, "org_id", i64::MAX
);
id!(
    /// An agent: random in `1..=2^53-1` and never reused (protocol section 4).
    AgentId, "agent_id", MAX_SAFE_INTEGER
);
id!(
    /// An enrollment, the row behind one enrollment code.
    EnrollmentId, "pending_enrollment_id", i64::MAX
);
id!(
    /// A device: one miner, whatever its address.
    DeviceId, "device_id", i64::MAX
);
id!(
    /// An operator's account.
    UserId, "user_id", i64::MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_errors_name_the_field() {
        assert_eq!(AgentId::new((1 << 53) - 1).unwrap().value(), (1 << 53) - 1);
        let error = AgentId::new(1 << 53).unwrap_err();
        assert_eq!(
            error.to_string(),
            "agent_id must be between 1 and 9007199254740991, got 9007199254740992"
        );
        assert!(OrgId::new(0).is_err());
        assert!(OrgId::new(-1).is_err());
        assert!(OrgId::new(i64::MAX).is_ok());
    }

    #[test]
    fn a_random_id_skips_zero_and_keeps_53_bits() {
        #[derive(Debug)]
        struct ZeroThenOnes(core::sync::atomic::AtomicU8);
        impl SecureRandom for ZeroThenOnes {
            fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
                let first = self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed) == 0;
                out.fill(if first { 0 } else { 0xff });
                Ok(())
            }
        }
        let id = AgentId::random(&ZeroThenOnes(0.into())).unwrap();
        assert_eq!(id.value(), AgentId::MAX);
    }

    #[test]
    fn a_source_of_zeros_fails_and_is_not_asked_for_ever() {
        #[derive(Debug)]
        struct Zeros;
        impl SecureRandom for Zeros {
            fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
                out.fill(0);
                Ok(())
            }
        }
        assert_eq!(AgentId::random(&Zeros), Err(RandomError));
    }
}
