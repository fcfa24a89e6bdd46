//! The seam that every family of miners implements.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use fleet_core::{
    endpoint::Endpoint,
    future::BoxFuture,
    telemetry::{BoardSample, Discovery, MinerStatus, Sample},
    time::UnixMillis,
};
use sha2::{Digest, Sha256};

use super::{MinerError, credentials::Credentials};

/// What a driver's asynchronous methods return.
pub type MinerFuture<'a, T> = BoxFuture<'a, Result<T, MinerError>>;

/// One family of miners.
///
/// The caller bounds every call with a deadline of its own by dropping the future, and makes one
/// call at a time per address. An implementation that breaks the rules of the
/// [module](super) page, above all identity before use, lets one miner's values be booked on
/// another, or a password go to a stranger.
pub trait MinerDriver: fmt::Debug + Send + Sync {
    /// The driver's name as discoveries carry it, for example `proto`.
    fn name(&self) -> &'static str;

    /// The TCP ports that its miners listen on. A scan asks the driver about an address only if
    /// one of them is open.
    fn ports(&self) -> Vec<u16>;

    /// Asks what answers at `address`. `None` is "no miner of mine". `credentials` are those
    /// entered for the address itself, for miners that say nothing before a login.
    ///
    /// # Errors
    /// [`MinerError`], if something of this family answers and cannot be identified. An address
    /// where nothing of this family answers is no error.
    ///
    /// # Cancel safety
    /// Dropped at the caller's deadline: whatever was opened must close. The future is `Send`; it must not
    /// panic. A panic is caught, and counts as a miner that does not answer.
    fn probe<'a>(
        &'a self,
        address: IpAddr,
        credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Option<Found>>;

    /// Opens a session with a miner that a probe found, and checks that it is still that miner.
    ///
    /// # Errors
    /// [`MinerError`]; [`MinerError::AuthNeeded`] without credentials where they are needed.
    ///
    /// # Cancel safety
    /// As [`MinerDriver::probe`].  The future is `Send`; it must not panic.
    fn open<'a>(
        &'a self,
        miner: &'a MinerInfo,
        credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Box<dyn MinerSession>>;
}

/// A session with one miner.
pub trait MinerSession: fmt::Debug + Send {
    /// Reads the miner. Its identity is part of what is read: values of another device are never
    /// returned.
    ///
    /// # Errors
    /// [`MinerError`]; the session is then to be dropped and opened again.
    ///
    /// # Cancel safety
    /// Dropped at the caller's deadline, and the session with it. The future is `Send`; it must not panic.
    fn read(&mut self, detail: Detail) -> MinerFuture<'_, Reading>;
}

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// What changes from one poll to the next: hashrate, power, temperatures, fans, status.
    Fast,
    /// Everything a [`Reading`] can hold.
    Full,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A miner that says who it is.
    Miner(MinerInfo),
    /// A miner that says nothing about itself before a login. Its credentials are entered for the
    /// address, as it has no other name yet.
    Locked {
        /// Where it answers.
        address: SocketAddr,
        /// Its maker, as far as that can be told, for example `Antminer`.
        make: String,
        /// Credentials were tried and refused.
        refused: bool,
    },
}

/// A miner as it was found: who it is and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerInfo {
    /// Who it is; fixed at discovery (protocol section 9).
    pub endpoint: Endpoint,
    /// Where it answers.
    pub address: SocketAddr,
    /// Maker, for example `WhatsMiner`.
    pub make: String,
    /// Model, for example `M30S+ VE40`.
    pub model: String,
    /// Firmware version as the miner reports it; empty if it does not.
    pub firmware: String,
    /// The serial number, where it is not the endpoint.
    pub serial: Option<String>,
    /// The MAC address, where it is not the endpoint.
    pub mac: Option<[u8; 6]>,
    /// The name of the driver that found it.
    pub driver: &'static str,
    /// The TLS certificate it showed, where it was found over TLS. It is pinned from then on.
    pub certificate: Option<CertificateFingerprint>,
    /// It says who it is only after a login, so that the credentials of its address may be used
    /// for it as well as its own.
    pub login_by_address: bool,
}

