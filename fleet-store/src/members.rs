//! Who belongs to which organization.

use fleet_core::id::{OrgId, UserId};
use fleet_core::name::Name;
use fleet_core::store::{Actor, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
};

use crate::activity::{self, LogEntry, LogKind};
use crate::decode::Columns;
use crate::entity::{app_user, membership, organization};
use crate::error::{backend, is_unique};
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;
use crate::users::{self, CreateUserError, UserRecord, user_by_id};

/// Who is to become an operator of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Account {
    /// Somebody who has an account.
    Existing(UserId),
    /// Somebody for whom one is made.
    New(UserRecord),
}

/// An organization that an operator belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The organization.
    pub org_id: OrgId,
    /// Its name.
    pub name: Name,
}

/// Nobody was added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddMemberError {
    /// There is no such organization.
    #[error("no such organization")]
    NoOrganization,
    /// There is no such user.
    #[error("no user {user_id}")]
    NoUser {
        /// The user that was named.
        user_id: UserId,
    },
    /// Another account has the login name.
    #[error("a user of this name exists")]
    NameTaken,
    /// They belong to it already.
    #[error("the user is an operator of the organization already")]
    AlreadyMember,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes somebody an operator of an organization; who that is.
    ///
    /// # Errors
    /// [`AddMemberError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call says so. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn add_member(
        &self,
        org: OrgId,
        account: Account,
        actor: Actor,
        now: UnixMillis,
    ) -> Result<UserId, AddMemberError> {
        let tx = self.write().await?;
        let added = add(&tx, org, account, actor, now).await;
        match added {
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

    /// Ends that somebody is an operator of an organization, with their sessions and api_keys for it; whether they
    /// were one. Their account stays, and so does what they are elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds none. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn remove_member(
        &self,
        org: OrgId,
        user: UserId,
        actor: Actor,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        let Some(record) = user_by_id(&tx, user.value()).await? else { return Ok(false) };
        // Sessions and api_keys hang on the row and go with it, those too that are being made at this moment.
        let delete = membership::Entity::delete_many()
            .filter(membership::Column::OrgId.eq(org.value()))
            .filter(membership::Column::UserId.eq(user.value()));
        if delete.exec(&tx).await.map_err(backend)?.rows_affected == 0 {
            return Ok(false);
        }
        let kind = LogKind::OperatorRemoved;
        let entry = LogEntry { at: now, org_id: org, actor, kind, detail: Some(record.name) };
        activity::insert(&tx, vec![activity::entry_row(&entry, now_millis())]).await?;
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }

    /// The organizations of a user, the one that they have belonged to the longest first.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        let statement = self.sql(
            "SELECT o.id, f.org_name FROM membership m JOIN organization o ON o.id = m.org_id
             JOIN manifest f ON f.org_id = o.id AND f.epoch = o.epoch WHERE m.user_id = $1 ORDER BY m.id",
            [user.value().into()],
        );
        let rows = self.reader().query_all_raw(statement).await.map_err(backend)?;
        let membership = |row: sea_orm::QueryResult| {
            let id: i64 = row.try_get("", "id").map_err(backend)?;
            let name: String = row.try_get("", "org_name").map_err(backend)?;
            Ok(Membership {
                org_id: Columns("organization").id("id", id)?,
                name: Columns("manifest").value("org_name", Name::new(name))?,
            })
        };
        rows.into_iter().map(membership).collect()
    }

    /// The operators of an organization, who has belonged to it the longest first.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn members(&self, org: OrgId) -> Result<Vec<UserRecord>, StoreError> {
        let statement = self.sql(
            "SELECT u.* FROM app_user u JOIN membership m ON m.user_id = u.id WHERE m.org_id = $1 ORDER BY m.id",
            [org.value().into()],
        );
        let found = app_user::Entity::find().from_raw_sql(statement);
        found.all(&self.reader()).await.map_err(backend)?.into_iter().map(users::user).collect()
    }

    /// Writes one line about a user to the log of each of their organizations.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. A second call
    /// writes the lines a second time. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn log_of_user(
        &self,
        user: UserId,
        actor: Actor,
        kind: LogKind,
        detail: Option<String>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        note(&tx, user, &actor, kind, detail, now).await?;
        tx.commit().await.map_err(backend)
    }
}

/// Writes one line to the log of each of the user's organizations.
pub(crate) async fn note(
    tx: &Transaction,
    user: UserId,
    actor: &Actor,
    kind: LogKind,
    detail: Option<String>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let of_user = membership::Entity::find().filter(membership::Column::UserId.eq(user.value()));
    let mut rows = Vec::new();
    for found in of_user.all(tx).await.map_err(backend)? {
        let org_id = Columns("membership").id("org_id", found.org_id)?;
        let entry = LogEntry { at: now, org_id, actor: actor.clone(), kind, detail: detail.clone() };
        rows.push(activity::entry_row(&entry, now_millis()));
    }
    activity::insert(tx, rows).await
}

/// The membership of a user in an organization.
pub(crate) async fn find<C: ConnectionTrait>(
    db: &C,
    user: UserId,
    org: OrgId,
) -> Result<Option<membership::Model>, StoreError> {
    let found = membership::Entity::find()
        .filter(membership::Column::UserId.eq(user.value()))
        .filter(membership::Column::OrgId.eq(org.value()));
    found.one(db).await.map_err(backend)
}

pub(crate) async fn add(
    tx: &Transaction,
    org: OrgId,
    account: Account,
    actor: Actor,
    now: UnixMillis,
) -> Result<UserId, AddMemberError> {
    let known = organization::Entity::find_by_id(org.value()).select_only().column(organization::Column::Id);
    if known.into_tuple::<i64>().one(tx).await.map_err(backend)?.is_none() {
        return Err(AddMemberError::NoOrganization);
    }
    let (user_id, name) = match account {
        Account::Existing(user_id) => {
            let user = user_by_id(tx, user_id.value()).await?.ok_or(AddMemberError::NoUser { user_id })?;
            (user_id, user.name)
        }
        Account::New(user) => {
            users::insert(tx, &user, org).await.map_err(|error| match error {
                CreateUserError::NameTaken => AddMemberError::NameTaken,
                CreateUserError::Store(error) => AddMemberError::Store(error),
            })?;
            (user.id, user.name.to_lowercase())
        }
    };
    join(tx, user_id, org, now).await?;
    let kind = LogKind::OperatorAdded;
    let entry = LogEntry { at: now, org_id: org, actor, kind, detail: Some(name) };
    activity::insert(tx, vec![activity::entry_row(&entry, now_millis())]).await?;
    Ok(user_id)
}

/// Writes the membership alone.
pub(crate) async fn join(
    tx: &Transaction,
    user: UserId,
    org: OrgId,
    now: UnixMillis,
) -> Result<(), AddMemberError> {
    let row = membership::ActiveModel {
        id: NotSet,
        user_id: Set(user.value()),
        org_id: Set(org.value()),
        created_at: Set(now.value()),
        updated_at: Set(now_millis()),
    };
    membership::Entity::insert(row).exec_without_returning(tx).await.map_err(|error| {
        if is_unique(&error) { AddMemberError::AlreadyMember } else { backend(error).into() }
    })?;
    Ok(())
}
