//! What an honest agent notices of five hundred hostile clients: how long its heartbeats take, without them and with
//! them, in one run on this machine.
//!
//! A real server on loopback with its default limits, a real enrollment and handshake; the clients come back as fast as
//! they can. Prints one line of JSON. `--seconds` bounds the measurement, half of it without the clients.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fleet_agent::clock::SystemClock;
use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, EnrollmentProgress, NoProbe};
use fleet_core::name::Name;
use fleet_core::random::{OsRandom, SecureRandom as _};
use fleet_core::store::{MemoryAgentStore, MemoryKeyStore};
use fleet_core::time::Clock as _;
use fleet_proto::agentadmin::v1::{
    AgentAdminServiceClient, ConfirmAgentRequest, CreateEnrollmentCodeRequest,
};
use fleet_proto::agentgateway::v1::{AgentGatewayServiceClient, UploadHeartbeatRequest};
use fleet_proto::client::{Channel, GatewayTransport};
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{LoginRequest, OperatorServiceClient, SetUpRequest};
use fleet_store::DatabaseUrl;
use fleetd::config::{Config, DRAIN_TIMEOUT, Limits, LogFormat, Mode, Retention};
use fleetd::server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Clients of each kind.
const EACH: u64 = 100;
/// From one heartbeat to the next; a real agent waits 15 s.
const RHYTHM: Duration = Duration::from_millis(10);
/// How long a client holds a connection that the server does not close.
const HOLD: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let phase = seconds()? / 2;
    // Each side has threads of its own, so that the system shares the cores among them and not one queue of tasks.
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (servers, attackers) = (runtime()?, runtime()?);
    let honest = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let directory = tempfile::tempdir()?;
    let server = servers.block_on(start(directory.path()))?;
    let address = *server.addresses().first().context("the server listens")?;
    let gateway = honest.block_on(enroll(&server, address))?;

    let calm = honest.block_on(measure(&gateway, phase))?;
    let made = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    for kind in [Kind::Garbage, Kind::SlowHeaders, Kind::Oversized, Kind::HalfOpen, Kind::Resets] {
        for _ in 0..EACH {
            attackers.spawn(hostile(address, kind, Arc::clone(&made), Arc::clone(&over)));
        }
    }
    let beset = honest.block_on(measure(&gateway, phase))?;
    over.store(true, Ordering::Relaxed);
    attackers.shutdown_timeout(Duration::from_secs(1));

    let line = serde_json::json!({
        "clients": EACH * 5,
        "connections": made.load(Ordering::Relaxed),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "heartbeats": beset.millis.len(),
        "failed": beset.failed,
        "p50_ms": beset.at(0.50),
        "p99_ms": beset.at(0.99),
        "max_ms": beset.at(1.0),
        "calm": {
            "heartbeats": calm.millis.len(),
            "failed": calm.failed,
            "p50_ms": calm.at(0.50),
            "p99_ms": calm.at(0.99),
            "max_ms": calm.at(1.0),
        },
        "p50_ratio": beset.at(0.50) / calm.at(0.50),
        "p99_ratio": beset.at(0.99) / calm.at(0.99),
    });
    println!("{line}");
    servers.block_on(server.stop());
    Ok(())
}

fn seconds() -> anyhow::Result<Duration> {
    let mut arguments = std::env::args().skip(1);
    let Some(option) = arguments.next() else { return Ok(Duration::from_secs(20)) };
    if option != "--seconds" {
        bail!("there is no {option}; the one option is --seconds");
    }
    let seconds: u64 = arguments.next().context("--seconds needs a number")?.parse()?;
    ensure!((2..=600).contains(&seconds), "--seconds: must be 2 to 600");
    Ok(Duration::from_secs(seconds))
}

async fn start(directory: &Path) -> anyhow::Result<Server> {
    let config = Config {
        mode: Mode::Server,
        listen: vec!["127.0.0.1:0".parse()?],
        metrics_listen: None,
        data_dir: directory.join("data"),
        key_dir: directory.join("data/keys"),
        database: DatabaseUrl::sqlite_file(directory.join("data/fleet.db")),
        tls: None,
        scan: Vec::new(),
        proto_port: None,
        poll_interval: Duration::from_secs(5),
        log_format: LogFormat::Human,
        limits: Limits::default(),
        drain_timeout: DRAIN_TIMEOUT,
        retention: Retention::DEFAULT,
        ca_file: None,
        client: None,
        allow_insecure_transport: false,
        health: None,
    };
    Ok(Server::start(&config, Arc::new(SystemClock), Arc::new(OsRandom), Arc::new(NoProbe)).await?)
}

