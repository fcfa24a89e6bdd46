//! The miners of one site: found, polled, reported.
//!
//! A [`Site`] is used by the agent and, in combined mode, inside the server's process. It reports
//! to a bounded channel ([`Report`]) and shows what it sees ([`SiteSnapshot`]); it knows no server.
//!
//! Each miner has a task of its own, so that one that hangs delays no other. A poll that fails
//! changes the miner's status at once: with the default intervals a miner that dies reads
//! unreachable within 10 s.
//!
//! What is noticed:
//! - another device on a miner's address: `identity mismatch`, and the address is probed for who
//!   it is now;
//! - a miner at another address: it keeps its identity, and is discovered again;
//! - two addresses that claim one identity: neither is talked to until a scan finds only one;
//! - another TLS certificate, or none, where one was seen: not accepted in place of the first.

mod poll;
mod snapshot;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fleet_core::{
    endpoint::Endpoint,
    telemetry::{Event, EventKind, MinerStatus, Sample},
    time::Clock,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
};

pub use self::snapshot::{LockedView, MinerView, ScanView, SiteSnapshot};
use self::{
    poll::{Assignment, Polled, Shared, poll},
    sweep::{Swept, sweep},
};
use super::{Found, MinerDriver, MinerInfo, credentials::CredentialLookup, scan::AllowList};

/// Every so many scans all miners that answer are reported once more.
const REPEAT_SCANS: u64 = 15;

/// Reports that wait for a slow receiver before samples are thrown away. Events never are.
const MAX_PENDING: usize = 4096;

/// What a site may do, and how often.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SiteConfig {
    /// What may be scanned.
    pub allowed: AllowList,
    /// From one reading of a miner to the next: 5 s.
    pub poll_interval: Duration,
    /// From the end of one scan to the next: 60 s.
    pub rescan_interval: Duration,
    /// How long one reading may take: 4 s.
    pub call_timeout: Duration,
    /// How long opening a session may take, before the first reading: 8 s.
    pub open_timeout: Duration,
    /// How long one driver's probe of one address may take: 4 s.
    pub probe_timeout: Duration,
    /// How long a scan waits for a port to answer: 1 s.
    pub connect_timeout: Duration,
    /// How many addresses are probed at the same time: 64.
    pub scan_concurrency: usize,
}

impl SiteConfig {
    /// The usual intervals for these ranges.
    #[must_use]
    pub const fn new(allowed: AllowList) -> Self {
        Self {
            allowed,
            poll_interval: Duration::from_secs(5),
            rescan_interval: Duration::from_secs(60),
            call_timeout: Duration::from_secs(4),
            open_timeout: Duration::from_secs(8),
            probe_timeout: Duration::from_secs(4),
            connect_timeout: Duration::from_secs(1),
            scan_concurrency: 64,
        }
    }
}

/// What a site tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Report {
    /// A reading, or the status of a miner that gave none.
    Sample(Sample),
    /// A discovery or a change of status.
    Event(Event),
}

/// Scans and polls, once [`run`](Self::run).
#[derive(Debug)]
pub struct Site {
    shared: Arc<Shared>,
    reports: mpsc::Sender<Report>,
    snapshot: watch::Sender<SiteSnapshot>,
    again: Arc<Notify>,
}

/// What others may do with a site that runs.
#[derive(Debug, Clone)]
pub struct SiteHandle {
    snapshot: watch::Receiver<SiteSnapshot>,
    again: Arc<Notify>,
}

impl SiteHandle {
    /// What the site sees; the receiver is told of every change.
    #[must_use]
    pub fn snapshot(&self) -> watch::Receiver<SiteSnapshot> {
        self.snapshot.clone()
    }

    /// Has the site scan now instead of after its interval.
    pub fn rescan(&self) {
        self.again.notify_one();
    }
}

impl Site {
    /// A site. Drivers are asked about an address in the order given.
    #[must_use]
    pub fn new(
        config: SiteConfig,
        drivers: Vec<Arc<dyn MinerDriver>>,
        credentials: Arc<dyn CredentialLookup>,
        clock: Arc<dyn Clock>,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared::new(config, drivers, credentials, clock)),
            reports,
            snapshot: watch::Sender::new(SiteSnapshot::default()),
            again: Arc::new(Notify::new()),
        }
    }

    /// A handle to it.
    #[must_use]
    pub fn handle(&self) -> SiteHandle {
        SiteHandle { snapshot: self.snapshot.subscribe(), again: Arc::clone(&self.again) }
    }

    /// Scans and polls until the reports' receiver is gone. Dropping the future stops everything
    /// as well.
    ///
    /// # Cancel safety
    /// Dropping it is how it ends; every call to a miner ends with it. The future is `Send`; it panics only
    /// outside of a tokio runtime.
    pub async fn run(self) {
        let (polled_sender, mut polled) = mpsc::channel(256);
        let (swept_sender, mut swept) = mpsc::channel(256);
        let mut tasks = JoinSet::new();
        if !self.shared.config.allowed.is_empty() {
            tasks.spawn(sweep(Arc::clone(&self.shared), Arc::clone(&self.again), swept_sender.clone()));
        }
        let reports = self.reports.clone();
        let mut fleet = Fleet {
            site: self,
            miners: BTreeMap::new(),
            claims: BTreeMap::new(),
            locked_seen: BTreeSet::new(),
            pending: VecDeque::new(),
            tasks,
            polled: polled_sender,
            swept: swept_sender,
        };
        loop {
            tokio::select! {
                permit = reports.reserve(), if !fleet.pending.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some(report) = fleet.pending.pop_front() {
                        permit.send(report);
                    }
                }
                () = reports.closed() => return,
                Some(polled) = polled.recv() => fleet.on_polled(polled),
                Some(swept) = swept.recv() => match swept {
                    Swept::Found(found) => fleet.on_found(found),
                    Swept::Done { scan, addresses, took } => fleet.on_scanned(scan, addresses, took),
                },
                // Probes of single addresses end; their results came above.
                Some(_) = fleet.tasks.join_next() => {}
            }
        }
    }
}

