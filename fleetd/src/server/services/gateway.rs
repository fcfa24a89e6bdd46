//! What agents call.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::driver::ServerError;
use fleet_core::enrollment::RegisterRequest;
use fleet_core::handshake::server::AgentIdentity;
use fleet_core::handshake::{BeginRequest, CompleteRequest};
use fleet_core::id::AgentId;
use fleet_proto::agentgateway::v1::{
    self as gateway, AgentGatewayService, control_stream_request, control_stream_response,
};
use fleet_proto::convert::{decode_events, decode_samples, required_millis, timestamp};
use fleet_proto::rpc::{Broken, Code, Context, Incoming, Outgoing, Status};
use fleet_store::{Guard, GuardError, Stored, Upload, UploadKind, UploadOutcome};
use futures::{SinkExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::super::limits::{Limit, Shown, Topic};
use super::super::streams::{End, Registered, StreamKind};
use super::super::{App, auth, store_failed};

/// How long a control stream may say nothing before its hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long a stream waits for the store: one that does not answer cannot say either that its agent was revoked.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Gateway {
    app: Arc<App>,
}

/// One message of an upload, whichever kind.
struct Message {
    payload: bytes::Bytes,
    captured_at: Option<prost_types::Timestamp>,
    sequence: i64,
}

#[cfg(test)]
static_assertions::assert_not_impl_any!(Message: std::fmt::Debug);

#[derive(Default)]
struct Counts {
    accepted: i64,
    rejected: i64,
    durable: i64,
}

impl Gateway {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    fn guard(&self, agent: &AgentIdentity) -> Guard {
        Guard { agent_id: agent.agent_id, session: Some(agent.session), now: self.app.clock.now() }
    }

    /// Registers a stream and only then checks its agent again: a revocation in between finds the stream, one before
    /// is found by the check.
    async fn register_stream(&self, agent: &AgentIdentity, kind: StreamKind) -> Result<Registered, Status> {
        let mut registered = self.app.streams.register(agent.agent_id, kind);
        unless_ended(&mut registered, self.authenticate(agent)).await.map_err(ended)??;
        Ok(registered)
    }

    async fn authenticate(&self, agent: &AgentIdentity) -> Result<(), Status> {
        self.app.driver.authenticate(&agent.session).await.map(drop).map_err(|error| self.app.refuse(error))
    }

    /// The answer to a call whose message carries credentials.
    fn shown<T>(&self, context: &Context, answer: Result<T, ServerError>) -> Result<T, Status> {
        let answer = self.judged(context, answer);
        Shown::note(context, &answer);
        answer
    }

    /// The same, whose credentials are yet to be noted.
    fn judged<T>(&self, context: &Context, answer: Result<T, ServerError>) -> Result<T, Status> {
        answer.map_err(|error| {
            let (status, refused) = self.app.judge(error);
            if let Some(refused) = refused {
                Shown::keep(context, refused);
            }
            status
        })
    }

    /// Whether one more thing that an agent did may go to the log, and how many did not since the last.
    fn line(&self, agent_id: AgentId, topic: Topic) -> Option<u64> {
        self.app.agents_lines.take((agent_id, topic), self.app.clock.monotonic())
    }

    async fn upload(
        &self,
        agent: AgentIdentity,
        kind: UploadKind,
        mut messages: impl futures::Stream<Item = Result<Message, Broken>> + Unpin + Send,
    ) -> Result<Counts, Status> {
        let stream = match kind {
            UploadKind::Telemetry => StreamKind::Telemetry,
            UploadKind::Event => StreamKind::Events,
        };
        let mut registered = self.register_stream(&agent, stream).await?;
        let durable = self.app.store.durable_sequence(agent.agent_id, kind).await.map_err(store_failed)?;
        let mut counts = Counts { durable, ..Counts::default() };
        let mut before = 0;
        let mut check = checks(self.app.check_every);
        loop {
            let message = tokio::select! {
                biased;
                end = registered.ended() => return Err(ended(end)),
                _ = check.tick() => {
                    unless_ended(&mut registered, self.authenticate(&agent)).await.map_err(ended)??;
                    continue;
                }
                message = messages.next() => message,
            };
            let message = match message {
                None => return Ok(counts),
                Some(message) => message.map_err(Broken::into_status)?,
            };
            if message.sequence <= before {
                return Err(Status::invalid(format_args!(
                    "sequence: must be above the one before it in the stream, {before}, got {}",
                    message.sequence
                )));
            }
            before = message.sequence;
            let stored = unless_ended(&mut registered, self.store(&agent, kind, &message));
            let stored = stored.await.map_err(ended)??;
            self.app.metrics.stored(&stored);
            counts.durable = stored.durable_sequence;
            match stored.outcome {
                UploadOutcome::Duplicate => {}
                UploadOutcome::Accepted if stored.samples_accepted > 0 => counts.accepted += 1,
                UploadOutcome::Accepted => counts.rejected += 1,
            }
        }
    }

