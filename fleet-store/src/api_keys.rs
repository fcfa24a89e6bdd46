//! Api_keys of operators. Those of agents are the business of `ServerStore`.

use fleet_core::code::SecretHash;
use fleet_core::id::{OrgId, UserId};
use fleet_core::name::Name;
use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait as _, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QuerySelect,
};

use crate::decode::Columns;
use crate::entity::{api_key, membership};
use crate::error::{Missing, backend, is_unique};
use crate::server::commit::hash_bytes;
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;
use crate::user_sessions::org_of;
use crate::users::{UserRecord, user_by_id};

/// The most api_keys that a user may have for one organization.
pub const MAX_USER_API_KEYS: u64 = 100;

/// `last_used_at` is for people: it is written at most once in so many milliseconds, so that
/// calls that only read stay calls that only read.
const LAST_USED_STEP_MS: i64 = 60_000;

/// An api_key of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserApiKeyRecord {
    /// The hash of the key, all that is stored of its secret.
    pub hash: SecretHash,
    /// The 8 hex digits that stand in listings and in the activity log; unique.
    pub digits: String,
    /// What it is for, in its owner's words.
    pub label: Name,
    /// Whose it is.
    pub user_id: UserId,
    /// The organization that it acts for.
    pub org_id: OrgId,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends, if ever.
    pub expires_at: Option<UnixMillis>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<UnixMillis>,
}

/// An api_key was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateApiKeyError {
    /// The user does not belong to the organization, or not any more.
    #[error("the user is no operator of the organization")]
    NotMember,
    /// The user has as many as a user may have for one organization.
    #[error("a user has at most {limit} api_keys: revoke one first")]
    TooMany {
        /// How many a user may have.
        limit: u64,
    },
    /// Another key has the same digits: make another.
    #[error("an api_key with these digits exists")]
    DigitsTaken,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a new api_key of a user.
    ///
    /// # Errors
    /// [`CreateApiKeyError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. Call it again
    /// with a new key: the first one may be kept. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn create_user_api_key(&self, key: UserApiKeyRecord) -> Result<(), CreateApiKeyError> {
        let tx = self.write().await?;
        insert(&tx, &key).await?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    /// The api_keys that act for an organization, oldest first; expired ones too.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn user_api_keys(&self, org: OrgId) -> Result<Vec<UserApiKeyRecord>, StoreError> {
        let statement = self.sql(
            "SELECT k.* FROM api_key k JOIN membership m ON m.id = k.membership_id AND m.user_id = k.user_id
             WHERE m.org_id = $1 AND k.subject_kind = 'user' ORDER BY k.created_at, k.digits",
            [org.value().into()],
        );
        let found = api_key::Entity::find().from_raw_sql(statement);
        let rows = found.all(&self.reader()).await.map_err(backend)?;
        rows.into_iter().map(|row| record(row, org)).collect()
    }

    /// Deletes an api_key that acts for the organization; whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds none. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn revoke_user_api_key(&self, org: OrgId, digits: &str) -> Result<bool, StoreError> {
        if digits.contains('\0') {
            return Ok(false);
        }
        let tx = self.write().await?;
        let statement = self.sql(
            "DELETE FROM api_key WHERE digits = $1 AND subject_kind = 'user'
             AND membership_id IN (SELECT id FROM membership WHERE org_id = $2)",
            [digits.into(), org.value().into()],
        );
        let deleted = tx.execute_raw(statement).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(deleted.rows_affected() > 0)
    }

    /// The user that an api_key belongs to; `None` for an expired key, for an agent's, and if the user no longer
    /// belongs to its organization.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// May be dropped at any point: that the key was used is noted or not. The future is `Send`; it panics
    /// only outside of a tokio runtime.
    pub async fn user_by_api_key(
        &self,
        hash: &SecretHash,
        now: UnixMillis,
    ) -> Result<Option<(UserApiKeyRecord, UserRecord)>, StoreError> {
        let tx = self.read().await?;
        let of_user = api_key::Entity::find_by_id(hash_bytes(hash))
            .filter(api_key::Column::SubjectKind.eq("user"))
            .one(&tx)
            .await
            .map_err(backend)?;
        let Some(row) = of_user else { return Ok(None) };
        let Some(org) = org_of(&tx, row.membership_id, row.user_id.unwrap_or_default()).await? else {
            return Ok(None);
        };
        let mut key = record(row, org)?;
        if key.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let Some(user) = user_by_id(&tx, key.user_id.value()).await? else { return Ok(None) };
        tx.commit().await.map_err(backend)?;
        let due = now.value().saturating_sub(LAST_USED_STEP_MS);
        if key.last_used_at.is_none_or(|last| last.value() <= due) {
            key.last_used_at = Some(now);
            self.note_use(&key).await?;
        }
        Ok(Some((key, user)))
    }

    async fn note_use(&self, key: &UserApiKeyRecord) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let row = api_key::ActiveModel {
            last_used_at: Set(key.last_used_at.map(UnixMillis::value)),
            updated_at: Set(now_millis()),
            ..Default::default()
        };
        let update = api_key::Entity::update_many().set(row);
        update.filter(api_key::Column::Hash.eq(hash_bytes(&key.hash))).exec(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)
    }
}

async fn insert(tx: &Transaction, key: &UserApiKeyRecord) -> Result<(), CreateApiKeyError> {
    let user_id = key.user_id;
    // The row is locked so that two keys at once cannot both be the hundredth, and no key outlives it.
    let of_user = membership::Entity::find()
        .filter(membership::Column::UserId.eq(user_id.value()))
        .filter(membership::Column::OrgId.eq(key.org_id.value()))
        .lock_exclusive();
    let membership = of_user.one(tx).await.map_err(backend)?.ok_or(CreateApiKeyError::NotMember)?;
    let held = api_key::Entity::find().filter(api_key::Column::MembershipId.eq(membership.id));
    if held.count(tx).await.map_err(backend)? >= MAX_USER_API_KEYS {
        return Err(CreateApiKeyError::TooMany { limit: MAX_USER_API_KEYS });
    }
    let row = api_key::Model {
        hash: hash_bytes(&key.hash),
        digits: key.digits.clone(),
        subject_kind: "user".to_owned(),
        user_id: Some(user_id.value()),
        agent_id: None,
        label: Some(key.label.as_str().to_owned()),
        expires_at: key.expires_at.map(UnixMillis::value),
        last_used_at: key.last_used_at.map(UnixMillis::value),
        created_at: key.created_at.value(),
        updated_at: now_millis(),
        membership_id: Some(membership.id),
    };
    let insert = api_key::Entity::insert(row.into_active_model());
    insert.exec_without_returning(tx).await.map_err(|error| {
        if is_unique(&error) { CreateApiKeyError::DigitsTaken } else { backend(error).into() }
    })?;
    Ok(())
}

fn record(row: api_key::Model, org_id: OrgId) -> Result<UserApiKeyRecord, StoreError> {
    let columns = Columns("api_key");
    let user_id = row.user_id.ok_or_else(|| columns.bad("user_id", Missing))?;
    let label = row.label.ok_or_else(|| columns.bad("label", Missing))?;
    Ok(UserApiKeyRecord {
        hash: columns.hash("hash", &row.hash.0)?,
        digits: row.digits,
        label: columns.value("label", Name::new(label))?,
        user_id: columns.id("user_id", user_id)?,
        org_id,
        created_at: columns.time("created_at", row.created_at)?,
        expires_at: columns.optional_time("expires_at", row.expires_at)?,
        last_used_at: columns.optional_time("last_used_at", row.last_used_at)?,
    })
}
