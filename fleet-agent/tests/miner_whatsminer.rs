//! The driver over asic-rs against simulated WhatsMiners: good ones, dying ones, lying ones.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{net::IpAddr, time::Duration};

use asic_rs::{MinerFactory, core::data::hashrate::HashRateUnit};
use fleet_agent::{
    miner::{
        Detail, Found, MAX_RESPONSE_BYTES, MinerDriver, MinerError, MinerInfo, MinerSession,
        ProtocolViolation, asic::AsicRsDriver,
    },
    sim::{Fault, LoopbackBlock, WhatsMiner, WhatsMinerConfig, WhatsMinerModel},
};
use fleet_core::telemetry::MinerStatus;
use tokio::time::timeout;

struct Bench {
    miner: WhatsMiner,
    driver: AsicRsDriver,
    _block: LoopbackBlock,
}

impl Bench {
    async fn with(model: WhatsMinerModel) -> Self {
        let block = LoopbackBlock::reserve().unwrap();
        let config = WhatsMinerConfig::new(model, 7);
        let miner = WhatsMiner::start(block.address().unwrap(), config).await.unwrap();
        Self { _block: block, miner, driver: AsicRsDriver::new() }
    }

    fn ip(&self) -> IpAddr {
        self.miner.address().ip()
    }

    async fn probe(&self) -> MinerInfo {
        match self.driver.probe(self.ip(), None).await.unwrap() {
            Some(Found::Miner(info)) => info,
            other => panic!("not a miner: {other:?}"),
        }
    }

    async fn session(&self) -> Box<dyn MinerSession> {
        self.driver.open(&self.probe().await, None).await.unwrap()
    }
}

#[tokio::test]
async fn each_model_is_found_and_read() {
    for (model, name, terahashes) in [
        (WhatsMinerModel::M20S, "M20S V10", 68.0),
        (WhatsMinerModel::M30SPlusPlus, "M30S++ VH40", 112.0),
        (WhatsMinerModel::M50S, "M50S VJ10", 126.0),
    ] {
        let bench = Bench::with(model).await;
        bench.miner.set_latency(Duration::from_millis(2));
        let info = bench.probe().await;
        assert_eq!(info.endpoint, bench.miner.endpoint().unwrap());
        assert_eq!((info.make.as_str(), info.model.as_str()), ("WhatsMiner", name));
        assert!(!info.firmware.is_empty());

        let mut session = bench.driver.open(&info, None).await.unwrap();
        let reading = session.read(Detail::Fast).await.unwrap();
        assert_eq!(reading.status, MinerStatus::Mining);
        let rate = reading.hashrate_hs.unwrap() / 1e12;
        assert!((rate / terahashes - 1.0).abs() < 0.03, "{name}: {rate} TH/s");
        assert!((20.0..60.0).contains(&reading.efficiency_j_per_th.unwrap()), "{reading:?}");
        assert!((60.0..100.0).contains(&reading.temperature_c.unwrap()), "{reading:?}");
        assert_eq!(reading.fan_rpm.len(), 2);
        assert_eq!(reading.boards.len(), 3);
        assert!(reading.boards.iter().all(|board| board.working_chips.is_some_and(|chips| chips > 50)));
        assert!(reading.uptime_s.is_some());
        assert_eq!(bench.miner.peak_requests(), 1, "{name}: one call at a time");
    }
}

#[tokio::test]
async fn asic_rs_itself_reads_the_simulated_miner() {
    let bench = Bench::with(WhatsMinerModel::M50S).await;
    let factory = MinerFactory::new().with_nofile_adjustment(false);
    let miner = factory.get_miner(bench.ip()).await.unwrap().unwrap();
    let data = miner.get_data().await;
    let theirs = data.hashrate.unwrap().as_unit(HashRateUnit::Hash).value;
    let ours = bench.session().await.read(Detail::Full).await.unwrap();
    assert!((theirs / ours.hashrate_hs.unwrap() - 1.0).abs() < 0.05, "{theirs} {ours:?}");
    assert!(data.is_mining);
    assert_eq!(data.hashboards.len(), 3);
    assert_eq!(data.pools[0].pools.len(), 2);
}

#[tokio::test]
async fn a_dead_miner_with_a_kept_handle_is_unreachable() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    let theirs =
        MinerFactory::new().with_nofile_adjustment(false).get_miner(bench.ip()).await.unwrap().unwrap();
    let mut ours = bench.session().await;
    bench.miner.kill().await;

    // The trap: asic-rs says that it mines.
    let data = theirs.get_data().await;
    assert!(data.is_mining && data.hashrate.is_none());

    let error = ours.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
    assert_eq!(error.status(), MinerStatus::Unreachable);
    let error = bench.driver.open(&info_of(&bench), None).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
}

