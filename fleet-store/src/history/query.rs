//! The statements. Each is of one organization, by the database.

use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::store::StoreError;
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};

use super::{DevicePoint, FleetPoint, HistorySource, Spread, Steps};
use crate::decode::Columns;
use crate::error::backend;
use crate::store::Store;

const ROLL_UPS: Columns = Columns("telemetry_rollup");

/// The device `$5`.
const ONE: &str = "AND d.id = $5";

/// What the agent `$5` owns.
const OF_AGENT: &str = "AND (
    EXISTS (SELECT 1 FROM agent_device o WHERE o.device_id = d.id AND o.agent_id = $5)
    OR (d.paired_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM agent_device o WHERE o.device_id = d.id)
        AND EXISTS (SELECT 1 FROM agent a WHERE a.id = $5 AND a.org_id = d.org_id
                    AND a.kind = 'local' AND a.status = 'confirmed')))";

impl Store {
    /// A device's history: the steps in which it reported, by time.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn device_history(
        &self,
        org: OrgId,
        device: DeviceId,
        steps: Steps,
    ) -> Result<Vec<DevicePoint>, StoreError> {
        let sql = format!(
            "SELECT s.step_at, CAST(SUM(s.samples) AS BIGINT) AS samples,
                AVG(CAST(s.mining AS DOUBLE PRECISION) / s.samples) AS mining,
                AVG(CAST(s.unreachable AS DOUBLE PRECISION) / s.samples) AS unreachable,
                AVG(s.hashrate_sum / NULLIF(s.hashrate_count, 0)) AS hashrate_avg,
                MIN(s.hashrate_min) AS hashrate_min, MAX(s.hashrate_max) AS hashrate_max,
                AVG(s.power_sum / NULLIF(s.power_count, 0)) AS power_avg,
                MIN(s.power_min) AS power_min, MAX(s.power_max) AS power_max,
                AVG(s.temperature_sum / NULLIF(s.temperature_count, 0)) AS temperature_avg,
                MIN(s.temperature_min) AS temperature_min, MAX(s.temperature_max) AS temperature_max,
                MIN(s.uptime_min_s) AS uptime_min_s
             FROM ({}) s GROUP BY s.step_at ORDER BY s.step_at",
            parts(steps.source, ONE)
        );
        let rows = self.steps(sql, org, steps, Some(device.value())).await?;
        rows.iter().map(device_point).collect()
    }

    /// The history of the organization's devices together, of all or of those that an agent owns
    /// now: the steps in which any reported, by time.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn fleet_history(
        &self,
        org: OrgId,
        agent: Option<AgentId>,
        steps: Steps,
    ) -> Result<Vec<FleetPoint>, StoreError> {
        let sql = format!(
            "SELECT s.step_at,
                SUM(s.hashrate_sum / NULLIF(s.hashrate_count, 0)) / COUNT(DISTINCT s.start_at) AS hashrate,
                SUM(s.power_sum / NULLIF(s.power_count, 0)) / COUNT(DISTINCT s.start_at) AS power,
                COUNT(DISTINCT s.device_id) AS reporting,
                COUNT(DISTINCT CASE WHEN s.mining > 0 THEN s.device_id END) AS mining
             FROM ({}) s GROUP BY s.step_at ORDER BY s.step_at",
            parts(steps.source, if agent.is_some() { OF_AGENT } else { "" })
        );
        let rows = self.steps(sql, org, steps, agent.map(AgentId::value)).await?;
        rows.iter().map(fleet_point).collect()
    }

    async fn steps(
        &self,
        sql: String,
        org: OrgId,
        steps: Steps,
        of: Option<i64>,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let ends = [org.value(), steps.first, steps.end(), steps.step];
        let values = ends.into_iter().chain(of).map(Value::from);
        let statement = Statement::from_sql_and_values(self.inner.backend, sql, values);
        self.reader().query_all_raw(statement).await.map_err(backend)
    }
}

