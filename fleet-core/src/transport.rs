//! How an agent's calls reach its server.

use crate::enrollment::{RegisterRequest, RegisterResponse};
use crate::future::BoxFuture;
use crate::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::refusal::Refusal;

/// A call brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The server refused.
    #[error("the server refused: {0}")]
    Refused(#[from] Refusal),
    /// The server answered with something that is no answer.
    #[error("the server's answer is malformed")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no answer. Whether the server acted is unknown; asking again is safe.
    #[error("the server cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The three calls of enrollment and handshake.
///
/// An implementation need not be trusted: whatever it alters is found by signatures and pins. One
/// without TLS gives the api_key and session token to whoever listens. It must not follow
/// redirects, and it must not repeat a call by itself.
pub trait Transport: core::fmt::Debug + Send + Sync {
    /// `agentgateway.v1.AgentGatewayService/Register`.
    ///
    /// # Cancel safety
    /// Dropped, whether the server acted is unknown, as with a lost answer; asking again is safe. The future
    /// is `Send`; it must not panic.
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>>;
    /// `agentgateway.v1.AgentGatewayService/BeginAuthHandshake`.
    ///
    /// # Cancel safety
    /// As [`Transport::register`]. The future is `Send`; it must not panic.
    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>>;
    /// `agentgateway.v1.AgentGatewayService/CompleteAuthHandshake`.
    ///
    /// # Cancel safety
    /// As [`Transport::register`], but that the challenge is used up: the handshake begins anew. The future
    /// is `Send`; it must not panic.
    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>>;
}
