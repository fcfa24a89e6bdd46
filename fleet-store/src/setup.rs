//! The first start: an organization and its first operator.

use fleet_core::store::{Changeset, CommitError, StoreError};

use crate::error::backend;
use crate::members::{self, AddMemberError};
use crate::server::commit;
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
    /// Commits the change that founds the first organization, with its first operator, if there is
    /// no organization yet.
    ///
    /// # Errors
    /// [`SetUpError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call says so. The future is `Send`; it panics only outside of a tokio runtime.
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
        if self.lock_organizations(tx).await? {
            return Err(SetUpError::AlreadySetUp);
        }
        let Some(founded) = change.organization.as_ref().map(|put| put.record.clone()) else {
            return Err(SetUpError::Refused(CommitError::Stale));
        };
        commit::apply(tx, change).await.map_err(|error| match error {
            CommitError::Store(error) => SetUpError::Store(error),
            CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. } | _ => {
                SetUpError::Refused(error)
            }
        })?;
        // The first of its name, since it is the first.
        self.claim_name(tx, &founded).await?;
        users::insert(tx, user, founded.id).await.map_err(|error| match error {
            // There is no organization, so this user is of none.
            CreateUserError::NameTaken => SetUpError::AlreadySetUp,
            CreateUserError::Store(error) => SetUpError::Store(error),
        })?;
        members::join(tx, user.id, founded.id, user.created_at).await.map_err(|error| match error {
            AddMemberError::Store(error) => SetUpError::Store(error),
            AddMemberError::NoOrganization
            | AddMemberError::NoUser { .. }
            | AddMemberError::NameTaken
            | AddMemberError::AlreadyMember => SetUpError::AlreadySetUp,
        })
    }
}
