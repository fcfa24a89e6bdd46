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
fn failed(status: Status) -> TransportError {
    match status.refusal() {
        Some(refusal) => TransportError::Refused(refusal),
        None if status.code == Code::DataLoss => TransportError::Malformed(Box::new(status)),
        None => TransportError::Unreachable(Box::new(status)),
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
