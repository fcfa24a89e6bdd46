//! Forgetting readings, roll-ups and events by their age.
//!
//! Each call is one transaction that deletes a bounded number of rows, the oldest first, found by an
//! index. The caller leaves pauses in between, in which uploads are stored. Several servers on one
//! PostgreSQL do not wait for each other: what one is deleting the next passes over.

use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::ConnectionTrait as _;

use crate::error::backend;
use crate::history::ROLL_UP;
use crate::store::Store;

/// `$1` is the age and `$2` the number of rows; `@LOCK` passes over what another server deletes.
const TELEMETRY: &str = "DELETE FROM telemetry WHERE id IN
    (SELECT id FROM telemetry WHERE taken_at < $1 ORDER BY taken_at LIMIT $2 @LOCK)";
const ROLL_UPS: &str = "DELETE FROM telemetry_rollup WHERE (device_id, start_at) IN
    (SELECT device_id, start_at FROM telemetry_rollup WHERE start_at < $1 ORDER BY start_at LIMIT $2 @LOCK)";
const EVENTS: &str = "DELETE FROM event WHERE id IN
    (SELECT id FROM event WHERE happened_at < $1 ORDER BY happened_at LIMIT $2 @LOCK)";

impl Store {
    /// Deletes samples taken before `before`, at most `limit`; how many. What each device said last
    /// is kept apart (`telemetry_latest`) and stays, and so do the roll-ups.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Calling again
    /// goes on. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn prune_telemetry(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        self.prune(TELEMETRY, before, limit).await
    }

    /// Deletes roll-ups that end before `before` or at it, at most `limit`; how many.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Calling again
    /// goes on. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn prune_roll_ups(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        let last = before.saturating_sub(ROLL_UP).saturating_add(core::time::Duration::from_millis(1));
        self.prune(ROLL_UPS, last, limit).await
    }

    /// Deletes events that happened before `before`, at most `limit`; how many.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Calling again
    /// goes on. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn prune_events(&self, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        self.prune(EVENTS, before, limit).await
    }

    async fn prune(&self, sql: &str, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        let sql = sql.replace("@LOCK", self.lock("FOR UPDATE SKIP LOCKED"));
        let tx = self.write().await?;
        let statement = self.sql(&sql, [before.value().into(), i64::from(limit).into()]);
        let deleted = tx.execute_raw(statement).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(deleted.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite says that it would do, a step a line.
    async fn plan(store: &Store, sql: &str) -> Vec<String> {
        let sql = format!("EXPLAIN QUERY PLAN {}", sql.replace("@LOCK", ""));
        let statement = store.sql(&sql, [1_i64.into(), 1_i64.into()]);
        let rows = store.inner.reader.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_forgotten_is_found_by_an_index() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        for (sql, index, key) in [
            (TELEMETRY, "telemetry USING COVERING INDEX telemetry_time (taken_at<?)", "INTEGER PRIMARY KEY"),
            (
                ROLL_UPS,
                "telemetry_rollup USING COVERING INDEX telemetry_rollup_time (start_at<?)",
                "PRIMARY KEY (device_id=? AND start_at=?)",
            ),
            (EVENTS, "event USING COVERING INDEX event_time (happened_at<?)", "INTEGER PRIMARY KEY"),
        ] {
            let plan = plan(&store, sql).await;
            assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:?}");
            assert!(plan.iter().any(|step| step.contains(key)), "{key}: {plan:?}");
            let reads_all =
                |step: &String| step.starts_with("SCAN") || step.contains("TEMP B-TREE FOR ORDER BY");
            assert!(!plan.iter().any(reads_all), "{plan:?}");
        }
    }
}
