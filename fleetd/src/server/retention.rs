//! Forgetting by age: readings, roll-ups of them, events.
//!
//! Once a minute, a batch at a time. Each batch is a transaction of its own, and after a full one nothing is deleted
//! for as long as it took: a backlog, as after a shorter `--keep-readings`, takes at most half of the database's time
//! and holds an upload up for no longer than one batch takes. It has a task of its own, so that what expires by the
//! minute does not wait for it, and it stops between two batches.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::App;

const EVERY: Duration = Duration::from_secs(60);
/// Rows of a batch.
const BATCH: u32 = 1000;
/// The longest pause after one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is forgotten, in this order: where most is, first.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Readings,
    RollUps,
    Events,
}

/// Runs until it is stopped.
pub(super) async fn forget(app: Arc<App>, stop: CancellationToken) -> bool {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        for kind in [Kind::Readings, Kind::RollUps, Kind::Events] {
            app.forget(kind, &stop).await;
        }
    }
    true
}

impl App {
    /// Deletes what is too old now, batch by batch.
    async fn forget(&self, kind: Kind, stop: &CancellationToken) {
        let now = self.clock.now();
        let readings = now.saturating_sub(self.retention.readings);
        let history = now.saturating_sub(self.retention.history);
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let deleted = match kind {
                Kind::Readings => self.store.prune_telemetry(readings, BATCH).await,
                Kind::RollUps => self.store.prune_roll_ups(history, BATCH).await,
                Kind::Events => self.store.prune_events(history, BATCH).await,
            };
            match deleted {
                Ok(deleted) if deleted < u64::from(BATCH) => return,
                Ok(_) => {}
                Err(error) => {
                    let _ = super::store_failed(error);
                    return;
                }
            }
            let pause = begun.elapsed().min(LONGEST_PAUSE);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}
