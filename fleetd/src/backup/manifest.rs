//! Issuing manifests anew, on the server's host.

use fleet_core::commit::NeedsCommit;
use fleet_core::enrollment::server::{Operator, ReissueError, reissue};
use fleet_core::id::OrgId;
use fleet_core::store::{Actor, CommitError, Query, ServerStore as _, StoreError};
use fleet_core::time::UnixMillis;
use fleet_store::{OpenError, Store};

use super::error::KeySetError;
use super::key_set::KeySet;
use crate::config::Config;

/// How often a manifest is issued anew because a server changed the organization meanwhile.
const ATTEMPTS: usize = 16;

/// A manifest was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The database cannot be opened.
    #[error("the database")]
    Open(#[from] OpenError),
    /// The database failed.
    #[error("the database")]
    Store(#[from] StoreError),
    /// The keys do not belong to the database.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The manifest cannot be issued.
    #[error(transparent)]
    Reissue(#[from] ReissueError),
    /// A restore was not finished.
    #[error(transparent)]
    Unfinished(#[from] crate::server::lock::LockError),
    /// There is no organization.
    #[error("the server is not set up: there is no organization")]
    NotSetUp,
    /// Others were always faster.
    #[error("the records keep changing")]
    Contention,
}

/// What came of one organization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The organization.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// The new manifest's epoch; `None` if its root is not here.
    pub epoch: Option<i64>,
}

/// Issues a new manifest for every organization whose root is here. A server that runs on the database serves it from
/// the next handshake on.
///
/// # Errors
/// [`IssueError`].
///
/// # Cancel safety
/// Dropped, some organizations have their new manifest. Calling again issues another for each, which does no
/// harm. The future is `Send`; it panics only outside of a tokio runtime.
pub async fn issue(config: &Config, now: UnixMillis) -> Result<Vec<Issued>, IssueError> {
    crate::server::lock::check_whole(&config.data_dir)?;
    let store = Store::open_existing(&config.database).await?;
    let issued = issue_all(config, &store, now).await;
    store.close().await;
    issued
}

async fn issue_all(config: &Config, store: &Store, now: UnixMillis) -> Result<Vec<Issued>, IssueError> {
    store.require_current_schema().await?;
    let contents = store.contents().await?;
    if contents.organizations.is_empty() {
        return Err(IssueError::NotSetUp);
    }
    let keys = KeySet::read(&config.key_dir)?;
    for found in &contents.organizations {
        keys.check(found.id, (&found.root, &found.command), true)?;
    }
    let mut issued = Vec::new();
    for found in contents.organizations {
        let epoch = issue_one(store, &keys, found.id, now).await?;
        issued.push(Issued { id: found.id, name: found.name, epoch });
    }
    Ok(issued)
}

async fn issue_one(
    store: &Store,
    keys: &KeySet,
    id: OrgId,
    now: UnixMillis,
) -> Result<Option<i64>, IssueError> {
    for _ in 0..ATTEMPTS {
        let Some(step) = signed(store, keys, id, now).await? else { return Ok(None) };
        match store.commit(step.change().clone()).await {
            Ok(()) => return Ok(Some(step.committed())),
            Err(CommitError::Store(error)) => return Err(error.into()),
            Err(CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. } | _) => {}
        }
    }
    Err(IssueError::Contention)
}

/// A new manifest of an organization, signed and not yet stored; `None` if its root is not here.
pub(super) async fn signed(
    store: &Store,
    keys: &KeySet,
    id: OrgId,
    now: UnixMillis,
) -> Result<Option<NeedsCommit<i64>>, IssueError> {
    let operator = Operator { org_id: id, actor: Actor::System };
    let needs = reissue(operator, store.load(Query::Organization(id)).await?, now)?;
    let Some(root) = keys.root_of(needs.root()) else { return Ok(None) };
    let signature = root.sign(needs.to_sign().as_bytes());
    Ok(Some(needs.signed(signature, now)?))
}
