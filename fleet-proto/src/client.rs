//! Clients: the channel, and the transport of `fleet_core`'s agent driver.

use fleet_core::enrollment::{RegisterRequest, RegisterResponse};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::transport::{Transport, TransportError};

use crate::agentgateway::v1::AgentGatewayServiceClient;
use crate::rpc::Code;
pub use crate::rpc::{Bidi, Channel, Status};

/// Enrollment and handshake over a [`Channel`].
#[derive(Debug, Clone)]
pub struct GatewayTransport {
    client: AgentGatewayServiceClient,
}

impl GatewayTransport {
    /// A transport over `channel`, which needs no credentials.
    #[must_use]
    pub const fn new(channel: Channel) -> Self {
        Self { client: AgentGatewayServiceClient::new(channel) }
    }
}

/// How a failed call looks to the agent's driver.
///
/// Who answers is not known before the manifest and the server's signature were verified: what a peer writes is not
/// shown to the person at the agent, who is about to trust what stands on that screen. The code is told in our words.
fn failed(status: Status) -> TransportError {
    let status =
        if status.from_peer { Status { message: ours(status.code).to_owned(), ..status } } else { status };
    match status.refusal() {
        Some(refusal) => TransportError::Refused(refusal),
        None if status.code == Code::DataLoss => TransportError::Malformed(Box::new(status)),
        None => TransportError::Unreachable(Box::new(status)),
    }
}

const fn ours(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => fleet_core::refusal::UNAUTHENTICATED,
        Code::FailedPrecondition | Code::AlreadyExists => {
            "the name or a key is in use by another agent, or the enrollment is not in a state for this"
        }
        Code::InvalidArgument | Code::OutOfRange => "a field of the request is not acceptable",
        Code::ResourceExhausted => "asked again too soon",
        Code::PermissionDenied => "this may not be done",
        Code::NotFound | Code::Unimplemented => "this is no fleet server, or one of another version",
        Code::DeadlineExceeded => "the call took too long",
        Code::Unavailable => "the server cannot answer now",
        Code::Canceled | Code::Aborted => "the server ended the call",
        Code::Unknown | Code::Internal | Code::DataLoss => "the server failed",
    }
}

fn malformed(error: crate::convert::ConvertError) -> TransportError {
    TransportError::Malformed(Box::new(error))
}

impl Transport for GatewayTransport {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.client.register((&request).into()).await.map_err(failed)?;
            answer.try_into().map_err(malformed)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.client.begin_auth_handshake((&request).into()).await.map_err(failed)?;
            answer.try_into().map_err(malformed)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.client.complete_auth_handshake((&request).into()).await.map_err(failed)?;
            answer.try_into().map_err(malformed)
        })
    }
}
