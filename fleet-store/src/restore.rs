//! Putting a copy in the place of a database.

use fleet_core::store::{Changeset, CommitError, StoreError};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, TransactionTrait as _};

use crate::activity::{self, LogEntry};
use crate::error::backend;
use crate::open::{OpenError, connect_postgres};
use crate::server::commit::{self, refused};
use crate::server::finish;
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;
use crate::url::{DatabaseUrl, Target};

/// Stands in a PostgreSQL database as long as what was restored into it is not to be served.
const UNFINISHED: &str = "restore_unfinished";
/// How many things a refusal names.
const NAMED: usize = 5;

/// What makes a copied database one that agents and operators may come back to.
#[derive(Debug, Clone, Default)]
#[allow(clippy::exhaustive_structs, reason = "what a restore writes, made by its caller")]
pub struct Restored {
    /// A new manifest for each organization whose root is there.
    pub changes: Vec<Changeset>,
    /// A line for each organization.
    pub lines: Vec<LogEntry>,
}

/// A PostgreSQL database is not restored into; it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginRestoreError {
    /// The database is not PostgreSQL.
    #[error("this is for PostgreSQL only")]
    NotPostgres,
    /// Something is there.
    #[error("the database is not empty: it holds {}", found.join(", "))]
    NotEmpty {
        /// Some of what is there.
        found: Vec<String>,
    },
    /// There is no connection.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A PostgreSQL database that was empty and is being restored into. [`Store::open`] refuses it until
/// [`Store::restored`] is done.
#[derive(Debug)]
pub struct Restoring {
    connection: DatabaseConnection,
}

impl Restoring {
    /// Claims an empty database.
    ///
    /// # Errors
    /// [`BeginRestoreError`].
    ///
    /// # Cancel safety
    /// Dropped, the database may be claimed: it is then to be dropped and made anew. The future is `Send`; it
    /// panics only outside of a tokio runtime.
    pub async fn begin(url: &DatabaseUrl) -> Result<Self, BeginRestoreError> {
        let Target::Postgres(target) = url.target() else { return Err(BeginRestoreError::NotPostgres) };
        let failed = |source| OpenError::Connect { url: url.clone(), source: Box::new(source) };
        let this = Self { connection: connect_postgres(target).await.map_err(failed)? };
        let found = this.relations().await?;
        if !found.is_empty() {
            this.close().await;
            return Err(BeginRestoreError::NotEmpty { found: found.into_iter().take(NAMED).collect() });
        }
        // Of two restores at once one makes it.
        let mark = format!("CREATE TABLE {UNFINISHED} (since BIGINT NOT NULL)");
        match this.connection.execute_unprepared(&mark).await {
            Ok(_) => Ok(this),
            Err(error) => {
                this.close().await;
                Err(backend(error).into())
            }
        }
    }

    /// Makes the database as empty as it was; whether it is. It is left alone if [`Store::restored`] was
    /// done, whose answer may have been lost: a server may be using it already.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, the database is as it was, marked as unfinished, or empty. The future is `Send`; it panics
    /// only outside of a tokio runtime.
    pub async fn abandon(self) -> Result<bool, StoreError> {
        let abandoned = self.drop_all().await;
        self.close().await;
        abandoned
    }

    async fn drop_all(&self) -> Result<bool, StoreError> {
        if !is_unfinished(&self.connection).await.map_err(backend)? {
            return Ok(false);
        }
        let tx = self.connection.begin().await.map_err(backend)?;
        // Waits for a commit that is under way; the mark is gone after it.
        let lock = format!("LOCK TABLE {UNFINISHED} IN ACCESS EXCLUSIVE MODE");
        if let Err(error) = tx.execute_unprepared(&lock).await {
            tx.rollback().await.map_err(backend)?;
            let remains = is_unfinished(&self.connection).await.map_err(backend)?;
            return if remains { Err(backend(error)) } else { Ok(false) };
        }
        for relation in self.tables().await? {
            let drop = format!("DROP TABLE IF EXISTS {relation} CASCADE");
            tx.execute_unprepared(&drop).await.map_err(backend)?;
        }
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }

    /// Lets go of the connection; the database stays as it is.
    ///
    /// # Cancel safety
    /// Dropped, the connection closes by itself. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection of a restore did not close");
        }
    }

    /// What is there that no extension brought.
    async fn relations(&self) -> Result<Vec<String>, StoreError> {
        self.names("c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')").await
    }

    async fn tables(&self) -> Result<Vec<String>, StoreError> {
        self.names("c.relkind IN ('r', 'p')").await
    }

    async fn names(&self, which: &str) -> Result<Vec<String>, StoreError> {
        let sql = format!(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {which} AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
             ORDER BY c.relname = '{UNFINISHED}', 1"
        );
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        let rows = self.connection.query_all_raw(statement).await.map_err(backend)?;
        rows.iter().map(|row| row.try_get("", "name").map_err(backend)).collect()
    }
}

impl Store {
    /// Ends every session and challenge, which are those of the time of the backup, issues the new manifests and
    /// writes the lines, all in one transaction. From then on the database may be served.
    ///
    /// # Errors
    /// [`CommitError`]; nothing was stored.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, the
    /// database is no longer marked as unfinished. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn restored(&self, restored: Restored) -> Result<(), CommitError> {
        let tx = self.write().await?;
        let applied = self.restored_in(&tx, restored).await;
        finish(tx, applied).await
    }

    async fn restored_in(&self, tx: &Transaction, restored: Restored) -> Result<(), CommitError> {
        for table in ["user_session", "agent_session", "agent_auth_challenge"] {
            tx.execute_unprepared(&format!("DELETE FROM {table}")).await.map_err(refused)?;
        }
        for change in restored.changes {
            commit::apply(tx, change).await?;
        }
        let now = now_millis();
        activity::insert(tx, restored.lines.iter().map(|line| activity::entry_row(line, now)).collect())
            .await?;
        if self.inner.backend == DbBackend::Postgres {
            let finish = format!("DROP TABLE IF EXISTS {UNFINISHED}");
            tx.execute_unprepared(&finish).await.map_err(refused)?;
        }
        Ok(())
    }
}

/// Whether a restore into this database was not finished.
pub(crate) async fn is_unfinished(connection: &DatabaseConnection) -> Result<bool, sea_orm::DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(false);
    }
    let sql = format!("SELECT to_regclass('{UNFINISHED}') IS NOT NULL AS unfinished");
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(false), |row| row.try_get("", "unfinished"))
}
