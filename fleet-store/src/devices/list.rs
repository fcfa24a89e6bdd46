//! Listing devices.

use std::collections::HashMap;

use fleet_core::endpoint::Endpoint;
use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::name::Name;
use fleet_core::store::StoreError;
use fleet_core::telemetry::Sample;
use fleet_core::time::UnixMillis;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Statement, Value};

use crate::decode::Columns;
use crate::entity::{agent, agent_device, agent_sighting, device, telemetry_latest};
use crate::error::backend;
use crate::sample;
use crate::store::Store;
use crate::transaction::Transaction;

/// The most rows of a page: 1000, and one more by which a caller sees that there is another page.
const PAGE: u32 = 1001;

/// A device: one miner, whatever its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRecord {
    /// Its id.
    pub id: DeviceId,
    /// Its organization.
    pub org_id: OrgId,
    /// What it says it is, fixed at discovery.
    pub endpoint: Endpoint,
    /// The name that an operator gave it.
    pub name: Option<Name>,
    /// Maker.
    pub make: String,
    /// Model.
    pub model: String,
    /// Firmware version.
    pub firmware: String,
    /// Serial number, where it is not the endpoint.
    pub serial: Option<String>,
    /// MAC address, where it is not the endpoint.
    pub mac: Option<[u8; 6]>,
    /// Which driver reads it.
    pub driver: String,
    /// When it was first seen.
    pub created_at: UnixMillis,
    /// Since when it has an owner; `None` if it has none.
    pub paired_at: Option<UnixMillis>,
}

/// A device with what stands beside it in a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceListing {
    /// The device.
    pub device: DeviceRecord,
    /// The agent that owns it; the local one for a paired device without a row of its own.
    pub owner: Option<AgentId>,
    /// That agent's name.
    pub owner_name: Option<Name>,
    /// Where its owner saw it last; without an owner, where any agent saw it last.
    pub address: Option<String>,
    /// The agents that saw it, ascending.
    pub seen_by: Vec<AgentId>,
    /// Its newest sample.
    pub latest: Option<Sample>,
    /// When that was received.
    pub latest_received_at: Option<UnixMillis>,
}

/// Which devices to list. The default is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only those that this agent has seen or owns.
    pub agent: Option<AgentId>,
    /// Only paired ones, or only those that are not.
    pub paired: Option<bool>,
}

impl Store {
    /// The organization's devices by ascending id, those above `after`, at most `limit` and never
    /// more than 1000.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn devices(
        &self,
        org: OrgId,
        filter: DeviceFilter,
        after: Option<DeviceId>,
        limit: u32,
    ) -> Result<Vec<DeviceListing>, StoreError> {
        let mut sql = "SELECT d.* FROM device d WHERE d.org_id = $1 AND d.id > $2".to_owned();
        let mut values: Vec<Value> = vec![
            org.value().into(),
            after.map_or(0, DeviceId::value).into(),
            i64::from(limit.min(PAGE)).into(),
        ];
        match filter.paired {
            Some(true) => sql.push_str(" AND d.paired_at IS NOT NULL"),
            Some(false) => sql.push_str(" AND d.paired_at IS NULL"),
            None => {}
        }
        if let Some(agent) = filter.agent {
            sql.push_str(SEEN_OR_OWNED);
            values.push(agent.value().into());
        }
        sql.push_str(" ORDER BY d.id LIMIT $3");
        let statement = Statement::from_sql_and_values(self.inner.backend, sql, values);
        let tx = self.read().await?;
        let found = device::Entity::find().from_raw_sql(statement);
        let rows = found.all(&tx).await.map_err(backend)?;
        let listings = listings(&tx, org, rows).await?;
        tx.commit().await.map_err(backend)?;
        Ok(listings)
    }

    /// One device of the organization.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn device(&self, org: OrgId, id: DeviceId) -> Result<Option<DeviceListing>, StoreError> {
        let tx = self.read().await?;
        let by_id = device::Entity::find_by_id(id.value()).filter(device::Column::OrgId.eq(org.value()));
        let row = by_id.one(&tx).await.map_err(backend)?;
        let listings = listings(&tx, org, row.into_iter().collect()).await?;
        tx.commit().await.map_err(backend)?;
        Ok(listings.into_iter().next())
    }
}

/// `$4` is the agent.
const SEEN_OR_OWNED: &str = " AND (
    EXISTS (SELECT 1 FROM agent_sighting s WHERE s.device_id = d.id AND s.agent_id = $4)
    OR EXISTS (SELECT 1 FROM agent_device o WHERE o.device_id = d.id AND o.agent_id = $4)
    OR (d.paired_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM agent_device o WHERE o.device_id = d.id)
        AND EXISTS (SELECT 1 FROM agent a WHERE a.id = $4 AND a.org_id = d.org_id
                    AND a.kind = 'local' AND a.status = 'confirmed'))
)";

