//! [`ServerStore`] on tables.

mod agent;
pub(crate) mod commit;
pub(crate) mod load;
pub(crate) mod rows;

use fleet_core::future::BoxFuture;
use fleet_core::id::EnrollmentId;
use fleet_core::store::{ChallengeRecord, Changeset, CommitError, Query, ServerStore, Snapshot, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};

use crate::decode::Columns;
use crate::entity::agent_auth_challenge;
use crate::error::backend;
use crate::store::Store;
use crate::transaction::Transaction;

impl ServerStore for Store {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(async move {
            let tx = self.read().await?;
            let snapshot = load::load(&tx, &query).await?;
            tx.commit().await.map_err(backend)?;
            Ok(snapshot)
        })
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        Box::pin(async move {
            // Anybody may ask: a guess must not take the writers' place.
            let exists = agent_auth_challenge::Column::Challenge.eq(challenge.to_vec());
            let found = agent_auth_challenge::Entity::find().filter(exists).one(&self.inner.reader).await;
            if found.map_err(backend)?.is_none() {
                return Ok(None);
            }
            let tx = self.write().await?;
            let row = commit::take_challenge(&tx, &challenge).await?;
            // Gone for good before anybody sees it, even if it turns out not to be readable.
            tx.commit().await.map_err(backend)?;
            Ok(row.as_ref().map(rows::challenge).transpose()?)
        })
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            let tx = self.write().await?;
            let applied = commit::apply(&tx, change).await;
            finish(tx, applied).await
        })
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        Box::pin(async move {
            // The states stand in the text, so that the partial index serves.
            let statement = self.sql(
                "SELECT id FROM pending_enrollment
                 WHERE state IN ('pending', 'awaiting_confirmation') AND expires_at <= $1
                 ORDER BY expires_at, id LIMIT $2",
                [now.value().into(), i64::from(limit).into()],
            );
            let rows = self.reader().query_all_raw(statement).await.map_err(backend)?;
            let due = rows.iter().map(|row| row.try_get::<i64>("", "id"));
            let due = due.collect::<Result<Vec<_>, _>>().map_err(backend)?;
            let columns = Columns("pending_enrollment");
            Ok(due.into_iter().map(|id| columns.id("id", id)).collect::<Result<_, _>>()?)
        })
    }
}

/// Commits what was applied, or rolls back.
pub(crate) async fn finish(tx: Transaction, applied: Result<(), CommitError>) -> Result<(), CommitError> {
    match applied {
        Ok(()) => tx.commit().await.map_err(commit::refused),
        Err(error) => {
            // The refusal is what the caller must see; a transaction that cannot be rolled back
            // ends with its connection.
            if let Err(error) = tx.rollback().await {
                tracing::debug!(%error, "a refused change was not rolled back cleanly");
            }
            Err(error)
        }
    }
}
