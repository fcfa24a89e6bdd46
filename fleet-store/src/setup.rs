//! The first start: an organization and its first operator.

use fleet_core::store::{Changeset, CommitError, OrganizationRecord, StoreError, Versioned};
use sea_orm::{ConnectionTrait as _, EntityTrait, QueryOrder, QuerySelect};

use crate::entity::organization;
use crate::error::backend;
use crate::server::commit;
use crate::server::load::with_manifest;
use crate::store::Store;
use crate::transaction::Transaction;
use crate::users::{self, CreateUserError, UserRecord};

/// An installation was not set up; nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// There is an organization.
    #[error("this installation is set up already")]
    AlreadySetUp,
    /// The founding change was refused.
    #[error("the founding change was refused")]
    Refused(#[source] CommitError),
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The organization of this installation, if it was set up.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    pub async fn organization(&self) -> Result<Option<Versioned<OrganizationRecord>>, StoreError> {
        let tx = self.read().await?;
        let first = organization::Entity::find().order_by_asc(organization::Column::CreatedAt).limit(1);
        let found = match first.one(&tx).await.map_err(backend)? {
            Some(row) => Some(with_manifest(&tx, &row).await?),
            None => None,
        };
        tx.commit().await.map_err(backend)?;
        Ok(found)
    }

    /// Commits the change that founds an organization, with its first operator, if there is no
    /// organization yet.
    ///
    /// # Errors
    /// [`SetUpError`].
    pub async fn set_up(&self, change: Changeset, user: UserRecord) -> Result<(), SetUpError> {
        let tx = self.write().await?;
        match self.set_up_in(&tx, change, &user).await {
            Ok(()) => Ok(tx.commit().await.map_err(backend)?),
            Err(error) => {
                tx.rollback().await.map_err(backend)?;
                Err(error)
            }
        }
    }

    async fn set_up_in(
        &self,
        tx: &Transaction,
        change: Changeset,
        user: &UserRecord,
    ) -> Result<(), SetUpError> {
        // Of two set-ups at once the second must see the first one's organization.
        let exclusive = self.lock("LOCK TABLE organization IN EXCLUSIVE MODE");
        if !exclusive.is_empty() {
            tx.execute_unprepared(exclusive).await.map_err(backend)?;
        }
        if organization::Entity::find().limit(1).one(tx).await.map_err(backend)?.is_some() {
            return Err(SetUpError::AlreadySetUp);
        }
        commit::apply(tx, change).await.map_err(|error| match error {
            CommitError::Store(error) => SetUpError::Store(error),
            CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. } | _ => {
                SetUpError::Refused(error)
            }
        })?;
        users::insert(tx, user).await.map_err(|error| match error {
            // There is no organization, so this user is of none.
            CreateUserError::NameTaken => SetUpError::AlreadySetUp,
            CreateUserError::Store(error) => SetUpError::Store(error),
        })
    }
}
