//! How a server refuses: codes, in the terms of Connect and gRPC.

use core::time::Duration;

/// Why a call was refused, as the peer sees it (protocol sections 4, 5 and 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A field breaks its rule; the message names field and limit.
    InvalidArgument,
    /// A credential, key, proof, challenge or session was refused; one text for every cause.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The thing named does not exist, as far as the caller may know.
    NotFound,
    /// It exists and is not in the right state.
    FailedPrecondition,
    /// A limit is reached; try again later.
    ResourceExhausted,
    /// The server cannot answer now; try again.
    Unavailable,
    /// The server is at fault.
    Internal,
}

/// The one text of every `unauthenticated` answer: the cause is in the server's log alone.
pub const UNAUTHENTICATED: &str = "credentials were not accepted";

/// A refusal as the peer receives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// What to tell a person.
    pub message: String,
    /// When to come back, for [`Code::ResourceExhausted`].
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn unauthenticated() -> Self {
        Self { code: Code::Unauthenticated, message: UNAUTHENTICATED.to_owned(), retry_after: None }
    }

    pub(crate) fn new(code: Code, message: impl core::fmt::Display) -> Self {
        Self { code, message: message.to_string(), retry_after: None }
    }

    pub(crate) fn exhausted(message: impl core::fmt::Display, retry_after: Duration) -> Self {
        Self { code: Code::ResourceExhausted, message: message.to_string(), retry_after: Some(retry_after) }
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(Code::Unavailable, "the server cannot answer now; try again")
    }
}
