//! The agent at work: miners on one side, the server on the other.
//!
//! ```text
//! Site ─ reports ─► spools ─► uploads ─┐
//!                   heartbeat ─────────┼─► gateway, under the keeper's session
//!                   control stream ────┘
//! ```
//!
//! The two sides need each other for nothing: miners are read while there is no server, and what
//! they say waits in the spools.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use fleet_core::{
    driver::AgentDriver,
    random::{OsRandom, SecureRandom},
    store::{AgentStore as _, CommitError, StoreError},
    telemetry::{Event, Sample},
    time::Clock,
};
use fleet_proto::convert::{encode_events, encode_samples};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::SystemClock,
    control,
    counters::{Counter, UploadKind},
    gateway::{ConnectError, ConnectGateway, Gateway},
    health::{self, HealthSource},
    heartbeat,
    keeper::{Keeper, KeeperEnd, SessionHandle},
    miner::{
        MinerDriver,
        credentials::CredentialFile,
        proto::ProtoDriver,
        scan::AllowList,
        site::{Report, Site, SiteConfig},
    },
    probe,
    refusals::CountingTransport,
    server_url::AllowInsecure,
    spool::Spool,
    state::{Access, StateDir, StateDirError, StateFileError},
    tls::TlsOptions,
    uploads::Uploader,
};

/// How long the agent takes to stop.
pub const DRAIN: Duration = Duration::from_secs(5);
/// Samples that wait for the server: about three hours of 100 miners. Of a longer outage the oldest
/// readings are dropped. In memory they take about twice that.
const TELEMETRY_BYTES: usize = 64 * 1024 * 1024;
/// Events that wait for the server.
const EVENT_BYTES: usize = 8 * 1024 * 1024;

/// What `run` is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunOptions {
    /// The state directory.
    pub state_dir: PathBuf,
    /// Whether plain HTTP to another host is allowed.
    pub allow_insecure: AllowInsecure,
    /// How TLS is spoken to the server.
    pub tls: TlsOptions,
    /// Which ranges are scanned for miners.
    pub scan: AllowList,
    /// The port of Proto rigs, if it is not 80 or 443.
    pub proto_port: Option<u16>,
    /// From one reading of a miner to the next.
    pub poll_interval: Duration,
    /// Where the health page is, if there is one.
    pub health: Option<SocketAddr>,
}

impl RunOptions {
    /// The agent of a state directory: verified TLS, no scan, no health page.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            allow_insecure: AllowInsecure::No,
            tls: TlsOptions::default(),
            scan: AllowList::default(),
            proto_port: None,
            poll_interval: Duration::from_secs(5),
            health: None,
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Everything was checked and opened, and miners are read.
    Started,
    /// It stops, and uploads what there is.
    Stopping,
}

/// How a run that was asked to stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Everything was uploaded.
    Drained,
    /// This many readings and events were not uploaded and are lost.
    Lost(u64),
}

