//! Roll-ups: five minutes of one device, by when its samples were taken.
//!
//! They grow with the samples, in the transaction that stores these, so that the two never differ:
//! a duplicate adds to neither, and a backlog that comes late adds to the five minutes that it is
//! of, whether its samples are still kept or not. Counts, sums, least and greatest can be added to
//! in any order.

use std::collections::BTreeMap;

use fleet_core::store::StoreError;
use fleet_core::telemetry::MinerStatus;
use sea_orm::{ConnectionTrait as _, Statement, Value};

use crate::entity::telemetry;
use crate::error::backend;
use crate::history::ROLL_UP_MS;
use crate::sample::status_word;
use crate::transaction::Transaction;

/// Roll-ups in one statement; each has 20 columns.
const ROWS_A_STATEMENT: usize = 500;

/// What samples of one message add, by device and the start of their five minutes.
#[derive(Debug, Default)]
pub(super) struct RollUps(BTreeMap<(i64, i64), RollUp>);

#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct RollUp {
    samples: i64,
    mining: i64,
    unreachable: i64,
    hashrate: Values,
    power: Values,
    temperature: Values,
    uptime_min_s: Option<i64>,
}

/// Values of those samples that have one.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Values {
    count: i64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
}

impl Values {
    fn add(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        self.count = self.count.saturating_add(1);
        self.sum += value;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    fn columns(self) -> [Value; 4] {
        [self.count.into(), self.sum.into(), self.min.into(), self.max.into()]
    }
}

impl RollUps {
    /// Adds a sample, as the row that is stored of it.
    pub(super) fn add(&mut self, row: &telemetry::ActiveModel) {
        let taken_at = *row.taken_at.as_ref();
        let start = taken_at.saturating_sub(taken_at.rem_euclid(ROLL_UP_MS));
        let rollup = self.0.entry((*row.device_id.as_ref(), start)).or_default();
        let status = Some(row.status.as_ref().as_str());
        rollup.samples = rollup.samples.saturating_add(1);
        rollup.mining += i64::from(status == status_word(MinerStatus::Mining));
        rollup.unreachable += i64::from(status == status_word(MinerStatus::Unreachable));
        rollup.hashrate.add(*row.hashrate_hs.as_ref());
        rollup.power.add(*row.power_w.as_ref());
        rollup.temperature.add(*row.temperature_c.as_ref());
        if let Some(uptime) = *row.uptime_s.as_ref() {
            rollup.uptime_min_s = Some(rollup.uptime_min_s.map_or(uptime, |min| min.min(uptime)));
        }
    }

    /// Adds them to what is stored, in the order of their keys.
    pub(super) async fn store(self, tx: &Transaction, received_at: i64, now: i64) -> Result<(), StoreError> {
        let rows: Vec<_> = self.0.into_iter().collect();
        for some in rows.chunks(ROWS_A_STATEMENT) {
            let mut values: Vec<Value> = Vec::with_capacity(some.len().saturating_mul(20));
            for ((device, start), rollup) in some {
                values.extend(
                    [*device, *start, rollup.samples, rollup.mining, rollup.unreachable].map(Value::from),
                );
                values.extend(rollup.hashrate.columns());
                values.extend(rollup.power.columns());
                values.extend(rollup.temperature.columns());
                values.extend([rollup.uptime_min_s.into(), received_at.into(), now.into()]);
            }
            let sql = upsert(some.len());
            let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
            tx.execute_raw(statement).await.map_err(backend)?;
        }
        Ok(())
    }
}

/// The statement for so many rows.
fn upsert(rows: usize) -> String {
    let row = |n: usize| {
        let places: Vec<_> =
            (1..=20).map(|place| format!("${}", n.saturating_mul(20).saturating_add(place))).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("{INSERT} {} {ADD}", rows.join(", "))
}

const INSERT: &str = "INSERT INTO telemetry_rollup AS held (
    device_id, start_at, samples, mining, unreachable,
    hashrate_count, hashrate_sum, hashrate_min, hashrate_max,
    power_count, power_sum, power_min, power_max,
    temperature_count, temperature_sum, temperature_min, temperature_max,
    uptime_min_s, created_at, updated_at
) VALUES";

// The databases differ in what the least of a value and of none is: said here word by word.
const ADD: &str = "ON CONFLICT (device_id, start_at) DO UPDATE SET
    samples = held.samples + excluded.samples,
    mining = held.mining + excluded.mining,
    unreachable = held.unreachable + excluded.unreachable,
    hashrate_count = held.hashrate_count + excluded.hashrate_count,
    hashrate_sum = held.hashrate_sum + excluded.hashrate_sum,
    hashrate_min = CASE WHEN held.hashrate_min IS NULL OR excluded.hashrate_min < held.hashrate_min
        THEN excluded.hashrate_min ELSE held.hashrate_min END,
    hashrate_max = CASE WHEN held.hashrate_max IS NULL OR excluded.hashrate_max > held.hashrate_max
        THEN excluded.hashrate_max ELSE held.hashrate_max END,
    power_count = held.power_count + excluded.power_count,
    power_sum = held.power_sum + excluded.power_sum,
    power_min = CASE WHEN held.power_min IS NULL OR excluded.power_min < held.power_min
        THEN excluded.power_min ELSE held.power_min END,
    power_max = CASE WHEN held.power_max IS NULL OR excluded.power_max > held.power_max
        THEN excluded.power_max ELSE held.power_max END,
    temperature_count = held.temperature_count + excluded.temperature_count,
    temperature_sum = held.temperature_sum + excluded.temperature_sum,
    temperature_min = CASE WHEN held.temperature_min IS NULL OR excluded.temperature_min < held.temperature_min
        THEN excluded.temperature_min ELSE held.temperature_min END,
    temperature_max = CASE WHEN held.temperature_max IS NULL OR excluded.temperature_max > held.temperature_max
        THEN excluded.temperature_max ELSE held.temperature_max END,
    uptime_min_s = CASE WHEN held.uptime_min_s IS NULL OR excluded.uptime_min_s < held.uptime_min_s
        THEN excluded.uptime_min_s ELSE held.uptime_min_s END,
    updated_at = excluded.updated_at";
