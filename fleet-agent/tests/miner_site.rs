//! A site over simulated miners: discovery, polling, passwords, deaths and take-overs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fleet_agent::{
    miner::{
        MinerDriver, MinerError,
        asic::AsicRsDriver,
        credentials::{CredentialFile, CredentialKey, Credentials},
        proto::ProtoDriver,
        scan::AllowList,
        site::{MinerView, Report, Site, SiteConfig, SiteHandle, SiteSnapshot},
    },
    sim::{
        Antminer, AntminerConfig, Fault, LoopbackBlock, ProtoRig, ProtoRigConfig, WhatsMiner,
        WhatsMinerConfig, WhatsMinerModel,
    },
};
use fleet_core::{
    endpoint::Endpoint,
    telemetry::{EventKind, MinerStatus},
    time::{Clock, Monotonic, UnixMillis},
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

const PASSWORD: &str = "correct horse";

#[derive(Debug)]
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::EPOCH.saturating_add(self.0.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::new(self.0.elapsed())
    }
}

struct Bench {
    block: LoopbackBlock,
    directory: tempfile::TempDir,
    proto_port: u16,
}

struct Running {
    handle: SiteHandle,
    reports: mpsc::Receiver<Report>,
    _task: JoinSet<()>,
}

impl Bench {
    fn new() -> Self {
        // Any port that is free on one loopback address will do on all of this block.
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self {
            block: LoopbackBlock::reserve().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            proto_port: free.local_addr().unwrap().port(),
        }
    }

    async fn whatsminer(&self, model: WhatsMinerModel, seed: u64) -> WhatsMiner {
        WhatsMiner::start(self.block.address().unwrap(), WhatsMinerConfig::new(model, seed)).await.unwrap()
    }

    async fn rig(&self, seed: u64) -> ProtoRig {
        let address = SocketAddr::from((self.block.address().unwrap(), self.proto_port));
        ProtoRig::start(address, ProtoRigConfig::new(seed, PASSWORD)).await.unwrap()
    }

    fn credentials(&self) -> CredentialFile {
        CredentialFile::in_directory(self.directory.path())
    }

    fn run(&self, change: impl FnOnce(&mut SiteConfig)) -> Running {
        let mut config = SiteConfig::new(AllowList::parse([self.block.cidr().as_str()]).unwrap());
        config.poll_interval = Duration::from_millis(100);
        config.rescan_interval = Duration::from_millis(300);
        config.call_timeout = Duration::from_secs(2);
        change(&mut config);
        let drivers: Vec<Arc<dyn MinerDriver>> =
            vec![Arc::new(ProtoDriver::on_port(self.proto_port)), Arc::new(AsicRsDriver::new())];
        let (sender, reports) = mpsc::channel(10_000);
        let clock = Arc::new(TestClock(tokio::time::Instant::now()));
        let site = Site::new(config, drivers, Arc::new(self.credentials()), clock, sender);
        let handle = site.handle();
        let mut task = JoinSet::new();
        task.spawn(site.run());
        Running { handle, reports, _task: task }
    }
}

impl Running {
    /// Waits until what the site sees is as it should be.
    async fn until(&self, what: &str, done: impl Fn(&SiteSnapshot) -> bool) -> SiteSnapshot {
        let mut snapshot = self.handle.snapshot();
        let waited = timeout(Duration::from_secs(20), snapshot.wait_for(|snapshot| done(snapshot)));
        if let Ok(seen) = waited.await {
            return seen.unwrap().clone();
        }
        panic!("not within 20 s: {what}; the site sees {:#?}", self.handle.snapshot().borrow())
    }

    async fn until_status(&self, endpoint: &Endpoint, status: MinerStatus) -> Arc<MinerView> {
        let what = format!("{endpoint} reads {status:?}");
        let snapshot = self.until(&what, |snapshot| {
            snapshot.miners.get(endpoint).is_some_and(|miner| miner.status == Some(status))
        });
        Arc::clone(&snapshot.await.miners[endpoint])
    }

    fn reported(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.reports.try_recv().ok()).collect()
    }
}