/// Why an agent cannot run, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The counters cannot be read.
    #[error(transparent)]
    Counters(#[from] CommitError),
    /// There is no agent in the state directory, or its enrollment is not finished.
    #[error("this agent is not enrolled; run `fleet-agent enroll` first")]
    NotEnrolled,
    /// The server cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The health page cannot be served.
    #[error("cannot listen on {address} for the health page")]
    Health {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The agent cannot have a session: [`KeeperEnd::Refused`] is exit code 77.
    #[error(transparent)]
    Keeper(#[from] KeeperEnd),
    /// A part of the agent stopped that never should.
    #[error("a part of the agent stopped by itself")]
    Part(#[source] Option<tokio::task::JoinError>),
}

/// Runs the agent until `shutdown` is done, then drains for at most [`DRAIN`].
///
/// # Errors
/// [`RunError`]; everything that can be checked is checked before anything is started.
///
/// # Cancel safety
/// Dropped, everything that it started ends at once, without a drain: what was not uploaded is lost. The
/// future is `Send` if `shutdown` is; it panics only outside of a tokio runtime.
pub async fn run(options: RunOptions, shutdown: impl Future<Output = ()>) -> Result<Stopped, RunError> {
    run_telling(options, shutdown, |_| {}).await
}

/// The same, and tells how far it has come.
///
/// # Errors
/// [`RunError`].
///
/// # Cancel safety
/// As [`run`]. The future is `Send` if `shutdown` and `tell` are; it panics only outside of a tokio runtime.
pub async fn run_telling(
    options: RunOptions,
    shutdown: impl Future<Output = ()>,
    tell: impl Fn(Progress),
) -> Result<Stopped, RunError> {
    let directory = StateDir::open(&options.state_dir, Access::Exclusive)?;
    let identity = directory.public_state()?.ok_or(RunError::NotEnrolled)?;
    let store = Arc::new(directory.store());
    if store.load().await?.is_none_or(|held| held.record.api_key.is_none()) {
        return Err(RunError::NotEnrolled);
    }
    let gateway = ConnectGateway::new(&identity.server, options.allow_insecure, &options.tls)?;
    let health = match options.health {
        Some(address) => {
            let listener =
                TcpListener::bind(address).await.map_err(|source| RunError::Health { address, source })?;
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!(url = format!("http://{address}/"), "the health page is served");
            Some(listener)
        }
        None => None,
    };

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn SecureRandom> = Arc::new(OsRandom);
    let transport = Arc::new(CountingTransport::new(gateway.transport(), Arc::clone(&clock)));
    let driver = AgentDriver::new(
        Arc::clone(&store) as _,
        Arc::new(directory.keys()),
        Arc::clone(&transport) as _,
        Arc::clone(&clock),
        Arc::clone(&random),
    )
    .with_probe(probe::from_environment());
    let keeper = Keeper::new(driver, transport, Arc::clone(&clock), Arc::clone(&random));
    let telemetry = Counter::new(Arc::clone(&store) as _, UploadKind::Telemetry);
    let events = Counter::new(Arc::clone(&store) as _, UploadKind::Events);
    let parts = Parts {
        sessions: keeper.handle(),
        gateway: Arc::new(gateway),
        clock,
        random,
        telemetry: Arc::new(Spool::open(telemetry, TELEMETRY_BYTES).await?),
        events: Arc::new(Spool::open(events, EVENT_BYTES).await?),
    };
    tracing::info!(
        agent = %identity.name, server = %identity.server, fingerprint = %identity.fingerprint(),
        "the agent starts"
    );

    let (reports_in, reports) = mpsc::channel(1024);
    let site = site(&options, &directory, &parts.clock, reports_in);
    let site_handle = site.handle();
    let (heartbeat_in, heartbeat) = watch::channel(None);
    let (control_in, control) = watch::channel(false);

    let mut loops = JoinSet::new();
    loops.spawn(heartbeat::run(
        Arc::clone(&parts.gateway),
        parts.sessions.clone(),
        Arc::clone(&parts.clock),
        heartbeat_in,
    ));
    loops.spawn(control::run(
        Arc::clone(&parts.gateway),
        parts.sessions.clone(),
        Arc::clone(&parts.random),
        control_in,
    ));
    if let Some(listener) = health {
        let source = HealthSource {
            identity,
            sessions: parts.sessions.clone(),
            heartbeat,
            control,
            telemetry: Arc::clone(&parts.telemetry),
            events: Arc::clone(&parts.events),
            site: site_handle.snapshot(),
            clock: Arc::clone(&parts.clock),
        };
        loops.spawn(health::serve(listener, source));
    }
    let stop = CancellationToken::new();
    let mut work = Work {
        site: Task::spawn(site.run()),
        forward: Task::spawn(forward(reports, Arc::clone(&parts.telemetry), Arc::clone(&parts.events))),
        telemetry: Task::spawn(parts.telemetry_uploader().run(stop.clone())),
        events: Task::spawn(parts.events_uploader().run(stop.clone())),
    };

    tell(Progress::Started);
    tokio::pin!(shutdown);
    let mut keeper = Task::spawn(keeper.run());
    let ended = tokio::select! {
        () = &mut shutdown => Ok(()),
        end = &mut keeper.0 => Err(end.map_or_else(|error| RunError::Part(Some(error)), RunError::Keeper)),
        part = loops.join_next() => Err(RunError::Part(part.and_then(Result::err))),
        error = work.ended() => Err(RunError::Part(error)),
    };
    tracing::info!("stopping");
    tell(Progress::Stopping);
    work.drain(&stop).await;
    loops.shutdown().await;
    keeper.0.abort();
    let lost = parts.telemetry.depth().waiting.saturating_add(parts.events.depth().waiting);
    ended?;
    if lost == 0 {
        tracing::info!("stopped; everything was uploaded");
        return Ok(Stopped::Drained);
    }
    tracing::warn!(lost, "stopped; readings and events that were not uploaded are lost");
    Ok(Stopped::Lost(lost))
}

/// What the loops share.
#[derive(Debug)]
struct Parts {
    sessions: SessionHandle,
    gateway: Arc<dyn Gateway>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    telemetry: Arc<Spool<Sample>>,
    events: Arc<Spool<Event>>,
}

impl Parts {
    fn telemetry_uploader(&self) -> Uploader<Sample> {
        Uploader::new(
            Arc::clone(&self.telemetry),
            (UploadKind::Telemetry, encode_samples),
            Arc::clone(&self.gateway),
            self.sessions.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.random),
        )
    }

    fn events_uploader(&self) -> Uploader<Event> {
        Uploader::new(
            Arc::clone(&self.events),
            (UploadKind::Events, encode_events),
            Arc::clone(&self.gateway),
            self.sessions.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.random),
        )
    }
}

/// A task that ends with whoever holds it: of an agent that is dropped nothing goes on, least of all once its state
/// directory is another's.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The tasks through which readings go, in that order.
struct Work {
    site: Task<()>,
    forward: Task<()>,
    telemetry: Task<()>,
    events: Task<()>,
}

impl Work {
    /// Waits until one of them ends, which none does by itself.
    async fn ended(&mut self) -> Option<tokio::task::JoinError> {
        tokio::select! {
            end = &mut self.site.0 => end.err(),
            end = &mut self.forward.0 => end.err(),
            end = &mut self.telemetry.0 => end.err(),
            end = &mut self.events.0 => end.err(),
        }
    }

    /// Stops reading miners, then uploads what was read, within [`DRAIN`].
    async fn drain(self, stop: &CancellationToken) {
        let Self { site, mut forward, mut telemetry, mut events } = self;
        let drained = async {
            site.0.abort();
            // The site was the only one to report, so the channel ends.
            finish(&mut forward).await;
            stop.cancel();
            finish(&mut telemetry).await;
            finish(&mut events).await;
        };
        if timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(seconds = DRAIN.as_secs(), "not everything was uploaded in time");
        }
    }
}