/// The parts of each step: roll-ups, or samples of a step rolled up as these are.
///
/// `CROSS JOIN` keeps SQLite, which knows nothing of how much there is, from going by time through
/// all devices instead of by device through a range of time.
fn parts(source: HistorySource, which: &str) -> String {
    match source {
        HistorySource::RollUps => format!(
            "SELECT b.*, b.start_at - b.start_at % $4 AS step_at
             FROM device d CROSS JOIN telemetry_rollup b
             WHERE d.org_id = $1 {which} AND b.device_id = d.id AND b.start_at >= $2 AND b.start_at < $3"
        ),
        HistorySource::Readings => format!(
            "SELECT t.device_id, t.taken_at - t.taken_at % $4 AS step_at, t.taken_at - t.taken_at % $4 AS start_at,
                COUNT(*) AS samples,
                COUNT(CASE WHEN t.status = 'mining' THEN 1 END) AS mining,
                COUNT(CASE WHEN t.status = 'unreachable' THEN 1 END) AS unreachable,
                COUNT(t.hashrate_hs) AS hashrate_count, SUM(t.hashrate_hs) AS hashrate_sum,
                MIN(t.hashrate_hs) AS hashrate_min, MAX(t.hashrate_hs) AS hashrate_max,
                COUNT(t.power_w) AS power_count, SUM(t.power_w) AS power_sum,
                MIN(t.power_w) AS power_min, MAX(t.power_w) AS power_max,
                COUNT(t.temperature_c) AS temperature_count, SUM(t.temperature_c) AS temperature_sum,
                MIN(t.temperature_c) AS temperature_min, MAX(t.temperature_c) AS temperature_max,
                MIN(t.uptime_s) AS uptime_min_s
             FROM device d CROSS JOIN telemetry t
             WHERE d.org_id = $1 {which} AND t.device_id = d.id AND t.taken_at >= $2 AND t.taken_at < $3
             GROUP BY 1, 2, 3"
        ),
    }
}

fn device_point(row: &QueryResult) -> Result<DevicePoint, StoreError> {
    let uptime: Option<i64> = row.try_get("", "uptime_min_s").map_err(backend)?;
    Ok(DevicePoint {
        start: ROLL_UPS.time("start_at", row.try_get("", "step_at").map_err(backend)?)?,
        samples: row.try_get("", "samples").map_err(backend)?,
        mining: row.try_get("", "mining").map_err(backend)?,
        unreachable: row.try_get("", "unreachable").map_err(backend)?,
        hashrate_hs: spread(row, ["hashrate_avg", "hashrate_min", "hashrate_max"])?,
        power_w: spread(row, ["power_avg", "power_min", "power_max"])?,
        temperature_c: spread(row, ["temperature_avg", "temperature_min", "temperature_max"])?,
        uptime_min_s: uptime.map(|s| ROLL_UPS.value("uptime_min_s", u64::try_from(s))).transpose()?,
    })
}

fn spread(row: &QueryResult, columns: [&str; 3]) -> Result<Option<Spread>, StoreError> {
    let value = |column| row.try_get::<Option<f64>>("", column).map_err(backend);
    let [average, min, max] = columns;
    Ok(match (value(average)?, value(min)?, value(max)?) {
        (Some(average), Some(min), Some(max)) => Some(Spread { average, min, max }),
        _ => None,
    })
}

fn fleet_point(row: &QueryResult) -> Result<FleetPoint, StoreError> {
    Ok(FleetPoint {
        start: ROLL_UPS.time("start_at", row.try_get("", "step_at").map_err(backend)?)?,
        hashrate_hs: row.try_get("", "hashrate").map_err(backend)?,
        power_w: row.try_get("", "power").map_err(backend)?,
        reporting: row.try_get("", "reporting").map_err(backend)?,
        mining: row.try_get("", "mining").map_err(backend)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever devices it is of, a history reads one run of rows for each.
    #[tokio::test]
    async fn a_device_is_read_by_its_key_through_a_range_of_time() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        for (source, key) in [
            (
                HistorySource::RollUps,
                "SEARCH b USING PRIMARY KEY (device_id=? AND start_at>? AND start_at<?)",
            ),
            (
                HistorySource::Readings,
                "SEARCH t USING INDEX telemetry_device_time (device_id=? AND taken_at>? AND taken_at<?)",
            ),
        ] {
            for which in [ONE, OF_AGENT, ""] {
                let sql = format!("EXPLAIN QUERY PLAN {}", parts(source, which));
                let values = (0..if which.is_empty() { 4 } else { 5 }).map(|_| Value::from(1_i64));
                let statement = Statement::from_sql_and_values(store.inner.backend, sql, values);
                let rows = store.inner.reader.query_all_raw(statement).await.unwrap();
                let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
                assert!(plan.iter().any(|step| step == key), "{source:?} {which}: {plan:?}");
            }
        }
    }
}
