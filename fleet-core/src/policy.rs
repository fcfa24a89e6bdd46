//! Times and limits that the server's operator may change, with the protocol's defaults.

use core::time::Duration;

/// The server's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// How long a code is good for unless its maker says otherwise: 1 hour.
    pub code_ttl: Duration,
    /// How long after Register an operator may confirm: 24 hours.
    pub confirmation_ttl: Duration,
    /// How long a challenge is good for: 30 s, at most [`Policy::MAX_CHALLENGE_TTL`].
    pub challenge_ttl: Duration,
    /// How long a session lasts: 1 hour by default, at most [`Policy::MAX_SESSION_TTL`].
    pub session_ttl: Duration,
    /// How long a session outlives its successor's birth: 60 s, at most [`Policy::MAX_SESSION_OVERLAP`].
    pub session_overlap: Duration,
    /// The shortest time between two answers to a repeated Register of one agent: 1 s.
    pub register_interval: Duration,
    /// The shortest time between two answers to BeginAuthHandshake of one agent: 250 ms.
    pub begin_interval: Duration,
}

impl Policy {
    /// The shortest life of a code: 1 minute.
    pub const MIN_CODE_TTL: Duration = Duration::from_secs(60);
    /// The longest life of a code: 7 days.
    pub const MAX_CODE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
    /// The longest life of a challenge: 30 s.
    pub const MAX_CHALLENGE_TTL: Duration = Duration::from_secs(30);
    /// The longest that a session outlives its successor's birth: 60 s.
    pub const MAX_SESSION_OVERLAP: Duration = Duration::from_secs(60);
    /// The longest life of a session: 24 hours.
    pub const MAX_SESSION_TTL: Duration = Duration::from_secs(24 * 3600);

    /// The life of a challenge, within its bound.
    #[must_use]
    pub(crate) fn challenge_ttl(&self) -> Duration {
        self.challenge_ttl.min(Self::MAX_CHALLENGE_TTL)
    }

    /// How long a session outlives its successor's birth, within its bound.
    #[must_use]
    pub(crate) fn session_overlap(&self) -> Duration {
        self.session_overlap.min(Self::MAX_SESSION_OVERLAP)
    }

    /// The life of a session, within its bound.
    #[must_use]
    pub(crate) fn session_ttl(&self) -> Duration {
        self.session_ttl.min(Self::MAX_SESSION_TTL)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            code_ttl: Duration::from_secs(3600),
            confirmation_ttl: Duration::from_secs(24 * 3600),
            challenge_ttl: Duration::from_secs(30),
            session_ttl: Duration::from_secs(3600),
            session_overlap: Duration::from_secs(60),
            register_interval: Duration::from_secs(1),
            begin_interval: Duration::from_millis(250),
        }
    }
}
