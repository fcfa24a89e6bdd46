//! What agents report about miners: samples and events, with their units.
//!
//! A value that a miner does not report is `None`, never zero: a dashboard that sums zeros hides
//! a miner that says nothing.

use crate::endpoint::Endpoint;
use crate::time::UnixMillis;

/// What a miner is doing, as far as the agent can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MinerStatus {
    /// It hashes.
    Mining,
    /// It answers and does not hash: stopped, idle, or starting up.
    Idle,
    /// It does not answer, or nothing in its answer is live.
    Unreachable,
    /// It answers, and wants credentials that the agent does not have.
    AuthNeeded,
    /// It refuses the credentials that the agent has.
    AuthFailed,
    /// It answers, and reports a fault of its own.
    Fault,
    /// Another device answers at its address.
    IdentityMismatch,
}

/// One reading of one miner.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which device, by what it reports of itself.
    pub endpoint: Endpoint,
    /// When it was read, by the agent's clock.
    pub taken_at: UnixMillis,
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

impl Sample {
    /// A sample that says only what state the miner is in.
    #[must_use]
    pub const fn status_only(endpoint: Endpoint, taken_at: UnixMillis, status: MinerStatus) -> Self {
        Self {
            endpoint,
            taken_at,
            status,
            hashrate_hs: None,
            power_w: None,
            efficiency_j_per_th: None,
            temperature_c: None,
            fan_rpm: Vec::new(),
            boards: Vec::new(),
            uptime_s: None,
        }
    }
}

/// One hashboard in a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub struct BoardSample {
    /// Position, counted from 0 as the miner counts.
    pub index: u32,
    /// Hashrate, H/s.
    pub hashrate_hs: Option<f64>,
    /// The board's hottest sensor, °C.
    pub temperature_c: Option<f64>,
    /// Chips that answer.
    pub working_chips: Option<u32>,
}

/// What an agent saw at an address. A discovery claims nothing: the device belongs to nobody
/// until an operator pairs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Which device, by what it reports of itself.
    pub endpoint: Endpoint,
    /// Where it answered: IP address and port, as text. For people; never used to reach it from
    /// the server.
    pub address: String,
    /// Maker, for example `WhatsMiner`.
    pub make: String,
    /// Model, for example `M30S+`.
    pub model: String,
    /// Firmware version, as the miner reports it.
    pub firmware: String,
    /// The serial number, where it is not the endpoint.
    pub serial: Option<String>,
    /// The MAC address, where it is not the endpoint.
    pub mac: Option<[u8; 6]>,
    /// Which driver reads it, for example `proto`.
    pub driver: String,
}

/// What an agent tells the server besides samples.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A miner was seen for the first time since the agent started, or at another address.
    Discovered(Discovery),
    /// A miner's status changed.
    StatusChanged {
        /// Which device.
        endpoint: Endpoint,
        /// What it was, `None` if nothing was known.
        from: Option<MinerStatus>,
        /// What it is.
        to: MinerStatus,
    },
}

/// An event and when it happened, by the agent's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub kind: EventKind,
}
