//! A real server on a real socket with a clock that stands still, honest agents, and a second pair of eyes on its
//! database, so that a refusal can be shown to have stored nothing.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, Enrolling, EnrollmentProgress, NoProbe};
use fleet_core::enrollment::RegisterRequest;
use fleet_core::fingerprint::Fingerprint;
use fleet_core::keys::{AgentSecretKeys, IdentitySecretKey, MinerSigningSecretKey, Signature};
use fleet_core::name::Name;
use fleet_core::refusal::UNAUTHENTICATED;
use fleet_core::store::{AgentKeyStore, AgentStore as _, MemoryAgentStore, MemoryKeyStore};
use fleet_core::testing::{SeededRandom, VirtualClock};
use fleet_core::time::Clock;
use fleet_core::transport::Transport;
use fleet_proto::agentadmin::v1::{self as admin, AgentAdminServiceClient};
use fleet_proto::agentgateway::v1::{self as gateway, AgentGatewayServiceClient};
use fleet_proto::client::{Channel, GatewayTransport, Status};
use fleet_proto::fleet::v1::{
    self as fleet, DeviceServiceClient, OperatorServiceClient, TelemetryServiceClient,
};
use fleet_proto::rpc::Code;
use fleet_store::DatabaseUrl;
use fleetd::config::{Config, Limits, LogFormat, Mode, Retention, TlsFiles};
use fleetd::server::Server;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const PASSWORD: &str = "correct horse battery";

/// A server without network ranges of its own to scan, on a port that the system picks.
pub fn config(directory: &Path, mode: Mode) -> Config {
    Config {
        mode,
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        metrics_listen: None,
        data_dir: directory.join("data"),
        key_dir: directory.join("keys"),
        database: DatabaseUrl::sqlite_file(directory.join("data").join("fleet.db")),
        tls: None,
        scan: Vec::new(),
        proto_port: None,
        poll_interval: Duration::from_secs(10),
        // The clock of most tests stands still, and an allowance with it.
        limits: Limits { unauthenticated_rate: None, session_rate: None, ..Limits::default() },
        ca_file: None,
        client: None,
        drain_timeout: fleetd::config::DRAIN_TIMEOUT,
        allow_insecure_transport: false,
        health: None,
        retention: Retention::DEFAULT,
        log_format: LogFormat::Human,
    }
}

/// A file of the test CA.
pub fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fleet-agent/tests/tls_data").join(name)
}

