//! Operators: their accounts, and the sessions of their browsers.

use core::fmt;

use fleet_core::code::SecretHash;
use fleet_core::id::{OrgId, UserId};
use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};

use crate::decode::Columns;
use crate::entity::{app_user, user_session};
use crate::error::{backend, is_unique};
use crate::server::commit::hash_bytes;
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;

/// An operator's account.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// Its organization.
    pub org_id: OrgId,
    /// The login name. Kept in lower case and unique so: `Alice` and `alice` are one.
    pub name: String,
    /// The password's hash, with salt and parameters, as the caller made it.
    pub password_hash: String,
    /// When the account was made.
    pub created_at: UnixMillis,
}

impl fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRecord")
            .field("id", &self.id)
            .field("org_id", &self.org_id)
            .field("name", &self.name)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// An operator's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSessionRecord {
    /// The hash of the token, all that is stored of it.
    pub token: SecretHash,
    /// Whose it is.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// An account was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateUserError {
    /// Another account has the login name.
    #[error("a user of this name exists")]
    NameTaken,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes an account.
    ///
    /// # Errors
    /// [`CreateUserError`].
    pub async fn create_user(&self, user: UserRecord) -> Result<(), CreateUserError> {
        let tx = self.write().await?;
        insert(&tx, &user).await?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    /// The account with this login name, in whatever case.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let by_name = app_user::Entity::find().filter(app_user::Column::Name.eq(name.to_lowercase()));
        by_name.one(&self.inner.reader).await.map_err(backend)?.map(user).transpose()
    }

    /// An account by its id.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        user_by_id(&self.inner.reader, id.value()).await
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails, if there is no such user, or if the token was used
    /// before.
    pub async fn create_user_session(&self, session: UserSessionRecord) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let row = user_session::Model {
            token_hash: hash_bytes(&session.token),
            user_id: session.user_id.value(),
            expires_at: session.expires_at.value(),
            created_at: session.created_at.value(),
            updated_at: now_millis(),
        };
        let insert = user_session::Entity::insert(row.into_active_model());
        insert.exec_without_returning(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)
    }

    /// The session of a token, and whose it is; `None` if it has expired.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    pub async fn user_by_session(
        &self,
        token: &SecretHash,
        now: UnixMillis,
    ) -> Result<Option<(UserSessionRecord, UserRecord)>, StoreError> {
        let tx = self.read().await?;
        let by_token = user_session::Entity::find_by_id(hash_bytes(token));
        let live = by_token.filter(user_session::Column::ExpiresAt.gt(now.value()));
        let Some(row) = live.one(&tx).await.map_err(backend)? else { return Ok(None) };
        let Some(user) = user_by_id(&tx, row.user_id).await? else { return Ok(None) };
        tx.commit().await.map_err(backend)?;
        let columns = Columns("user_session");
        let session = UserSessionRecord {
            token: columns.hash("token_hash", &row.token_hash)?,
            user_id: user.id,
            created_at: columns.time("created_at", row.created_at)?,
            expires_at: columns.time("expires_at", row.expires_at)?,
        };
        Ok(Some((session, user)))
    }

    /// Ends a session; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    pub async fn end_user_session(&self, token: &SecretHash) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        let delete = user_session::Entity::delete_by_id(hash_bytes(token));
        let deleted = delete.exec(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(deleted.rows_affected > 0)
    }
}

pub(crate) async fn insert(tx: &Transaction, user: &UserRecord) -> Result<(), CreateUserError> {
    let row = app_user::Model {
        id: user.id.value(),
        org_id: user.org_id.value(),
        name: user.name.to_lowercase(),
        password_hash: user.password_hash.clone(),
        created_at: user.created_at.value(),
        updated_at: now_millis(),
    };
    let insert = app_user::Entity::insert(row.into_active_model());
    insert.exec_without_returning(tx).await.map_err(|error| {
        if is_unique(&error) { CreateUserError::NameTaken } else { backend(error).into() }
    })?;
    Ok(())
}

pub(crate) async fn user_by_id<C: ConnectionTrait>(
    db: &C,
    id: i64,
) -> Result<Option<UserRecord>, StoreError> {
    let found = app_user::Entity::find_by_id(id).one(db).await.map_err(backend)?;
    found.map(user).transpose()
}

fn user(row: app_user::Model) -> Result<UserRecord, StoreError> {
    let columns = Columns("app_user");
    Ok(UserRecord {
        id: columns.id("id", row.id)?,
        org_id: columns.id("org_id", row.org_id)?,
        name: row.name,
        password_hash: row.password_hash,
        created_at: columns.time("created_at", row.created_at)?,
    })
}
