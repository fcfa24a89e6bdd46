//! What a database holds, for whoever copies it.

use fleet_core::id::OrgId;
use fleet_core::store::StoreError;
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement};

use crate::decode::Columns;
use crate::error::{Missing, backend};
use crate::migration::Migrator;
use crate::store::Store;
use crate::transaction::Transaction;

/// What a database holds, as of one moment. No secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// The newest step of its schema.
    pub schema: String,
    /// Its organizations, by ascending id.
    pub organizations: Vec<OrganizationContents>,
}

/// An organization by its manifest in force. Its signature is not verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrganizationContents {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// The manifest's epoch.
    pub epoch: i64,
    /// The public key that signs its manifests.
    pub root: Vec<u8>,
    /// The public key of its servers.
    pub command: Vec<u8>,
}

/// A moment of a PostgreSQL database that `pg_dump --snapshot` can dump for as long as this is held.
#[derive(Debug)]
pub struct ExportedSnapshot {
    /// What to pass to `--snapshot`.
    pub id: String,
    /// What the database holds at that moment.
    pub contents: Contents,
    _open: Transaction,
}

/// Columns of the first version only: the database may be older than this program.
const ORGANIZATIONS: &str = "SELECT o.id, o.epoch, m.org_name, m.root_key, m.command_key
    FROM organization o LEFT JOIN manifest m ON m.org_id = o.id AND m.epoch = o.epoch ORDER BY o.id";

#[derive(Debug, FromQueryResult)]
struct Row {
    id: i64,
    epoch: i64,
    org_name: Option<String>,
    root_key: Option<Vec<u8>>,
    command_key: Option<Vec<u8>>,
}

impl Store {
    /// Whether this version knows a step of the schema.
    #[must_use]
    pub fn knows_schema(step: &str) -> bool {
        Migrator::knows(step)
    }

    /// What the database holds. It may be of an older schema than this version's.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        let tx = self.read().await?;
        let contents = read(&tx).await?;
        tx.commit().await.map_err(backend)?;
        Ok(contents)
    }

    /// Holds a moment of a PostgreSQL database for `pg_dump`; `None` on SQLite, which has
    /// [`Store::backup_to`].
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn export_snapshot(&self) -> Result<Option<ExportedSnapshot>, StoreError> {
        if self.inner.backend != DbBackend::Postgres {
            return Ok(None);
        }
        let tx = self.read().await?;
        let export = self.sql("SELECT pg_export_snapshot() AS id", []);
        let row = tx.query_one_raw(export).await.map_err(backend)?;
        let id = row.map(|row| row.try_get::<String>("", "id")).transpose().map_err(backend)?;
        let id = id.ok_or_else(|| StoreError("PostgreSQL exported no snapshot".into()))?;
        let contents = read(&tx).await?;
        Ok(Some(ExportedSnapshot { id, contents, _open: tx }))
    }
}

async fn read<C: ConnectionTrait>(db: &C) -> Result<Contents, StoreError> {
    let statement = |sql: &str| Statement::from_string(db.get_database_backend(), sql);
    let newest = statement("SELECT MAX(version) AS step FROM seaql_migrations");
    let row = db.query_one_raw(newest).await.map_err(backend)?;
    let step = row.map(|row| row.try_get::<Option<String>>("", "step")).transpose().map_err(backend)?;
    let schema = step.flatten().ok_or_else(|| Columns("seaql_migrations").bad("version", Missing))?;
    let rows = Row::find_by_statement(statement(ORGANIZATIONS)).all(db).await.map_err(backend)?;
    let organizations = rows.into_iter().map(organization).collect::<Result<_, _>>()?;
    Ok(Contents { schema, organizations })
}

fn organization(row: Row) -> Result<OrganizationContents, StoreError> {
    let missing = || Columns("organization").bad("epoch", Missing);
    Ok(OrganizationContents {
        id: Columns("organization").id("id", row.id)?,
        name: row.org_name.ok_or_else(missing)?,
        epoch: row.epoch,
        root: row.root_key.ok_or_else(missing)?,
        command: row.command_key.ok_or_else(missing)?,
    })
}