/// Sets the server up, enrolls an agent, and gives its session's client.
async fn enroll(server: &Server, address: SocketAddr) -> anyhow::Result<AgentGatewayServiceClient> {
    let channel = Channel::new(format!("http://{address}").parse()?, None);
    let operators = OperatorServiceClient::new(channel.clone());
    let link = server.set_up_link().context("the server is new")?;
    let (user_name, password) = ("alice".to_owned(), "correct horse battery".to_owned());
    let set_up = SetUpRequest {
        setup_token: link.rsplit('/').next().unwrap_or_default().to_owned(),
        organization: "Acme Mining".to_owned(),
        user_name: user_name.clone(),
        password: password.clone(),
    };
    operators.set_up(set_up).await?;
    let login = operators.login(LoginRequest { user_name, password, organization: String::new() }).await?;
    let admin = AgentAdminServiceClient::new(channel.with_bearer(&login.session_token));
    let code = admin.create_enrollment_code(CreateEnrollmentCodeRequest::default()).await?;

    let store = Arc::new(MemoryAgentStore::new());
    let driver = AgentDriver::new(
        store,
        Arc::new(MemoryKeyStore::new()),
        Arc::new(GatewayTransport::new(channel.clone())),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    );
    let parsed = EnrollmentCode::parse(&code.code)?;
    let mut enrolling = driver.enroll(parsed, "http://fleet.example", Name::new("site-1")?).await?;
    enrolling.poll().await?;
    enrolling.join().await?;
    let fingerprint = enrolling.fingerprint().to_string();
    let agents = admin.list_agents(Default::default()).await?.agents;
    let agent_id = agents.first().context("the agent is listed")?.agent_id;
    let pending_enrollment_id = code.pending_enrollment_id;
    let confirm =
        ConfirmAgentRequest { agent_id, pending_enrollment_id, fingerprint, agent_certificate: None };
    admin.confirm_agent(confirm).await?;
    // A repeat is answered once a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    ensure!(enrolling.poll().await? == EnrollmentProgress::Enrolled, "the agent is enrolled");
    let session = driver.handshake().await?.session;
    Ok(AgentGatewayServiceClient::new(channel.with_bearer(session.token.expose())))
}

/// How long heartbeats took.
struct Heartbeats {
    /// Ascending.
    millis: Vec<f64>,
    failed: usize,
}

impl Heartbeats {
    /// The time that this share of them took at most; the nearest rank.
    fn at(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
        let rank = (self.millis.len() as f64 * share).ceil() as usize;
        let millis = self.millis.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN);
        (millis * 1000.0).round() / 1000.0
    }
}

async fn measure(gateway: &AgentGatewayServiceClient, phase: Duration) -> anyhow::Result<Heartbeats> {
    let until = Instant::now() + phase;
    let mut heartbeats = Heartbeats { millis: Vec::new(), failed: 0 };
    while Instant::now() < until {
        let sent_at = Some(timestamp(SystemClock.now()));
        let request = UploadHeartbeatRequest { sent_at, agent_version: "0.1.0".to_owned() };
        let began = Instant::now();
        match gateway.upload_heartbeat(request).await {
            Ok(_) => heartbeats.millis.push(began.elapsed().as_secs_f64() * 1000.0),
            Err(status) => {
                eprintln!("a heartbeat failed: {status}");
                heartbeats.failed += 1;
            }
        }
        tokio::time::sleep(RHYTHM).await;
    }
    ensure!(!heartbeats.millis.is_empty(), "not one heartbeat was answered");
    heartbeats.millis.sort_by(f64::total_cmp);
    Ok(heartbeats)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Garbage,
    SlowHeaders,
    Oversized,
    HalfOpen,
    Resets,
}

async fn hostile(address: SocketAddr, kind: Kind, made: Arc<AtomicU64>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            // No port is free.
            tokio::time::sleep(RHYTHM).await;
            continue;
        };
        made.fetch_add(1, Ordering::Relaxed);
        // Gone with a reset, which leaves no port waiting on either side.
        let _ = stream.set_zero_linger();
        let attacked = tokio::time::timeout(HOLD, kind.attack(&mut stream));
        if matches!(attacked.await, Ok(Ok(()))) {
            let mut said = [0; 1024];
            let read = async { while stream.read(&mut said).await.is_ok_and(|count| count > 0) {} };
            let _ = tokio::time::timeout(HOLD, read).await;
        }
    }
}

impl Kind {
    async fn attack(self, stream: &mut TcpStream) -> std::io::Result<()> {
        const LOGIN: &str = "POST /fleet.v1.OperatorService/Login HTTP/1.1\r\nhost: x\r\n\
                             content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n";
        match self {
            Self::Garbage => {
                let mut garbage = [0; 4096];
                OsRandom.fill(&mut garbage).map_err(std::io::Error::other)?;
                stream.write_all(&garbage).await
            }
            Self::SlowHeaders => {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
                loop {
                    stream.write_all(b"x").await?;
                    tokio::time::sleep(RHYTHM).await;
                }
            }
            Self::Oversized => {
                stream.write_all(LOGIN.as_bytes()).await?;
                stream.write_all(&[b' '; 256 * 1024]).await
            }
            Self::HalfOpen => Ok(()),
            Self::Resets => stream.write_all(&resets()).await,
        }
    }
}

/// A preface, then streams that are opened and reset at once (CVE-2023-44487).
fn resets() -> Vec<u8> {
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap_or(u8::MAX);
        flood.extend([0, 0, length, kind, flags]);
        flood.extend(stream.to_be_bytes());
        flood.extend(payload);
    };
    frame(4, 0, 0, &[]);
    // :method POST, :scheme http and :path / from the static table (RFC 7541 appendix A), :authority x.
    let block = [0x83, 0x86, 0x84, 0x41, 1, b'x'];
    for number in 0..500 {
        frame(1, 4, number * 2 + 1, &block);
        frame(3, 0, number * 2 + 1, &8_u32.to_be_bytes());
    }
    flood
}
