//! Starting and stopping: everything is judged before anything is bound, and what runs ends within a deadline.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fleet_agent::miner::MinerDriver;
use fleet_agent::miner::asic::AsicRsDriver;
use fleet_agent::miner::credentials::CredentialFile;
use fleet_agent::miner::proto::ProtoDriver;
use fleet_agent::miner::scan::{AllowList, ScanRangeError};
use fleet_agent::miner::site::{Report, Site, SiteConfig};
use fleet_agent::state::{Access, StateDir, StateDirError};
use fleet_core::driver::{Probe, RootError, ServerDriver, ServerError, ServerKeys};
use fleet_core::keys::{AgentSecretKeys, KeyError};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::{RandomError, SecureRandom};
use fleet_core::store::{
    AgentKeyStore as _, Changeset, CommitError, OrganizationRecord, Put, ServerStore as _, StoreError,
};
use fleet_core::time::Clock;
use fleet_store::{OpenError, Store};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connections::Room;
use super::http::{Front, metrics_only};
use super::keys::{KeyDirError, Keys, Missing};
use super::limits::{Allowances, Calls, Lines, PasswordTries, Reached, Sessions};
use super::links::Links;
use super::listener::{self, Bounds};
use super::local::{LocalKeys, LocalReports, NAME};
use super::lock::{DataDirLock, Hold, LockError, check_whole};
use super::metrics::Metrics;
use super::mount::Mount;
use super::passwords::Passwords;
use super::roots::RootFiles;
use super::set_up::{SetUpLink, SetUpToken};
use super::streams::Streams;
use super::tls::{Tls, TlsError};
use super::{App, services};
use crate::config::{Config, Mode};

/// How often what has run out is cleared away.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// From one try of something that must work to the next.
const RETRY: Duration = Duration::from_secs(1);
/// How often the agent of an open stream is checked again, should another server have revoked it.
const CHECK_SHARED: Duration = Duration::from_secs(3);
/// The same where there is no other server. A revocation by this one ends the stream at once; the check is for what was
/// done to the database behind its back.
const CHECK_ALONE: Duration = Duration::from_secs(30);
/// How long what is no call may take to end when the server stops, and the database to close.
const CLOSE: Duration = Duration::from_secs(2);
/// Histories that are read at once, each over a connection to the database: others read beside them.
const HISTORIES: usize = 2;
/// Connections at once to the address of metrics.
const METRICS_CONNECTIONS: usize = 64;
/// Lines of the log about calls from one address that were refused, before there is only one a minute.
const STRANGERS_LINES: u32 = 60;
/// Lines of the log of each kind about what one agent does, before there is only one a minute.
const AGENTS_LINES: u32 = 120;
/// How much is cleared away at once.
const SWEEP_ROWS: u32 = 1000;

