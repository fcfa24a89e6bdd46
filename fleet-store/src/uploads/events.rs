//! Events: discoveries and changes of status.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fleet_core::store::StoreError;
use fleet_core::telemetry::{Discovery, Event, EventKind};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait as _, EntityTrait, PaginatorTrait as _, QueryFilter, Value,
};

use super::resolve::Found;
use super::{ROWS_A_STATEMENT, Stored, Upload, UploadKind, accepted, advance, count, duplicate, insert_all};
use crate::entity::{agent_sighting, device, event};
use crate::error::backend;
use crate::guard::{Admitted, Guard, GuardError, admit};
use crate::sample::status_word;
use crate::store::{Store, now_millis};
use crate::text::clean;
use crate::transaction::Transaction;

/// A discovery and when it was made, as the server takes it.
struct Seen<'a> {
    discovery: &'a Discovery,
    at: i64,
}

impl Store {
    /// Stores the events of one message. A discovery makes or describes a device and claims
    /// nothing: a device that somebody owns is described by its owner only. A change of status is
    /// kept if the agent owns the device, else dropped. Devices beyond as many as an agent may report are dropped too;
    /// those that it has reported before are not.
    ///
    /// # Errors
    /// [`GuardError`]; nothing was stored then.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call with the same sequence is a duplicate. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn store_events(
        &self,
        guard: &Guard,
        upload: Upload,
        events: Vec<Event>,
    ) -> Result<Stored, GuardError> {
        let tx = self.write().await?;
        let admitted = admit(&tx, guard).await?;
        if let Some(duplicate) = duplicate(&tx, &admitted, UploadKind::Event, upload.sequence).await? {
            return Ok(duplicate);
        }
        let received_at = upload.received_at.value();
        let mut seen: BTreeMap<String, Seen<'_>> = BTreeMap::new();
        let mut endpoints = BTreeSet::new();
        let mut stored = 0;
        for event in &events {
            match &event.kind {
                EventKind::Discovered(discovery) => {
                    // An agent whose clock is ahead must not outshine every later sighting.
                    let at = Ord::min(event.at.value(), received_at);
                    let endpoint = discovery.endpoint.to_string();
                    endpoints.insert(endpoint.clone());
                    if seen.get(&endpoint).is_none_or(|held| held.at <= at) {
                        seen.insert(endpoint, Seen { discovery, at });
                    }
                    stored += 1;
                }
                EventKind::StatusChanged { endpoint, .. } => {
                    endpoints.insert(endpoint.to_string());
                }
                _ => {}
            }
        }
        let refused = self.beyond_the_bound(&tx, &admitted, &seen).await?;
        if !refused.is_empty() {
            let of_refused = |event: &&Event| matches!(&event.kind, EventKind::Discovered(d) if refused.contains(&d.endpoint.to_string()));
            stored -= events.iter().filter(of_refused).count();
            seen.retain(|endpoint, _| !refused.contains(endpoint));
            endpoints.retain(|endpoint| !refused.contains(endpoint));
        }
        make_devices(&tx, &admitted, &seen, received_at).await?;
        let devices = self.resolve(&tx, &admitted, &endpoints, "FOR UPDATE OF d").await?;
        describe(&tx, &seen, &devices).await?;
        note_sightings(&tx, &admitted, &seen, &devices).await?;
        stored += keep_changes(&tx, &admitted, &events, &devices, received_at).await?;
        advance(&tx, &admitted, UploadKind::Event, upload.sequence, Some(upload.captured_at)).await?;
        tx.commit().await.map_err(backend)?;
        let rejected = count(events.len().saturating_sub(stored));
        let devices_refused = count(refused.len());
        Ok(Stored { devices_refused, ..accepted(upload.sequence, count(stored), rejected) })
    }

    /// Devices that the agent reports for the first time and that are more than it may. The agent's row is locked, so
    /// nothing is added meanwhile.
    async fn beyond_the_bound(
        &self,
        tx: &Transaction,
        admitted: &Admitted,
        seen: &BTreeMap<String, Seen<'_>>,
    ) -> Result<BTreeSet<String>, StoreError> {
        if seen.is_empty() || self.devices_per_agent == u32::MAX {
            return Ok(BTreeSet::new());
        }
        let own = agent_sighting::Column::AgentId.eq(admitted.agent_id);
        let known = agent_sighting::Entity::find().filter(own.clone()).count(tx).await.map_err(backend)?;
        let room = u64::from(self.devices_per_agent).saturating_sub(known);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if seen.len() <= room {
            return Ok(BTreeSet::new());
        }
        let mut new: BTreeSet<String> = seen.keys().cloned().collect();
        let all: Vec<&String> = seen.keys().collect();
        for some in all.chunks(ROWS_A_STATEMENT) {
            let list: Vec<String> = (0..some.len()).map(|n| format!("${}", n + 2)).collect();
            let sql = format!(
                "SELECT d.endpoint FROM agent_sighting s JOIN device d ON d.id = s.device_id
                 WHERE s.agent_id = $1 AND d.endpoint IN ({})",
                list.join(", ")
            );
            let values = std::iter::once(Value::from(admitted.agent_id))
                .chain(some.iter().map(|endpoint| Value::from(endpoint.as_str())));
            let statement = sea_orm::Statement::from_sql_and_values(self.inner.backend, sql, values);
            for row in tx.query_all_raw(statement).await.map_err(backend)? {
                let endpoint: String = row.try_get("", "endpoint").map_err(backend)?;
                new.remove(&endpoint);
            }
        }
        Ok(new.into_iter().skip(room).collect())
    }
}

