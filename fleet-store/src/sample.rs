//! Samples as rows, and back.

use core::ops::RangeInclusive;

use fleet_core::endpoint::Endpoint;
use fleet_core::telemetry::{BoardSample, MinerStatus, Sample};
use fleet_core::time::UnixMillis;
use sea_orm::ActiveValue::{NotSet, Set};
use serde::{Deserialize, Serialize};

use crate::decode::Columns;
use crate::entity::{telemetry, telemetry_latest};
use crate::error::{DecodeError, UnsupportedValue};

/// H/s: a thousand times what all miners of the world together have.
const HASHRATE_HS: RangeInclusive<f64> = 0.0..=1e24;
const POWER_W: RangeInclusive<f64> = 0.0..=1e9;
const EFFICIENCY_J_PER_TH: RangeInclusive<f64> = 0.0..=1e12;
const TEMPERATURE_C: RangeInclusive<f64> = -273.15..=10_000.0;

const STATUSES: [(MinerStatus, &str); 7] = [
    (MinerStatus::Mining, "mining"),
    (MinerStatus::Idle, "idle"),
    (MinerStatus::Unreachable, "unreachable"),
    (MinerStatus::AuthNeeded, "auth_needed"),
    (MinerStatus::AuthFailed, "auth_failed"),
    (MinerStatus::Fault, "fault"),
    (MinerStatus::IdentityMismatch, "identity_mismatch"),
];

/// The word for a status; `None` for one that is newer than this crate.
pub(crate) fn status_word(status: MinerStatus) -> Option<&'static str> {
    STATUSES.into_iter().find(|(known, _)| *known == status).map(|(_, word)| word)
}

pub(crate) fn status_of(word: &str) -> Option<MinerStatus> {
    STATUSES.into_iter().find(|(_, known)| *known == word).map(|(status, _)| status)
}

/// A hashboard as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Board {
    index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hashrate_hs: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature_c: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    working_chips: Option<u32>,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) device_id: i64,
    pub(crate) agent_id: i64,
    pub(crate) received_at: i64,
    pub(crate) now: i64,
}

/// The row of a sample in the history.
pub(crate) fn row(sample: &Sample, origin: Origin) -> Result<telemetry::ActiveModel, UnsupportedValue> {
    let unsupported = |column| UnsupportedValue { table: "telemetry", column };
    let board = |board: &BoardSample| Board {
        index: board.index,
        hashrate_hs: within(board.hashrate_hs, HASHRATE_HS),
        temperature_c: within(board.temperature_c, TEMPERATURE_C),
        working_chips: board.working_chips,
    };
    let boards: Vec<Board> = sample.boards.iter().map(board).collect();
    let uptime = sample.uptime_s.map(|s| i64::try_from(s).unwrap_or(i64::MAX));
    Ok(telemetry::ActiveModel {
        id: NotSet,
        device_id: Set(origin.device_id),
        agent_id: Set(origin.agent_id),
        taken_at: Set(sample.taken_at.value()),
        status: Set(status_word(sample.status).ok_or_else(|| unsupported("status"))?.to_owned()),
        hashrate_hs: Set(within(sample.hashrate_hs, HASHRATE_HS)),
        power_w: Set(within(sample.power_w, POWER_W)),
        efficiency_j_per_th: Set(within(sample.efficiency_j_per_th, EFFICIENCY_J_PER_TH)),
        temperature_c: Set(within(sample.temperature_c, TEMPERATURE_C)),
        fan_rpm: Set(serde_json::to_string(&sample.fan_rpm).map_err(|_| unsupported("fan_rpm"))?),
        boards: Set(serde_json::to_string(&boards).map_err(|_| unsupported("boards"))?),
        uptime_s: Set(uptime),
        created_at: Set(origin.received_at),
        updated_at: Set(origin.now),
    })
}

/// A number that is none, or that no miner can have, is no reading: sums over many must stay numbers.
fn within(value: Option<f64>, possible: RangeInclusive<f64>) -> Option<f64> {
    value.filter(|value| possible.contains(value))
}

/// The row of the newest sample, of its row in the history.
pub(crate) fn latest(row: telemetry::ActiveModel) -> telemetry_latest::ActiveModel {
    telemetry_latest::ActiveModel {
        device_id: row.device_id,
        agent_id: row.agent_id,
        taken_at: row.taken_at,
        status: row.status,
        hashrate_hs: row.hashrate_hs,
        power_w: row.power_w,
        efficiency_j_per_th: row.efficiency_j_per_th,
        temperature_c: row.temperature_c,
        fan_rpm: row.fan_rpm,
        boards: row.boards,
        uptime_s: row.uptime_s,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// The newest sample of a device and when it was received.
pub(crate) fn of_latest(
    row: telemetry_latest::Model,
    endpoint: Endpoint,
) -> Result<(Sample, UnixMillis), DecodeError> {
    let columns = Columns("telemetry_latest");
    let received_at = columns.time("created_at", row.created_at)?;
    let row = telemetry::Model {
        id: 0,
        device_id: row.device_id,
        agent_id: row.agent_id,
        taken_at: row.taken_at,
        status: row.status,
        hashrate_hs: row.hashrate_hs,
        power_w: row.power_w,
        efficiency_j_per_th: row.efficiency_j_per_th,
        temperature_c: row.temperature_c,
        fan_rpm: row.fan_rpm,
        boards: row.boards,
        uptime_s: row.uptime_s,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok((sample(columns, &row, endpoint)?, received_at))
}

/// A sample of the history.
pub(crate) fn of_history(row: &telemetry::Model, endpoint: Endpoint) -> Result<Sample, DecodeError> {
    sample(Columns("telemetry"), row, endpoint)
}

fn sample(columns: Columns, row: &telemetry::Model, endpoint: Endpoint) -> Result<Sample, DecodeError> {
    let boards: Vec<Board> = columns.value("boards", serde_json::from_str(&row.boards))?;
    let board = |board: Board| BoardSample {
        index: board.index,
        hashrate_hs: board.hashrate_hs,
        temperature_c: board.temperature_c,
        working_chips: board.working_chips,
    };
    Ok(Sample {
        endpoint,
        taken_at: columns.time("taken_at", row.taken_at)?,
        status: columns.word("status", status_of(&row.status))?,
        hashrate_hs: row.hashrate_hs,
        power_w: row.power_w,
        efficiency_j_per_th: row.efficiency_j_per_th,
        temperature_c: row.temperature_c,
        fan_rpm: columns.value("fan_rpm", serde_json::from_str(&row.fan_rpm))?,
        boards: boards.into_iter().map(board).collect(),
        uptime_s: row.uptime_s.map(|s| columns.value("uptime_s", u64::try_from(s))).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word_of_its_own() {
        for (status, word) in STATUSES {
            assert_eq!(status_word(status), Some(word));
            assert_eq!(status_of(word), Some(status));
        }
        assert_eq!(status_of("Mining"), None);
    }

    #[test]
    fn what_no_miner_can_have_is_no_reading() {
        assert_eq!(within(Some(1.7e308), HASHRATE_HS), None);
        assert_eq!(within(Some(f64::NAN), HASHRATE_HS), None);
        assert_eq!(within(Some(-1.0), POWER_W), None);
        assert_eq!(within(Some(-1.7e308), TEMPERATURE_C), None);
        assert_eq!(within(Some(1e15), HASHRATE_HS), Some(1e15));
        assert_eq!(within(Some(-40.0), TEMPERATURE_C), Some(-40.0));
        assert_eq!(within(None, POWER_W), None);
    }
}