/// The server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory")]
    DataDir(#[source] KeyDirError),
    /// Another process works on the data directory, or a restore into it was not finished.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key directory cannot be used.
    #[error("the key directory")]
    Keys(#[source] KeyDirError),
    /// The database cannot be opened.
    #[error("the database")]
    Database(#[from] OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The command key is not the manifest's.
    #[error(
        "the command key {} is not the one that the manifest of {organization} names; start with the key directory \
         that belongs to this database",
        path.display()
    )]
    CommandKey {
        /// Its file.
        path: PathBuf,
        /// Whose manifest.
        organization: Name,
    },
    /// A root key is not the manifest's.
    #[error(
        "the root key {} is not the one that the manifest of {organization} names; start with the key directory that \
         belongs to this database",
        path.display()
    )]
    RootKey {
        /// Its file.
        path: PathBuf,
        /// Whose manifest.
        organization: Name,
    },
    /// A root key cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The local agent's directory cannot be used.
    #[error("the local agent's directory")]
    LocalDir(#[from] StateDirError),
    /// A key of the local agent is not acceptable.
    #[error("the local agent's keys")]
    LocalKey(#[from] KeyError),
    /// The local agent's keys are not those of its row.
    #[error(
        "the local agent's keys in {} are not those that this database knows; restore them from a backup, or run with \
         --mode=server",
        path.display()
    )]
    LocalKeys {
        /// Its directory.
        path: PathBuf,
    },
    /// The local agent could not be made.
    #[error("the local agent")]
    Local(#[from] ServerError),
    /// The local agent could not be stored.
    #[error("the local agent")]
    LocalStored(#[from] CommitError),
    /// The TLS files cannot be used.
    #[error("TLS")]
    Tls(#[from] TlsError),
    /// The ranges to scan cannot be used.
    #[error("the ranges to scan")]
    Scan(#[from] ScanRangeError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A password could not be hashed.
    #[error("password hashing does not work")]
    Passwords(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The services cannot be described.
    #[error("the services")]
    Services(#[from] fleet_proto::rpc::ReflectionError),
}

impl StartError {
    /// Whether what was configured is at fault, rather than the host: exit code 64.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::CommandKey { .. }
                | Self::RootKey { .. }
                | Self::DataDir(_)
                | Self::Keys(_)
                | Self::Tls(_)
                | Self::Scan(_)
                | Self::LocalKeys { .. }
                | Self::Lock(LockError::Restoring { .. })
                | Self::Database(OpenError::Unfinished)
        )
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    set_up_link: Option<SetUpLink>,
    stop: CancellationToken,
    tasks: JoinSet<bool>,
    app: Arc<App>,
    front: Front,
    tls: Option<Arc<Tls>>,
    drain_timeout: Duration,
    /// Held for its lock.
    _local: Option<StateDir>,
    /// Held against whoever restores, and on SQLite against other servers.
    _lock: DataDirLock,
}

/// A call that is under way is not cut off.
fn idle_timeout(limits: &crate::config::Limits) -> Duration {
    limits.idle_timeout.max(limits.request_timeout)
}

struct Local {
    directory: StateDir,
    site: Site,
    reports: mpsc::Receiver<Report>,
}

impl Server {
    /// Opens, checks and binds everything, and serves.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Cancel safety
    /// Dropped, nothing listens any more and the data directory is free. Directories, keys and a schema that
    /// were made stay, whole. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn start(
        config: &Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
        probe: Arc<dyn Probe>,
    ) -> Result<Self, StartError> {
        super::keys::prepare(&config.data_dir).map_err(StartError::DataDir)?;
        let hold = if config.database.postgres().is_some() { Hold::Shared } else { Hold::Alone };
        let lock = DataDirLock::take(&config.data_dir, hold)?;
        check_whole(&config.data_dir)?;
        let metrics = Metrics::new(clock.now());
        let tls = config
            .tls
            .as_ref()
            .map(|files| Tls::open(files, Arc::clone(&clock), metrics.certificate_end()))
            .transpose()?;
        let store = Store::open_url(&config.database).await?;
        let store = store.with_devices_per_agent(config.limits.devices_per_agent);
        let organizations: Vec<_> =
            store.organizations().await?.into_iter().map(|found| found.record).collect();
        let organization = organizations.first().cloned();
        // Keys are made for a new installation only: another key directory than the database's must not get some.
        let missing = if organization.is_some() { Missing::Refuse } else { Missing::Make };
        let keys = super::keys::open(&config.key_dir, missing, random.as_ref()).map_err(StartError::Keys)?;
        check_keys(config, &keys, &organizations)?;
        let roots = RootFiles::new(config.key_dir.clone(), store.clone(), keys.root);
        let keys = ServerKeys { roots: Arc::new(roots), command: keys.command };

        let local = match config.mode {
            Mode::Combined => Some(local(config, &clock)?),
            Mode::Server | Mode::Agent => None,
        };
        let local_keys = match &local {
            Some(local) => Some(local_keys(&local.directory, random.as_ref()).await?),
            None => None,
        };
        let server_store: Arc<dyn fleet_core::store::ServerStore> = Arc::new(store.clone());
        let limits = &config.limits;
        let mut policy = Policy::default();
        policy.begin_interval =
            limits.begin_rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1));
        let reached = Arc::new(Reached::new(metrics.clone(), Arc::clone(&clock)));
        let sessions =
            Arc::new(Sessions::new(limits.session_rate, policy.begin_interval, Arc::clone(&reached)));
        let driver =
            ServerDriver::new(server_store, Arc::clone(&clock), Arc::clone(&random), keys.clone(), policy)
                .with_probe(probe)
                .with_gate(sessions);
        let streams = Streams::default();
        let (founded, _) = watch::channel(organization.is_some());
        let app = Arc::new(App {
            room: Room::new(limits, idle_timeout(limits), Arc::clone(&reached)),
            links: Links::new(streams.clone()),
            passwords: Passwords::new(random.as_ref())
                .map_err(|error| StartError::Passwords(Box::new(error)))?,
            set_up: SetUpToken::default(),
            failed_logins: super::FailedLogins::default(),
            password_tries: PasswordTries::default(),
            histories: Arc::new(Semaphore::new(HISTORIES)),
            allowances: Allowances::new(limits.unauthenticated_rate),
            calls: Arc::new(Calls::new(limits.calls_per_agent)),
            header_bytes: usize::try_from(limits.header_bytes).unwrap_or(usize::MAX),
            request_timeout: limits.request_timeout,
            reached,
            strangers_lines: Lines::new(STRANGERS_LINES),
            agents_lines: Lines::new(AGENTS_LINES),
            metrics,
            check_every: if config.database.is_shared() { CHECK_SHARED } else { CHECK_ALONE },
            retention: config.retention,
            founded,
            local: local_keys,
            store,
            driver,
            keys,
            clock,
            random,
            streams,
        });
        if let (Some(organization), Some(local)) = (&organization, &local) {
            app.ensure_local_agent(organization, local.directory.path()).await?;
        }

        let front = Front { services: services::all(&app, limits)?, app: Arc::clone(&app) };
        let mut server = Self {
            addresses: Vec::new(),
            metrics_address: None,
            set_up_link: None,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            _local: None,
            _lock: lock,
            tls: tls.clone(),
            drain_timeout: config.drain_timeout,
            app,
            front,
        };
        server.bind(config).await?;
        if organization.is_none() {
            let token = server.app.set_up.issue(server.app.random.as_ref())?;
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            let origin = server.addresses.first().map(|at| format!("{scheme}://{}", reachable(*at)));
            server.set_up_link = Some(SetUpLink::new(&origin.unwrap_or_default(), &token));
        }
        server.spawn_sweep();
        server.tasks.spawn(super::retention::forget(Arc::clone(&server.app), server.stop.clone()));
        if let Some(tls) = tls {
            server.tasks.spawn(tls.watch(server.stop.clone()));
        }
        if let Some(local) = local {
            server.spawn_local(local.site, local.reports);
            server._local = Some(local.directory);
        }
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where metrics are served without credentials.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The link to set the server up by, if it is not yet. It is a secret. Of a server that listens nowhere it is the
    /// path alone.
    #[must_use]
    pub fn set_up_link(&self) -> Option<&str> {
        self.set_up_link.as_ref().map(SetUpLink::expose)
    }

    /// What it serves, for a listener of yours. [`Config::listen`] may then be empty.
    #[must_use]
    pub fn mount(&self) -> Mount {
        Mount::new(self.front.clone(), Arc::clone(&self.app.room))
    }

    /// Reads the TLS certificate, its key and the authorities of clients again if their files have changed.
    pub fn renew_certificate(&self) {
        if let Some(tls) = &self.tls {
            tls.renew();
        }
    }

    /// Stops: agents are told, open calls may end within the configured time. Returns whether all did. What is open on
    /// a connection that was mounted is not waited for: end those connections first.
    ///
    /// # Cancel safety
    /// Dropped, what was open is cut off, and the database closes by itself. The future is `Send`; it panics
    /// only outside of a tokio runtime.
    pub async fn stop(mut self) -> bool {
        self.app.streams.stop();
        self.stop.cancel();
        let mut drained = true;
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                drained &= ended.unwrap_or(false);
            }
        };
        // Listeners keep to the time by themselves; nothing else may take longer either.
        let in_time = tokio::time::timeout(self.drain_timeout.saturating_add(CLOSE), ended).await.is_ok();
        let closed = tokio::time::timeout(CLOSE, self.app.store.close()).await.is_ok();
        if !closed {
            tracing::warn!("the database did not close in time");
        }
        drained && in_time
    }

    async fn bind(&mut self, config: &Config) -> Result<(), StartError> {
        let limits = &config.limits;
        let bounds = |room| Bounds {
            room,
            header_bytes: limits.header_bytes,
            handshake_timeout: limits.handshake_timeout,
            drain_timeout: config.drain_timeout,
        };
        let shared = bounds(Arc::clone(&self.app.room));
        for address in &config.listen {
            let (listener, bound) = bind(*address).await?;
            self.addresses.push(bound);
            let front = self.front.clone();
            let handler = move |peer, request| front.clone().answer(peer, request);
            let metrics = self.app.metrics.clone();
            let tls = self.tls.clone();
            self.tasks.spawn(listener::accept(
                listener,
                tls,
                shared.clone(),
                metrics,
                handler,
                self.stop.clone(),
            ));
        }
        if let Some(address) = config.metrics_listen {
            let (listener, bound) = bind(address).await?;
            self.metrics_address = Some(bound);
            let app = Arc::clone(&self.app);
            let handler = move |_, request| metrics_only(Arc::clone(&app), request);
            let metrics = self.app.metrics.clone();
            // Connections of its own: metrics are wanted above all when there are no others.
            let room = Room::with(
                METRICS_CONNECTIONS,
                METRICS_CONNECTIONS,
                idle_timeout(limits),
                Arc::clone(&self.app.reached),
            );
            let stop = self.stop.clone();
            self.tasks.spawn(listener::accept(listener, None, bounds(room), metrics, handler, stop));
        }
        Ok(())
    }

    fn spawn_sweep(&mut self) {
        let app = Arc::clone(&self.app);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let mut every = tokio::time::interval(SWEEP_EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return true,
                    _ = every.tick() => app.sweep().await,
                }
            }
        });
    }

    fn spawn_local(&mut self, site: Site, reports: mpsc::Receiver<Report>) {
        let app = Arc::clone(&self.app);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let mut founded = app.founded.subscribe();
            tokio::select! {
                () = stop.cancelled() => return true,
                _ = founded.wait_for(|founded| *founded) => {}
            }
            let agent_id = loop {
                if let Some(agent_id) = app.local_agent_id().await {
                    break agent_id;
                }
                tracing::warn!("the local agent cannot be found in the database; trying on");
                if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                    return true;
                }
            };
            let reports_of =
                LocalReports { store: app.store.clone(), clock: Arc::clone(&app.clock), agent_id };
            app.links.set_local(true);
            let ended = stop.run_until_cancelled(reports_of.run(site, reports)).await;
            app.links.set_local(false);
            if ended.is_some() {
                tracing::error!("the local half has stopped: no miner is read here any more");
            }
            ended.is_none()
        });
    }
}

