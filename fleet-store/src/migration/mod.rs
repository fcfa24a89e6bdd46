//! The schema, as a list of steps that only ever grows.
//!
//! Steps are additive: a step that was released is never changed, and none removes what an older
//! server of the same minor version reads.

mod m0001_initial;
mod m0002_organizations;

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{DatabaseTransaction, DbErr};
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

/// Applies what is missing, inside a transaction that keeps out every other process; the first `steps` of it only, if
/// that is given.
pub(crate) async fn migrate(tx: &DatabaseTransaction, steps: Option<u32>) -> Result<(), OpenError> {
    let failed = |source: DbErr| OpenError::Migrate { source: Box::new(source) };
    let known = Migrator::migrations();
    let applied = Migrator::get_migration_models(tx).await.map_err(failed)?;
    if let Some(newer) = applied.into_iter().find(|row| known.iter().all(|step| step.name() != row.version)) {
        return Err(OpenError::NewerSchema { step: newer.version });
    }
    Migrator::up(tx, steps).await.map_err(failed)
}