/// A client's side of TLS that trusts a CA and asks for one protocol.
pub fn trusting(ca: &str, alpn: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls_file(ca)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// A server that runs.
pub struct Bench {
    pub server: Server,
    pub clock: Arc<VirtualClock>,
    pub address: SocketAddr,
    /// Without credentials.
    pub channel: Channel,
    /// The operator's login.
    pub token: String,
    tables: DatabaseConnection,
    pub directory: TempDir,
}

impl Bench {
    /// A server that is set up, its operator signed in.
    pub async fn start(mode: Mode) -> Self {
        let mut bench = Self::unfounded(mode).await;
        bench.found().await;
        bench
    }

    /// A server that nobody has set up.
    pub async fn unfounded(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), mode);
        Self::with(config, directory).await
    }

    pub async fn with(config: Config, directory: TempDir) -> Self {
        let clock = Arc::new(VirtualClock::default());
        Self::assemble(config, directory, clock.clone(), clock).await
    }

    /// A server that is set up and takes TLS alone, with the test CA's certificate.
    pub async fn start_with_tls(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path(), mode);
        config.tls = Some(TlsFiles {
            certificate: tls_file("server.pem"),
            key: tls_file("server.key"),
            clients: None,
        });
        let mut bench = Self::with(config, directory).await;
        let server = format!("https://{}", bench.address).parse().unwrap();
        bench.channel = Channel::new(server, Some(trusting("ca.pem", b"h2")));
        bench.found().await;
        bench
    }

    /// A server with a clock of its own; the bench's stands still and is nobody's.
    pub async fn with_clock(config: Config, directory: TempDir, clock: Arc<dyn Clock>) -> Self {
        Self::assemble(config, directory, clock, Arc::default()).await
    }

    async fn assemble(
        config: Config,
        directory: TempDir,
        servers: Arc<dyn Clock>,
        clock: Arc<VirtualClock>,
    ) -> Self {
        let server = Server::start(&config, servers, Arc::new(SeededRandom::new(1)), Arc::new(NoProbe));
        let server = server.await.unwrap();
        let address = server.addresses()[0];
        let path = directory.path().join("data").join("fleet.db");
        let tables = Database::connect(format!("sqlite://{}?mode=ro", path.display())).await.unwrap();
        let channel = Channel::new(format!("http://{address}").parse().unwrap(), None);
        Self { server, clock, address, channel, token: String::new(), tables, directory }
    }

    /// What the set-up link carries.
    pub fn set_up_token(&self) -> String {
        self.server.set_up_link().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    pub async fn found(&mut self) {
        let request = fleet::SetUpRequest {
            setup_token: self.set_up_token(),
            organization: "Acme Mining".to_owned(),
            user_name: "alice".to_owned(),
            password: PASSWORD.to_owned(),
        };
        OperatorServiceClient::new(self.channel.clone()).set_up(request).await.unwrap();
        self.token = self.login().await.unwrap();
    }

    pub async fn login(&self) -> Result<String, Status> {
        let request = login("alice", PASSWORD);
        let login = OperatorServiceClient::new(self.channel.clone()).login(request).await?;
        Ok(login.session_token)
    }

    pub fn gateway(&self) -> AgentGatewayServiceClient {
        AgentGatewayServiceClient::new(self.channel.clone())
    }

    pub fn gateway_as(&self, token: &str) -> AgentGatewayServiceClient {
        AgentGatewayServiceClient::new(self.channel.with_bearer(token))
    }

    pub fn admin(&self) -> AgentAdminServiceClient {
        AgentAdminServiceClient::new(self.channel.with_bearer(&self.token))
    }

    pub fn operators(&self) -> OperatorServiceClient {
        OperatorServiceClient::new(self.channel.with_bearer(&self.token))
    }

    pub fn devices(&self) -> DeviceServiceClient {
        DeviceServiceClient::new(self.channel.with_bearer(&self.token))
    }

    pub fn readings(&self) -> TelemetryServiceClient {
        TelemetryServiceClient::new(self.channel.with_bearer(&self.token))
    }

    pub async fn code(&self) -> admin::CreateEnrollmentCodeResponse {
        self.admin().create_enrollment_code(admin::CreateEnrollmentCodeRequest::default()).await.unwrap()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub async fn activity(&self) -> Vec<String> {
        self.column("SELECT kind AS value FROM activity ORDER BY id").await
    }

    /// An agent that registered and waits, with the code that it used.
    pub async fn waiting(&self, name: &str) -> Waiting {
        let code = self.code().await;
        let agent = Honest::new(self, name, Arc::new(MemoryKeyStore::new()));
        let mut enrolling = agent.enroll(&code.code).await;
        let asked = enrolling.poll().await.unwrap();
        assert!(matches!(asked, EnrollmentProgress::AskToJoin { .. }), "{name}: {asked:?}");
        assert_eq!(enrolling.join().await.unwrap(), EnrollmentProgress::Waiting, "{name}");
        let agent_id = agent.state().await.agent_id.unwrap().value();
        Waiting { agent, code, agent_id, enrolling }
    }

    /// An agent that is confirmed and has a session.
    pub async fn online(&self, name: &str) -> Online {
        self.online_with(name, Arc::new(MemoryKeyStore::new())).await
    }

    pub async fn online_with(&self, name: &str, keys: Arc<dyn AgentKeyStore>) -> Online {
        let code = self.code().await;
        let agent = Honest::new(self, name, keys);
        let mut enrolling = agent.enroll(&code.code).await;
        enrolling.poll().await.unwrap();
        assert_eq!(enrolling.join().await.unwrap(), EnrollmentProgress::Waiting, "{name}");
        let agent_id = agent.state().await.agent_id.unwrap().value();
        let fingerprint = *enrolling.fingerprint();
        let confirmed = self.admin().confirm_agent(confirm(agent_id, &code, &fingerprint)).await.unwrap();
        self.advance(Duration::from_secs(2));
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled, "{name}");
        let session = agent.driver.handshake().await.unwrap().session;
        // So that the next handshake is not too soon.
        self.advance(Duration::from_secs(1));
        Online {
            agent,
            agent_id,
            fingerprint,
            code: code.code,
            enrollment_id: code.pending_enrollment_id,
            api_key: confirmed.api_key,
            token: session.token.expose().to_owned(),
        }
    }

    async fn column(&self, sql: &str) -> Vec<String> {
        let statement = Statement::from_string(self.tables.get_database_backend(), sql);
        let rows = self.tables.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get("", "value").unwrap()).collect()
    }

    /// Every row of every table, without the two columns that say only when something was touched last.
    pub async fn dump(&self) -> Dump {
        let tables =
            "SELECT name AS value FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let mut dump = BTreeMap::new();
        for table in self.column(tables).await {
            let columns = format!(
                "SELECT name AS value FROM pragma_table_info('{table}')
                 WHERE name NOT IN ('updated_at', 'last_used_at')"
            );
            let cells: Vec<_> = self.column(&columns).await;
            let cells: Vec<_> = cells.iter().map(|c| format!("'{c}=' || quote({c})")).collect();
            let rows = format!("SELECT {} AS value FROM {table} ORDER BY 1", cells.join(" || ' ' || "));
            dump.insert(table, self.column(&rows).await);
        }
        assert!(dump.len() > 15, "{:?}", dump.keys());
        Dump(dump)
    }

    /// Makes a call that must be refused, and compares the tables before and after.
    pub async fn refused<T: std::fmt::Debug>(
        &self,
        what: &str,
        expected: &Refused,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Status {
        let before = self.dump().await;
        let status = match within(what, call).await {
            Err(status) => status,
            Ok(answer) => panic!("{what}: not refused but answered {answer:?}"),
        };
        expected.judge(what, &status);
        let after = self.dump().await;
        let changes = before.changes(&after);
        let traces: Vec<_> = changes.iter().filter(|change| !expected.trace.allows(change)).collect();
        assert!(traces.is_empty(), "{what}: the refusal changed the database: {traces:#?}");
        let wanted = expected.trace.wants();
        assert_eq!(
            changes.len(),
            wanted,
            "{what}: the refusal must leave {:?}: {changes:#?}",
            expected.trace
        );
        status
    }
}