/// What a page of devices needs besides their own rows, by device.
#[derive(Debug, Default)]
struct Beside {
    owners: HashMap<i64, i64>,
    sightings: HashMap<i64, Vec<agent_sighting::Model>>,
    latest: HashMap<i64, telemetry_latest::Model>,
    names: HashMap<i64, String>,
    local: Option<i64>,
}

async fn listings(
    tx: &Transaction,
    org: OrgId,
    rows: Vec<device::Model>,
) -> Result<Vec<DeviceListing>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut beside = load_beside(tx, org, &rows).await?;
    rows.into_iter().map(|row| listing(row, &mut beside)).collect()
}

async fn load_beside(tx: &Transaction, org: OrgId, rows: &[device::Model]) -> Result<Beside, StoreError> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut beside = Beside { local: local_agent(tx, org.value()).await?, ..Beside::default() };
    let owned = agent_device::Entity::find().filter(agent_device::Column::DeviceId.is_in(ids.clone()));
    for row in owned.all(tx).await.map_err(backend)? {
        beside.owners.insert(row.device_id, row.agent_id);
    }
    let seen = agent_sighting::Entity::find()
        .filter(agent_sighting::Column::DeviceId.is_in(ids.clone()))
        .order_by_asc(agent_sighting::Column::AgentId);
    for row in seen.all(tx).await.map_err(backend)? {
        beside.sightings.entry(row.device_id).or_default().push(row);
    }
    let latest = telemetry_latest::Entity::find().filter(telemetry_latest::Column::DeviceId.is_in(ids));
    for row in latest.all(tx).await.map_err(backend)? {
        beside.latest.insert(row.device_id, row);
    }
    let mut owners: Vec<i64> = beside.owners.values().copied().chain(beside.local).collect();
    owners.sort_unstable();
    owners.dedup();
    for row in agent::Entity::find().filter(agent::Column::Id.is_in(owners)).all(tx).await.map_err(backend)? {
        beside.names.insert(row.id, row.name);
    }
    Ok(beside)
}

/// The agent half in the server's process, if it is confirmed.
pub(super) async fn local_agent<C: ConnectionTrait>(db: &C, org: i64) -> Result<Option<i64>, StoreError> {
    let found = agent::Entity::find()
        .filter(agent::Column::OrgId.eq(org))
        .filter(agent::Column::Kind.eq("local"))
        .filter(agent::Column::Status.eq("confirmed"))
        .order_by_asc(agent::Column::Id);
    Ok(found.one(db).await.map_err(backend)?.map(|row| row.id))
}

fn listing(row: device::Model, beside: &mut Beside) -> Result<DeviceListing, StoreError> {
    let agents = Columns("agent");
    let is_paired = row.paired_at.is_some();
    let owner = beside.owners.get(&row.id).copied().or(if is_paired { beside.local } else { None });
    let name = owner.and_then(|owner| beside.names.get(&owner)).cloned();
    let sightings = beside.sightings.remove(&row.id).unwrap_or_default();
    let by_owner = sightings.iter().find(|seen| Some(seen.agent_id) == owner);
    let shown = by_owner.or_else(|| sightings.iter().max_by_key(|seen| seen.last_seen_at));
    let address = shown.map(|seen| seen.address.clone());
    let seen_by = sightings.iter().map(|seen| Columns("agent_sighting").id("agent_id", seen.agent_id));
    let latest = beside.latest.remove(&row.id);
    let device = record(row)?;
    let latest = latest.map(|row| sample::of_latest(row, device.endpoint.clone())).transpose()?;
    let (latest, latest_received_at) = latest.unzip();
    Ok(DeviceListing {
        owner: agents.optional_id("id", owner)?,
        owner_name: name.map(|name| agents.value("name", Name::new(name))).transpose()?,
        address,
        seen_by: seen_by.collect::<Result<_, _>>()?,
        latest,
        latest_received_at,
        device,
    })
}

fn record(row: device::Model) -> Result<DeviceRecord, StoreError> {
    let columns = Columns("device");
    Ok(DeviceRecord {
        id: columns.id("id", row.id)?,
        org_id: columns.id("org_id", row.org_id)?,
        endpoint: columns.value("endpoint", row.endpoint.parse())?,
        name: row.name.map(|name| columns.value("name", Name::new(name))).transpose()?,
        make: row.make,
        model: row.model,
        firmware: row.firmware,
        serial: row.serial,
        mac: row.mac.map(|mac| columns.bytes("mac", &mac)).transpose()?,
        driver: row.driver,
        created_at: columns.time("created_at", row.created_at)?,
        paired_at: columns.optional_time("paired_at", row.paired_at)?,
    })
}