/// What a probe would have said, for a miner that cannot be asked any more.
fn info_of(bench: &Bench) -> MinerInfo {
    MinerInfo {
        endpoint: bench.miner.endpoint().unwrap(),
        address: bench.miner.address(),
        make: String::new(),
        model: String::new(),
        firmware: String::new(),
        serial: None,
        mac: None,
        driver: bench.driver.name(),
        certificate: None,
        login_by_address: false,
    }
}

#[tokio::test]
async fn a_miner_that_closes_is_unreachable() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    let mut session = bench.session().await;
    bench.miner.set_fault(Fault::Close);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn rubbish_is_a_protocol_error_and_not_a_reading() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    let mut session = bench.session().await;
    bench.miner.set_fault(Fault::Garbage);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Protocol(ProtocolViolation::Json(_))), "{error:?}");
    assert!(bench.driver.probe(bench.ip(), None).await.is_err());
}

#[tokio::test]
async fn ten_mebibytes_are_not_read() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    let mut session = bench.session().await;
    bench.miner.set_fault(Fault::Flood { bytes: 10 * 1024 * 1024 });
    let too_large = |error: &MinerError| {
        matches!(error, MinerError::Protocol(ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES }))
    };
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(too_large(&error), "{error:?}");
    let error = bench.driver.open(&info_of(&bench), None).await.unwrap_err();
    assert!(too_large(&error), "{error:?}");
}

#[tokio::test]
async fn hanging_and_dripping_miners_are_left_at_the_callers_deadline() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    for fault in [Fault::Hang, Fault::Drip { every: Duration::from_millis(20) }] {
        bench.miner.set_fault(Fault::None);
        let mut session = bench.session().await;
        bench.miner.set_fault(fault);
        let read = timeout(Duration::from_millis(300), session.read(Detail::Fast)).await;
        assert!(read.is_err(), "{fault:?} gave {read:?}");
    }
}

#[tokio::test]
async fn an_address_taken_over_by_another_miner_is_an_identity_mismatch() {
    let bench = Bench::with(WhatsMinerModel::M30SPlusPlus).await;
    let info = bench.probe().await;
    let mut session = bench.driver.open(&info, None).await.unwrap();
    bench.miner.kill().await;
    let IpAddr::V4(address) = bench.ip() else { panic!("IPv4 expected") };
    let other =
        WhatsMiner::start(address, WhatsMinerConfig::new(WhatsMinerModel::M30SPlusPlus, 8)).await.unwrap();

    for error in
        [session.read(Detail::Fast).await.unwrap_err(), bench.driver.open(&info, None).await.unwrap_err()]
    {
        let MinerError::IdentityMismatch { expected, got } = error else { panic!("{error:?}") };
        assert_eq!(expected, info.endpoint);
        assert_eq!(got, Some(other.endpoint().unwrap()));
    }
}

#[tokio::test]
async fn a_stopped_miner_is_idle_and_never_mining() {
    let bench = Bench::with(WhatsMinerModel::M50S).await;
    let mut session = bench.session().await;
    bench.miner.set_mining(false);
    let reading = session.read(Detail::Fast).await.unwrap();
    assert_eq!(reading.status, MinerStatus::Idle);
    assert_eq!(reading.hashrate_hs, Some(0.0));
    assert_eq!(reading.efficiency_j_per_th, None);

    // Without the status command asic-rs takes mining for granted; without hashrate it is not.
    bench.miner.refuse("status");
    assert_eq!(session.read(Detail::Fast).await.unwrap().status, MinerStatus::Idle);
}

#[tokio::test]
async fn a_refused_command_is_not_answered_with_a_default_password() {
    let bench = Bench::with(WhatsMinerModel::M50S).await;
    bench.miner.refuse("get_psu");
    let reading = bench.session().await.read(Detail::Full).await.unwrap();
    assert_eq!(reading.status, MinerStatus::Mining);
    assert!(bench.miner.commands().contains(&"get_psu".to_owned()));
    assert!(!bench.miner.commands().contains(&"open_write_api".to_owned()));

    // The trap: asic-rs by itself tries to unlock the miner by its default password.
    let theirs =
        MinerFactory::new().with_nofile_adjustment(false).get_miner(bench.ip()).await.unwrap().unwrap();
    theirs.get_data().await;
    assert!(bench.miner.commands().contains(&"open_write_api".to_owned()));
}

#[tokio::test]
async fn nothing_at_an_address_is_no_miner() {
    let block = LoopbackBlock::reserve().unwrap();
    let address = IpAddr::V4(block.address().unwrap());
    let error = AsicRsDriver::new().probe(address, None).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
}
