//! The schema, as a list of steps that only ever grows.
//!
//! Steps are additive: a step that was released is never changed, and none removes what an older
//! server of the same minor version reads.

mod m0001_initial;
mod m0002_organizations;

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use crate::open::OpenError;

#[derive(Debug)]
pub(crate) struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m0001_initial::Step), Box::new(m0002_organizations::Step)]
    }
}

impl Migrator {
    /// Whether this version has a step of this name.
    pub(crate) fn knows(name: &str) -> bool {
        Self::migrations().iter().any(|step| step.name() == name)
    }

    /// Whether the database lacks a step.
    pub(crate) async fn pending<C: ConnectionTrait>(db: &C) -> Result<bool, DbErr> {
        let applied = Self::get_migration_models(db).await?;
        let is_missing =
            |step: &Box<dyn MigrationTrait>| applied.iter().all(|row| row.version != step.name());
        Ok(Self::migrations().iter().any(is_missing))
    }
}

/// Refuses a database that has a step of a newer version.
pub(crate) async fn check_known<C: ConnectionTrait>(db: &C) -> Result<(), OpenError> {
    let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
    let applied = Migrator::get_migration_models(db).await.map_err(failed)?;
    match applied.into_iter().find(|row| !Migrator::knows(&row.version)) {
        Some(newer) => Err(OpenError::NewerSchema { step: newer.version }),
        None => Ok(()),
    }
}

/// Applies what is missing, inside a transaction that keeps out every other process; the first `steps` of it only, if
/// that is given.
pub(crate) async fn migrate(tx: &DatabaseTransaction, steps: Option<u32>) -> Result<(), OpenError> {
    check_known(tx).await?;
    let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
    Migrator::up(tx, steps).await.map_err(failed)
}
