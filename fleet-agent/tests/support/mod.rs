//! A gateway in this process: fleet-core's server on a store in memory, behind the real wire.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use fleet_agent::{
    clock::SystemClock,
    counters::UploadKind,
    server_url::{AllowInsecure, ServerUrl},
};
use fleet_core::{
    code::{ApiKey, EnrollmentCode, SessionToken},
    driver::{Founding, ServerDriver, ServerError, ServerKeys},
    enrollment::{
        NewCode,
        server::{Confirm, CreateCode, Operator, Revoke},
    },
    fingerprint::Fingerprint,
    handshake::server::AgentIdentity,
    id::{AgentId, OrgId},
    keys::{CommandSecretKey, RootSecretKey},
    name::Name,
    policy::Policy,
    random::OsRandom,
    refusal::Refusal,
    store::{Actor, Changeset, EnrollmentRecord, MemoryServerStore, Put, Query, ServerStore},
    telemetry::{Event, Sample},
    time::Clock,
};
use fleet_proto::{
    agentgateway::v1::{self as gateway, control_stream_response::Kind},
    convert::{decode_events, decode_samples, timestamp},
    rpc::{Context, Incoming, Limits, Outgoing, Services, Status, serve},
};
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

/// What the gateway has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub sequences: Vec<(UploadKind, i64)>,
    pub samples: Vec<Sample>,
    pub events: Vec<Event>,
    pub heartbeats: u64,
    pub controls: u64,
    pub registers: u64,
    pub begins: u64,
}

type Control = mpsc::Sender<Result<gateway::ControlStreamResponse, Status>>;

#[derive(Debug)]
pub struct Stub {
    pub driver: ServerDriver,
    pub store: Arc<MemoryServerStore>,
    operator: Operator,
    seen: watch::Sender<Seen>,
    controls: Mutex<Vec<Control>>,
    durable: Mutex<[i64; 2]>,
}

/// A gateway that listens.
pub struct Running {
    pub stub: Arc<Stub>,
    pub address: SocketAddr,
    tls: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
}

impl Running {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Behind a certificate of `tests/tls_data/ca.pem`.
    pub async fn start_tls() -> Self {
        let certificate = CertificateDer::from_pem_file(tls_file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let stub = Arc::new(Stub::new().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = Self { stub, address, tls, tasks: JoinSet::new() };
        running.listen(listener);
        running
    }

    pub fn url(&self) -> ServerUrl {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        ServerUrl::parse(&format!("{scheme}://{}", self.address), AllowInsecure::No).unwrap()
    }

    /// The process dies: every connection breaks. What was stored stays.
    pub async fn kill(&mut self) {
        self.tasks.shutdown().await;
        self.stub.controls.lock().unwrap().clear();
    }

    pub async fn revive(&mut self) {
        self.kill().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let service = gateway::AgentGatewayServiceServer::new(Arc::new(Served(Arc::clone(&self.stub))));
        let services = serve(vec![Box::new(service)], Limits::default()).unwrap();
        let (stub, tls) = (Arc::clone(&self.stub), self.tls.clone());
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    Some(_) = connections.join_next() => continue,
                };
                let (services, stub, tls) = (services.clone(), Arc::clone(&stub), tls.clone());
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let (services, stub) = (services.clone(), Arc::clone(&stub));
                        async move { Ok::<_, Infallible>(stub.answer(&services, request).await) }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(builder.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
    }
}

pub fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls_data").join(name)
}

impl Stub {
    async fn new() -> Self {
        let store = Arc::new(MemoryServerStore::new());
        let keys = ServerKeys::managed(
            Arc::new(RootSecretKey::generate(&OsRandom).unwrap()),
            Arc::new(CommandSecretKey::generate(&OsRandom).unwrap()),
        );
        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let driver = ServerDriver::new(store.clone(), clock, random, keys, Policy::default());
        let org_id = OrgId::new(1).unwrap();
        let founding =
            Founding { org_id, name: Name::new("Acme").unwrap(), recovery: None, actor: Actor::System };
        let step = driver.found_organization(founding).await.unwrap();
        store.commit(step.change().clone()).await.unwrap();
        Self {
            driver,
            store,
            operator: Operator { org_id, actor: Actor::System },
            seen: watch::Sender::default(),
            controls: Mutex::default(),
            durable: Mutex::default(),
        }
    }