/// Makes rows for devices that nobody has seen before.
async fn make_devices(
    tx: &Transaction,
    admitted: &Admitted,
    seen: &BTreeMap<String, Seen<'_>>,
    received_at: i64,
) -> Result<(), StoreError> {
    let now = now_millis();
    let rows = seen
        .iter()
        .map(|(endpoint, seen)| device::ActiveModel {
            org_id: Set(admitted.org_id),
            endpoint: Set(endpoint.clone()),
            name: Set(None),
            paired_at: Set(None),
            created_at: Set(received_at),
            updated_at: Set(now),
            ..description(seen.discovery)
        })
        .collect();
    let known =
        OnConflict::columns([device::Column::OrgId, device::Column::Endpoint]).do_nothing().to_owned();
    insert_all(tx, rows, Some(known)).await
}

fn description(discovery: &Discovery) -> device::ActiveModel {
    device::ActiveModel {
        make: Set(clean(&discovery.make)),
        model: Set(clean(&discovery.model)),
        firmware: Set(clean(&discovery.firmware)),
        serial: Set(discovery.serial.as_deref().map(clean)),
        mac: Set(discovery.mac.map(|mac| mac.to_vec())),
        driver: Set(clean(&discovery.driver)),
        ..Default::default()
    }
}

/// Updates the description of devices that are nobody's or the agent's own.
async fn describe(
    tx: &Transaction,
    seen: &BTreeMap<String, Seen<'_>>,
    devices: &HashMap<String, Found>,
) -> Result<(), StoreError> {
    for (endpoint, seen) in seen {
        let Some(found) = devices.get(endpoint).filter(|d| d.is_own || !d.is_paired) else { continue };
        let row = device::ActiveModel { updated_at: Set(now_millis()), ..description(seen.discovery) };
        let update = device::Entity::update_many().set(row);
        update.filter(device::Column::Id.eq(found.id)).exec(tx).await.map_err(backend)?;
    }
    Ok(())
}

async fn note_sightings(
    tx: &Transaction,
    admitted: &Admitted,
    seen: &BTreeMap<String, Seen<'_>>,
    devices: &HashMap<String, Found>,
) -> Result<(), StoreError> {
    use agent_sighting::Column;
    let now = now_millis();
    let mut again = OnConflict::columns([Column::AgentId, Column::DeviceId]);
    again.update_columns([Column::Address, Column::LastSeenAt, Column::UpdatedAt]).action_and_where(
        Expr::col((Alias::new("excluded"), Column::LastSeenAt))
            .gte(Expr::col((agent_sighting::Entity, Column::LastSeenAt))),
    );
    let rows = seen
        .iter()
        .filter_map(|(endpoint, seen)| devices.get(endpoint).map(|found| (found, seen)))
        .map(|(found, seen)| agent_sighting::ActiveModel {
            agent_id: Set(admitted.agent_id),
            device_id: Set(found.id),
            org_id: Set(admitted.org_id),
            address: Set(clean(&seen.discovery.address)),
            last_seen_at: Set(seen.at),
            created_at: Set(now),
            updated_at: Set(now),
        })
        .collect();
    insert_all(tx, rows, Some(again)).await
}

/// Keeps changes of status of the agent's own devices; how many.
async fn keep_changes(
    tx: &Transaction,
    admitted: &Admitted,
    events: &[Event],
    devices: &HashMap<String, Found>,
    received_at: i64,
) -> Result<usize, StoreError> {
    let now = now_millis();
    let mut rows = Vec::new();
    for event in events {
        let EventKind::StatusChanged { endpoint, from, to } = &event.kind else { continue };
        let Some(found) = devices.get(&endpoint.to_string()).filter(|d| d.is_own) else { continue };
        let Some(to) = status_word(*to) else { continue };
        rows.push(event::ActiveModel {
            id: NotSet,
            org_id: Set(admitted.org_id),
            agent_id: Set(admitted.agent_id),
            device_id: Set(found.id),
            // One that is of the future would be kept until then.
            happened_at: Set(Ord::min(event.at.value(), received_at)),
            kind: Set("status_changed".to_owned()),
            from_status: Set(from.and_then(status_word).map(str::to_owned)),
            to_status: Set(Some(to.to_owned())),
            address: Set(None),
            created_at: Set(received_at),
            updated_at: Set(now),
        });
    }
    let kept = rows.len();
    insert_all(tx, rows, None).await?;
    Ok(kept)
}
