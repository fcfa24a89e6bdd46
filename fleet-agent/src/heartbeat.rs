//! Tells the server every 15 s that the agent is alive.

use std::{sync::Arc, time::Duration};

use fleet_core::{
    refusal::Code,
    time::{Clock, UnixMillis},
    transport::TransportError,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    gateway::Gateway,
    keeper::{SessionHandle, chain},
};

/// From one heartbeat to the next.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Sends heartbeats for ever. `last` shows when the server last took note, by the agent's clock.
///
/// # Cancel safety
/// Dropping it is how it ends. The future is `Send`; it panics only outside of a tokio runtime.
pub async fn run(
    gateway: Arc<dyn Gateway>,
    mut sessions: SessionHandle,
    clock: Arc<dyn Clock>,
    last: watch::Sender<Option<UnixMillis>>,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let session = sessions.online().await;
        match gateway.heartbeat(&session.token, clock.now()).await {
            Ok(_) => {
                last.send_replace(Some(clock.now()));
            }
            Err(TransportError::Refused(refusal)) if refusal.code == Code::Unauthenticated => {
                sessions.refused(&session);
                sessions.replaced(&session).await;
                ticks.reset_immediately();
            }
            // The next one comes soon enough.
            Err(error) => tracing::debug!(problem = chain(&error), "the heartbeat was not taken"),
        }
    }
}
