//! Who may store something in an agent's name.

use fleet_core::code::SecretHash;
use fleet_core::id::AgentId;
use fleet_core::store::{AgentKind, AgentStatus, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::decode::Columns;
use crate::entity::{agent, agent_session};
use crate::error::backend;
use crate::server::commit::hash_bytes;
use crate::server::rows;
use crate::store::{Store, now_millis};
use crate::text::clean;
use crate::transaction::Transaction;

/// Whose write it is, and by what right. The right is read again in the very transaction that
/// writes (protocol section 5 step 3), so what is stored was stored by an agent that was
/// confirmed, under a session that was alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The agent.
    pub agent_id: AgentId,
    /// The session of the call. `None` only for the agent half in the same process, which must be
    /// of the kind [`AgentKind::Local`].
    pub session: Option<SecretHash>,
    /// When the call came; the session must not have expired by then.
    pub now: UnixMillis,
}

/// A write in an agent's name did not happen; nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The agent is not confirmed, or the session is not its own, is gone, or has expired.
    #[error("the agent or its session may store nothing any more")]
    Refused,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An agent whose right to write was checked, in the transaction that checked it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    pub(crate) agent_id: i64,
    pub(crate) org_id: i64,
    pub(crate) kind: AgentKind,
}

/// Locks the agent and checks the guard.
pub(crate) async fn admit(tx: &Transaction, guard: &Guard) -> Result<Admitted, GuardError> {
    let columns = Columns("agent");
    let found = agent::Entity::find_by_id(guard.agent_id.value()).lock_exclusive();
    let row = found.one(tx).await.map_err(backend)?.ok_or(GuardError::Refused)?;
    let status = columns.word("status", rows::status_of(&row.status)).map_err(StoreError::from)?;
    let kind = columns.word("kind", rows::kind_of(&row.kind)).map_err(StoreError::from)?;
    if status != AgentStatus::Confirmed {
        return Err(GuardError::Refused);
    }
    match &guard.session {
        None if kind == AgentKind::Local => {}
        None => return Err(GuardError::Refused),
        Some(token) => {
            let live = agent_session::Entity::find_by_id(hash_bytes(token))
                .filter(agent_session::Column::AgentId.eq(row.id))
                .filter(agent_session::Column::ExpiresAt.gt(guard.now.value()));
            live.one(tx).await.map_err(backend)?.ok_or(GuardError::Refused)?;
        }
    }
    Ok(Admitted { agent_id: row.id, org_id: row.org_id, kind })
}

impl Store {
    /// Notes that an agent is alive, at `at` by the server's clock, and which version it runs.
    ///
    /// # Errors
    /// [`GuardError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. It may be called
    /// again. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn heartbeat(&self, guard: &Guard, at: UnixMillis, version: &str) -> Result<(), GuardError> {
        let tx = self.write().await?;
        let admitted = admit(&tx, guard).await?;
        let row = agent::ActiveModel {
            last_heartbeat_at: Set(Some(at.value())),
            agent_version: Set(Some(clean(version))),
            updated_at: Set(now_millis()),
            ..Default::default()
        };
        let update = agent::Entity::update_many().set(row);
        update.filter(agent::Column::Id.eq(admitted.agent_id)).exec(&tx).await.map_err(backend)?;
        Ok(tx.commit().await.map_err(backend)?)
    }
}
