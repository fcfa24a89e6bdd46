//! The native driver of Proto rigs against simulated ones, over HTTP and HTTPS.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{net::IpAddr, time::Duration};

use fleet_agent::{
    miner::{
        Detail, Found, MAX_RESPONSE_BYTES, MinerDriver, MinerError, MinerInfo, ProtocolViolation,
        credentials::Credentials, proto::ProtoDriver,
    },
    sim::{Fault, LoopbackBlock, ProtoRig, ProtoRigConfig, TlsIdentity},
};
use fleet_core::{endpoint::Endpoint, telemetry::MinerStatus};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

const PASSWORD: &str = "correct horse";

struct Bench {
    rig: ProtoRig,
    driver: ProtoDriver,
    _block: LoopbackBlock,
}

fn identity(name: &str) -> TlsIdentity {
    let file = |kind: &str| {
        std::fs::read(format!("{}/tests/miner_data/{name}.{kind}.der", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    TlsIdentity { certificate: file("cert").into(), key: file("key").try_into().unwrap() }
}

fn password() -> Credentials {
    Credentials::new("", PASSWORD).unwrap()
}

impl Bench {
    async fn with(config: ProtoRigConfig) -> Self {
        let block = LoopbackBlock::reserve().unwrap();
        let rig = ProtoRig::start((block.address().unwrap(), 0).into(), config).await.unwrap();
        let driver = ProtoDriver::on_port(rig.address().port());
        Self { _block: block, rig, driver }
    }

    async fn new() -> Self {
        Self::with(ProtoRigConfig::new(7, PASSWORD)).await
    }

    async fn over_tls() -> Self {
        Self::with(ProtoRigConfig { tls: Some(identity("one")), ..ProtoRigConfig::new(7, PASSWORD) }).await
    }

    async fn probe(&self) -> MinerInfo {
        match self.driver.probe(self.rig.address().ip(), None).await.unwrap() {
            Some(Found::Miner(info)) => info,
            other => panic!("not a rig: {other:?}"),
        }
    }

    /// Puts another rig on this one's address.
    async fn replaced_by(&self, config: ProtoRigConfig) -> ProtoRig {
        self.rig.kill().await;
        ProtoRig::start(self.rig.address(), config).await.unwrap()
    }
}

#[tokio::test]
async fn a_rig_is_found_and_read_over_http_and_https() {
    for bench in [Bench::new().await, Bench::over_tls().await] {
        bench.rig.set_latency(Duration::from_millis(2));
        let info = bench.probe().await;
        assert_eq!(info.endpoint, Endpoint::serial("PROTO-SIM-00000007").unwrap());
        assert_eq!(info.address, bench.rig.address());
        assert_eq!(
            (info.make.as_str(), info.model.as_str(), info.firmware.as_str()),
            ("Proto", "Rig", "1.8.0")
        );
        assert_eq!(info.mac, Some([2, 0, 0, 0, 0, 7]));

        let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
        for _ in 0..3 {
            let reading = session.read(Detail::Fast).await.unwrap();
            assert_eq!(reading.status, MinerStatus::Mining);
            let rate = reading.hashrate_hs.unwrap() / 1e12;
            assert!((140.0..150.0).contains(&rate), "{rate} TH/s");
            assert!((3300.0..3500.0).contains(&reading.power_w.unwrap()), "{reading:?}");
            assert!((50.0..62.0).contains(&reading.temperature_c.unwrap()), "{reading:?}");
            assert_eq!((reading.fan_rpm.len(), reading.boards.len()), (4, 4));
        }
        assert_eq!(bench.rig.logins(), 1, "one login serves many readings");
        assert_eq!(bench.rig.peak_requests(), 1, "one call at a time");
    }
}

#[tokio::test]
async fn without_a_password_it_is_auth_needed_then_it_gives_readings() {
    let bench = Bench::new().await;
    let info = bench.probe().await;
    let error = bench.driver.open(&info, None).await.unwrap_err();
    assert!(matches!(error, MinerError::AuthNeeded), "{error:?}");
    assert_eq!(error.status(), MinerStatus::AuthNeeded);

    let wrong = Credentials::new("", "wrong").unwrap();
    let error = bench.driver.open(&info, Some(&wrong)).await.unwrap_err();
    assert!(matches!(error, MinerError::AuthFailed), "{error:?}");

    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    assert_eq!(session.read(Detail::Fast).await.unwrap().status, MinerStatus::Mining);
}

#[tokio::test]
async fn a_default_password_is_said_to_be_one() {
    let bench =
        Bench::with(ProtoRigConfig { default_password: true, ..ProtoRigConfig::new(7, PASSWORD) }).await;
    let info = bench.probe().await;
    let error = bench.driver.open(&info, None).await.unwrap_err();
    assert!(matches!(error, MinerError::DefaultPassword), "{error:?}");
    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::DefaultPassword), "{error:?}");
}

#[tokio::test]
async fn an_expired_token_is_renewed_and_a_changed_password_is_not_guessed() {
    let bench = Bench::new().await;
    let mut session = bench.driver.open(&bench.probe().await, Some(&password())).await.unwrap();
    bench.rig.expire_tokens();
    session.read(Detail::Fast).await.unwrap();
    assert_eq!(bench.rig.logins(), 2);

    bench.rig.set_password("changed by somebody");
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::AuthFailed), "{error:?}");
}

