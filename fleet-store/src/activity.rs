//! The activity log.

use fleet_core::id::{AgentId, DeviceId, EnrollmentId, OrgId};
use fleet_core::store::{Activity, Actor, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::decode::Columns;
use crate::entity::activity;
use crate::error::backend;
use crate::store::{Store, now_millis};
use crate::text::clean;
use crate::transaction::Transaction;

/// One line of the activity log, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityLine {
    /// Rises with every line.
    pub id: i64,
    /// When.
    pub at: UnixMillis,
    /// Who: `user:ID`, `key:` and 8 digits, or `system`.
    pub actor: String,
    /// What, one word: those of `fleet_core::store::ActivityKind`, and those of [`LogKind`].
    pub kind: String,
    /// The agent concerned.
    pub agent_id: Option<AgentId>,
    /// The enrollment concerned.
    pub enrollment_id: Option<EnrollmentId>,
    /// The device concerned.
    pub device_id: Option<DeviceId>,
    /// More, for people.
    pub detail: Option<String>,
}

/// A line for the activity log that belongs to no changeset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When.
    pub at: UnixMillis,
    /// In which organization.
    pub org_id: OrgId,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: LogKind,
    /// More, for people; never a secret.
    pub detail: Option<String>,
}

/// What happened, besides what `fleet_core::store::ActivityKind` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogKind {
    /// The installation was set up.
    SetUp,
    /// An operator signed in.
    Login,
    /// Somebody failed to sign in.
    LoginFailed,
    /// An operator signed out.
    Logout,
    /// An operator made an api_key.
    ApiKeyCreated,
    /// An operator revoked an api_key.
    ApiKeyRevoked,
    /// Devices were paired to an agent.
    DevicesPaired,
    /// Devices were unpaired.
    DevicesUnpaired,
    /// Somebody became an operator of the organization.
    OperatorAdded,
    /// Somebody is no operator of the organization any more.
    OperatorRemoved,
    /// An operator changed their password.
    PasswordChanged,
    /// Somebody gave a wrong old password for a change of it.
    PasswordChangeFailed,
    /// Whoever administers the host gave an operator a new password.
    PasswordSet,
    /// The installation was restored from a backup.
    Restored,
}

impl LogKind {
    /// The word that stands in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SetUp => "set_up",
            Self::Login => "login",
            Self::LoginFailed => "login_failed",
            Self::Logout => "logout",
            Self::ApiKeyCreated => "api_key_created",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::DevicesPaired => "devices_paired",
            Self::DevicesUnpaired => "devices_unpaired",
            Self::OperatorAdded => "operator_added",
            Self::OperatorRemoved => "operator_removed",
            Self::PasswordChanged => "password_changed",
            Self::PasswordChangeFailed => "password_change_failed",
            Self::PasswordSet => "password_set",
            Self::Restored => "restored",
        }
    }
}

impl Store {
    /// Writes one line.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. A second call
    /// writes the line a second time. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn log(&self, entry: LogEntry) -> Result<(), StoreError> {
        let tx = self.write().await?;
        insert(&tx, vec![entry_row(&entry, now_millis())]).await?;
        tx.commit().await.map_err(backend)
    }

    /// The log of an organization, newest first: lines below `before`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn activity(
        &self,
        org: OrgId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ActivityLine>, StoreError> {
        let rows = activity::Entity::find()
            .filter(activity::Column::OrgId.eq(org.value()))
            .filter(activity::Column::Id.lt(before.unwrap_or(i64::MAX)))
            .order_by_desc(activity::Column::Id)
            .limit(u64::from(limit))
            .all(&self.reader())
            .await
            .map_err(backend)?;
        rows.into_iter().map(line).collect()
    }
}

fn line(row: activity::Model) -> Result<ActivityLine, StoreError> {
    let columns = Columns("activity");
    Ok(ActivityLine {
        id: row.id,
        at: columns.time("happened_at", row.happened_at)?,
        actor: row.actor,
        kind: row.kind,
        agent_id: columns.optional_id("agent_id", row.agent_id)?,
        enrollment_id: columns.optional_id("enrollment_id", row.enrollment_id)?,
        device_id: columns.optional_id("device_id", row.device_id)?,
        detail: row.detail,
    })
}

/// The row of a line of a changeset.
pub(crate) fn row(line: &Activity, now: i64) -> activity::ActiveModel {
    activity::ActiveModel {
        id: NotSet,
        org_id: Set(line.org_id.value()),
        happened_at: Set(line.at.value()),
        actor: Set(clean(&line.actor.to_string())),
        kind: Set(line.kind.as_str().to_owned()),
        agent_id: Set(line.agent_id.map(AgentId::value)),
        enrollment_id: Set(line.enrollment_id.map(EnrollmentId::value)),
        device_id: Set(None),
        detail: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
    }
}

/// The row of a line of its own.
pub(crate) fn entry_row(entry: &LogEntry, now: i64) -> activity::ActiveModel {
    activity::ActiveModel {
        id: NotSet,
        org_id: Set(entry.org_id.value()),
        happened_at: Set(entry.at.value()),
        actor: Set(clean(&entry.actor.to_string())),
        kind: Set(entry.kind.as_str().to_owned()),
        agent_id: Set(None),
        enrollment_id: Set(None),
        device_id: Set(None),
        detail: Set(entry.detail.as_deref().map(clean)),
        created_at: Set(now),
        updated_at: Set(now),
    }
}

/// Appends lines in their order.
pub(crate) async fn insert(tx: &Transaction, rows: Vec<activity::ActiveModel>) -> Result<(), StoreError> {
    for row in rows {
        activity::Entity::insert(row).exec_without_returning(tx).await.map_err(backend)?;
    }
    Ok(())
}