/// An address that a browser on this host can open.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The first organization is the one of `root.key`.
pub(super) fn check_keys(
    config: &Config,
    keys: &Keys,
    organizations: &[OrganizationRecord],
) -> Result<(), StartError> {
    for (number, organization) in organizations.iter().enumerate() {
        let manifest = organization.manifest.manifest();
        let name = || manifest.org_name.clone();
        if keys.command.public_key() != *manifest.command.as_bytes() {
            let path = super::keys::command_file(&config.key_dir);
            return Err(StartError::CommandKey { path, organization: name() });
        }
        let (path, root) = if number == 0 {
            (super::keys::first_root_file(&config.key_dir), keys.root.public_key())
        } else {
            let path = super::keys::root_file(&config.key_dir, organization.id);
            match super::keys::read_root(&path) {
                Ok(root) => (path, *root.public().as_bytes()),
                // The others are not to suffer from it.
                Err(error @ KeyDirError::Missing { .. }) => {
                    tracing::error!(
                        organization = manifest.org_name.as_str(),
                        %error,
                        "an organization gets no codes, no confirmations and no new manifests"
                    );
                    continue;
                }
                Err(error) => return Err(StartError::Keys(error)),
            }
        };
        if root != *manifest.root.as_bytes() {
            return Err(StartError::RootKey { path, organization: name() });
        }
    }
    Ok(())
}

