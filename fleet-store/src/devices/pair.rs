//! Pairing: which agent owns a device.
//!
//! A paired device has an owner: the agent of its row in `agent_device`, or without one the agent
//! half in the server's process. Rows of devices are locked in the order of their endpoints by
//! every flow, after the agent.

use std::collections::{BTreeSet, HashMap, HashSet};

use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::store::{Actor, AgentKind, AgentRecord, AgentStatus, StoreError};
use fleet_core::time::UnixMillis;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait as _, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::activity::{self, LogEntry, LogKind};
use crate::decode::Columns;
use crate::entity::{agent, agent_device, agent_sighting, device, telemetry_latest};
use crate::error::backend;
use crate::server::rows;
use crate::store::{Store, lock, now_millis};
use crate::transaction::Transaction;

/// Devices in one statement.
const IDS_A_QUERY: usize = 10_000;

/// Which devices to pair.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// All that the agent has seen.
    All,
    /// These.
    Devices(Vec<DeviceId>),
}

/// What pairing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paired {
    /// The devices that the agent owns from now on and did not before, ascending.
    pub devices: Vec<DeviceId>,
    /// The others of the selection, ascending, and why.
    pub skipped: Vec<(DeviceId, SkipReason)>,
}

/// Why a device was not paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// There is no such device in the organization.
    #[error("there is no such device")]
    NotFound,
    /// The agent has not seen it.
    #[error("the agent has not seen the device")]
    NotSeen,
    /// The agent owns it already.
    #[error("the agent owns the device already")]
    AlreadyOwned,
    /// Another agent owns it: unpair it first.
    #[error("another agent owns the device: unpair it first")]
    OwnedByAnother,
}

/// Nothing was paired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// There is no such agent in the organization.
    #[error("no agent {agent_id}")]
    NoAgent {
        /// The agent that was named.
        agent_id: AgentId,
    },
    /// The agent is not confirmed.
    #[error("the agent is not confirmed")]
    NotConfirmed,
    /// The backend failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Gives an agent devices that it has seen and that have no owner.
    ///
    /// # Errors
    /// [`PairError`].
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call skips those devices, as owned. The future is `Send`; it panics only outside of a tokio
    /// runtime.
    pub async fn pair(
        &self,
        org: OrgId,
        agent_id: AgentId,
        selection: Selection,
        actor: Actor,
        now: UnixMillis,
    ) -> Result<Paired, PairError> {
        let tx = self.write().await?;
        let kind = confirmed(&tx, org, agent_id).await?;
        let wanted = self.wanted(&tx, org, agent_id, selection).await?;
        let paired = choose(&tx, agent_id, kind, wanted).await?;
        claim(&tx, org, agent_id, kind, &paired.devices, now).await?;
        if !paired.devices.is_empty() {
            let entry = log_entry(LogKind::DevicesPaired, org, actor, now, &paired.devices);
            note(&tx, entry, Some(agent_id), &paired.devices).await?;
        }
        tx.commit().await.map_err(backend)?;
        Ok(paired)
    }

    /// Takes devices from their owners, whoever they are; those that had one, ascending.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call finds none of them owned. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn unpair(
        &self,
        org: OrgId,
        devices: Vec<DeviceId>,
        actor: Actor,
        now: UnixMillis,
    ) -> Result<Vec<DeviceId>, StoreError> {
        let tx = self.write().await?;
        let ids: BTreeSet<i64> = devices.into_iter().map(DeviceId::value).collect();
        let rows = lock_devices(&tx, org, &ids).await?;
        let mut owned: Vec<i64> =
            rows.iter().filter(|row| row.paired_at.is_some()).map(|row| row.id).collect();
        owned.sort_unstable();
        for some in owned.chunks(IDS_A_QUERY) {
            let some = some.iter().copied();
            let rows = agent_device::Entity::delete_many();
            let rows = rows.filter(agent_device::Column::DeviceId.is_in(some.clone()));
            rows.exec(&tx).await.map_err(backend)?;
            set_paired_at(&tx, some, None).await?;
        }
        let unpaired = device_ids(&owned)?;
        if !unpaired.is_empty() {
            let entry = log_entry(LogKind::DevicesUnpaired, org, actor, now, &unpaired);
            note(&tx, entry, None, &unpaired).await?;
        }
        tx.commit().await.map_err(backend)?;
        Ok(unpaired)
    }

    /// The devices of a selection: the locked rows, and the ids that were named without one.
    async fn wanted(
        &self,
        tx: &Transaction,
        org: OrgId,
        agent: AgentId,
        selection: Selection,
    ) -> Result<Wanted, StoreError> {
        match selection {
            Selection::All => {
                let sql = format!(
                    "SELECT d.* FROM device d JOIN agent_sighting s ON s.device_id = d.id
                     WHERE d.org_id = $1 AND s.agent_id = $2 ORDER BY d.endpoint {}",
                    self.lock("FOR UPDATE OF d"),
                );
                let statement = self.sql(&sql, [org.value().into(), agent.value().into()]);
                let rows = device::Entity::find().from_raw_sql(statement).all(tx).await.map_err(backend)?;
                Ok(Wanted { rows, named: BTreeSet::new() })
            }
            Selection::Devices(named) => {
                let named: BTreeSet<i64> = named.into_iter().map(DeviceId::value).collect();
                Ok(Wanted { rows: lock_devices(tx, org, &named).await?, named })
            }
        }
    }
}

