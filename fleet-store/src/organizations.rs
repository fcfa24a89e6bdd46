//! The organizations of a server.
//!
//! The first is made by the set-up, the others by whoever administers the host. The first stays the first: the local
//! half and the key file `root.key` are its own.

use fleet_core::id::UserId;
use fleet_core::store::{Actor, Changeset, CommitError, OrganizationRecord, StoreError, Versioned};
use sea_orm::sea_query::NullOrdering;
use sea_orm::{ConnectionTrait as _, EntityTrait, Order, QueryOrder, QuerySelect};

use crate::entity::organization;
use crate::error::{backend, is_unique_in};
use crate::members::{self, Account, AddMemberError};
use crate::server::commit;
use crate::server::load::with_manifest;
use crate::store::Store;
use crate::transaction::Transaction;

/// An organization was not made; nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateOrganizationError {
    /// There is no first organization, which the set-up makes.
    #[error("this installation is not set up yet")]
    NotSetUp,
    /// Another organization has the name, in whatever case.
    #[error("an organization of this name exists")]
    NameTaken,
    /// Its first operator could not become one.
    #[error(transparent)]
    Operator(AddMemberError),
    /// The founding change was refused.
    #[error("the founding change was refused")]
    Refused(#[source] CommitError),
    /// The backend failed. Whether the organization was made may be unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AddMemberError> for CreateOrganizationError {
    fn from(error: AddMemberError) -> Self {
        match error {
            AddMemberError::Store(error) => Self::Store(error),
            AddMemberError::NoOrganization
            | AddMemberError::NoUser { .. }
            | AddMemberError::NameTaken
            | AddMemberError::AlreadyMember => Self::Operator(error),
        }
    }
}

/// What of a name must be unique: `Acme` and `ACME` are one.
pub(crate) fn name_key(name: &str) -> String {
    name.to_lowercase()
}

impl Store {
    /// The first organization, if the installation was set up. It never changes which one that is.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn organization(&self) -> Result<Option<Versioned<OrganizationRecord>>, StoreError> {
        Ok(self.organizations_up_to(Some(1)).await?.into_iter().next())
    }

    /// All organizations, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn organizations(&self) -> Result<Vec<Versioned<OrganizationRecord>>, StoreError> {
        self.organizations_up_to(None).await
    }

    /// Whether there is more than one organization.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn has_several_organizations(&self) -> Result<bool, StoreError> {
        let ids = organization::Entity::find().select_only().column(organization::Column::Id).limit(2);
        let ids: Vec<i64> = ids.into_tuple().all(&self.reader()).await.map_err(backend)?;
        Ok(ids.len() > 1)
    }

    async fn organizations_up_to(
        &self,
        limit: Option<u64>,
    ) -> Result<Vec<Versioned<OrganizationRecord>>, StoreError> {
        let tx = self.read().await?;
        let rows = organization::Entity::find()
            .order_by_with_nulls(organization::Column::Number, Order::Asc, NullOrdering::Last)
            .order_by_asc(organization::Column::CreatedAt)
            .limit(limit)
            .all(&tx)
            .await
            .map_err(backend)?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(with_manifest(&tx, row).await?);
        }
        tx.commit().await.map_err(backend)?;
        Ok(found)
    }

    /// Commits the change that founds an organization beside the first, with its first operator; who that is.
    ///
    /// # Errors
    /// [`CreateOrganizationError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds its name taken. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn create_organization(
        &self,
        change: Changeset,
        operator: Account,
        actor: Actor,
    ) -> Result<UserId, CreateOrganizationError> {
        let tx = self.write().await?;
        match self.create_organization_in(&tx, change, operator, actor).await {
            Ok(user) => {
                tx.commit().await.map_err(backend)?;
                Ok(user)
            }
            Err(error) => {
                tx.rollback().await.map_err(backend)?;
                Err(error)
            }
        }
    }

    async fn create_organization_in(
        &self,
        tx: &Transaction,
        change: Changeset,
        operator: Account,
        actor: Actor,
    ) -> Result<UserId, CreateOrganizationError> {
        if !self.lock_organizations(tx).await? {
            return Err(CreateOrganizationError::NotSetUp);
        }
        let Some(founded) = change.organization.as_ref().map(|put| put.record.clone()) else {
            return Err(CreateOrganizationError::Refused(CommitError::Stale));
        };
        commit::apply(tx, change).await.map_err(|error| match error {
            CommitError::Store(error) => CreateOrganizationError::Store(error),
            CommitError::Stale | CommitError::NameTaken | CommitError::KeyTaken { .. } | _ => {
                CreateOrganizationError::Refused(error)
            }
        })?;
        if !self.claim_name(tx, &founded).await? {
            return Err(CreateOrganizationError::NameTaken);
        }
        Ok(members::add(tx, founded.id, operator, actor, founded.created_at).await?)
    }

    /// Keeps out whoever makes an organization at the same time; whether there is one.
    pub(crate) async fn lock_organizations(&self, tx: &Transaction) -> Result<bool, StoreError> {
        let exclusive = self.lock("LOCK TABLE organization IN EXCLUSIVE MODE");
        if !exclusive.is_empty() {
            tx.execute_unprepared(exclusive).await.map_err(backend)?;
        }
        Ok(organization::Entity::find().limit(1).one(tx).await.map_err(backend)?.is_some())
    }

    /// Gives a new organization the next number, and its name; whether the name was free.
    pub(crate) async fn claim_name(
        &self,
        tx: &Transaction,
        founded: &OrganizationRecord,
    ) -> Result<bool, StoreError> {
        let name = name_key(founded.manifest.manifest().org_name.as_str());
        let claim = self.sql(
            "UPDATE organization SET name_key = $2,
             number = (SELECT COALESCE(MAX(o.number), 0) + 1 FROM organization o) WHERE id = $1",
            [founded.id.value().into(), name.into()],
        );
        match tx.execute_raw(claim).await {
            Ok(_) => Ok(true),
            Err(error) if is_unique_in(&error, "organization_name", "organization.name_key") => Ok(false),
            Err(error) => Err(backend(error)),
        }
    }
}