fn local(config: &Config, clock: &Arc<dyn Clock>) -> Result<Local, StartError> {
    let directory = StateDir::open(&config.data_dir.join("local-agent"), Access::Exclusive)?;
    let mut site = SiteConfig::new(AllowList::new(config.scan.iter().copied())?);
    site.poll_interval = config.poll_interval;
    let mut drivers: Vec<Arc<dyn MinerDriver>> =
        vec![Arc::new(AsicRsDriver::new()), Arc::new(ProtoDriver::new())];
    if let Some(port) = config.proto_port {
        drivers.push(Arc::new(ProtoDriver::on_port(port)));
    }
    let credentials = Arc::new(CredentialFile::in_directory(directory.path()));
    let (sender, reports) = mpsc::channel(1024);
    let site = Site::new(site, drivers, credentials, Arc::clone(clock), sender);
    Ok(Local { directory, site, reports })
}

async fn local_keys(directory: &StateDir, random: &dyn SecureRandom) -> Result<LocalKeys, StartError> {
    let keys = directory.keys();
    let keyring = match keys.open().await? {
        Some(keyring) => keyring,
        None => keys.replace(AgentSecretKeys::generate(random)?).await?,
    };
    Ok(LocalKeys(keyring.public()?))
}

impl App {
    /// Makes the local agent of the first organization, if that was set up without one.
    async fn ensure_local_agent(
        &self,
        organization: &OrganizationRecord,
        directory: &std::path::Path,
    ) -> Result<(), StartError> {
        let Some(local) = &self.local else { return Ok(()) };
        let Some(root) = self.keys.roots.root(organization.id).await? else { return Ok(()) };
        if let Some(found) = self.store.local_agent(organization.id).await? {
            if found.record.keys != local.0 {
                return Err(StartError::LocalKeys { path: directory.to_owned() });
            }
            return Ok(());
        }
        let mut name = NAME.to_owned();
        for number in 2..100_u32 {
            let parsed = Name::new(name.as_str()).map_err(|_| ServerError::Contention)?;
            let random = self.random.as_ref();
            let record =
                local.record(organization.id, parsed, root.as_ref(), self.clock.now(), random).await?;
            let change = Changeset { agent: Some(Put { record, expected: None }), ..Changeset::default() };
            match self.store.commit(change).await {
                Ok(()) => return Ok(()),
                // Somebody called an agent so.
                Err(CommitError::NameTaken) => name = format!("{NAME}-{number}"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(ServerError::Contention.into())
    }

    async fn local_agent_id(&self) -> Option<fleet_core::id::AgentId> {
        let organization = self.store.organization().await.ok()??;
        let local = self.store.local_agent(organization.record.id).await.ok()??;
        Some(local.record.id)
    }

    /// Clears away what has run out, a bounded piece at a time.
    async fn sweep(&self) {
        let now = self.clock.now();
        if let Err(error) = self.driver.sweep(SWEEP_ROWS).await {
            tracing::warn!(%error, "enrollments were not swept");
        }
        if let Err(error) = self.store.expire(now).await {
            let _ = super::store_failed(error);
        }
    }
}