#[tokio::test]
async fn a_site_finds_and_reads_its_miners_and_a_password_is_taken_while_it_runs() {
    let bench = Bench::new();
    let one = bench.whatsminer(WhatsMinerModel::M30SPlusPlus, 1).await;
    let two = bench.whatsminer(WhatsMinerModel::M50S, 2).await;
    let rig = bench.rig(3).await;
    let mut site = bench.run(|_| {});
    for miner in [&one, &two] {
        site.until_status(&miner.endpoint().unwrap(), MinerStatus::Mining).await;
    }
    let endpoint = rig.endpoint().unwrap();
    let view = site.until_status(&endpoint, MinerStatus::AuthNeeded).await;
    assert!(matches!(view.problem.as_deref(), Some(MinerError::AuthNeeded)));

    // As `fleet-agent miner login` does, in a process of its own.
    let key = CredentialKey::Device(endpoint.clone());
    bench.credentials().put(key, Credentials::new("", PASSWORD).unwrap()).unwrap();
    let view = site.until_status(&endpoint, MinerStatus::Mining).await;
    assert!(view.problem.is_none() && view.last_reading.as_ref().unwrap().hashrate_hs.is_some());

    let reports = site.reported();
    let mut discovered = Vec::new();
    let mut changes = Vec::new();
    for report in &reports {
        let Report::Event(event) = report else { continue };
        if let EventKind::Discovered(discovery) = &event.kind {
            discovered.push(&discovery.endpoint);
        }
        if let EventKind::StatusChanged { endpoint: changed, from, to } = &event.kind
            && *changed == endpoint
        {
            changes.push((*from, *to));
        }
    }
    assert_eq!(discovered.len(), 3, "each is discovered once: {discovered:?}");
    let needed = MinerStatus::AuthNeeded;
    assert_eq!(changes, [(None, needed), (Some(needed), MinerStatus::Mining)]);
    assert!(
        reports.iter().any(|report| matches!(report, Report::Sample(sample) if sample.endpoint == endpoint
        && sample.status == needed && sample.hashrate_hs.is_none()))
    );
}

