//! The one way randomness enters this crate.

use core::fmt;

/// The random source failed. Nothing that needs randomness can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the random source failed")]
pub struct RandomError;

/// A cryptographically secure random source.
///
/// Every key, code, nonce, challenge and token comes out of this trait. An implementation that
/// repeats or can be predicted gives away all of them; seeded ones are for tests alone.
pub trait SecureRandom: fmt::Debug + Send + Sync {
    /// Fills `out` whole.
    ///
    /// # Errors
    /// [`RandomError`] if it cannot; `out` is then not to be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;
}

impl dyn SecureRandom + '_ {
    /// `N` random bytes.
    ///
    /// # Errors
    /// [`RandomError`] if the source fails.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], RandomError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// The operating system's random source.
#[cfg(feature = "os-random")]
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

#[cfg(feature = "os-random")]
impl SecureRandom for OsRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|_| RandomError)
    }
}
