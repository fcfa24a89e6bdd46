//! The simulated Proto rig read by somebody else's reader, and both readers compared. That reader
//! knows port 80 only, which takes root: without it the test says that it was skipped.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use asic_rs::{
    MinerFactory,
    core::{data::hashrate::HashRateUnit, traits::auth::MinerAuth},
};
use asic_rs_firmwares_proto::firmware::ProtoFirmware;
use fleet_agent::{
    miner::{Detail, Found, MinerDriver, credentials::Credentials, proto::ProtoDriver},
    sim::{LoopbackBlock, ProtoRig, ProtoRigConfig},
};
use fleet_core::endpoint::Endpoint;

const PASSWORD: &str = "correct horse";

#[tokio::test]
async fn another_reader_sees_the_same_rig() {
    let block = LoopbackBlock::reserve().unwrap();
    let address = block.address().unwrap();
    let rig = match ProtoRig::start((address, 80).into(), ProtoRigConfig::new(7, PASSWORD)).await {
        Ok(rig) => rig,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("SKIPPED: the other reader needs port 80, which takes root ({error})\n");
            return io::stderr().write_all(text.as_bytes()).unwrap();
        }
        Err(error) => panic!("{error}"),
    };

    let firmware = ProtoFirmware::default();
    let factory = MinerFactory::new()
        .with_nofile_adjustment(false)
        .with_firmware_discovery_auth(&firmware, MinerAuth::new("", PASSWORD))
        .with_firmwares(vec![Arc::new(ProtoFirmware::default())]);
    let theirs = factory.get_miner(address.into()).await.unwrap().unwrap().get_data().await;

    let driver = ProtoDriver::new();
    let Some(Found::Miner(info)) = driver.probe(address.into(), None).await.unwrap() else {
        panic!("not found")
    };
    let credentials = Credentials::new("", PASSWORD).unwrap();
    let mut session = driver.open(&info, Some(&credentials)).await.unwrap();
    let ours = session.read(Detail::Full).await.unwrap();

    assert_eq!(rig.endpoint().unwrap(), Endpoint::serial(theirs.serial_number.unwrap()).unwrap());
    assert_eq!(info.mac.unwrap(), theirs.mac.unwrap().as_bytes());
    assert_eq!(info.firmware, theirs.firmware_version.unwrap());
    assert!(theirs.is_mining);
    // The readings are a moment apart, and vary.
    let close = |ours: f64, theirs: f64| assert!((ours / theirs - 1.0).abs() < 0.06, "{ours} {theirs}");
    close(ours.hashrate_hs.unwrap(), theirs.hashrate.unwrap().as_unit(HashRateUnit::Hash).value);
    close(ours.power_w.unwrap(), theirs.wattage.unwrap().as_watts());
    assert_eq!((ours.fan_rpm.len(), ours.boards.len()), (theirs.fans.len(), theirs.hashboards.len()));
    for (ours, theirs) in ours.boards.iter().zip(&theirs.hashboards) {
        close(ours.hashrate_hs.unwrap(), theirs.hashrate.clone().unwrap().as_unit(HashRateUnit::Hash).value);
        close(ours.temperature_c.unwrap(), theirs.outlet_chip_temperature.unwrap().as_celsius());
    }
}