    async fn store(
        &self,
        agent: &AgentIdentity,
        kind: UploadKind,
        message: &Message,
    ) -> Result<Stored, Status> {
        let captured_at = required_millis("captured_at", message.captured_at.as_ref())?;
        let upload = Upload { sequence: message.sequence, captured_at, received_at: self.app.clock.now() };
        let guard = self.guard(agent);
        let store = &self.app.store;
        let stored = match kind {
            UploadKind::Telemetry => match decode_samples(&message.payload) {
                Ok(samples) => store.store_telemetry(&guard, upload, samples).await,
                Err(error) => self.reject(&guard, kind, message.sequence, &error).await,
            },
            UploadKind::Event => match decode_events(&message.payload) {
                Ok(events) => store.store_events(&guard, upload, events).await,
                Err(error) => self.reject(&guard, kind, message.sequence, &error).await,
            },
        };
        let stored = stored.map_err(|error| match error {
            GuardError::Store(error) => store_failed(error),
            GuardError::Refused | _ => {
                if let Some(left_out) = self.line(agent.agent_id, Topic::Upload) {
                    let agent_id = agent.agent_id;
                    tracing::info!(%agent_id, left_out, "an upload was refused: the session is over");
                }
                Status::unauthenticated()
            }
        })?;
        if stored.devices_refused > 0 {
            self.app.reached.note(Limit::DevicesPerAgent);
            let refused = stored.devices_refused;
            tracing::debug!(agent_id = %agent.agent_id, refused, "more devices than one agent may report");
        }
        if stored.samples_rejected > 0 {
            tracing::debug!(agent_id = %agent.agent_id, rejected = stored.samples_rejected, "not the agent's devices");
        }
        Ok(stored)
    }

    /// A payload that says nothing will not say more when it comes again: it is dealt with.
    async fn reject(
        &self,
        guard: &Guard,
        kind: UploadKind,
        sequence: i64,
        error: &fleet_proto::convert::ConvertError,
    ) -> Result<Stored, GuardError> {
        let agent_id = guard.agent_id;
        if let Some(left_out) = self.line(agent_id, Topic::Upload) {
            tracing::warn!(%agent_id, sequence, %error, left_out, "an upload was rejected");
        }
        self.app.store.reject_upload(guard, kind, sequence).await
    }
}

/// The first check is due after the time, not at once: a stream is checked when it is registered.
fn checks(every: Duration) -> tokio::time::Interval {
    let mut checks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    checks
}

/// What the store says, unless the stream is to end first or it says nothing in time.
async fn unless_ended<T>(
    registered: &mut Registered,
    asked: impl Future<Output = Result<T, Status>>,
) -> Result<Result<T, Status>, End> {
    tokio::select! {
        biased;
        end = registered.ended() => Err(end),
        answer = in_time(asked) => Ok(answer),
    }
}

/// What the store says, if it does in time.
async fn in_time<T>(asked: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        tracing::error!("the store did not answer a stream in time");
        Err(Status::unavailable())
    })
}

fn ended(end: End) -> Status {
    match end {
        End::Superseded => Status::new(Code::Aborted, end.to_string()),
        End::Revoked => Status::unauthenticated(),
        End::Stopping => Status::new(Code::Unavailable, end.to_string()),
    }
}

impl AgentGatewayService for Gateway {
    async fn register(
        &self,
        context: Context,
        request: gateway::RegisterRequest,
    ) -> Result<gateway::RegisterResponse, Status> {
        Shown::by(&context, &request.enrollment_token);
        let request = RegisterRequest::try_from(request)?;
        let answer = self.judged(&context, self.app.driver.register(request).await);
        Shown::note_register(&context, &answer);
        Ok((&answer?).into())
    }

    async fn begin_auth_handshake(
        &self,
        context: Context,
        request: gateway::BeginAuthHandshakeRequest,
    ) -> Result<gateway::BeginAuthHandshakeResponse, Status> {
        Shown::by(&context, &request.api_key);
        let request = BeginRequest::try_from(request)?;
        let answer = self.shown(&context, self.app.driver.begin(request).await)?;
        Ok((&answer).into())
    }