async fn finish(Task(task): &mut Task<()>) {
    // One that ended was polled to its end, and must not be polled again.
    if !task.is_finished() {
        drop(task.await);
    }
}

async fn forward(
    mut reports: mpsc::Receiver<Report>,
    telemetry: Arc<Spool<Sample>>,
    events: Arc<Spool<Event>>,
) {
    while let Some(report) = reports.recv().await {
        match report {
            Report::Sample(sample) => {
                let at = sample.taken_at;
                telemetry.push(sample, at);
            }
            Report::Event(event) => {
                let at = event.at;
                events.push(event, at);
            }
        }
    }
}

fn site(
    options: &RunOptions,
    directory: &StateDir,
    clock: &Arc<dyn Clock>,
    reports: mpsc::Sender<Report>,
) -> Site {
    if options.scan.is_empty() {
        tracing::warn!(
            "no miner is looked for: pass the ranges of this site's miners, for example --scan 192.168.1.0/24"
        );
    }
    let mut config = SiteConfig::new(options.scan.clone());
    config.poll_interval = options.poll_interval;
    let credentials = Arc::new(CredentialFile::in_directory(directory.path()));
    Site::new(config, drivers(options.proto_port), credentials, Arc::clone(clock), reports)
}

fn drivers(proto_port: Option<u16>) -> Vec<Arc<dyn MinerDriver>> {
    let proto = proto_port.map_or_else(ProtoDriver::new, ProtoDriver::on_port);
    #[cfg_attr(not(feature = "asic-rs"), allow(unused_mut, reason = "there is one driver then"))]
    let mut drivers: Vec<Arc<dyn MinerDriver>> = vec![Arc::new(proto)];
    #[cfg(feature = "asic-rs")]
    drivers.push(Arc::new(crate::miner::asic::AsicRsDriver::new()));
    drivers
}
