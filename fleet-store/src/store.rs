//! The handle, and how it reads and writes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_core::store::StoreError;
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait, Value,
};

use crate::error::backend;
use crate::transaction::{Reader, Transaction};

/// A server's storage, on SQLite or PostgreSQL. Cheap to clone: clones share connections.
///
/// Every write is one transaction and durable when its future is done. A future that is dropped
/// before leaves nothing behind, unless the commit was already under way.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    /// How many devices one agent may report.
    pub(crate) devices_per_agent: u32,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) backend: DbBackend,
    /// On SQLite a pool of exactly one connection, so that writers queue here and not in the
    /// database's busy loop.
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: Option<Arc<crate::faults::Faults>>,
}

impl Store {
    /// With a bound of how many devices one agent may report; there is none by default. What is beyond it is not
    /// stored.
    #[must_use]
    pub const fn with_devices_per_agent(mut self, devices: u32) -> Self {
        self.devices_per_agent = devices;
        self
    }

    /// Closes all connections, of every clone; waits for transactions under way.
    ///
    /// # Cancel safety
    /// Dropped, some connections may be open: call it again. The future is `Send`; it panics only outside of
    /// a tokio runtime.
    pub async fn close(&self) {
        for pool in [&self.inner.reader, &self.inner.writer] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::debug!(%error, "a connection pool did not close");
            }
        }
    }

    /// A transaction that writes.
    pub(crate) async fn write(&self) -> Result<Transaction, StoreError> {
        self.begin(&self.inner.writer, writing()).await
    }

    /// A transaction that sees one moment.
    pub(crate) async fn read(&self) -> Result<Transaction, StoreError> {
        let options = if self.inner.backend == DbBackend::Postgres {
            TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            }
        } else {
            TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            }
        };
        self.begin(&self.inner.reader, options).await
    }

    /// For single statements that read.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader {
            inner: &self.inner.reader,
            #[cfg(feature = "fault-injection")]
            faults: self.inner.faults.clone(),
        }
    }

    async fn begin(
        &self,
        connection: &DatabaseConnection,
        options: TransactionOptions,
    ) -> Result<Transaction, StoreError> {
        let begun = Transaction::begin(
            connection,
            options,
            #[cfg(feature = "fault-injection")]
            self.inner.faults.as_ref(),
        );
        begun.await.map_err(backend)
    }

    /// `FOR UPDATE` and the like; SQLite has no row locks, and needs none with one writer.
    pub(crate) fn lock(&self, clause: &'static str) -> &'static str {
        lock(self.inner.backend, clause)
    }

    /// A statement whose parameters are `$1`, `$2`, ...
    pub(crate) fn sql<const N: usize>(&self, sql: &str, values: [Value; N]) -> Statement {
        Statement::from_sql_and_values(self.inner.backend, sql, values)
    }
}

pub(crate) fn lock(backend: DbBackend, clause: &'static str) -> &'static str {
    if backend == DbBackend::Postgres { clause } else { "" }
}

pub(crate) async fn begin_write(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    connection.begin_with_options(writing()).await
}

/// On SQLite `BEGIN IMMEDIATE`: a transaction that read first and then found another writer could
/// only fail.
fn writing() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    }
}

/// For `updated_at` and `deleted_at`, which nothing is judged by: what is judged carries the
/// caller's time.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
