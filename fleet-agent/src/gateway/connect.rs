use std::{sync::Arc, time::Duration};

use fleet_core::{
    code::SessionToken,
    future::BoxFuture,
    time::UnixMillis,
    transport::{Transport, TransportError},
};
use fleet_proto::{
    agentgateway::v1::{
        AgentGatewayServiceClient, ControlHello, ControlStreamRequest, ControlStreamResponse,
        UploadEventsRequest, UploadHeartbeatRequest, UploadTelemetryRequest, control_stream_request,
        control_stream_response,
    },
    client::{Bidi, Channel, GatewayTransport, Status},
    convert::{required_millis, timestamp},
    rpc::Code,
};
use futures::stream;

use super::{AGENT_VERSION, ControlMessage, ControlStream, Gateway, Upload, UploadAnswer};
use crate::{
    counters::UploadKind,
    server_url::{AllowInsecure, ServerUrl, ServerUrlError},
    tls::{TlsError, TlsOptions, client_config},
};

/// How long an upload may take: up to 8 MiB on a slow uplink.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A server cannot be connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Its URL is not one that may be used.
    #[error(transparent)]
    Url(#[from] ServerUrlError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The gateway service of a server.
#[derive(Debug, Clone)]
pub struct ConnectGateway {
    channel: Channel,
}

impl ConnectGateway {
    /// The gateway at `server`. Nothing is sent yet. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn new(
        server: &ServerUrl,
        allow: AllowInsecure,
        tls: impl Into<TlsOptions>,
    ) -> Result<Self, ConnectError> {
        server.check_transport(allow)?;
        if server.is_exposed() {
            tracing::warn!(
                %server,
                "--allow-insecure-transport: without TLS whoever can read the traffic has this agent's api_key"
            );
        } else if allow == AllowInsecure::Yes {
            tracing::warn!(%server, "--allow-insecure-transport is given, and not needed for this server");
        }
        let tls = server.is_tls().then(|| client_config(&tls.into())).transpose()?;
        Ok(Self { channel: Channel::new(server.uri()?, tls) })
    }

    /// The calls of enrollment and handshake, on the same connection.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(GatewayTransport::new(self.channel.clone()))
    }

    fn client(&self, token: &SessionToken) -> AgentGatewayServiceClient {
        AgentGatewayServiceClient::new(self.channel.with_bearer(token.expose()))
    }
}

impl Gateway for ConnectGateway {
    fn upload<'a>(
        &'a self,
        token: &'a SessionToken,
        kind: UploadKind,
        messages: Vec<Upload>,
    ) -> BoxFuture<'a, Result<UploadAnswer, TransportError>> {
        let channel = self.channel.with_bearer(token.expose()).with_timeout(UPLOAD_TIMEOUT);
        let client = AgentGatewayServiceClient::new(channel);
        Box::pin(async move {
            match kind {
                UploadKind::Telemetry => {
                    let messages = messages.into_iter().map(|message| UploadTelemetryRequest {
                        payload: message.payload,
                        captured_at: Some(timestamp(message.captured_at)),
                        sequence: message.sequence,
                    });
                    let answer = client.upload_telemetry(stream::iter(messages)).await.map_err(failed)?;
                    Ok(UploadAnswer {
                        accepted: answer.accepted_count,
                        rejected: answer.rejected_count,
                        durable: answer.durable_sequence,
                    })
                }
                UploadKind::Events => {
                    let messages = messages.into_iter().map(|message| UploadEventsRequest {
                        payload: message.payload,
                        captured_at: Some(timestamp(message.captured_at)),
                        sequence: message.sequence,
                    });
                    let answer = client.upload_events(stream::iter(messages)).await.map_err(failed)?;
                    Ok(UploadAnswer {
                        accepted: answer.accepted_count,
                        rejected: answer.rejected_count,
                        durable: answer.durable_sequence,
                    })
                }
            }
        })
    }

    fn heartbeat<'a>(
        &'a self,
        token: &'a SessionToken,
        sent_at: UnixMillis,
    ) -> BoxFuture<'a, Result<UnixMillis, TransportError>> {
        let client = self.client(token);
        Box::pin(async move {
            let request = UploadHeartbeatRequest {
                sent_at: Some(timestamp(sent_at)),
                agent_version: AGENT_VERSION.to_owned(),
            };
            let answer = client.upload_heartbeat(request).await.map_err(failed)?;
            required_millis("received_at", answer.received_at.as_ref())
                .map_err(|error| TransportError::Malformed(error.into()))
        })
    }

    fn control<'a>(
        &'a self,
        token: &'a SessionToken,
    ) -> BoxFuture<'a, Result<Box<dyn ControlStream>, TransportError>> {
        let client = self.client(token);
        Box::pin(async move {
            let mut stream = client.control_stream().await.map_err(failed)?;
            let hello = ControlHello { agent_version: AGENT_VERSION.to_owned() };
            let hello = ControlStreamRequest { kind: Some(control_stream_request::Kind::Hello(hello)) };
            stream.send(hello).await.map_err(failed)?;
            Ok(Box::new(ConnectControl(stream)) as Box<dyn ControlStream>)
        })
    }
}

#[derive(Debug)]
struct ConnectControl(Bidi<ControlStreamRequest, ControlStreamResponse>);

impl ControlStream for ConnectControl {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ControlMessage>, TransportError>> {
        Box::pin(async {
            let Some(message) = self.0.message().await.map_err(failed)? else { return Ok(None) };
            Ok(Some(match message.kind {
                Some(control_stream_response::Kind::Accepted(_)) => ControlMessage::Accepted,
                Some(control_stream_response::Kind::Command(command)) => {
                    ControlMessage::Command { command_id: command.command_id, sequence: command.sequence }
                }
                Some(control_stream_response::Kind::Goaway(goaway)) => {
                    ControlMessage::Goaway { reason: goaway.reason }
                }
                None => ControlMessage::Unknown,
            }))
        })
    }
}

fn failed(status: Status) -> TransportError {
    match status.refusal() {
        Some(refusal) => TransportError::Refused(refusal),
        None if status.code == Code::DataLoss => TransportError::Malformed(status.into()),
        None => TransportError::Unreachable(status.into()),
    }
}