/// The state behind [`Site::run`].
struct Fleet {
    site: Site,
    miners: BTreeMap<Endpoint, Miner>,
    /// Who was claimed where in the scan that runs.
    claims: BTreeMap<Endpoint, BTreeSet<SocketAddr>>,
    locked_seen: BTreeSet<SocketAddr>,
    pending: VecDeque<Report>,
    tasks: JoinSet<()>,
    polled: mpsc::Sender<Polled>,
    swept: mpsc::Sender<Swept>,
}

struct Miner {
    view: MinerView,
    assignment: watch::Sender<Assignment>,
    /// Another address has the same identity, since this scan or earlier.
    rival_since: Option<u64>,
}

impl Miner {
    /// Whether the device itself answers at the address where it is looked for.
    fn answers(&self) -> bool {
        match self.view.status {
            Some(
                MinerStatus::Mining
                | MinerStatus::Idle
                | MinerStatus::AuthNeeded
                | MinerStatus::AuthFailed
                | MinerStatus::Fault,
            ) => true,
            // Not polled yet: it was found a moment ago.
            None => true,
            Some(_) => false,
        }
    }
}

impl Fleet {
    fn on_found(&mut self, found: Found) {
        match found {
            Found::Miner(info) => {
                self.claims.entry(info.endpoint.clone()).or_default().insert(info.address);
                self.on_miner(info);
            }
            Found::Locked { address, make, refused } => {
                self.locked_seen.insert(address);
                let view = LockedView { make, refused };
                let before = self.site.snapshot.borrow().locked.get(&address).cloned();
                if before.as_ref() != Some(&view) {
                    tracing::info!(%address, make = view.make, refused, "a miner needs a password");
                    self.site.snapshot.send_modify(|snapshot| {
                        snapshot.locked.insert(address, view);
                    });
                }
            }
        }
    }

    fn on_miner(&mut self, info: MinerInfo) {
        self.forget_locked(info.address.ip());
        let Some(miner) = self.miners.get_mut(&info.endpoint) else {
            self.adopt_new(info);
            return;
        };
        let known = &miner.view.info;
        if *known == info {
            return;
        }
        if known.certificate.is_some() && known.certificate != info.certificate {
            tracing::warn!(endpoint = %info.endpoint, address = %info.address, "the certificate is not the pinned one");
            return;
        }
        if known.address != info.address && miner.answers() {
            tracing::warn!(
                endpoint = %info.endpoint, first = %known.address, second = %info.address,
                "two addresses claim to be one device"
            );
            if miner.rival_since.is_none() {
                // Scans that begin from now on ask both addresses.
                self.site.shared.set_answering(known.address.ip(), false);
                miner.rival_since = Some(self.site.shared.latest_scan());
                miner.assignment.send_modify(|assignment| assignment.rival = Some(info.address));
                self.site.again.notify_one();
            }
            return;
        }
        if miner.rival_since.is_none() {
            self.move_to(info);
        }
    }

    fn adopt_new(&mut self, info: MinerInfo) {
        let now = self.site.shared.clock.now();
        let (assignment, assignments) = watch::channel(Assignment { info: info.clone(), rival: None });
        self.tasks.spawn(poll(
            Arc::clone(&self.site.shared),
            info.endpoint.clone(),
            assignments,
            self.polled.clone(),
        ));
        tracing::info!(endpoint = %info.endpoint, address = %info.address, model = info.model, "found a miner");
        self.event(EventKind::Discovered(info.discovery()));
        let view =
            MinerView { info: info.clone(), status: None, since: now, problem: None, last_reading: None };
        self.show(view.clone());
        self.miners.insert(info.endpoint, Miner { view, assignment, rival_since: None });
    }

