//! The sessions of operators. Each acts for one organization, by the membership that it hangs on.

use fleet_core::code::SecretHash;
use fleet_core::id::{OrgId, UserId};
use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};

use crate::decode::Columns;
use crate::entity::{app_user, membership, user_session};
use crate::error::{backend, is_foreign_key};
use crate::members;
use crate::server::commit::hash_bytes;
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;
use crate::users::{UserRecord, user_by_id};

/// An operator's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSessionRecord {
    /// The hash of the token, all that is stored of it.
    pub token: SecretHash,
    /// Whose it is.
    pub user_id: UserId,
    /// The organization that it acts for.
    pub org_id: OrgId,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// There is no new session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateSessionError {
    /// The user does not belong to the organization, or not any more.
    #[error("the user is no operator of the organization")]
    NotMember,
    /// The user is gone or has another password than the one that was checked, or the session that was to go on in
    /// another organization is over.
    #[error("what the session was to be made by does not count any more")]
    Outdated,
    /// The backend failed, or the token was used before.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a new session of somebody whose password was checked against `password_hash`.
    ///
    /// # Errors
    /// [`CreateSessionError`]: a password that was changed since then makes no session, nor does a membership that
    /// has ended.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Call it again
    /// with a new token: the first one's may be kept. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn create_user_session(
        &self,
        session: UserSessionRecord,
        password_hash: &str,
    ) -> Result<(), CreateSessionError> {
        let tx = self.write().await?;
        let user = locked_user(&tx, session.user_id).await?;
        if user.is_none_or(|user| user.password_hash.0 != password_hash) {
            return Err(CreateSessionError::Outdated);
        }
        insert(&tx, &session).await?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    /// Goes on in another organization: the session of `token` ends, and one of `next` begins, which ends when that
    /// one would have.
    ///
    /// # Errors
    /// [`CreateSessionError`]; the session of `token` is then as it was.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call says `Outdated`. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn select_organization(
        &self,
        token: &SecretHash,
        next: SecretHash,
        org: OrgId,
        now: UnixMillis,
    ) -> Result<UserSessionRecord, CreateSessionError> {
        let tx = self.write().await?;
        let live = user_session::Entity::find_by_id(hash_bytes(token))
            .filter(user_session::Column::ExpiresAt.gt(now.value()));
        let row = live.one(&tx).await.map_err(backend)?.ok_or(CreateSessionError::Outdated)?;
        let columns = Columns("user_session");
        let user_id = columns.id("user_id", row.user_id).map_err(StoreError::from)?;
        // A change of the password ends all sessions: that which it must see, it sees, or it was first.
        locked_user(&tx, user_id).await?.ok_or(CreateSessionError::Outdated)?;
        let ended = user_session::Entity::delete_by_id(row.token_hash).exec(&tx).await.map_err(backend)?;
        if ended.rows_affected == 0 {
            return Err(CreateSessionError::Outdated);
        }
        let expires_at = columns.time("expires_at", row.expires_at).map_err(StoreError::from)?;
        let session = UserSessionRecord { token: next, user_id, org_id: org, created_at: now, expires_at };
        insert(&tx, &session).await?;
        tx.commit().await.map_err(backend)?;
        Ok(session)
    }

    /// The session of a token, and whose it is; `None` if it has expired, or if its user no longer belongs to its
    /// organization.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn user_by_session(
        &self,
        token: &SecretHash,
        now: UnixMillis,
    ) -> Result<Option<(UserSessionRecord, UserRecord)>, StoreError> {
        let tx = self.read().await?;
        let by_token = user_session::Entity::find_by_id(hash_bytes(token));
        let live = by_token.filter(user_session::Column::ExpiresAt.gt(now.value()));
        let Some(row) = live.one(&tx).await.map_err(backend)? else { return Ok(None) };
        let Some(org) = org_of(&tx, row.membership_id, row.user_id).await? else { return Ok(None) };
        let Some(user) = user_by_id(&tx, row.user_id).await? else { return Ok(None) };
        tx.commit().await.map_err(backend)?;
        let columns = Columns("user_session");
        let session = UserSessionRecord {
            token: columns.hash("token_hash", &row.token_hash.0)?,
            user_id: user.id,
            org_id: org,
            created_at: columns.time("created_at", row.created_at)?,
            expires_at: columns.time("expires_at", row.expires_at)?,
        };
        Ok(Some((session, user)))
    }

    /// Ends a session; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds none. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn end_user_session(&self, token: &SecretHash) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        let delete = user_session::Entity::delete_by_id(hash_bytes(token));
        let deleted = delete.exec(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(deleted.rows_affected > 0)
    }
}

/// The organization that a credential of this user acts for by its membership.
pub(crate) async fn org_of(
    tx: &Transaction,
    membership: Option<i64>,
    user: i64,
) -> Result<Option<OrgId>, StoreError> {
    let Some(id) = membership else { return Ok(None) };
    let found = membership::Entity::find_by_id(id).filter(membership::Column::UserId.eq(user));
    let found = found.one(tx).await.map_err(backend)?;
    Ok(found.map(|row| Columns("membership").id("org_id", row.org_id)).transpose()?)
}

/// The user, whose password does not change until the transaction ends.
async fn locked_user(tx: &Transaction, user: UserId) -> Result<Option<app_user::Model>, StoreError> {
    app_user::Entity::find_by_id(user.value()).lock_shared().one(tx).await.map_err(backend)
}

async fn insert(tx: &Transaction, session: &UserSessionRecord) -> Result<(), CreateSessionError> {
    let membership = members::find(tx, session.user_id, session.org_id).await?;
    let membership = membership.ok_or(CreateSessionError::NotMember)?;
    let row = user_session::Model {
        token_hash: hash_bytes(&session.token),
        user_id: session.user_id.value(),
        expires_at: session.expires_at.value(),
        created_at: session.created_at.value(),
        updated_at: now_millis(),
        membership_id: Some(membership.id),
    };
    let insert = user_session::Entity::insert(row.into_active_model());
    insert.exec_without_returning(tx).await.map_err(|error| {
        // The membership ended between the two statements.
        if is_foreign_key(&error) { CreateSessionError::NotMember } else { backend(error).into() }
    })?;
    Ok(())
}

/// Ends the sessions of a user, but for one.
pub(crate) async fn end_all(
    tx: &Transaction,
    user: UserId,
    except: Option<&SecretHash>,
) -> Result<(), StoreError> {
    let mut delete =
        user_session::Entity::delete_many().filter(user_session::Column::UserId.eq(user.value()));
    if let Some(token) = except {
        delete = delete.filter(user_session::Column::TokenHash.ne(hash_bytes(token)));
    }
    delete.exec(tx).await.map_err(backend)?;
    Ok(())
}
