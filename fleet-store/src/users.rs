//! Operators' accounts. One belongs to the server; which organizations it may act for stands in its memberships.

use core::fmt;

use fleet_core::code::SecretHash;
use fleet_core::id::{OrgId, UserId};
use fleet_core::store::{Actor, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter};

use crate::activity::LogKind;
use crate::decode::Columns;
use crate::entity::app_user;
use crate::entity::hidden::HiddenText;
use crate::error::{backend, is_unique};
use crate::members;
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;
use crate::user_sessions;

/// An operator's account.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
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
            .field("name", &self.name)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// An account was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CreateUserError {
    /// Another account has the login name.
    #[error("a user of this name exists")]
    NameTaken,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The account with this login name, in whatever case.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, StoreError> {
        if name.contains('\0') {
            return Ok(None);
        }
        let by_name = app_user::Entity::find().filter(app_user::Column::Name.eq(name.to_lowercase()));
        by_name.one(&self.reader()).await.map_err(backend)?.map(user).transpose()
    }

    /// An account by its id.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        user_by_id(&self.reader(), id.value()).await
    }

    /// Gives a user another password, if `old_hash` is still that of the present one, and ends all their sessions but
    /// the one that asks for it; whether it was so.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds another hash. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn change_password(
        &self,
        user: UserId,
        old_hash: &str,
        new_hash: &str,
        session: &SecretHash,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        if !put_password(&tx, user, Some(old_hash), new_hash).await? {
            return Ok(false);
        }
        user_sessions::end_all(&tx, user, Some(session)).await?;
        members::note(&tx, user, &Actor::User(user), LogKind::PasswordChanged, None, now).await?;
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }

    /// Gives a user another password, whatever it was, and ends all their sessions; whether there is such a user.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. It may be called
    /// again. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn set_password(
        &self,
        user: UserId,
        new_hash: &str,
        actor: Actor,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        if !put_password(&tx, user, None, new_hash).await? {
            return Ok(false);
        }
        user_sessions::end_all(&tx, user, None).await?;
        let name = user_by_id(&tx, user.value()).await?.map(|user| user.name);
        members::note(&tx, user, &actor, LogKind::PasswordSet, name, now).await?;
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }
}

/// Writes the password first: whoever makes a session at the same time has the row locked, and its session is there to
/// be ended, or waits and finds another password.
async fn put_password(
    tx: &Transaction,
    user: UserId,
    old_hash: Option<&str>,
    new_hash: &str,
) -> Result<bool, StoreError> {
    let row = app_user::ActiveModel {
        password_hash: Set(HiddenText(new_hash.to_owned())),
        updated_at: Set(now_millis()),
        ..Default::default()
    };
    let mut update = app_user::Entity::update_many().set(row).filter(app_user::Column::Id.eq(user.value()));
    if let Some(old_hash) = old_hash {
        update = update.filter(app_user::Column::PasswordHash.eq(old_hash));
    }
    Ok(update.exec(tx).await.map_err(backend)?.rows_affected == 1)
}

/// Writes an account, made for `org`, and no membership.
pub(crate) async fn insert(tx: &Transaction, user: &UserRecord, org: OrgId) -> Result<(), CreateUserError> {
    let row = app_user::Model {
        id: user.id.value(),
        org_id: org.value(),
        name: user.name.to_lowercase(),
        password_hash: HiddenText(user.password_hash.clone()),
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

pub(crate) fn user(row: app_user::Model) -> Result<UserRecord, StoreError> {
    let columns = Columns("app_user");
    Ok(UserRecord {
        id: columns.id("id", row.id)?,
        name: row.name,
        password_hash: row.password_hash.0,
        created_at: columns.time("created_at", row.created_at)?,
    })
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn debug_shows_no_hash() {
        let password_hash = "$argon2id$a-hash-to-be-found";
        let user = UserRecord {
            id: UserId::new(1).unwrap(),
            name: "alice".to_owned(),
            password_hash: password_hash.to_owned(),
            created_at: UnixMillis::new(1_767_225_600_000).unwrap(),
        };
        assert_snapshot!(Secrets::of([("the hash", password_hash)]).unsaid(&user), @r#"UserRecord { id: UserId(1), name: "alice", created_at: UnixMillis(1767225600000), .. }"#);
    }
}
