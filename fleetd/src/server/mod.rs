//! The server half: listeners, who may call what, the services, and what runs beside them.

pub mod auth;
mod certificate;
mod http;
pub mod keys;
mod limits;
mod links;
mod listener;
mod local;
mod metrics;
mod pages;
mod passwords;
mod services;
mod set_up;
mod start;
mod streams;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_core::driver::{ServerDriver, ServerKeys};
use fleet_core::keys::CommandPublicKey;
use fleet_core::random::SecureRandom;
use fleet_core::store::StoreError;
use fleet_core::time::{Clock, UnixMillis};
use fleet_proto::rpc::Status;
use fleet_store::Store;

pub use certificate::TlsError;
use links::Links;
use metrics::Metrics;
use passwords::Passwords;
use set_up::SetUpToken;
pub use start::{Server, StartError};
use streams::Streams;

/// The version of the server, as it says it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything that the services share.
#[derive(Debug)]
struct App {
    store: Store,
    driver: ServerDriver,
    keys: ServerKeys,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    passwords: Passwords,
    set_up: SetUpToken,
    failed_logins: FailedLogins,
    allowances: limits::Allowances,
    streams: Streams,
    links: Links,
    metrics: Metrics,
    /// The keys of the agent half, in combined mode.
    local: Option<local::LocalKeys>,
    /// Whether there is an organization.
    founded: tokio::sync::watch::Sender<bool>,
}

/// Failed logins since the last line about them: anybody can make them, so the log gets one line a minute.
#[derive(Debug, Default)]
struct FailedLogins(Mutex<(u64, Option<UnixMillis>)>);

impl FailedLogins {
    const EVERY: Duration = Duration::from_secs(60);

    /// Notes one more; returns how many there were if a line is due.
    fn note(&self, now: UnixMillis) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, said_at) = &mut *held;
        *count = count.saturating_add(1);
        let is_due = said_at.is_none_or(|said_at| said_at > now || now.since(said_at) >= Self::EVERY);
        if !is_due {
            return None;
        }
        *said_at = Some(now);
        Some(std::mem::take(count))
    }
}

/// A fault of the store as the peer sees it; the cause goes to the log.
fn store_failed(error: StoreError) -> Status {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(cause, "the store failed");
    Status::unavailable()
}

/// Whether the server's command key is the one that the manifest names.
fn speaks_for(keys: &ServerKeys, command: &CommandPublicKey) -> bool {
    keys.command.public_key() == *command.as_bytes()
}