    pub async fn create_code(&self) -> (NewCode, EnrollmentCode) {
        let new = self.driver.create_code(CreateCode::default(), &self.operator).await.unwrap();
        let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
        (new, code)
    }

    /// Takes a code that somebody else made, as an impostor would who has seen it.
    pub async fn accept_code(&self, code: &EnrollmentCode) {
        let (new, _) = self.create_code().await;
        let found = self.store.load(Query::Enrollment(new.enrollment_id)).await.unwrap().unwrap();
        let held = found.enrollment.unwrap();
        let record = EnrollmentRecord { code: code.hash(), ..held.record };
        let enrollment = Some(Put { record, expected: Some(held.version) });
        self.store.commit(Changeset { enrollment, ..Changeset::default() }).await.unwrap();
    }

    pub async fn agent_of(&self, code: &NewCode) -> AgentId {
        let found = self.store.load(Query::Enrollment(code.enrollment_id)).await.unwrap().unwrap();
        found.enrollment.unwrap().record.agent_id.expect("registered")
    }

    /// The operator types what the agent showed.
    pub async fn confirm(&self, code: &NewCode, fingerprint: Fingerprint) -> Result<ApiKey, ServerError> {
        let confirm = Confirm {
            operator: self.operator.clone(),
            agent_id: self.agent_of(code).await,
            enrollment_id: code.enrollment_id,
            fingerprint,
            certificate: None,
        };
        self.driver.confirm(confirm).await
    }

    pub async fn revoke(&self, agent_id: AgentId) {
        self.driver.revoke(Revoke { operator: self.operator.clone(), agent_id }).await.unwrap();
    }

    /// Waits until the gateway has seen what the test waits for.
    pub async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waited = timeout(Duration::from_secs(30), seen.wait_for(|seen| done(seen))).await;
        match waited {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("not within 30 s: {what}; seen {:?}", *self.seen.borrow()),
        }
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Asks every control stream to go.
    pub async fn goaway(&self) {
        let controls = std::mem::take(&mut *self.controls.lock().unwrap());
        for mut control in controls {
            let goaway = Kind::Goaway(gateway::ControlGoaway { reason: "restarting".to_owned() });
            let _ = control.send(Ok(gateway::ControlStreamResponse { kind: Some(goaway) })).await;
        }
    }

    /// As a server that was not restored from a backup while the agent was.
    pub fn is_ahead(&self, kind: UploadKind, durable: i64) {
        self.durable.lock().unwrap()[kind as usize] = durable;
    }

    async fn answer(
        &self,
        services: &Services,
        mut request: http::Request<hyper::body::Incoming>,
    ) -> http::Response<fleet_proto::rpc::ResponseBody> {
        let open = ["Register", "BeginAuthHandshake", "CompleteAuthHandshake"];
        let is_open = request.uri().path().rsplit('/').next().is_some_and(|method| open.contains(&method));
        if !is_open {
            let value = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
            let token = value.and_then(|v| SessionToken::parse(v.strip_prefix("Bearer ")?).ok());
            let Some(token) = token else {
                return Status::unauthenticated().into_http_response(request.headers());
            };
            match self.driver.authenticate(&token.hash()).await {
                Ok(identity) => request.extensions_mut().insert(identity),
                Err(error) => {
                    return Status::from(Refusal::from(error)).into_http_response(request.headers());
                }
            };
        }
        services.call(request).await
    }

    fn take(&self, kind: UploadKind, sequence: i64, payload: &[u8]) -> bool {
        let durable = &mut self.durable.lock().unwrap()[kind as usize];
        if sequence <= *durable {
            return false;
        }
        *durable = sequence;
        self.seen.send_modify(|seen| {
            seen.sequences.push((kind, sequence));
            match kind {
                UploadKind::Telemetry => seen.samples.extend(decode_samples(payload).unwrap()),
                UploadKind::Events => seen.events.extend(decode_events(payload).unwrap()),
            }
        });
        true
    }

