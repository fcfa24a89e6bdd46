//! The schema, as a list of steps that only ever grows.
//!
//! Steps are additive: a step that was released is never changed, and none removes what an older
//! server of the same minor version reads.

mod m0001_initial;
mod m0002_organizations;
mod m0003_history;

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use crate::open::OpenError;

#[derive(Debug)]
pub(crate) struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Step),
            Box::new(m0002_organizations::Step),
            Box::new(m0003_history::Step),
        ]
    }
}

impl Migrator {
    /// Whether this version has a step of this name.
    pub(crate) fn knows(name: &str) -> bool {
        Self::migrations().iter().any(|step| step.name() == name)
    }

    /// Whether the database lacks a step.
    pub(crate) async fn pending<C: ConnectionTrait>(db: &C) -> Result<bool, OpenError> {
        let applied = applied(db).await?;
        Ok(Self::migrations().iter().any(|step| applied.iter().all(|name| name != step.name())))
    }
}

/// The steps of a database that is not to be changed: asking the migrator would make its table.
async fn applied<C: ConnectionTrait>(db: &C) -> Result<Vec<String>, OpenError> {
    let failed = |source: DbErr| OpenError::NoInstallation { source: Box::new(source) };
    let sql = "SELECT version FROM seaql_migrations ORDER BY version";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await;
    let names = rows.map_err(failed)?.iter().map(|row| row.try_get("", "version")).collect::<Result<_, _>>();
    names.map_err(failed)
}

/// Refuses a database that has a step of a newer version.
pub(crate) async fn check_known<C: ConnectionTrait>(db: &C) -> Result<(), OpenError> {
    match applied(db).await?.into_iter().find(|name| !Migrator::knows(name)) {
        Some(step) => Err(OpenError::NewerSchema { step }),
        None => Ok(()),
    }
}

/// Applies what is missing, inside a transaction that keeps out every other process; the first `steps` of it only, if
/// that is given.
pub(crate) async fn migrate(tx: &DatabaseTransaction, steps: Option<u32>) -> Result<(), OpenError> {
    let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
    Migrator::install(tx).await.map_err(failed)?;
    check_known(tx).await?;
    Migrator::up(tx, steps).await.map_err(failed)
}