/// Every table's rows as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// Rows that went, with `-`, and that came, with `+`.
    pub fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (table, rows) in &self.0 {
            let now = after.0.get(table).unwrap_or_else(|| panic!("the table {table} is gone"));
            let gone = rows.iter().filter(|row| !now.contains(row));
            changes.extend(gone.map(|row| format!("- {table}: {row}")));
            let came = now.iter().filter(|row| !rows.contains(row));
            changes.extend(came.map(|row| format!("+ {table}: {row}")));
        }
        changes
    }

    pub fn rows(&self, table: &str) -> &[String] {
        self.0.get(table).unwrap_or_else(|| panic!("no table {table}"))
    }
}

/// What a refusal may leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    Nothing,
    /// One line in the activity log.
    Logged(&'static str),
    /// One line, and a count at the enrollment.
    SecondUse,
    /// The challenge is gone: it works once, whatever comes of it.
    ChallengeTaken,
}

impl Trace {
    fn allows(self, change: &str) -> bool {
        let logged =
            |kind: &str| change.starts_with("+ activity:") && change.contains(&format!("kind='{kind}'"));
        match self {
            Self::Nothing => false,
            Self::Logged(kind) => logged(kind),
            Self::SecondUse => logged("code_used_again") || change[1..].starts_with(" pending_enrollment:"),
            Self::ChallengeTaken => change.starts_with("- agent_auth_challenge:"),
        }
    }

