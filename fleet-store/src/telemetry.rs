//! Reading telemetry.

use fleet_core::endpoint::Endpoint;
use fleet_core::id::{AgentId, DeviceId, OrgId};
use fleet_core::store::StoreError;
use fleet_core::telemetry::{MinerStatus, Sample};
use fleet_core::time::UnixMillis;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::decode::Columns;
use crate::entity::{device, event, telemetry, telemetry_latest};
use crate::error::{Missing, backend};
use crate::sample;
use crate::store::Store;

/// The most rows that one call reads.
const MAX_ROWS: u32 = 10_000;

/// A change of a device's status, as its owner reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// Rises with every event.
    pub id: i64,
    /// The device.
    pub device_id: DeviceId,
    /// The agent that reported it.
    pub agent_id: AgentId,
    /// When it happened, by the agent's clock.
    pub at: UnixMillis,
    /// What it was, `None` if nothing was known.
    pub from: Option<MinerStatus>,
    /// What it is.
    pub to: MinerStatus,
}

impl Store {
    /// The newest sample of a device, and when it was received.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn latest(
        &self,
        org: OrgId,
        device: DeviceId,
    ) -> Result<Option<(Sample, UnixMillis)>, StoreError> {
        let tx = self.read().await?;
        let Some(endpoint) = endpoint_of(&tx, org, device).await? else { return Ok(None) };
        let row = telemetry_latest::Entity::find_by_id(device.value()).one(&tx).await.map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(row.map(|row| sample::of_latest(row, endpoint)).transpose()?)
    }

    /// A device's samples taken in `from..=to`, newest first, at most `limit` and never more than
    /// 10000.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn history(
        &self,
        org: OrgId,
        device: DeviceId,
        from: UnixMillis,
        to: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Sample>, StoreError> {
        let tx = self.read().await?;
        let Some(endpoint) = endpoint_of(&tx, org, device).await? else { return Ok(Vec::new()) };
        let rows = telemetry::Entity::find()
            .filter(telemetry::Column::DeviceId.eq(device.value()))
            .filter(telemetry::Column::TakenAt.gte(from.value()))
            .filter(telemetry::Column::TakenAt.lte(to.value()))
            .order_by_desc(telemetry::Column::TakenAt)
            .order_by_desc(telemetry::Column::Id)
            .limit(u64::from(limit.min(MAX_ROWS)))
            .all(&tx)
            .await
            .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        let samples = rows.iter().map(|row| sample::of_history(row, endpoint.clone()));
        Ok(samples.collect::<Result<_, _>>()?)
    }

    /// Changes of status in the organization, of one device or of all, newest first: those below
    /// `before`, at most `limit` and never more than 10000.
    ///
    /// # Errors
    /// [`StoreError`] if the backend fails.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn status_changes(
        &self,
        org: OrgId,
        device: Option<DeviceId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<StatusChange>, StoreError> {
        let mut found = event::Entity::find()
            .filter(event::Column::OrgId.eq(org.value()))
            .filter(event::Column::Kind.eq("status_changed"))
            .filter(event::Column::Id.lt(before.unwrap_or(i64::MAX)));
        if let Some(device) = device {
            found = found.filter(event::Column::DeviceId.eq(device.value()));
        }
        let newest = found.order_by_desc(event::Column::Id).limit(u64::from(limit.min(MAX_ROWS)));
        let rows = newest.all(&self.reader()).await.map_err(backend)?;
        rows.into_iter().map(|row| status_change(&row)).collect()
    }
}

async fn endpoint_of<C: ConnectionTrait>(
    db: &C,
    org: OrgId,
    id: DeviceId,
) -> Result<Option<Endpoint>, StoreError> {
    let text: Option<String> = device::Entity::find_by_id(id.value())
        .select_only()
        .column(device::Column::Endpoint)
        .filter(device::Column::OrgId.eq(org.value()))
        .into_tuple()
        .one(db)
        .await
        .map_err(backend)?;
    Ok(text.map(|text| Columns("device").value("endpoint", text.parse())).transpose()?)
}

fn status_change(row: &event::Model) -> Result<StatusChange, StoreError> {
    let columns = Columns("event");
    let status = |column, word: &str| columns.word(column, sample::status_of(word));
    let to = row.to_status.as_deref().ok_or_else(|| columns.bad("to_status", Missing))?;
    Ok(StatusChange {
        id: row.id,
        device_id: columns.id("device_id", row.device_id)?,
        agent_id: columns.id("agent_id", row.agent_id)?,
        at: columns.time("happened_at", row.happened_at)?,
        from: row.from_status.as_deref().map(|word| status("from_status", word)).transpose()?,
        to: status("to_status", to)?,
    })
}
