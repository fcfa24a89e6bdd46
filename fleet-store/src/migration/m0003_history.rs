//! Roll-ups of readings, and what forgetting by age needs.
//!
//! A roll-up is five minutes of one device. Its key is its place on SQLite: a table without rowids
//! lies in the order of its primary key, so that a chart of one device reads one run of rows, and a
//! sum over the fleet one run for each device. The index by time is for forgetting alone.
//!
//! Readings that are there already are rolled up device by device, each in the order of an index,
//! so that the work in memory is that of one device however many there are.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::m0001_initial::dialect;

pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0003_history"
    }
}

#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        // On PostgreSQL a roll-up grows with every upload of its five minutes: room on its page
        // keeps the indexes out of that.
        let clustered =
            if backend == DbBackend::Sqlite { " STRICT, WITHOUT ROWID" } else { " WITH (fillfactor = 80)" };
        let table = dialect(&TABLE.replace("@CLUSTERED", clustered), backend);
        for statement in [table.as_str()].into_iter().chain(INDEXES.iter().copied()) {
            connection.execute_unprepared(statement).await?;
        }
        let devices = Statement::from_string(backend, "SELECT id FROM device ORDER BY id");
        for row in connection.query_all_raw(devices).await? {
            let device: i64 = row.try_get("", "id")?;
            let statement = Statement::from_sql_and_values(backend, ROLL_UP, [device.into()]);
            connection.execute_raw(statement).await?;
        }
        Ok(())
    }
}

// Sums are 0 and the least and the greatest are absent where nothing was counted.
const TABLE: &str = "CREATE TABLE telemetry_rollup (
    device_id @INT NOT NULL REFERENCES device (id),
    start_at @INT NOT NULL CHECK (start_at % 300000 = 0),
    samples @INT NOT NULL CHECK (samples > 0),
    mining @INT NOT NULL,
    unreachable @INT NOT NULL,
    hashrate_count @INT NOT NULL,
    hashrate_sum @REAL NOT NULL,
    hashrate_min @REAL,
    hashrate_max @REAL,
    power_count @INT NOT NULL,
    power_sum @REAL NOT NULL,
    power_min @REAL,
    power_max @REAL,
    temperature_count @INT NOT NULL,
    temperature_sum @REAL NOT NULL,
    temperature_min @REAL,
    temperature_max @REAL,
    uptime_min_s @INT,
    created_at @INT NOT NULL,
    updated_at @INT NOT NULL,
    PRIMARY KEY (device_id, start_at)
)@CLUSTERED";

const INDEXES: &[&str] = &[
    "CREATE INDEX telemetry_rollup_time ON telemetry_rollup (start_at)",
    "CREATE INDEX event_time ON event (happened_at)",
];

const ROLL_UP: &str = "INSERT INTO telemetry_rollup (
        device_id, start_at, samples, mining, unreachable,
        hashrate_count, hashrate_sum, hashrate_min, hashrate_max,
        power_count, power_sum, power_min, power_max,
        temperature_count, temperature_sum, temperature_min, temperature_max,
        uptime_min_s, created_at, updated_at
    )
    SELECT device_id, taken_at - taken_at % 300000, COUNT(*),
        COUNT(CASE WHEN status = 'mining' THEN 1 END),
        COUNT(CASE WHEN status = 'unreachable' THEN 1 END),
        COUNT(hashrate_hs), COALESCE(SUM(hashrate_hs), 0.0), MIN(hashrate_hs), MAX(hashrate_hs),
        COUNT(power_w), COALESCE(SUM(power_w), 0.0), MIN(power_w), MAX(power_w),
        COUNT(temperature_c), COALESCE(SUM(temperature_c), 0.0), MIN(temperature_c), MAX(temperature_c),
        MIN(uptime_s), MIN(created_at), MAX(updated_at)
    FROM telemetry WHERE device_id = $1
    GROUP BY 1, 2";