impl MinerInfo {
    /// What the server is told about it.
    #[must_use]
    pub fn discovery(&self) -> Discovery {
        Discovery {
            endpoint: self.endpoint.clone(),
            address: self.address.to_string(),
            make: self.make.clone(),
            model: self.model.clone(),
            firmware: self.firmware.clone(),
            serial: self.serial.clone(),
            mac: self.mac,
            driver: self.driver.to_owned(),
        }
    }
}

/// The values of one reading. What the miner does not report is `None` or empty, never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it is doing.
    pub status: MinerStatus,
    /// Hashrate, H/s.
    pub hashrate_hs: Option<f64>,
    /// Power drawn, W.
    pub power_w: Option<f64>,
    /// Energy for each 10^12 hashes, J/TH.
    pub efficiency_j_per_th: Option<f64>,
    /// The hottest sensor on a hashboard or chip, °C.
    pub temperature_c: Option<f64>,
    /// Fan speeds, RPM, in the miner's own order.
    pub fan_rpm: Vec<u32>,
    /// Hashboards, in the miner's own order.
    pub boards: Vec<BoardSample>,
    /// Time since the miner (or its mining software) started, s.
    pub uptime_s: Option<u64>,
}

impl Reading {
    /// Whether anything in it comes from a miner that runs. A reading without is never returned by
    /// a driver.
    pub(super) fn is_live(&self) -> bool {
        self.hashrate_hs.is_some()
            || self.power_w.is_some()
            || self.uptime_s.is_some()
            || !self.fan_rpm.is_empty()
            || self.boards.iter().any(|board| board.hashrate_hs.is_some() || board.temperature_c.is_some())
    }

    /// The reading as a sample of `endpoint`.
    #[must_use]
    pub fn into_sample(self, endpoint: Endpoint, taken_at: UnixMillis) -> Sample {
        Sample {
            endpoint,
            taken_at,
            status: self.status,
            hashrate_hs: self.hashrate_hs,
            power_w: self.power_w,
            efficiency_j_per_th: self.efficiency_j_per_th,
            temperature_c: self.temperature_c,
            fan_rpm: self.fan_rpm,
            boards: self.boards,
            uptime_s: self.uptime_s,
        }
    }
}

/// J/TH from power and hashrate; `None` where nothing is hashed.
pub(super) fn efficiency(power_w: Option<f64>, hashrate_hs: Option<f64>) -> Option<f64> {
    let hashrate_ths = hashrate_hs? / 1e12;
    (hashrate_ths > 0.0).then_some(power_w? / hashrate_ths)
}

/// The largest finite value.
pub(super) fn hottest(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    values.into_iter().filter(|value| value.is_finite()).reduce(f64::max)
}

/// The SHA-256 of a TLS certificate's DER encoding, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateFingerprint([u8; 32]);

/// The text is no certificate fingerprint: it must be 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate fingerprint is 64 hex digits")]
pub struct CertificateFingerprintError;

impl CertificateFingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CertificateFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CertificateFingerprint {
    type Err = CertificateFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| CertificateFingerprintError)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_needs_a_hashrate_above_zero() {
        assert_eq!(efficiency(Some(3000.0), Some(100e12)), Some(30.0));
        assert_eq!(efficiency(Some(3000.0), Some(0.0)), None);
        assert_eq!(efficiency(Some(3000.0), None), None);
        assert_eq!(efficiency(None, Some(1e12)), None);
    }

    #[test]
    fn the_hottest_sensor_ignores_nonsense() {
        assert_eq!(hottest([60.0, f64::NAN, 71.5, f64::INFINITY]), Some(71.5));
        assert_eq!(hottest([]), None);
    }
}
