//! The server half: listeners, who may call what, the services, and what runs beside them.

pub mod auth;
mod http;
pub mod keys;
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

use std::sync::Arc;

use fleet_core::driver::{ServerDriver, ServerKeys};
use fleet_core::keys::CommandPublicKey;
use fleet_core::random::SecureRandom;
use fleet_core::store::StoreError;
use fleet_core::time::Clock;
use fleet_proto::rpc::Status;
use fleet_store::Store;

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
    streams: Streams,
    links: Links,
    metrics: Metrics,
    /// The keys of the agent half, in combined mode.
    local: Option<local::LocalKeys>,
    /// Whether there is an organization.
    founded: tokio::sync::watch::Sender<bool>,
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