struct Wanted {
    rows: Vec<device::Model>,
    named: BTreeSet<i64>,
}

/// Locks the agent and requires it to be the organization's, and confirmed.
async fn confirmed(tx: &Transaction, org: OrgId, id: AgentId) -> Result<AgentKind, PairError> {
    let columns = Columns("agent");
    let found = agent::Entity::find_by_id(id.value())
        .filter(agent::Column::OrgId.eq(org.value()))
        .lock_exclusive()
        .one(tx)
        .await
        .map_err(backend)?;
    let row = found.ok_or(PairError::NoAgent { agent_id: id })?;
    let status = columns.word("status", rows::status_of(&row.status)).map_err(StoreError::from)?;
    if status != AgentStatus::Confirmed {
        return Err(PairError::NotConfirmed);
    }
    Ok(columns.word("kind", rows::kind_of(&row.kind)).map_err(StoreError::from)?)
}

async fn lock_devices(
    tx: &Transaction,
    org: OrgId,
    ids: &BTreeSet<i64>,
) -> Result<Vec<device::Model>, StoreError> {
    let ids: Vec<i64> = ids.iter().copied().collect();
    let mut rows = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_A_QUERY) {
        let found = device::Entity::find()
            .filter(device::Column::OrgId.eq(org.value()))
            .filter(device::Column::Id.is_in(some.iter().copied()))
            .order_by_asc(device::Column::Endpoint)
            .lock_exclusive();
        rows.extend(found.all(tx).await.map_err(backend)?);
    }
    Ok(rows)
}

/// Splits a selection into what the agent gets and what it does not.
async fn choose(
    tx: &Transaction,
    agent: AgentId,
    kind: AgentKind,
    wanted: Wanted,
) -> Result<Paired, StoreError> {
    let agent = agent.value();
    let ids: Vec<i64> = wanted.rows.iter().map(|row| row.id).collect();
    let mut owners: HashMap<i64, i64> = HashMap::new();
    let mut seen: HashSet<i64> = HashSet::new();
    for some in ids.chunks(IDS_A_QUERY) {
        let owned =
            agent_device::Entity::find().filter(agent_device::Column::DeviceId.is_in(some.iter().copied()));
        owners.extend(
            owned.all(tx).await.map_err(backend)?.into_iter().map(|row| (row.device_id, row.agent_id)),
        );
        let sighted: Vec<i64> = agent_sighting::Entity::find()
            .select_only()
            .column(agent_sighting::Column::DeviceId)
            .filter(agent_sighting::Column::AgentId.eq(agent))
            .filter(agent_sighting::Column::DeviceId.is_in(some.iter().copied()))
            .into_tuple()
            .all(tx)
            .await
            .map_err(backend)?;
        seen.extend(sighted);
    }
    let (mut free, mut skipped) = (Vec::new(), Vec::new());
    for row in &wanted.rows {
        let is_own = match owners.get(&row.id) {
            Some(owner) => *owner == agent,
            None => kind == AgentKind::Local,
        };
        if row.paired_at.is_some() {
            let reason = if is_own { SkipReason::AlreadyOwned } else { SkipReason::OwnedByAnother };
            skipped.push((row.id, reason));
        } else if seen.contains(&row.id) {
            free.push(row.id);
        } else {
            skipped.push((row.id, SkipReason::NotSeen));
        }
    }
    let known: HashSet<i64> = ids.into_iter().collect();
    let missing = wanted.named.into_iter().filter(|id| !known.contains(id));
    skipped.extend(missing.map(|id| (id, SkipReason::NotFound)));
    free.sort_unstable();
    skipped.sort_unstable_by_key(|(id, _)| *id);
    let columns = Columns("device");
    let skipped = skipped.into_iter().map(|(id, reason)| Ok((columns.id("id", id)?, reason)));
    Ok(Paired { devices: device_ids(&free)?, skipped: skipped.collect::<Result<_, StoreError>>()? })
}