    async fn complete_auth_handshake(
        &self,
        context: Context,
        request: gateway::CompleteAuthHandshakeRequest,
    ) -> Result<gateway::CompleteAuthHandshakeResponse, Status> {
        let request = CompleteRequest::try_from(request)?;
        let answer = self.shown(&context, self.app.driver.complete(request).await)?;
        Ok((&answer).into())
    }

    async fn upload_telemetry(
        &self,
        context: Context,
        requests: Incoming<gateway::UploadTelemetryRequest>,
    ) -> Result<gateway::UploadTelemetryResponse, Status> {
        let agent = auth::agent(&context)?;
        let messages = requests.map(|request| {
            request.map(|r| Message { payload: r.payload, captured_at: r.captured_at, sequence: r.sequence })
        });
        let counts = self.upload(agent, UploadKind::Telemetry, messages).await?;
        Ok(gateway::UploadTelemetryResponse {
            accepted_count: counts.accepted,
            durable_sequence: counts.durable,
            rejected_count: counts.rejected,
        })
    }

    async fn upload_events(
        &self,
        context: Context,
        requests: Incoming<gateway::UploadEventsRequest>,
    ) -> Result<gateway::UploadEventsResponse, Status> {
        let agent = auth::agent(&context)?;
        let messages = requests.map(|request| {
            request.map(|r| Message { payload: r.payload, captured_at: r.captured_at, sequence: r.sequence })
        });
        let counts = self.upload(agent, UploadKind::Event, messages).await?;
        Ok(gateway::UploadEventsResponse {
            accepted_count: counts.accepted,
            durable_sequence: counts.durable,
            rejected_count: counts.rejected,
        })
    }

    async fn upload_heartbeat(
        &self,
        context: Context,
        request: gateway::UploadHeartbeatRequest,
    ) -> Result<gateway::UploadHeartbeatResponse, Status> {
        let agent = auth::agent(&context)?;
        let now = self.app.clock.now();
        let stored = self.app.store.heartbeat(&self.guard(&agent), now, &request.agent_version).await;
        stored.map_err(|error| match error {
            GuardError::Store(error) => store_failed(error),
            GuardError::Refused | _ => Status::unauthenticated(),
        })?;
        Ok(gateway::UploadHeartbeatResponse { received_at: Some(timestamp(now)) })
    }

    async fn control_stream(
        &self,
        context: Context,
        requests: Incoming<gateway::ControlStreamRequest>,
    ) -> Result<Outgoing<gateway::ControlStreamResponse>, Status> {
        let agent = auth::agent(&context)?;
        let (sender, receiver) = futures::channel::mpsc::channel(16);
        let app = Arc::clone(&self.app);
        let gone = CancellationToken::new();
        let answers = gone.clone().drop_guard();
        tokio::spawn(async move {
            let control = Control { gateway: Self { app }, agent, sender, gone };
            control.run(requests).await;
        });
        // The guard is dropped with the answers: by their end, or because the caller is gone or out of time.
        Ok(Box::pin(receiver.inspect(move |_| {
            let _ = &answers;
        })))
    }
}

/// One control stream.
struct Control {
    gateway: Gateway,
    agent: AgentIdentity,
    sender: futures::channel::mpsc::Sender<Result<gateway::ControlStreamResponse, Status>>,
    /// Nobody takes the answers any more.
    gone: CancellationToken,
}

impl Control {
    async fn run(mut self, requests: Incoming<gateway::ControlStreamRequest>) {
        if let Err(status) = self.serve(requests).await {
            // The peer may be gone, which is an end too.
            let _ = self.sender.send(Err(status)).await;
        }
    }

    async fn say(&mut self, kind: control_stream_response::Kind) -> Result<(), Status> {
        let message = gateway::ControlStreamResponse { kind: Some(kind) };
        self.sender.send(Ok(message)).await.map_err(|_| Status::new(Code::Canceled, "the agent is gone"))
    }

    async fn goaway(&mut self, reason: &str) -> Result<(), Status> {
        self.say(control_stream_response::Kind::Goaway(gateway::ControlGoaway { reason: reason.to_owned() }))
            .await
    }

    /// Says why the stream ends.
    async fn end(&mut self, end: End) -> Result<(), Status> {
        self.goaway(&end.to_string()).await?;
        if end == End::Revoked { Err(Status::unauthenticated()) } else { Ok(()) }
    }

