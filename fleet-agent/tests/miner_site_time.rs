//! A site's timing, in virtual time, over a driver of the test's own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use fleet_agent::{
    miner::{
        Detail, Found, MinerDriver, MinerError, MinerFuture, MinerInfo, MinerSession, Reading,
        credentials::{CredentialError, CredentialKey, CredentialLookup, Credentials},
        scan::AllowList,
        site::{Report, Site, SiteConfig, SiteHandle},
    },
    sim::LoopbackBlock,
};
use fleet_core::{
    endpoint::Endpoint,
    telemetry::{EventKind, MinerStatus},
    time::{Clock, Monotonic, UnixMillis},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

const PORT: u16 = 4028;

/// How the miner behaves now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Hanging,
    Panicking,
}

/// Finds one miner at every address and reads it as its mood is.
#[derive(Debug, Clone)]
struct Stub {
    mood: Arc<Mutex<Mood>>,
}

impl Stub {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

impl MinerDriver for Stub {
    fn name(&self) -> &'static str {
        "stub"
    }

    fn ports(&self) -> Vec<u16> {
        vec![PORT]
    }

    fn probe<'a>(&'a self, address: IpAddr, _: Option<&'a Credentials>) -> MinerFuture<'a, Option<Found>> {
        Box::pin(async move {
            Ok(Some(Found::Miner(MinerInfo {
                endpoint: Endpoint::serial(address.to_string()).unwrap(),
                address: SocketAddr::new(address, PORT),
                make: "Stub".into(),
                model: "One".into(),
                firmware: String::new(),
                serial: None,
                mac: None,
                driver: "stub",
                certificate: None,
                login_by_address: false,
            })))
        })
    }

    fn open<'a>(
        &'a self,
        _: &'a MinerInfo,
        _: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Box<dyn MinerSession>> {
        Box::pin(async move { Ok(Box::new(self.clone()) as Box<dyn MinerSession>) })
    }
}

impl MinerSession for Stub {
    fn read(&mut self, _: Detail) -> MinerFuture<'_, Reading> {
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Good => Ok(Reading {
                    status: MinerStatus::Mining,
                    hashrate_hs: Some(1e14),
                    power_w: None,
                    efficiency_j_per_th: None,
                    temperature_c: None,
                    fan_rpm: Vec::new(),
                    boards: Vec::new(),
                    uptime_s: None,
                }),
                Mood::Hanging => std::future::pending().await,
                Mood::Panicking => panic!("a driver's mistake"),
            }
        })
    }
}

#[derive(Debug)]
struct NoCredentials;

impl CredentialLookup for NoCredentials {
    fn lookup(&self, _: &CredentialKey) -> Result<Option<Credentials>, CredentialError> {
        Ok(None)
    }
}

#[derive(Debug)]
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::EPOCH.saturating_add(self.0.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::new(self.0.elapsed())
    }
}

struct Bench {
    stub: Stub,
    handle: SiteHandle,
    reports: mpsc::Receiver<Report>,
    _task: JoinSet<()>,
    _port: TcpListener,
    _block: LoopbackBlock,
}

impl Bench {
    /// A site with its default intervals and one miner.
    fn start(capacity: usize) -> Self {
        let block = LoopbackBlock::reserve().unwrap();
        let address = block.address().unwrap();
        // A scan asks the driver only where its port is open.
        let port = TcpListener::bind((address, PORT)).unwrap();
        let stub = Stub { mood: Arc::new(Mutex::new(Mood::Good)) };
        let config = SiteConfig::new(AllowList::parse([address.to_string().as_str()]).unwrap());
        let (sender, reports) = mpsc::channel(capacity);
        let clock = Arc::new(VirtualClock(Instant::now()));
        let site = Site::new(config, vec![Arc::new(stub.clone())], Arc::new(NoCredentials), clock, sender);
        let handle = site.handle();
        let mut task = JoinSet::new();
        task.spawn(site.run());
        Self { stub, handle, reports, _task: task, _port: port, _block: block }
    }

    /// How long it took until the miner reads `status`.
    async fn until(&self, status: MinerStatus) -> Duration {
        let started = Instant::now();
        let mut snapshot = self.handle.snapshot();
        let seen =
            snapshot.wait_for(|snapshot| snapshot.miners.values().any(|miner| miner.status == Some(status)));
        timeout(Duration::from_secs(600), seen).await.unwrap().unwrap();
        started.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_miner_that_hangs_reads_unreachable_within_ten_seconds_whenever_it_begins() {
    let bench = Bench::start(100_000);
    bench.until(MinerStatus::Mining).await;
    for begins_after_ms in [0, 1, 1_300, 2_500, 4_900, 4_999, 5_000] {
        tokio::time::sleep(Duration::from_millis(begins_after_ms)).await;
        bench.stub.set(Mood::Hanging);
        let took = bench.until(MinerStatus::Unreachable).await;
        assert!(took <= Duration::from_secs(10), "{took:?} after {begins_after_ms} ms");
        bench.stub.set(Mood::Good);
        bench.until(MinerStatus::Mining).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_loses_one_reading_and_no_more() {
    let bench = Bench::start(100_000);
    bench.until(MinerStatus::Mining).await;
    bench.stub.set(Mood::Panicking);
    bench.until(MinerStatus::Unreachable).await;
    let snapshot = bench.handle.snapshot().borrow().clone();
    let miner = snapshot.miners.values().next().unwrap();
    assert!(matches!(miner.problem.as_deref(), Some(MinerError::Panicked)));
    bench.stub.set(Mood::Good);
    bench.until(MinerStatus::Mining).await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_keep_up_loses_samples_and_no_events() {
    let mut bench = Bench::start(1);
    bench.until(MinerStatus::Mining).await;
    // Nobody takes reports: 1 in the channel and 4096 waiting, then samples are thrown away.
    tokio::time::sleep(Duration::from_secs(5 * 5000)).await;
    bench.stub.set(Mood::Hanging);
    bench.until(MinerStatus::Unreachable).await;
    let dropped = bench.handle.snapshot().borrow().dropped_samples;
    assert!((850..950).contains(&dropped), "{dropped}");

    bench.stub.set(Mood::Good);
    let mut changes = Vec::new();
    while changes.len() < 3 {
        if let Some(Report::Event(event)) = bench.reports.recv().await
            && let EventKind::StatusChanged { to, .. } = event.kind
        {
            changes.push(to);
        }
    }
    assert_eq!(changes, [MinerStatus::Mining, MinerStatus::Unreachable, MinerStatus::Mining]);
}
