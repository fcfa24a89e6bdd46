use core::time::Duration;

use fleet_core::refusal::{self, Refusal};

/// The codes of Connect and gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the codes and their meaning are those of gRPC")]
#[allow(clippy::exhaustive_enums, reason = "the codes of gRPC are these")]
pub enum Code {
    Canceled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The code.
    pub code: Code,
    /// What to tell a person.
    pub message: String,
    /// When to come back, for [`Code::ResourceExhausted`]. On the wire: the header `retry-after`, whole seconds,
    /// rounded up, and exactly in a detail, `google.rpc.RetryInfo`. Of what a peer answers, the header counts.
    pub retry_after: Option<Duration>,
    /// Whether the peer said so, rather than this side: then the message is the peer's text. On one line, without
    /// invisible characters, but whatever the peer wants a person to read.
    pub from_peer: bool,
}

impl Status {
    /// A status.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, from_peer: false }
    }

    /// [`Code::InvalidArgument`]; the message should name the field and the limit.
    #[must_use]
    pub fn invalid(error: impl core::fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, error.to_string())
    }

    /// [`Code::Unauthenticated`] with the one text of every cause.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, refusal::UNAUTHENTICATED)
    }

    /// [`Code::Internal`] without the cause, which is for the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::Internal, "internal error")
    }

    /// [`Code::Unavailable`] without the cause, which is for the log.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "the server cannot answer now; try again")
    }

    /// The refusal of the peer that this is; `None` if the peer was not reached or is at fault.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        let code = match self.code {
            Code::InvalidArgument | Code::OutOfRange => refusal::Code::InvalidArgument,
            Code::Unauthenticated => refusal::Code::Unauthenticated,
            Code::PermissionDenied => refusal::Code::PermissionDenied,
            Code::NotFound => refusal::Code::NotFound,
            Code::FailedPrecondition | Code::AlreadyExists => refusal::Code::FailedPrecondition,
            Code::ResourceExhausted => refusal::Code::ResourceExhausted,
            Code::Canceled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => return None,
        };
        Some(Refusal { code, message: self.message.clone(), retry_after: self.retry_after })
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            refusal::Code::InvalidArgument => Code::InvalidArgument,
            refusal::Code::Unauthenticated => Code::Unauthenticated,
            refusal::Code::PermissionDenied => Code::PermissionDenied,
            refusal::Code::NotFound => Code::NotFound,
            refusal::Code::FailedPrecondition => Code::FailedPrecondition,
            refusal::Code::ResourceExhausted => Code::ResourceExhausted,
            refusal::Code::Unavailable => Code::Unavailable,
            refusal::Code::Internal | _ => Code::Internal,
        };
        Self { code, message: refusal.message, retry_after: refusal.retry_after, from_peer: false }
    }
}
