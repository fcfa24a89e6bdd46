//! One task for each miner, which reads it again and again; and the calls that tasks make.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fleet_core::{
    endpoint::Endpoint,
    time::{Clock, UnixMillis},
};
use futures::FutureExt as _;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::SiteConfig;
use crate::miner::{
    Detail, Found, MinerDriver, MinerError, MinerFuture, MinerInfo, MinerSession, Reading,
    credentials::{CredentialKey, CredentialLookup, Credentials},
    scan::open_ports,
};

/// What every task of a site needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: SiteConfig,
    pub(super) drivers: Vec<Arc<dyn MinerDriver>>,
    pub(super) credentials: Arc<dyn CredentialLookup>,
    pub(super) clock: Arc<dyn Clock>,
    /// Whoever talks to an address holds its lock: one call at a time per miner.
    locks: std::sync::Mutex<BTreeMap<IpAddr, Arc<Mutex<()>>>>,
    /// Addresses whose miners answer. Scans leave them alone.
    answering: std::sync::Mutex<BTreeSet<IpAddr>>,
    /// The number of the scan that runs or ran last.
    scan: AtomicU64,
    credentials_unreadable: AtomicBool,
}

/// What a miner's task is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) info: MinerInfo,
    /// Where else the same identity is claimed. The miner is then not talked to at all.
    pub(super) rival: Option<SocketAddr>,
}

/// The outcome of one poll.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) endpoint: Endpoint,
    pub(super) assignment: Assignment,
    pub(super) at: UnixMillis,
    pub(super) outcome: Result<Reading, MinerError>,
}

impl Shared {
    pub(super) fn new(
        config: SiteConfig,
        drivers: Vec<Arc<dyn MinerDriver>>,
        credentials: Arc<dyn CredentialLookup>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            config,
            drivers,
            credentials,
            clock,
            locks: std::sync::Mutex::default(),
            answering: std::sync::Mutex::default(),
            scan: AtomicU64::new(0),
            credentials_unreadable: AtomicBool::new(false),
        }
    }

    pub(super) fn set_answering(&self, address: IpAddr, answers: bool) {
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        if answers {
            answering.insert(address);
        } else {
            answering.remove(&address);
        }
    }

    pub(super) fn is_answering(&self, address: IpAddr) -> bool {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }

    pub(super) fn begin_scan(&self, scan: u64) {
        self.scan.store(scan, Ordering::SeqCst);
    }

    pub(super) fn latest_scan(&self) -> u64 {
        self.scan.load(Ordering::SeqCst)
    }

    /// What answers at `address`, asked of each driver one of whose ports is open.
    pub(super) async fn probe(&self, address: IpAddr) -> Option<Found> {
        let mut ports: Vec<u16> = self.drivers.iter().flat_map(|driver| driver.ports()).collect();
        ports.sort_unstable();
        ports.dedup();
        let lock = self.lock(address);
        let _alone = lock.lock().await;
        let open = open_ports(address, &ports, self.config.connect_timeout).await;
        if open.is_empty() {
            return None;
        }
        let credentials = self.lookup(&CredentialKey::Address(address));
        for driver in &self.drivers {
            if !driver.ports().iter().any(|port| open.contains(port)) {
                continue;
            }
            match within(self.config.probe_timeout, driver.probe(address, credentials.as_ref())).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%address, driver = driver.name(), %error, "not identified");
                }
            }
        }
        None
    }

    /// Reads a miner, through its session or a new one. A session that failed is gone.
    async fn read(
        &self,
        info: &MinerInfo,
        session: &mut Option<Box<dyn MinerSession>>,
    ) -> Result<Reading, MinerError> {
        let driver = self.drivers.iter().find(|driver| driver.name() == info.driver);
        let driver = driver.ok_or(MinerError::Unsupported)?;
        let lock = self.lock(info.address.ip());
        let _alone = lock.lock().await;
        let mut open = match session.take() {
            Some(open) => open,
            None => {
                let credentials = self.credentials_for(info);
                within(self.config.open_timeout, driver.open(info, credentials.as_ref())).await?
            }
        };
        let reading = within(self.config.call_timeout, open.read(Detail::Fast)).await?;
        *session = Some(open);
        Ok(reading)
    }

    fn credentials_for(&self, info: &MinerInfo) -> Option<Credentials> {
        let own = self.lookup(&CredentialKey::Device(info.endpoint.clone()));
        if own.is_some() || !info.login_by_address {
            return own;
        }
        self.lookup(&CredentialKey::Address(info.address.ip()))
    }

    /// Credentials that cannot be read count as none: the miner then says that it needs some.
    fn lookup(&self, key: &CredentialKey) -> Option<Credentials> {
        let found = self.credentials.lookup(key);
        let failed_before = self.credentials_unreadable.swap(found.is_err(), Ordering::Relaxed);
        found.unwrap_or_else(|error| {
            if !failed_before {
                tracing::warn!(%error, "the miners' credentials cannot be read");
            }
            None
        })
    }

    fn lock(&self, address: IpAddr) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Locks that nobody holds are forgotten now and then: a scan makes one for each address.
        if locks.len() > 4096 {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(locks.entry(address).or_default())
    }
}

/// A call into a driver: bounded in time, and a panic in it ends the call and nothing else.
async fn within<T>(after: Duration, call: MinerFuture<'_, T>) -> Result<T, MinerError> {
    match timeout(after, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(MinerError::Panicked),
        Err(_) => Err(MinerError::Timeout { after }),
    }
}

/// Reads one miner until the site forgets it.
pub(super) async fn poll(
    shared: Arc<Shared>,
    endpoint: Endpoint,
    mut assignments: watch::Receiver<Assignment>,
    polled: mpsc::Sender<Polled>,
) {
    let mut session = None;
    let mut ticks = interval(shared.config.poll_interval);
    // After a slow reading the miner gets its full interval of rest.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut assignment = assignments.borrow_and_update().clone();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = assignments.changed() => {
                if changed.is_err() {
                    return;
                }
                ticks.reset();
            }
        }
        let current = assignments.borrow_and_update().clone();
        if current != assignment {
            session = None;
            assignment = current;
        }
        let outcome = match assignment.rival {
            Some(second) => Err(MinerError::Duplicate { first: assignment.info.address, second }),
            None => shared.read(&assignment.info, &mut session).await,
        };
        let at = shared.clock.now();
        let report = Polled { endpoint: endpoint.clone(), assignment: assignment.clone(), at, outcome };
        if polled.send(report).await.is_err() {
            return;
        }
    }
}