#[tokio::test]
async fn a_stopped_rig_is_idle_and_a_dead_one_unreachable() {
    let bench = Bench::new().await;
    let info = bench.probe().await;
    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    bench.rig.set_mining(false);
    assert_eq!(session.read(Detail::Fast).await.unwrap().status, MinerStatus::Idle);

    bench.rig.kill().await;
    for error in [
        session.read(Detail::Fast).await.unwrap_err(),
        bench.driver.open(&info, Some(&password())).await.unwrap_err(),
    ] {
        assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");
    }
    bench.rig.revive().await.unwrap();
    assert_eq!(session.read(Detail::Fast).await.unwrap().status, MinerStatus::Idle);
}

#[tokio::test]
async fn misbehaving_rigs_give_errors_of_their_own() {
    let bench = Bench::new().await;
    let mut session = bench.driver.open(&bench.probe().await, Some(&password())).await.unwrap();

    bench.rig.set_fault(Fault::Close);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Unreachable(_)), "{error:?}");

    bench.rig.set_fault(Fault::Garbage);
    let error = session.read(Detail::Fast).await.unwrap_err();
    assert!(matches!(error, MinerError::Protocol(ProtocolViolation::Http(_))), "{error:?}");

    bench.rig.set_fault(Fault::Flood { bytes: 10 * 1024 * 1024 });
    let error = session.read(Detail::Fast).await.unwrap_err();
    let too_large = ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES };
    assert_eq!(format!("{error:?}"), format!("{:?}", MinerError::Protocol(too_large)));

    for fault in [Fault::Hang, Fault::Drip { every: Duration::from_millis(20) }] {
        bench.rig.set_fault(fault);
        let read = timeout(Duration::from_millis(300), session.read(Detail::Fast)).await;
        assert!(read.is_err(), "{fault:?} gave {read:?}");
    }

    bench.rig.set_fault(Fault::None);
    session.read(Detail::Fast).await.unwrap();
}

#[tokio::test]
async fn another_rig_on_the_address_gets_no_password() {
    let bench = Bench::new().await;
    let info = bench.probe().await;
    let mut session = bench.driver.open(&info, Some(&password())).await.unwrap();
    let other = bench.replaced_by(ProtoRigConfig::new(8, PASSWORD)).await;
    for error in [
        session.read(Detail::Fast).await.unwrap_err(),
        bench.driver.open(&info, Some(&password())).await.unwrap_err(),
    ] {
        let MinerError::IdentityMismatch { expected, got } = error else { panic!("{error:?}") };
        assert_eq!((expected, got), (info.endpoint.clone(), Some(other.endpoint().unwrap())));
    }
    assert_eq!(other.logins(), 0);
}

#[tokio::test]
async fn another_certificate_gets_no_password() {
    let bench = Bench::over_tls().await;
    let info = bench.probe().await;
    assert!(info.certificate.is_some());
    let pinned = password().pinned_to(info.certificate);
    let mut session = bench.driver.open(&info, Some(&pinned)).await.unwrap();

    let impostor = ProtoRigConfig { tls: Some(identity("two")), ..ProtoRigConfig::new(7, PASSWORD) };
    let impostor = bench.replaced_by(impostor).await;
    let found_now = bench.probe().await;
    assert_eq!(found_now.endpoint, info.endpoint);
    for error in [
        session.read(Detail::Fast).await.unwrap_err(),
        bench.driver.open(&info, Some(&password())).await.unwrap_err(),
        bench.driver.open(&found_now, Some(&pinned)).await.unwrap_err(),
    ] {
        let MinerError::CertificateMismatch { expected, got } = error else { panic!("{error:?}") };
        assert_eq!((Some(expected), got), (info.certificate, found_now.certificate));
    }
    assert_eq!(impostor.logins(), 0);
}

#[tokio::test]
async fn a_rig_that_was_seen_over_tls_is_not_read_without() {
    let bench = Bench::over_tls().await;
    let info = bench.probe().await;
    let pinned = password().pinned_to(info.certificate);
    let plain = bench.replaced_by(ProtoRigConfig::new(7, PASSWORD)).await;
    let error = bench.driver.open(&info, Some(&pinned)).await.unwrap_err();
    assert!(matches!(error, MinerError::Protocol(ProtocolViolation::Tls(_))), "{error:?}");
    let found_now = bench.probe().await;
    assert_eq!(found_now.certificate, None);
    let error = bench.driver.open(&found_now, Some(&pinned)).await.unwrap_err();
    assert!(matches!(error, MinerError::CertificateMismatch { got: None, .. }), "{error:?}");
    assert_eq!(plain.logins(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = bench.rig.address();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{target}/api/v1/pairing/info\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let found = ProtoDriver::on_port(address.port()).probe(address.ip(), None).await.unwrap();
    assert_eq!(found, None);
    assert_eq!(bench.rig.peak_requests(), 0);
}

#[tokio::test]
async fn a_rig_without_a_usable_serial_is_an_error() {
    let bench =
        Bench::with(ProtoRigConfig { serial: "two\nlines".into(), ..ProtoRigConfig::new(7, PASSWORD) }).await;
    let error = bench.driver.probe(bench.rig.address().ip(), None).await.unwrap_err();
    assert!(
        matches!(error, MinerError::Protocol(ProtocolViolation::Missing { field: "cb_sn" })),
        "{error:?}"
    );
}
