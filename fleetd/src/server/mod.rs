//! The server half: listeners, who may call what, the services, and what runs beside them.

pub mod auth;
mod connections;
pub mod host;
mod http;
pub mod keys;
mod limits;
mod links;
mod listener;
mod local;
pub(crate) mod lock;
mod metrics;
mod mount;
mod pages;
mod passwords;
mod retention;
mod roots;
mod services;
mod set_up;
mod start;
mod streams;
mod tls;

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_core::driver::{ServerDriver, ServerKeys};
use fleet_core::id::{OrgId, UserId};
use fleet_core::name::Name;
use fleet_core::random::SecureRandom;
use fleet_core::store::StoreError;
use fleet_core::time::{Clock, UnixMillis};
use fleet_proto::rpc::Status;
use fleet_store::Store;

use links::Links;
pub use lock::LockError;
use metrics::Metrics;
pub use mount::{Connection, Mount};
use passwords::Passwords;
use set_up::SetUpToken;
pub use start::{Server, StartError};
use streams::Streams;
pub use tls::TlsError;

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
    password_tries: limits::PasswordTries,
    /// Room for histories, of which each may keep a connection to the database for long.
    histories: Arc<tokio::sync::Semaphore>,
    allowances: limits::Allowances,
    calls: Arc<limits::Calls>,
    reached: Arc<limits::Reached>,
    /// What callers without good credentials may write into the log, by address.
    strangers_lines: limits::Lines<std::net::IpAddr>,
    /// What agents may, of each kind.
    agents_lines: limits::Lines<(fleet_core::id::AgentId, limits::Topic)>,
    header_bytes: usize,
    request_timeout: Duration,
    streams: Streams,
    /// The connections of the listeners that serve calls.
    room: Arc<connections::Room>,
    links: Links,
    metrics: Metrics,
    /// The keys of the agent half, in combined mode.
    local: Option<local::LocalKeys>,
    /// How often the agent of an open stream is checked again.
    check_every: Duration,
    /// How long readings, roll-ups and events are kept.
    retention: crate::config::Retention,
    /// Whether there is an organization.
    founded: tokio::sync::watch::Sender<bool>,
}

/// Wrong passwords of an account since the last line about them: anybody can make them, so the log gets one line a
/// minute and account.
#[derive(Debug, Default)]
struct FailedLogins(Mutex<BTreeMap<UserId, (u64, UnixMillis)>>);

impl FailedLogins {
    const EVERY: Duration = Duration::from_secs(60);

    /// Notes one more; returns how many there were if a line is due.
    fn note(&self, user: UserId, now: UnixMillis) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.entry(user) {
            Entry::Vacant(place) => {
                place.insert((0, now));
                Some(1)
            }
            Entry::Occupied(mut place) => {
                let (count, said_at) = place.get_mut();
                *count = count.saturating_add(1);
                let is_due = *said_at > now || now.since(*said_at) >= Self::EVERY;
                is_due.then(|| {
                    *said_at = now;
                    std::mem::take(count)
                })
            }
        }
    }
}

/// A database that takes longer cannot be reached, as far as a probe is concerned.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// Whether calls can be served, which takes the database.
    async fn is_serving(&self) -> bool {
        answers_a_probe(self.store.organization()).await
    }
}

/// Whether the store answers in time, and well.
async fn answers_a_probe<T>(asked: impl Future<Output = Result<T, StoreError>>) -> bool {
    match tokio::time::timeout(PROBE_PATIENCE, asked).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            let _ = store_failed(error);
            false
        }
        Err(_) => {
            tracing::error!("the store did not answer a probe");
            false
        }
    }
}

/// A fault of the store as the peer sees it; the cause goes to the log.
fn store_failed(error: StoreError) -> Status {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(cause, "the store failed");
    Status::unavailable()
}

/// Which of these organizations a text names: by its id, or else by its name in whatever case. An id goes before a name,
/// so that one text never names two.
fn named<T>(of: Vec<T>, text: &str, names: impl Fn(&T) -> (OrgId, &Name)) -> Option<T> {
    let text = text.trim();
    let id = text.parse().ok().and_then(|id: i64| OrgId::try_from(id).ok());
    let lower = text.to_lowercase();
    let by_id = of.iter().position(|one| Some(names(one).0) == id);
    let found = by_id.or_else(|| of.iter().position(|one| names(one).1.as_str().to_lowercase() == lower))?;
    of.into_iter().nth(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_named_by_id_or_in_any_case_and_an_id_goes_first() {
        let org = |id, name: &str| (OrgId::new(id).unwrap(), Name::new(name).unwrap());
        let all = || vec![org(7, "Acme"), org(8, "7"), org(9, "Ägir")];
        let find = |text: &str| named(all(), text, |(id, name)| (*id, name)).map(|(id, _)| id.value());
        assert_eq!(
            [find("acme"), find(" ACME "), find("äGIR"), find("8")],
            [Some(7), Some(7), Some(9), Some(8)]
        );
        assert_eq!(find("7"), Some(7), "not the one that is called so");
        assert_eq!([find(""), find("acm"), find("0"), find("-7")], [None; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_does_not_wait_for_a_store_that_hangs() {
        assert!(answers_a_probe(async { Ok(()) }).await);
        let began = tokio::time::Instant::now();
        assert!(!answers_a_probe(std::future::pending::<Result<(), _>>()).await);
        assert_eq!(began.elapsed(), PROBE_PATIENCE);
    }

    #[test]
    fn wrong_passwords_are_noted_once_a_minute_and_account() {
        let failed = FailedLogins::default();
        let (alice, bob) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let at = |seconds: i64| UnixMillis::new(seconds * 1000).unwrap();
        assert_eq!(failed.note(alice, at(0)), Some(1));
        assert_eq!(failed.note(alice, at(30)), None);
        assert_eq!(failed.note(bob, at(30)), Some(1), "one account's do not hide another's");
        assert_eq!(failed.note(alice, at(60)), Some(2));
        assert_eq!(failed.note(alice, at(1)), Some(1), "a clock that was set back hides nothing");
    }
}
