//! The calls that an agent makes under a session.
//!
//! [`Gateway`] is the seam between the loops that decide when to call and the wire: what they do
//! when a server is slow, refuses or is gone is tested without one.

mod connect;

use std::fmt;

use bytes::Bytes;
use fleet_core::{code::SessionToken, future::BoxFuture, time::UnixMillis, transport::TransportError};

pub use self::connect::{ConnectError, ConnectGateway};
use crate::counters::UploadKind;

/// What this agent tells the server of itself.
pub const AGENT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// One message of an upload.
#[derive(Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the protocol has these fields")]
pub struct Upload {
    /// An encoded batch.
    pub payload: Bytes,
    /// When its last item was taken, by the agent's clock.
    pub captured_at: UnixMillis,
    /// Its sequence.
    pub sequence: i64,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("bytes", &self.payload.len())
            .field("captured_at", &self.captured_at)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What the server says at the end of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the protocol has these fields")]
pub struct UploadAnswer {
    /// How many were stored.
    pub accepted: i64,
    /// How many were rejected.
    pub rejected: i64,
    /// Every message up to this sequence is dealt with.
    pub durable: i64,
}

/// The gateway service, as far as it needs a session.
pub trait Gateway: fmt::Debug + Send + Sync {
    /// Opens an upload stream, sends the messages, closes it and takes the answer.
    ///
    /// # Cancel safety
    /// Dropped, some of the messages may be durable; those that are sent again are then duplicates. The
    /// future is `Send`; it must not panic.
    fn upload<'a>(
        &'a self,
        token: &'a SessionToken,
        kind: UploadKind,
        messages: Vec<Upload>,
    ) -> BoxFuture<'a, Result<UploadAnswer, TransportError>>;

    /// Says that the agent is alive; the server's time when it took note.
    ///
    /// # Cancel safety
    /// Dropped, the server has taken note or not. The future is `Send`; it must not panic.
    fn heartbeat<'a>(
        &'a self,
        token: &'a SessionToken,
        sent_at: UnixMillis,
    ) -> BoxFuture<'a, Result<UnixMillis, TransportError>>;

    /// Opens the control stream and says hello. Dropping the stream ends it.
    ///
    /// # Cancel safety
    /// Dropped, there is no stream. The future is `Send`; it must not panic.
    fn control<'a>(
        &'a self,
        token: &'a SessionToken,
    ) -> BoxFuture<'a, Result<Box<dyn ControlStream>, TransportError>>;
}

/// An open control stream.
pub trait ControlStream: fmt::Debug + Send {
    /// The next message; `None` at the end of the stream.
    ///
    /// # Cancel safety
    /// Dropped, a message may be lost: the stream is to be dropped as well. The future is `Send`; it must not
    /// panic.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ControlMessage>, TransportError>>;
}

/// What the server says on a control stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlMessage {
    /// The stream is registered.
    Accepted,
    /// A command.
    Command {
        /// Its id.
        command_id: String,
        /// Its sequence.
        sequence: i64,
    },
    /// The server wants the agent to open another stream.
    Goaway {
        /// Why.
        reason: String,
    },
    /// A message of a newer protocol.
    Unknown,
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn debug_of_an_upload_shows_no_payload() {
        let payload = "a-payload-to-be-found";
        let secrets = Secrets::of([("the payload", payload)]);
        let captured_at = UnixMillis::new(1_767_225_600_000).unwrap();
        let upload = Upload { payload: payload.into(), captured_at, sequence: 7 };
        assert_snapshot!(secrets.unsaid(&upload), @"Upload { bytes: 21, captured_at: UnixMillis(1767225600000), sequence: 7, .. }");
    }
}
