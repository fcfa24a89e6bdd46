//! The ways by which statements reach the database: in a transaction, or alone.

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, TransactionOptions, TransactionTrait as _,
};

#[cfg(feature = "fault-injection")]
use crate::faults::Faults;

/// A transaction; rolled back when it is dropped.
#[derive(Debug)]
pub(crate) struct Transaction {
    inner: DatabaseTransaction,
    #[cfg(feature = "fault-injection")]
    faults: Option<std::sync::Arc<Faults>>,
}

/// Runs a step of a transaction, or what a test has put in its place.
macro_rules! step {
    ($faults:expr, $step:expr) => {{
        #[cfg(feature = "fault-injection")]
        {
            match &$faults {
                Some(faults) => faults.clone().around($step).await,
                None => $step.await,
            }
        }
        #[cfg(not(feature = "fault-injection"))]
        {
            $step.await
        }
    }};
}

impl Transaction {
    pub(crate) async fn begin(
        connection: &DatabaseConnection,
        options: TransactionOptions,
        #[cfg(feature = "fault-injection")] faults: Option<&std::sync::Arc<Faults>>,
    ) -> Result<Self, DbErr> {
        #[cfg(feature = "fault-injection")]
        let faults = faults.cloned();
        Ok(Self {
            inner: step!(faults, connection.begin_with_options(options))?,
            #[cfg(feature = "fault-injection")]
            faults,
        })
    }

    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        step!(self.faults, self.inner.commit())
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        step!(self.faults, self.inner.rollback())
    }
}

/// A connection for single statements that read, each of which sees one moment.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) inner: &'a DatabaseConnection,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: Option<std::sync::Arc<Faults>>,
}

#[async_trait]
impl ConnectionTrait for Reader<'_> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        step!(self.faults, self.inner.execute_raw(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        step!(self.faults, self.inner.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        step!(self.faults, self.inner.query_one_raw(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        step!(self.faults, self.inner.query_all_raw(statement))
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        step!(self.faults, self.inner.execute_raw(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        step!(self.faults, self.inner.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        step!(self.faults, self.inner.query_one_raw(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        step!(self.faults, self.inner.query_all_raw(statement))
    }
}
