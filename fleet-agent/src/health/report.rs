//! What the page shows, gathered at the moment it is asked for.

use std::sync::Arc;

use fleet_core::{
    telemetry::{Event, MinerStatus, Sample},
    time::{Clock, UnixMillis},
};
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    gateway::AGENT_VERSION,
    keeper::{SessionHandle, SessionState},
    miner::site::{MinerView, SiteSnapshot},
    spool::{Depth, Spool},
    state::PublicState,
};

/// Where a report's values come from.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "whoever builds one must give everything")]
pub struct HealthSource {
    /// Who the agent is.
    pub identity: PublicState,
    /// Whether it has a session.
    pub sessions: SessionHandle,
    /// When the server last took a heartbeat.
    pub heartbeat: watch::Receiver<Option<UnixMillis>>,
    /// Whether the control stream is open.
    pub control: watch::Receiver<bool>,
    /// Samples that wait.
    pub telemetry: Arc<Spool<Sample>>,
    /// Events that wait.
    pub events: Arc<Spool<Event>>,
    /// The miners.
    pub site: watch::Receiver<SiteSnapshot>,
    /// The agent's clock.
    pub clock: Arc<dyn Clock>,
}

/// How the agent is. The names of `/health.json`.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The agent's name.
    pub agent: String,
    /// Its version.
    pub version: &'static str,
    /// Its organization's name.
    pub organization: Option<String>,
    /// Its id.
    pub agent_id: Option<i64>,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The server's URL.
    pub server: String,
    /// Whether it has a session.
    pub online: bool,
    /// Why not.
    pub problem: Option<String>,
    /// Whether the control stream is open.
    pub control_stream_open: bool,
    /// How long ago the server took a heartbeat, s.
    pub last_heartbeat_age_s: Option<u64>,
    /// Samples that wait to be uploaded.
    pub telemetry: SpoolHealth,
    /// Events that wait to be uploaded.
    pub events: SpoolHealth,
    /// Scans of the network that are complete.
    pub scans_completed: u64,
    /// How long the last one took, s.
    pub last_scan_duration_s: f64,
    /// How many addresses it covered.
    pub last_scan_addresses: u64,
    /// Samples thrown away because the agent was too slow to take them.
    pub dropped_samples: u64,
    /// The miners.
    pub miners: Vec<MinerHealth>,
    /// Miners that say nothing before a login.
    pub locked: Vec<LockedHealth>,
}

/// One spool.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SpoolHealth {
    /// Items that wait.
    pub waiting: u64,
    /// Items that the server has.
    pub delivered: u64,
    /// Items thrown away because the spool was full.
    pub dropped: u64,
    /// Items thrown away because the server refused their message.
    pub refused: u64,
}

/// One miner.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MinerHealth {
    /// Who it is.
    pub endpoint: String,
    /// Where it answers.
    pub address: String,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Firmware version.
    pub firmware: String,
    /// What it is doing.
    pub status: &'static str,
    /// Why there is no reading.
    pub problem: Option<String>,
    /// Hashrate, TH/s; of a miner that answers.
    pub hashrate_ths: Option<f64>,
    /// Power, W; of a miner that answers.
    pub power_w: Option<f64>,
    /// The hottest sensor, °C; of a miner that answers.
    pub temperature_c: Option<f64>,
    /// How old the last reading is, s.
    pub reading_age_s: Option<u64>,
}

/// One miner without a name.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LockedHealth {
    /// Where it answers.
    pub address: String,
    /// Maker.
    pub make: String,
    /// The stored password was refused.
    pub refused: bool,
}

impl HealthSource {
    /// The report of this moment.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        let now = self.clock.now();
        let (online, problem) = match self.sessions.state() {
            SessionState::Online(_) => (true, None),
            SessionState::Offline { problem } => (false, problem.map(|text| text.to_string())),
        };
        let site = self.site.borrow().clone();
        HealthReport {
            agent: self.identity.name.as_str().to_owned(),
            version: AGENT_VERSION,
            organization: self.identity.organization().map(|name| name.as_str().to_owned()),
            agent_id: self.identity.agent_id.map(fleet_core::id::AgentId::value),
            fingerprint: self.identity.fingerprint().to_string(),
            server: self.identity.server.to_string(),
            online,
            problem,
            control_stream_open: *self.control.borrow(),
            last_heartbeat_age_s: self.heartbeat.borrow().map(|at| now.since(at).as_secs()),
            telemetry: self.telemetry.depth().into(),
            events: self.events.depth().into(),
            scans_completed: site.scan.completed,
            last_scan_duration_s: site.scan.took.as_secs_f64(),
            last_scan_addresses: site.scan.addresses,
            dropped_samples: site.dropped_samples,
            miners: site.miners.values().map(|miner| MinerHealth::of(miner, now)).collect(),
            locked: site
                .locked
                .into_iter()
                .map(|(address, view)| LockedHealth {
                    address: address.to_string(),
                    make: view.make,
                    refused: view.refused,
                })
                .collect(),
        }
    }
}

impl MinerHealth {
    fn of(miner: &MinerView, now: UnixMillis) -> Self {
        let answers =
            matches!(miner.status, Some(MinerStatus::Mining | MinerStatus::Idle | MinerStatus::Fault));
        // What a miner said before it went away must not pass for what it does now.
        let current = miner.last_reading.as_ref().filter(|_| answers);
        Self {
            endpoint: miner.info.endpoint.to_string(),
            address: miner.info.address.to_string(),
            make: miner.info.make.clone(),
            model: miner.info.model.clone(),
            firmware: miner.info.firmware.clone(),
            status: miner.status.map_or("not read yet", describe),
            problem: miner.problem.as_ref().map(ToString::to_string),
            hashrate_ths: current.and_then(|reading| reading.hashrate_hs).map(|hs| hs / 1e12),
            power_w: current.and_then(|reading| reading.power_w),
            temperature_c: current.and_then(|reading| reading.temperature_c),
            reading_age_s: miner.last_reading.as_ref().map(|reading| now.since(reading.taken_at).as_secs()),
        }
    }
}

impl From<Depth> for SpoolHealth {
    fn from(depth: Depth) -> Self {
        let Depth { waiting, delivered, dropped, refused } = depth;
        Self { waiting, delivered, dropped, refused }
    }
}

const fn describe(status: MinerStatus) -> &'static str {
    match status {
        MinerStatus::Mining => "mining",
        MinerStatus::Idle => "idle",
        MinerStatus::Unreachable => "unreachable",
        MinerStatus::AuthNeeded => "needs a password",
        MinerStatus::AuthFailed => "password refused",
        MinerStatus::Fault => "fault",
        MinerStatus::IdentityMismatch => "another device",
        _ => "unknown",
    }
}