    /// A known miner answers elsewhere, or has changed (a firmware update).
    fn move_to(&mut self, info: MinerInfo) {
        let Some(miner) = self.miners.get_mut(&info.endpoint) else { return };
        let left = miner.view.info.address.ip();
        miner.rival_since = None;
        miner.view.info = info.clone();
        miner.assignment.send_replace(Assignment { info: info.clone(), rival: None });
        let view = miner.view.clone();
        if left != info.address.ip() {
            self.site.shared.set_answering(left, false);
        }
        tracing::info!(endpoint = %info.endpoint, address = %info.address, "a miner has changed or moved");
        self.event(EventKind::Discovered(info.discovery()));
        self.show(view);
    }

    fn on_scanned(&mut self, scan: u64, addresses: u64, took: Duration) {
        if scan.is_multiple_of(REPEAT_SCANS) {
            self.say_all_again();
        }
        let finished_at = Some(self.site.shared.clock.now());
        let locked_seen = std::mem::take(&mut self.locked_seen);
        self.site.snapshot.send_modify(|snapshot| {
            snapshot.scan = ScanView { completed: scan, finished_at, took, addresses };
            snapshot.locked.retain(|address, _| locked_seen.contains(address));
        });
        let claims = std::mem::take(&mut self.claims);
        let resolved: Vec<(Endpoint, SocketAddr)> = self
            .miners
            .iter()
            .filter_map(|(endpoint, miner)| {
                // Earlier scans may have left the first address alone.
                miner.rival_since.filter(|since| *since < scan)?;
                let claimed: Vec<SocketAddr> = claims.get(endpoint).into_iter().flatten().copied().collect();
                match claimed.as_slice() {
                    [] => Some((endpoint.clone(), miner.view.info.address)),
                    [only] => Some((endpoint.clone(), *only)),
                    [_, _, ..] => None,
                }
            })
            .collect();
        for (endpoint, address) in resolved {
            let Some(miner) = self.miners.get(&endpoint) else { continue };
            let info = MinerInfo { address, ..miner.view.info.clone() };
            self.move_to(info);
        }
    }

    /// A discovery that was lost on its way, or by a server that was restored from a backup, comes again.
    fn say_all_again(&mut self) {
        let known: Vec<_> = self
            .miners
            .values()
            .filter(|miner| miner.answers())
            .map(|miner| miner.view.info.discovery())
            .collect();
        for discovery in known {
            self.event(EventKind::Discovered(discovery));
        }
    }

    fn on_polled(&mut self, polled: Polled) {
        let Some(miner) = self.miners.get_mut(&polled.endpoint) else { return };
        // The miner was moved, or a rival found, while the poll was under way.
        if *miner.assignment.borrow() != polled.assignment {
            return;
        }
        let (sample, problem) = match polled.outcome {
            Ok(reading) => (reading.into_sample(polled.endpoint.clone(), polled.at), None),
            Err(error) => {
                let sample = Sample::status_only(polled.endpoint.clone(), polled.at, error.status());
                (sample, Some(error))
            }
        };
        let status = sample.status;
        let before = miner.view.status.replace(status);
        if before != Some(status) {
            miner.view.since = polled.at;
        }
        if let Some(error) = &problem
            && before != Some(status)
        {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::info!(endpoint = %polled.endpoint, %error, source, "a miner cannot be read");
        }
        if problem.is_none() {
            miner.view.last_reading = Some(sample.clone());
        }
        miner.view.problem = problem.map(Arc::new);
        let view = miner.view.clone();
        let address = view.info.address.ip();
        let answers =
            self.miners.values().any(|miner| miner.view.info.address.ip() == address && miner.answers());
        self.site.shared.set_answering(address, answers);

        self.report(Report::Sample(sample));
        if before != Some(status) {
            self.event(EventKind::StatusChanged { endpoint: polled.endpoint, from: before, to: status });
            if status == MinerStatus::IdentityMismatch {
                self.probe_now(address);
            }
        }
        self.show(view);
    }

    /// Who has taken over an address is found out now and not at the next scan.
    fn probe_now(&mut self, address: IpAddr) {
        if !self.site.shared.config.allowed.contains(address) {
            return;
        }
        let shared = Arc::clone(&self.site.shared);
        let swept = self.swept.clone();
        self.tasks.spawn(async move {
            if let Some(found) = shared.probe(address).await {
                // A site that has stopped needs no answer.
                let _ = swept.send(Swept::Found(found)).await;
            }
        });
    }

    fn forget_locked(&self, address: IpAddr) {
        self.site.snapshot.send_if_modified(|snapshot| {
            let before = snapshot.locked.len();
            snapshot.locked.retain(|locked, _| locked.ip() != address);
            snapshot.locked.len() != before
        });
    }

    fn show(&self, view: MinerView) {
        self.site.snapshot.send_modify(|snapshot| {
            snapshot.miners.insert(view.info.endpoint.clone(), Arc::new(view));
        });
    }

    fn event(&mut self, kind: EventKind) {
        let at = self.site.shared.clock.now();
        self.report(Report::Event(Event { at, kind }));
    }

    fn report(&mut self, report: Report) {
        if self.pending.len() >= MAX_PENDING && matches!(report, Report::Sample(_)) {
            self.site.snapshot.send_modify(|snapshot| snapshot.dropped_samples += 1);
            return;
        }
        self.pending.push_back(report);
    }
}
