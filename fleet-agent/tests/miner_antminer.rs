//! The driver over asic-rs against simulated Antminers. They need port 80, which takes root or a
//! network namespace of one's own (`unshare --user --map-root-user --net`, then `ip link set lo up`):
//! without it each test says that it was skipped.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    io::{self, Write as _},
    net::IpAddr,
    time::Duration,
};

use asic_rs::MinerFactory;
use fleet_agent::{
    miner::{
        Detail, Found, MAX_RESPONSE_BYTES, MinerDriver, MinerError, MinerInfo, ProtocolViolation,
        asic::AsicRsDriver, credentials::Credentials,
    },
    sim::{Antminer, AntminerConfig, Fault, LoopbackBlock},
};
use fleet_core::telemetry::MinerStatus;
use tokio::time::timeout;

const PASSWORD: &str = "not the default";

struct Bench {
    miner: Antminer,
    driver: AsicRsDriver,
    _block: LoopbackBlock,
}

fn password() -> Credentials {
    Credentials::new("", PASSWORD).unwrap()
}

impl Bench {
    /// `None`, out loud, where port 80 may not be used.
    async fn new() -> Option<Self> {
        let block = LoopbackBlock::reserve().unwrap();
        let address = block.address().unwrap();
        match Antminer::start(address, AntminerConfig::new(7, PASSWORD)).await {
            Ok(miner) => Some(Self { miner, driver: AsicRsDriver::new(), _block: block }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // Not eprintln!, which is shown only for tests that fail.
                let text = format!("SKIPPED: simulated Antminers need port 80, which takes root ({error})\n");
                io::stderr().write_all(text.as_bytes()).unwrap();
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn probe(&self, credentials: Option<&Credentials>) -> Option<Found> {
        self.driver.probe(self.miner.ip(), credentials).await.unwrap()
    }

    async fn identified(&self) -> MinerInfo {
        match self.probe(Some(&password())).await {
            Some(Found::Miner(info)) => info,
            other => panic!("not identified: {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_that_wants_a_password_is_auth_needed_and_no_default_is_tried() {
    let Some(bench) = Bench::new().await else { return };
    let locked =
        |refused| Some(Found::Locked { address: bench.miner.address(), make: "Antminer".into(), refused });
    assert_eq!(bench.probe(None).await, locked(false));
    assert_eq!(bench.miner.refused_logins(), Vec::<String>::new());

    // The trap: to asic-rs by itself there is no miner, after it has tried the default password.
    let factory = MinerFactory::new().with_nofile_adjustment(false);
    assert!(factory.get_miner(bench.miner.ip()).await.unwrap().is_none());
    assert_eq!(bench.miner.refused_logins()[..1], ["root"]);

    let wrong = Credentials::new("", "wrong").unwrap();
    assert_eq!(bench.probe(Some(&wrong)).await, locked(true));
}

#[tokio::test]
async fn with_its_password_it_is_identified_and_read() {
    let Some(bench) = Bench::new().await else { return };
    bench.miner.set_latency(Duration::from_millis(2));
    let info = bench.identified().await;
    assert_eq!(info.endpoint, bench.miner.endpoint().unwrap());
    assert_eq!((info.make.as_str(), info.model.as_str()), ("Antminer", "S19Pro"));
    assert_eq!(info.serial.as_deref(), Some("SMTTSIM00000007"));
    assert!(info.login_by_address);

    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    let reading = session.read(Detail::Fast).await.unwrap();
    assert_eq!(reading.status, MinerStatus::Mining);
    assert!((107.0..113.0).contains(&(reading.hashrate_hs.unwrap() / 1e12)), "{reading:?}");
    assert!((3200.0..3300.0).contains(&reading.power_w.unwrap()), "{reading:?}");
    assert!((40.0..80.0).contains(&reading.temperature_c.unwrap()), "{reading:?}");
    assert_eq!((reading.fan_rpm.len(), reading.boards.len()), (4, 3));
    assert_eq!(bench.miner.peak_requests(), 1, "one call at a time");

    bench.miner.set_mining(false);
    assert_eq!(session.read(Detail::Fast).await.unwrap().status, MinerStatus::Idle);
    let error = bench.driver.open(&info, None).await.unwrap_err();
    assert!(matches!(error, MinerError::AuthNeeded), "{error:?}");
}

#[tokio::test]
async fn misbehaving_ones_give_errors_of_their_own() {
    let Some(bench) = Bench::new().await else { return };
    let info = bench.identified().await;
    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();

    bench.miner.set_fault(Fault::Close);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");

    bench.miner.set_fault(Fault::Garbage);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Protocol(_)), "{error:?}");

    bench.miner.set_fault(Fault::Flood { bytes: 10 * 1024 * 1024 });
    let error = session.read(Detail::Fast).await.unwrap_err();
    let too_large = ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES };
    assert_eq!(format!("{error:?}"), format!("{:?}", MinerError::Protocol(too_large)));

    for fault in [Fault::Hang, Fault::Drip { every: Duration::from_millis(20) }] {
        bench.miner.set_fault(fault);
        let read = timeout(Duration::from_millis(300), session.read(Detail::Fast)).await;
        assert!(read.is_err(), "{fault:?} gave {read:?}");
    }

    bench.miner.kill().await;
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn another_antminer_on_the_address_is_an_identity_mismatch_or_refuses_the_password() {
    let Some(bench) = Bench::new().await else { return };
    let info = bench.identified().await;
    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    bench.miner.kill().await;
    let IpAddr::V4(address) = bench.miner.ip() else { panic!("IPv4 expected") };

    let stranger = Antminer::start(address, AntminerConfig::new(8, "its own")).await.unwrap();
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::AuthFailed), "{error:?}");
    stranger.kill().await;

    let sibling = Antminer::start(address, AntminerConfig::new(8, PASSWORD)).await.unwrap();
    let error = session.read(Detail::Fast).await.unwrap_err();
    let MinerError::IdentityMismatch { expected, got } = error else { panic!("{error:?}") };
    assert_eq!((expected, got), (info.endpoint, Some(sibling.endpoint().unwrap())));
}
