//! Forgetting what has expired.

use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::ConnectionTrait as _;

use crate::error::backend;
use crate::store::Store;

/// Rows of each kind that one call deletes at most, so that it never holds up other writers long.
const AT_ONCE: i64 = 1000;

impl Store {
    /// Deletes sessions of users and agents, and challenges, that have expired by `now`: at most
    /// 1000 of each. Returns how many; call again while that is above 0. Nothing depends on it,
    /// since what has expired is refused whether it is there or not.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Calling again
    /// goes on. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn expire(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let tx = self.write().await?;
        let mut deleted = 0;
        for (table, key) in [
            ("user_session", "token_hash"),
            ("agent_session", "token_hash"),
            ("agent_auth_challenge", "agent_id"),
        ] {
            let sql = format!(
                "DELETE FROM {table} WHERE expires_at <= $1 AND {key} IN
                 (SELECT {key} FROM {table} WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
            );
            let statement = self.sql(&sql, [now.value().into(), AT_ONCE.into()]);
            deleted += tx.execute_raw(statement).await.map_err(backend)?.rows_affected();
        }
        tx.commit().await.map_err(backend)?;
        Ok(deleted)
    }
}