#[tokio::test]
async fn a_miner_without_a_name_is_locked_until_the_password_of_its_address_is_entered() {
    let bench = Bench::new();
    let address = bench.block.address().unwrap();
    let miner = match Antminer::start(address, AntminerConfig::new(1, PASSWORD)).await {
        Ok(miner) => miner,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("SKIPPED: simulated Antminers need port 80, which takes root ({error})\n");
            return io::stderr().write_all(text.as_bytes()).unwrap();
        }
        Err(error) => panic!("{error}"),
    };
    let site = bench.run(|_| {});
    let snapshot = site.until("a locked miner", |snapshot| snapshot.locked.len() == 1).await;
    assert_eq!(snapshot.locked[&miner.address()].make, "Antminer");
    assert!(snapshot.miners.is_empty());

    let key: CredentialKey = format!("at:{address}").parse().unwrap();
    bench.credentials().put(key, Credentials::new("root", PASSWORD).unwrap()).unwrap();
    site.until_status(&miner.endpoint().unwrap(), MinerStatus::Mining).await;
    site.until("no locked miner", |snapshot| snapshot.locked.is_empty()).await;
    assert_eq!(miner.refused_logins(), Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_miner_reads_unreachable_and_is_read_again_when_it_is_back() {
    let bench = Bench::new();
    let miner = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let other = bench.whatsminer(WhatsMinerModel::M50S, 2).await;
    let endpoint = miner.endpoint().unwrap();
    let mut site = bench.run(|_| {});
    site.until_status(&endpoint, MinerStatus::Mining).await;
    site.until_status(&other.endpoint().unwrap(), MinerStatus::Mining).await;

    miner.kill().await;
    let view = site.until_status(&endpoint, MinerStatus::Unreachable).await;
    assert!(matches!(view.problem.as_deref(), Some(MinerError::Unreachable(_))));
    assert!(view.last_reading.is_some(), "the last reading stays to be seen");
    site.reported();
    miner.revive().await.unwrap();
    site.until_status(&endpoint, MinerStatus::Mining).await;
    site.until_status(&other.endpoint().unwrap(), MinerStatus::Mining).await;

    let discoveries = site.reported().into_iter().filter(
        |report| matches!(report, Report::Event(event) if matches!(event.kind, EventKind::Discovered(_))),
    );
    assert_eq!(discoveries.count(), 0, "a miner that comes back is not discovered anew");
}

#[tokio::test]
async fn a_hanging_miner_delays_no_other() {
    let bench = Bench::new();
    let good = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let bad = bench.whatsminer(WhatsMinerModel::M50S, 2).await;
    let mut site = bench.run(|config| config.call_timeout = Duration::from_secs(3));
    site.until_status(&good.endpoint().unwrap(), MinerStatus::Mining).await;
    site.until_status(&bad.endpoint().unwrap(), MinerStatus::Mining).await;

    bad.set_fault(Fault::Hang);
    site.reported();
    site.until_status(&bad.endpoint().unwrap(), MinerStatus::Unreachable).await;
    let endpoint = good.endpoint().unwrap();
    let samples = site.reported().into_iter().filter(|report| {
        matches!(report, Report::Sample(sample) if sample.endpoint == endpoint && sample.hashrate_hs.is_some())
    });
    // About 25 polls fit into the 3 s that the bad one took; a fifth of them is enough on a busy host.
    assert!(samples.count() >= 5);
}

#[tokio::test]
async fn a_miner_is_never_asked_twice_at_once_even_while_scans_go_on() {
    let bench = Bench::new();
    let miner = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let rig = bench.rig(2).await;
    miner.set_latency(Duration::from_millis(3));
    rig.set_latency(Duration::from_millis(3));
    let site = bench.run(|config| {
        config.poll_interval = Duration::from_millis(10);
        config.rescan_interval = Duration::ZERO;
    });
    site.until("ten scans", |snapshot| snapshot.scan.completed >= 10).await;
    site.until_status(&miner.endpoint().unwrap(), MinerStatus::Mining).await;
    miner.kill().await;
    site.until_status(&miner.endpoint().unwrap(), MinerStatus::Unreachable).await;
    miner.revive().await.unwrap();
    site.until_status(&miner.endpoint().unwrap(), MinerStatus::Mining).await;
    assert_eq!((miner.peak_requests(), rig.peak_requests()), (1, 1));
}

#[tokio::test]
async fn an_address_taken_over_is_noticed_and_both_miners_are_known_for_what_they_are() {
    let bench = Bench::new();
    let first = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let (old, address) = (first.endpoint().unwrap(), first.address());
    // Only the mismatch itself may lead to the newcomer: there is no second scan in time.
    let mut site = bench.run(|config| config.rescan_interval = Duration::from_secs(3600));
    site.until_status(&old, MinerStatus::Mining).await;
    site.until("a whole scan", |snapshot| snapshot.scan.completed == 1).await;
    first.kill().await;
    let IpAddr::V4(ip) = address.ip() else { panic!("IPv4 expected") };
    let second =
        WhatsMiner::start(ip, WhatsMinerConfig::new(WhatsMinerModel::M30SPlusPlus, 2)).await.unwrap();
    let new = second.endpoint().unwrap();

    let view = site.until_status(&old, MinerStatus::IdentityMismatch).await;
    let problem = view.problem.as_deref();
    assert!(matches!(problem, Some(MinerError::IdentityMismatch { got: Some(got), .. }) if *got == new));
    site.until_status(&new, MinerStatus::Mining).await;

    // The old one turns up elsewhere, and is the same device still.
    let moved = bench.block.address().unwrap();
    let moved = WhatsMiner::start(moved, WhatsMinerConfig::new(WhatsMinerModel::M50S, 1)).await.unwrap();
    site.handle.rescan();
    let view = site.until_status(&old, MinerStatus::Mining).await;
    assert_eq!(view.info.address, moved.address());
    let misbooked = site.reported().into_iter().any(|report| {
        matches!(report, Report::Sample(sample) if sample.endpoint == old
            && sample.status == MinerStatus::IdentityMismatch && sample.hashrate_hs.is_some())
    });
    assert!(!misbooked);
}

#[tokio::test]
async fn an_identity_claimed_at_two_addresses_gets_no_password_until_one_is_gone() {
    let bench = Bench::new();
    let real = bench.rig(1).await;
    let endpoint = real.endpoint().unwrap();
    let key = CredentialKey::Device(endpoint.clone());
    bench.credentials().put(key, Credentials::new("", PASSWORD).unwrap()).unwrap();
    let site = bench.run(|_| {});
    site.until_status(&endpoint, MinerStatus::Mining).await;

    let impostor = bench.rig(1).await;
    let view = site.until_status(&endpoint, MinerStatus::IdentityMismatch).await;
    let problem = view.problem.as_deref();
    assert!(
        matches!(problem, Some(MinerError::Duplicate { first, second })
        if (*first, *second) == (real.address(), impostor.address())),
        "{problem:?}"
    );
    let scans = site.handle.snapshot().borrow().scan.completed;
    site.until("three more scans", |snapshot| snapshot.scan.completed >= scans + 3).await;
    assert_eq!(impostor.logins(), 0);

    impostor.kill().await;
    let view = site.until_status(&endpoint, MinerStatus::Mining).await;
    assert_eq!(view.info.address, real.address());
}

#[tokio::test]
async fn only_what_is_allowed_is_scanned() {
    let bench = Bench::new();
    let outside = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let inside = bench.whatsminer(WhatsMinerModel::M50S, 2).await;
    let allowed = inside.address().ip().to_string();
    let site = bench.run(|config| config.allowed = AllowList::parse([allowed.as_str()]).unwrap());
    site.until_status(&inside.endpoint().unwrap(), MinerStatus::Mining).await;
    let snapshot = site.until("two scans", |snapshot| snapshot.scan.completed >= 2).await;
    assert_eq!((snapshot.miners.len(), snapshot.scan.addresses), (1, 1));
    assert!(outside.commands().is_empty());
}

#[tokio::test]
async fn a_site_ends_with_the_receiver_of_its_reports_and_leaves_nothing_running() {
    let bench = Bench::new();
    let miner = bench.whatsminer(WhatsMinerModel::M50S, 1).await;
    let site = bench.run(|_| {});
    site.until_status(&miner.endpoint().unwrap(), MinerStatus::Mining).await;
    let Running { reports, _task: mut task, .. } = site;
    drop(reports);
    timeout(Duration::from_secs(5), task.join_next()).await.unwrap().unwrap().unwrap();
    let commands = miner.commands().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(miner.commands().len(), commands, "nothing asks it any more");
}