    fn durable(&self, kind: UploadKind) -> i64 {
        self.durable.lock().unwrap()[kind as usize]
    }
}

struct Served(Arc<Stub>);

fn refused(error: ServerError) -> Status {
    Refusal::from(error).into()
}

impl gateway::AgentGatewayService for Served {
    async fn register(
        &self,
        _: Context,
        request: gateway::RegisterRequest,
    ) -> Result<gateway::RegisterResponse, Status> {
        self.0.seen.send_modify(|seen| seen.registers += 1);
        let answer = self.0.driver.register(request.try_into().map_err(Status::invalid)?).await;
        Ok((&answer.map_err(refused)?).into())
    }

    async fn begin_auth_handshake(
        &self,
        _: Context,
        request: gateway::BeginAuthHandshakeRequest,
    ) -> Result<gateway::BeginAuthHandshakeResponse, Status> {
        self.0.seen.send_modify(|seen| seen.begins += 1);
        let answer = self.0.driver.begin(request.try_into().map_err(Status::invalid)?).await;
        Ok((&answer.map_err(refused)?).into())
    }

    async fn complete_auth_handshake(
        &self,
        _: Context,
        request: gateway::CompleteAuthHandshakeRequest,
    ) -> Result<gateway::CompleteAuthHandshakeResponse, Status> {
        let answer = self.0.driver.complete(request.try_into().map_err(Status::invalid)?).await;
        Ok((&answer.map_err(refused)?).into())
    }

    async fn upload_telemetry(
        &self,
        _: Context,
        mut requests: Incoming<gateway::UploadTelemetryRequest>,
    ) -> Result<gateway::UploadTelemetryResponse, Status> {
        let mut accepted_count = 0;
        while let Some(request) = requests.next().await {
            let request = request.map_err(fleet_proto::rpc::Broken::into_status)?;
            let is_new = self.0.take(UploadKind::Telemetry, request.sequence, &request.payload);
            accepted_count += i64::from(is_new);
        }
        let durable_sequence = self.0.durable(UploadKind::Telemetry);
        Ok(gateway::UploadTelemetryResponse { accepted_count, durable_sequence, rejected_count: 0 })
    }

    async fn upload_events(
        &self,
        _: Context,
        mut requests: Incoming<gateway::UploadEventsRequest>,
    ) -> Result<gateway::UploadEventsResponse, Status> {
        let mut accepted_count = 0;
        while let Some(request) = requests.next().await {
            let request = request.map_err(fleet_proto::rpc::Broken::into_status)?;
            let is_new = self.0.take(UploadKind::Events, request.sequence, &request.payload);
            accepted_count += i64::from(is_new);
        }
        let durable_sequence = self.0.durable(UploadKind::Events);
        Ok(gateway::UploadEventsResponse { accepted_count, durable_sequence, rejected_count: 0 })
    }

    async fn upload_heartbeat(
        &self,
        _: Context,
        _: gateway::UploadHeartbeatRequest,
    ) -> Result<gateway::UploadHeartbeatResponse, Status> {
        self.0.seen.send_modify(|seen| seen.heartbeats += 1);
        Ok(gateway::UploadHeartbeatResponse { received_at: Some(timestamp(SystemClock.now())) })
    }

    async fn control_stream(
        &self,
        context: Context,
        mut requests: Incoming<gateway::ControlStreamRequest>,
    ) -> Result<Outgoing<gateway::ControlStreamResponse>, Status> {
        let identity = *context.extension::<AgentIdentity>().expect("a session");
        let (mut sender, receiver) = mpsc::channel(4);
        let stub = Arc::clone(&self.0);
        tokio::spawn(async move {
            let hello = requests.next().await.unwrap().unwrap();
            assert!(matches!(hello.kind, Some(gateway::control_stream_request::Kind::Hello(_))));
            stub.driver.take_over(&identity.session).await.unwrap();
            let accepted = gateway::ControlAccepted { server_time: Some(timestamp(SystemClock.now())) };
            let kind = Some(Kind::Accepted(accepted));
            let _ = sender.send(Ok(gateway::ControlStreamResponse { kind })).await;
            stub.controls.lock().unwrap().push(sender);
            stub.seen.send_modify(|seen| seen.controls += 1);
        });
        Ok(Box::pin(receiver))
    }
}