    const fn wants(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Logged(_) | Self::ChallengeTaken => 1,
            Self::SecondUse => 3,
        }
    }
}

/// How a call must be refused.
#[derive(Debug, Clone)]
pub struct Refused {
    pub code: Code,
    /// What the message says: all of it for `unauthenticated`, else what must stand in it.
    pub says: Vec<String>,
    pub trace: Trace,
}

impl Refused {
    pub fn unauthenticated() -> Self {
        Self { code: Code::Unauthenticated, says: vec![UNAUTHENTICATED.to_owned()], trace: Trace::Nothing }
    }

    pub fn with(code: Code, says: &[&str]) -> Self {
        Self { code, says: says.iter().map(|&text| text.to_owned()).collect(), trace: Trace::Nothing }
    }

    /// The field and its limit.
    pub fn invalid(says: &[&str]) -> Self {
        Self::with(Code::InvalidArgument, says)
    }

    pub fn leaving(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    pub fn judge(&self, what: &str, status: &Status) {
        assert_eq!(status.code, self.code, "{what}: {status:?}");
        let message = &status.message;
        assert!((1..300).contains(&message.len()) && !message.contains('\n'), "{what}: {message:?}");
        if self.code == Code::Unauthenticated {
            assert_eq!(*message, UNAUTHENTICATED, "{what}: a cause shows");
        }
        for part in &self.says {
            assert!(message.contains(part.as_str()), "{what}: {message:?} does not say {part:?}");
        }
        assert_eq!(status.retry_after.is_some(), self.code == Code::ResourceExhausted, "{what}: {status:?}");
    }
}

/// A login, for the organization that the user has belonged to the longest.
pub fn login(user_name: &str, password: &str) -> fleet::LoginRequest {
    fleet::LoginRequest {
        user_name: user_name.to_owned(),
        password: password.to_owned(),
        ..fleet::LoginRequest::default()
    }
}

pub fn confirm(
    agent_id: i64,
    code: &admin::CreateEnrollmentCodeResponse,
    fingerprint: &Fingerprint,
) -> admin::ConfirmAgentRequest {
    admin::ConfirmAgentRequest {
        agent_id,
        pending_enrollment_id: code.pending_enrollment_id,
        fingerprint: fingerprint.to_string(),
        agent_certificate: None,
    }
}

/// An agent that keeps to the protocol.
pub struct Honest {
    pub name: String,
    pub driver: AgentDriver,
    pub store: Arc<MemoryAgentStore>,
    pub keys: Arc<dyn AgentKeyStore>,
}

impl Honest {
    pub fn new(bench: &Bench, name: &str, keys: Arc<dyn AgentKeyStore>) -> Self {
        let transport = Arc::new(GatewayTransport::new(bench.channel.clone()));
        Self::over(bench, name, keys, Arc::new(MemoryAgentStore::new()), transport)
    }

    pub fn over(
        bench: &Bench,
        name: &str,
        keys: Arc<dyn AgentKeyStore>,
        store: Arc<MemoryAgentStore>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        // Each name makes its own keys.
        let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let random = Arc::new(SeededRandom::new(seed));
        let driver = AgentDriver::new(store.clone(), keys.clone(), transport, bench.clock.clone(), random);
        Self { name: name.to_owned(), driver, store, keys }
    }

    pub async fn enroll(&self, code: &str) -> Enrolling {
        let code = EnrollmentCode::parse(code).unwrap();
        let name = Name::new(self.name.as_str()).unwrap();
        self.driver.enroll(code, "http://fleet.example", name).await.unwrap()
    }