/// Makes the agent the owner; the local half's ownership has no row.
async fn claim(
    tx: &Transaction,
    org: OrgId,
    agent: AgentId,
    kind: AgentKind,
    devices: &[DeviceId],
    now: UnixMillis,
) -> Result<(), StoreError> {
    for some in devices.chunks(crate::uploads::ROWS_A_STATEMENT) {
        set_paired_at(tx, some.iter().map(|id| id.value()), Some(now.value())).await?;
        if kind == AgentKind::Local {
            continue;
        }
        let rows = some.iter().map(|id| agent_device::ActiveModel {
            device_id: Set(id.value()),
            agent_id: Set(agent.value()),
            org_id: Set(org.value()),
            created_at: Set(now.value()),
            updated_at: Set(now_millis()),
        });
        agent_device::Entity::insert_many(rows).exec_without_returning(tx).await.map_err(backend)?;
    }
    Ok(())
}

/// With its owner a device's newest reading goes as well: it says nothing of what the next owner will see.
async fn set_paired_at(
    tx: &Transaction,
    ids: impl Iterator<Item = i64> + Clone,
    at: Option<i64>,
) -> Result<(), StoreError> {
    let latest = telemetry_latest::Entity::delete_many();
    latest.filter(telemetry_latest::Column::DeviceId.is_in(ids.clone())).exec(tx).await.map_err(backend)?;
    let row = device::ActiveModel { paired_at: Set(at), updated_at: Set(now_millis()), ..Default::default() };
    let update = device::Entity::update_many().set(row);
    update.filter(device::Column::Id.is_in(ids)).exec(tx).await.map_err(backend)?;
    Ok(())
}

fn log_entry(kind: LogKind, org: OrgId, actor: Actor, at: UnixMillis, devices: &[DeviceId]) -> LogEntry {
    let detail = match devices {
        [_] => None,
        devices => Some(format!("{} devices", devices.len())),
    };
    LogEntry { at, org_id: org, actor, kind, detail }
}

async fn note(
    tx: &Transaction,
    entry: LogEntry,
    agent: Option<AgentId>,
    devices: &[DeviceId],
) -> Result<(), StoreError> {
    let only = match devices {
        [only] => Some(only.value()),
        _ => None,
    };
    let row = crate::entity::activity::ActiveModel {
        agent_id: Set(agent.map(AgentId::value)),
        device_id: Set(only),
        ..activity::entry_row(&entry, now_millis())
    };
    activity::insert(tx, vec![row]).await
}

fn device_ids(ids: &[i64]) -> Result<Vec<DeviceId>, StoreError> {
    let columns = Columns("device");
    Ok(ids.iter().map(|id| columns.id("id", *id)).collect::<Result<_, _>>()?)
}

/// Unpairs all devices of an agent that comes to its end, in the transaction that ends it.
pub(crate) async fn release(tx: &Transaction, agent: &AgentRecord) -> Result<(), StoreError> {
    let database = tx.get_database_backend();
    let run = async |sql: &str, id: i64| {
        let values = [id.into(), now_millis().into()];
        let statement = sea_orm::Statement::from_sql_and_values(database, sql, values);
        tx.execute_raw(statement).await.map_err(backend)
    };
    match agent.kind {
        AgentKind::Remote => {
            let sql = format!(
                "SELECT d.* FROM device d JOIN agent_device o ON o.device_id = d.id
                 WHERE o.agent_id = $1 ORDER BY d.endpoint {}",
                lock(database, "FOR UPDATE OF d"),
            );
            let values = [agent.id.value().into()];
            let statement = sea_orm::Statement::from_sql_and_values(database, sql, values);
            device::Entity::find().from_raw_sql(statement).all(tx).await.map_err(backend)?;
            let clear = "UPDATE device SET paired_at = NULL, updated_at = $2
                         WHERE id IN (SELECT device_id FROM agent_device WHERE agent_id = $1)";
            run(clear, agent.id.value()).await?;
            let rows = agent_device::Entity::delete_many();
            let rows = rows.filter(agent_device::Column::AgentId.eq(agent.id.value()));
            rows.exec(tx).await.map_err(backend)?;
        }
        AgentKind::Local => {
            let clear = "UPDATE device SET paired_at = NULL, updated_at = $2
                         WHERE org_id = $1 AND paired_at IS NOT NULL
                         AND NOT EXISTS (SELECT 1 FROM agent_device o WHERE o.device_id = device.id)";
            run(clear, agent.org_id.value()).await?;
        }
    }
    Ok(())
}
