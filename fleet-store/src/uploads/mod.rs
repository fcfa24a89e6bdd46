//! What agents upload (protocol section 9).
//!
//! Each kind of upload has a sequence of its own. A message at or below the highest durable one is
//! a duplicate and changes nothing; any other is stored whole, with the position, in one
//! transaction.

mod events;
mod resolve;
mod rollup;
mod telemetry;

use fleet_core::id::AgentId;
use fleet_core::store::StoreError;
use fleet_core::time::UnixMillis;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};

use crate::entity::upload_position;
use crate::error::backend;
use crate::guard::{Admitted, Guard, GuardError, admit};
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;

/// A row has so many columns at most, and a statement so many parameters.
pub(crate) const ROWS_A_STATEMENT: usize = 1000;

/// What an upload carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol knows these two streams")]
pub enum UploadKind {
    /// Samples.
    Telemetry,
    /// Events.
    Event,
}

impl UploadKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Event => "event",
        }
    }
}

/// One message of an upload stream, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upload {
    /// Its sequence.
    pub sequence: i64,
    /// When the agent put it together, by the agent's clock.
    pub captured_at: UnixMillis,
    /// When it came in, by the server's.
    pub received_at: UnixMillis,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a message is new or it is not")]
pub enum UploadOutcome {
    /// It was new, and is durable now.
    Accepted,
    /// Its sequence was durable before: nothing was stored.
    Duplicate,
}

/// What was stored of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Whether it was new.
    pub outcome: UploadOutcome,
    /// Samples or events that were stored.
    pub samples_accepted: i64,
    /// Samples or events that were dropped, since the agent does not own the device, or reports too many.
    pub samples_rejected: i64,
    /// Devices that were not taken up, since the agent has reported as many as it may.
    pub devices_refused: i64,
    /// Every message up to this one is durable.
    pub durable_sequence: i64,
}

impl Store {
    /// The highest durable sequence of an agent's uploads, 0 for none.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn durable_sequence(&self, agent: AgentId, kind: UploadKind) -> Result<i64, StoreError> {
        position(&self.reader(), agent.value(), kind).await
    }

    /// Counts a message that cannot be parsed as durable, so that the agent stops sending it.
    ///
    /// # Errors
    /// [`GuardError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call with the same sequence is a duplicate. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn reject_upload(
        &self,
        guard: &Guard,
        kind: UploadKind,
        sequence: i64,
    ) -> Result<Stored, GuardError> {
        let tx = self.write().await?;
        let admitted = admit(&tx, guard).await?;
        if let Some(duplicate) = duplicate(&tx, &admitted, kind, sequence).await? {
            return Ok(duplicate);
        }
        advance(&tx, &admitted, kind, sequence, None).await?;
        tx.commit().await.map_err(backend)?;
        Ok(accepted(sequence, 0, 0))
    }
}

const fn accepted(sequence: i64, samples_accepted: i64, samples_rejected: i64) -> Stored {
    let outcome = UploadOutcome::Accepted;
    Stored { outcome, samples_accepted, samples_rejected, devices_refused: 0, durable_sequence: sequence }
}

/// The answer to a message that is durable already.
async fn duplicate(
    tx: &Transaction,
    admitted: &Admitted,
    kind: UploadKind,
    sequence: i64,
) -> Result<Option<Stored>, StoreError> {
    let durable_sequence = position(tx, admitted.agent_id, kind).await?;
    let stored = Stored { outcome: UploadOutcome::Duplicate, ..accepted(durable_sequence, 0, 0) };
    Ok((sequence <= durable_sequence).then_some(stored))
}

async fn position<C: ConnectionTrait>(db: &C, agent: i64, kind: UploadKind) -> Result<i64, StoreError> {
    let key = (agent, kind.word().to_owned());
    let row = upload_position::Entity::find_by_id(key).one(db).await.map_err(backend)?;
    Ok(row.map_or(0, |row| row.durable_sequence))
}

/// Moves the position; the agent's row is locked, so nobody else moves it.
async fn advance(
    tx: &Transaction,
    admitted: &Admitted,
    kind: UploadKind,
    sequence: i64,
    captured_at: Option<UnixMillis>,
) -> Result<(), StoreError> {
    use upload_position::Column;
    let now = now_millis();
    let row = upload_position::ActiveModel {
        agent_id: Set(admitted.agent_id),
        kind: Set(kind.word().to_owned()),
        durable_sequence: Set(sequence),
        captured_at: Set(captured_at.map(UnixMillis::value)),
        created_at: Set(now),
        updated_at: Set(now),
    };
    let mut again = OnConflict::columns([Column::AgentId, Column::Kind]);
    again.update_columns([Column::DurableSequence, Column::UpdatedAt]);
    if captured_at.is_some() {
        again.update_column(Column::CapturedAt);
    }
    let insert = upload_position::Entity::insert(row).on_conflict(again);
    insert.exec_without_returning(tx).await.map_err(backend)?;
    Ok(())
}

/// Inserts rows, many a statement.
async fn insert_all<A>(tx: &Transaction, rows: Vec<A>, again: Option<OnConflict>) -> Result<(), StoreError>
where
    A: ActiveModelTrait + Send,
{
    let mut rows = rows.into_iter();
    loop {
        let some: Vec<A> = rows.by_ref().take(ROWS_A_STATEMENT).collect();
        if some.is_empty() {
            return Ok(());
        }
        let insert = <A::Entity as EntityTrait>::insert_many(some);
        let insert = match &again {
            Some(again) => insert.on_conflict(again.clone()).exec_without_returning(tx).await,
            None => insert.exec_without_returning(tx).await,
        };
        insert.map_err(backend)?;
    }
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
