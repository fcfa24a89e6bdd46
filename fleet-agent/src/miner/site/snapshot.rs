//! What a site sees at this moment, for health pages and listings.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use fleet_core::{
    endpoint::Endpoint,
    telemetry::{MinerStatus, Sample},
    time::UnixMillis,
};

use crate::miner::{MinerError, MinerInfo};

/// Everything a site sees.
#[derive(Debug, Clone, Default)]
pub struct SiteSnapshot {
    /// The miners that were found since the site started, also those that are gone.
    pub miners: BTreeMap<Endpoint, Arc<MinerView>>,
    /// Miners that say nothing about themselves before a login.
    pub locked: BTreeMap<SocketAddr, LockedView>,
    /// How far scanning is.
    pub scan: ScanView,
    /// Samples that were thrown away because nobody took the reports.
    pub dropped_samples: u64,
}

/// One miner.
#[derive(Debug, Clone)]
pub struct MinerView {
    /// Who it is and where it answers.
    pub info: MinerInfo,
    /// What it is doing; `None` until it was first polled.
    pub status: Option<MinerStatus>,
    /// Since when the status is what it is.
    pub since: UnixMillis,
    /// Why there is no reading, if the last poll gave none.
    pub problem: Option<Arc<MinerError>>,
    /// The last reading that there was, which may be old.
    pub last_reading: Option<Sample>,
}

/// A miner without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedView {
    /// Its maker, as far as that can be told.
    pub make: String,
    /// Credentials were tried and refused.
    pub refused: bool,
}

/// How far scanning is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanView {
    /// How many scans are complete.
    pub completed: u64,
    /// When the last one was.
    pub finished_at: Option<UnixMillis>,
    /// How long it took.
    pub took: Duration,
    /// How many addresses it covered.
    pub addresses: u64,
}