    pub async fn state(&self) -> fleet_core::store::AgentState {
        self.store.load().await.unwrap().unwrap().record
    }
}

pub struct Waiting {
    pub agent: Honest,
    pub code: admin::CreateEnrollmentCodeResponse,
    pub agent_id: i64,
    pub enrolling: Enrolling,
}

pub struct Online {
    pub agent: Honest,
    pub agent_id: i64,
    pub fingerprint: Fingerprint,
    pub code: String,
    pub enrollment_id: i64,
    pub api_key: String,
    pub token: String,
}

/// Keys that only this test knows.
pub fn secret_keys(seed: u64) -> AgentSecretKeys {
    AgentSecretKeys::generate(&SeededRandom::new(seed)).unwrap()
}

/// The public halves.
pub fn public_keys(keys: &AgentSecretKeys) -> [[u8; 32]; 3] {
    [
        *keys.identity.public().as_bytes(),
        *keys.miner_signing.public().as_bytes(),
        *keys.sealing.public().as_bytes(),
    ]
}

/// A Register whose proofs are those of its keys.
pub fn register(code: &str, name: &str, keys: &AgentSecretKeys) -> gateway::RegisterRequest {
    register_with(code, name, public_keys(keys), &keys.identity, &keys.miner_signing)
}

/// A Register of these public keys, proven by those secret ones.
pub fn register_with(
    code: &str,
    name: &str,
    keys: [[u8; 32]; 3],
    identity: &IdentitySecretKey,
    miner_signing: &MinerSigningSecretKey,
) -> gateway::RegisterRequest {
    let make = |proofs| RegisterRequest::new(code.to_owned(), Name::new(name).unwrap(), keys, proofs);
    let [first, second] = make([Signature::from_bytes([0; 64]); 2]).transcripts();
    (&make([identity.sign(first.as_bytes()), miner_signing.sign(second.as_bytes())])).into()
}

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The body as it came, for what is not text.
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The status of a Connect call that failed.
    pub fn refusal(&self) -> Status {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        let code = match json["code"].as_str().unwrap_or_default() {
            "invalid_argument" => Code::InvalidArgument,
            "unauthenticated" => Code::Unauthenticated,
            "unimplemented" => Code::Unimplemented,
            "failed_precondition" => Code::FailedPrecondition,
            "resource_exhausted" => Code::ResourceExhausted,
            "not_found" => Code::NotFound,
            other => panic!("{other}: {self:?}"),
        };
        Status::new(code, json["message"].as_str().unwrap_or_default())
    }
}

/// One request over a connection of its own, written by hand.
pub async fn http1(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    parse(&answer)
}

/// A Connect call with a JSON message.
pub async fn json(address: SocketAddr, procedure: &str, token: Option<&str>, message: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    http1(address, "POST", &format!("/{procedure}"), &headers, message.as_bytes()).await
}

pub fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("the end of the headers");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<_, _> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = answer[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        body = unchunk(&body);
    }
    Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned(), bytes: body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk's length");
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        let from = line + 2;
        body.extend_from_slice(&rest[from..from + length]);
        rest = &rest[from + length + 2..];
    }
}

impl Bench {
    /// Waits until the tables show something.
    pub async fn until(&self, what: &str, seen: impl Fn(&Dump) -> bool) {
        eventually(what, async || seen(&self.dump().await)).await;
    }
}

/// Asks again and again, for as long as a slow machine may need.
pub async fn eventually(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !seen().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(10), asking).await;
    assert!(asked.is_ok(), "it did not happen within 10 s: {what}");
}

/// What must happen, and fails by name if it does not.
pub async fn within<T>(what: &str, call: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(10), call).await;
    done.unwrap_or_else(|_| panic!("it did not happen within 10 s: {what}"))
}
