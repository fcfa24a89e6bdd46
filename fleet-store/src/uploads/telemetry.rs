//! Samples.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::store::StoreError;
use fleet_core::telemetry::Sample;
use sea_orm::Iterable as _;
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, OnConflict};

use super::rollup::RollUps;
use super::{Stored, Upload, UploadKind, accepted, advance, count, duplicate, insert_all};
use crate::entity::{telemetry, telemetry_latest};
use crate::error::backend;
use crate::guard::{Guard, GuardError, admit};
use crate::sample::{self, Origin};
use crate::store::{Store, now_millis};
use crate::transaction::Transaction;

impl Store {
    /// Stores the samples of one message, of devices that the agent owns, and adds them to the
    /// roll-ups; others are dropped. A sample that is older than what is kept is stored like any
    /// other: the next sweep forgets it, and its roll-up stays for as long as roll-ups are kept.
    ///
    /// # Errors
    /// [`GuardError`]; nothing was stored then.
    ///
    /// # Cancel safety
    /// Dropped, it has stored all or nothing: a commit that was under way may have happened. If it has, a
    /// second call with the same sequence is a duplicate. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn store_telemetry(
        &self,
        guard: &Guard,
        upload: Upload,
        samples: Vec<Sample>,
    ) -> Result<Stored, GuardError> {
        let tx = self.write().await?;
        let admitted = admit(&tx, guard).await?;
        if let Some(duplicate) = duplicate(&tx, &admitted, UploadKind::Telemetry, upload.sequence).await? {
            return Ok(duplicate);
        }
        let names: Vec<String> = samples.iter().map(|sample| sample.endpoint.to_string()).collect();
        let endpoints: BTreeSet<String> = names.iter().cloned().collect();
        let devices = self.resolve(&tx, &admitted, &endpoints, "FOR SHARE OF d").await?;
        let now = now_millis();
        let mut rows = Vec::with_capacity(samples.len());
        let mut rollups = RollUps::default();
        // By device and in the order of devices; of one batch only the newest can be the latest.
        let mut newest: BTreeMap<i64, (i64, telemetry::ActiveModel)> = BTreeMap::new();
        for (sample, name) in samples.iter().zip(&names) {
            // No reading is of the future: an agent whose clock is ahead must not have the last word for ever.
            let sample = &Sample { taken_at: sample.taken_at.min(upload.received_at), ..sample.clone() };
            let Some(device) = devices.get(name).filter(|device| device.is_own) else { continue };
            let origin = Origin {
                device_id: device.id,
                agent_id: admitted.agent_id,
                received_at: upload.received_at.value(),
                now,
            };
            // A status that is newer than this server is dropped like a device that is not owned.
            let Ok(row) = sample::row(sample, origin) else { continue };
            let taken_at = sample.taken_at.value();
            if newest.get(&device.id).is_none_or(|(held, _)| *held <= taken_at) {
                newest.insert(device.id, (taken_at, row.clone()));
            }
            rollups.add(&row);
            rows.push(row);
        }
        let stored = rows.len();
        insert_all(&tx, rows, None).await?;
        rollups.store(&tx, upload.received_at.value(), now).await?;
        replace_latest(&tx, newest.into_values().map(|(_, row)| sample::latest(row)).collect()).await?;
        let captured_at = Some(upload.captured_at);
        advance(&tx, &admitted, UploadKind::Telemetry, upload.sequence, captured_at).await?;
        tx.commit().await.map_err(backend)?;
        Ok(accepted(upload.sequence, count(stored), count(samples.len().saturating_sub(stored))))
    }
}

/// A spool may be uploaded long after what came by another way: an older sample replaces nothing.
async fn replace_latest(
    tx: &Transaction,
    rows: Vec<telemetry_latest::ActiveModel>,
) -> Result<(), StoreError> {
    use telemetry_latest::Column;
    let replaced = Column::iter().filter(|column| !matches!(column, Column::DeviceId));
    let mut again = OnConflict::column(Column::DeviceId);
    again.update_columns(replaced).action_and_where(
        Expr::col((Alias::new("excluded"), Column::TakenAt))
            .gte(Expr::col((telemetry_latest::Entity, Column::TakenAt))),
    );
    insert_all(tx, rows, Some(again)).await
}