    async fn serve(&mut self, mut requests: Incoming<gateway::ControlStreamRequest>) -> Result<(), Status> {
        let hello = tokio::time::timeout(HELLO_WITHIN, requests.next()).await;
        let hello = hello.map_err(|_| Status::new(Code::DeadlineExceeded, "no hello within 10 s"))?;
        let Some(hello) = hello else { return Ok(()) };
        let Some(control_stream_request::Kind::Hello(hello)) = hello.map_err(Broken::into_status)?.kind
        else {
            return Err(Status::invalid("hello: must be the first message"));
        };
        let app = Arc::clone(&self.gateway.app);
        // From now on this is the agent's one session.
        let taken_over = app.driver.take_over(&self.agent.session);
        in_time(async { taken_over.await.map_err(|error| app.refuse(error)) }).await?;
        let mut registered = self.gateway.register_stream(&self.agent, StreamKind::Control).await?;
        let agent_id = self.agent.agent_id;
        let version = hello.agent_version;
        if let Some(left_out) = self.gateway.line(agent_id, Topic::Online) {
            tracing::info!(%agent_id, version, left_out, "an agent is online");
        }
        let accepted = gateway::ControlAccepted { server_time: Some(timestamp(app.clock.now())) };
        self.say(control_stream_response::Kind::Accepted(accepted)).await?;
        let ended = self.listen(&mut requests, &mut registered).await;
        if let Some(left_out) = self.gateway.line(agent_id, Topic::Online) {
            tracing::info!(%agent_id, left_out, "an agent's control stream ended");
        }
        ended
    }

    async fn listen(
        &mut self,
        requests: &mut Incoming<gateway::ControlStreamRequest>,
        registered: &mut Registered,
    ) -> Result<(), Status> {
        let app = Arc::clone(&self.gateway.app);
        let session_over = tokio::time::sleep(self.agent.expires_at.since(app.clock.now()));
        tokio::pin!(session_over);
        let mut check = checks(app.check_every);
        let gone = self.gone.clone();
        loop {
            let request = tokio::select! {
                biased;
                end = registered.ended() => return self.end(end).await,
                () = &mut session_over => {
                    self.goaway("the session is over").await?;
                    return Err(Status::unauthenticated());
                }
                () = gone.cancelled() => return Ok(()),
                _ = check.tick() => {
                    match unless_ended(registered, self.gateway.authenticate(&self.agent)).await {
                        Ok(checked) => checked?,
                        Err(end) => return self.end(end).await,
                    }
                    continue;
                }
                request = requests.next() => request,
            };
            let Some(request) = request else { return Ok(()) };
            match unless_ended(registered, self.gateway.authenticate(&self.agent)).await {
                Ok(checked) => checked?,
                Err(end) => return self.end(end).await,
            }
            let agent_id = self.agent.agent_id;
            // An invalid message is refused and logged; the stream lives.
            let (refused, command_id) = match request {
                Err(Broken::Stream(status)) => return Err(status),
                Err(Broken::Message(status)) => (status.to_string(), None),
                Ok(request) => match request.kind {
                    Some(control_stream_request::Kind::Ack(ack)) => {
                        ("an ack of a command never sent".to_owned(), Some(ack.command_id))
                    }
                    Some(control_stream_request::Kind::Hello(_)) | None => {
                        ("hello comes once".to_owned(), None)
                    }
                },
            };
            if let Some(left_out) = self.gateway.line(agent_id, Topic::Control) {
                tracing::warn!(%agent_id, command_id, left_out, "a control message was refused: {refused}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::super::super::streams::Streams;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_keeps_a_stream_from_no_end() {
        let streams = Streams::default();
        let agent = AgentId::new(1).unwrap();
        let mut registered = streams.register(agent, StreamKind::Control);
        assert_eq!(unless_ended(&mut registered, async { Ok(7) }).await.unwrap().unwrap(), 7);
        let began = tokio::time::Instant::now();
        let hangs = unless_ended(&mut registered, pending::<Result<(), _>>()).await;
        assert_eq!(hangs.unwrap().unwrap_err().code, Code::Unavailable);
        assert_eq!(began.elapsed(), PATIENCE);
        let began = tokio::time::Instant::now();
        let asked = async {
            // It hangs, and meanwhile the agent is revoked.
            streams.end(agent, End::Revoked);
            pending::<Result<(), Status>>().await
        };
        assert_eq!(unless_ended(&mut registered, asked).await.unwrap_err(), End::Revoked);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
