//! How many connections are open, in all and from one address.
//!
//! A connection is a stranger's until a call on it has shown good credentials. Strangers are so many for each address and
//! must make room for others: where there is none, the oldest of them is closed, for an agent that keeps to the protocol
//! shows its credentials at once. So neither one address nor many can keep agents out by connecting and waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_proto::rpc::Status;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::{CALLS_AGAIN, Limit, Reached, exhausted, network};
use crate::config::Limits;

/// File descriptors that are left for the database, listeners and files.
const RESERVED_FILES: usize = 64;
/// How many connections may be on their way out while others have taken their place.
const LEAVING: usize = 32;

/// Calls at once on a stranger's connection. An agent makes one; what many could hold of a server would be much.
const STRANGERS_CALLS: usize = 8;

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    strangers_per_address: usize,
    idle_timeout: Duration,
    reached: Arc<Reached>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    open: usize,
    last: u64,
    /// Strangers, the oldest first.
    strangers: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: BTreeMap<IpAddr, BTreeSet<u64>>,
}

impl Taken {
    /// A stranger is one no more: it is known now, gone, or told to go.
    fn remove(&mut self, id: u64) -> Option<CancellationToken> {
        let (address, closing) = self.strangers.remove(&id)?;
        if let Some(ids) = self.by_address.get_mut(&address) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(closing)
    }

    /// Tells a stranger to go; whether there was one.
    fn close(&mut self, id: Option<u64>) -> bool {
        let closing = id.and_then(|id| self.remove(id));
        if let Some(closing) = &closing {
            closing.cancel();
        }
        closing.is_some()
    }
}

/// A connection's place, which it gives back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
    closing: CancellationToken,
    asked_at: Mutex<Instant>,
    calls: AtomicUsize,
}

/// A stranger's call.
#[derive(Debug)]
pub(super) struct Call(Arc<Place>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    /// Room for as many connections as `limits` say, or as there are file descriptors for.
    pub(super) fn new(limits: &Limits, idle_timeout: Duration, reached: Arc<Reached>) -> Arc<Self> {
        let most = limits.connections.min(files().saturating_sub(RESERVED_FILES).max(16));
        if most < limits.connections {
            let (wanted, files) = (limits.connections, files());
            tracing::info!(most, wanted, files, "the limit on open files allows for fewer connections");
        }
        Self::with(most, limits.unauthenticated_connections, idle_timeout, reached)
    }

    /// Room for `most` connections.
    pub(super) fn with(
        most: usize,
        strangers_per_address: usize,
        idle_timeout: Duration,
        reached: Arc<Reached>,
    ) -> Arc<Self> {
        Arc::new(Self { most, strangers_per_address, idle_timeout, reached, taken: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; `None` if there is none, and it must be closed at once.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        let address = network(address);
        let mut taken = self.lock();
        let own = taken.by_address.get(&address);
        if own.is_some_and(|ids| ids.len() >= self.strangers_per_address) {
            let oldest = own.and_then(BTreeSet::first).copied();
            taken.close(oldest);
            self.reached.note(Limit::UnauthenticatedConnections);
        }
        if taken.open >= self.most {
            self.reached.note(Limit::Connections);
            let oldest = taken.strangers.first_key_value().map(|(id, _)| *id);
            if taken.open >= self.most.saturating_add(LEAVING) || !taken.close(oldest) {
                return None;
            }
        }
        taken.open = taken.open.saturating_add(1);
        taken.last = taken.last.wrapping_add(1);
        let (id, closing) = (taken.last, CancellationToken::new());
        taken.strangers.insert(id, (address, closing.clone()));
        taken.by_address.entry(address).or_default().insert(id);
        drop(taken);
        let asked_at = Mutex::new(Instant::now());
        Some(Arc::new(Place { room: Arc::clone(self), id, closing, asked_at, calls: AtomicUsize::new(0) }))
    }
}

impl Place {
    /// A request has come in.
    pub(super) fn asked(&self) {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// A call without a token begins.
    ///
    /// # Errors
    /// `resource_exhausted`, if there are too many and the connection is a stranger's.
    pub(super) fn call(self: &Arc<Self>) -> Result<Call, Status> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = Call(Arc::clone(self));
        if before >= STRANGERS_CALLS && self.is_strangers() {
            self.room.reached.note(Limit::StrangersCalls);
            let text =
                format!("{STRANGERS_CALLS} calls at once are open on a connection without credentials");
            return Err(exhausted(text, CALLS_AGAIN));
        }
        Ok(call)
    }

    /// Good credentials were shown: from now on this connection is nobody's to close.
    pub(super) fn known(&self) {
        self.room.lock().remove(self.id);
    }

    fn is_strangers(&self) -> bool {
        self.room.lock().strangers.contains_key(&self.id)
    }

    /// Waits until the connection is to be closed, because it has asked for nothing in a while or somebody else needs
    /// its place.
    pub(super) async fn closing(&self) {
        loop {
            let asked_at = *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
            let until = asked_at + self.room.idle_timeout;
            if until <= Instant::now() {
                if self.is_strangers() {
                    self.room.reached.note(Limit::IdleTimeout);
                    return;
                }
                // Nobody closes a connection that is known; one that was told to go meanwhile goes.
                return self.closing.cancelled().await;
            }
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.remove(self.id);
        taken.open = taken.open.saturating_sub(1);
    }
}

/// How many files may be open.
fn files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::VirtualClock;
    use fleet_core::time::Clock as _;

    use super::*;
    use crate::server::metrics::Metrics;

    const IDLE: Duration = Duration::from_secs(60);

    fn room(most: usize, strangers: usize) -> Arc<Room> {
        let clock = Arc::new(VirtualClock::default());
        Room::with(most, strangers, IDLE, Arc::new(Reached::new(Metrics::new(clock.now()), clock)))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room_for_the_next_of_it() {
        let room = room(100, 2);
        let known = room.admit(address(1)).unwrap();
        known.known();
        let (first, second) = (room.admit(address(1)).unwrap(), room.admit(address(1)).unwrap());
        let other = room.admit(address(2)).unwrap();
        let third = room.admit(address(1)).unwrap();
        let closed =
            |places: &[&Arc<Place>]| places.iter().map(|p| p.closing.is_cancelled()).collect::<Vec<_>>();
        assert_eq!(closed(&[&known, &first, &second, &other, &third]), [false, true, false, false, false]);
        // Whoever is known takes no place among the strangers.
        second.known();
        let _fourth = room.admit(address(1)).unwrap();
        assert_eq!(closed(&[&second, &third]), [false, false]);
    }

    #[test]
    fn a_full_room_takes_in_new_ones_as_long_as_there_are_strangers() {
        let room = room(3, 100);
        let known = [1, 2].map(|last| room.admit(address(last)).unwrap());
        known.iter().for_each(|place| place.known());
        let stranger = room.admit(address(3)).unwrap();
        let next = room.admit(address(4)).unwrap();
        assert!(stranger.closing.is_cancelled() && !next.closing.is_cancelled());
        drop(stranger);
        next.known();
        assert!(room.admit(address(5)).is_none(), "nobody who is known is closed");
        drop(next);
        assert!(room.admit(address(5)).is_some());
        drop(known);
        let taken = room.lock();
        assert_eq!((taken.open, taken.strangers.len(), taken.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn a_stranger_makes_a_few_calls_at_once() {
        let place = room(10, 10).admit(address(1)).unwrap();
        let mut calls: Vec<_> = (0..STRANGERS_CALLS).map(|_| place.call().unwrap()).collect();
        let refused = place.call().unwrap_err();
        assert!(refused.retry_after.is_some() && refused.message.starts_with("8 calls"), "{refused:?}");
        calls.pop();
        calls.push(place.call().unwrap());
        place.known();
        assert!(place.call().is_ok());
    }

    #[test]
    fn no_more_than_a_few_are_on_their_way_out() {
        let room = room(1, 1000);
        let places: Vec<_> = std::iter::from_fn(|| room.admit(address(1))).take(1000).collect();
        assert_eq!(places.len(), 1 + LEAVING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_goes_when_it_asks_nothing_and_one_who_is_known_stays() {
        let room = room(10, 10);
        let began = Instant::now();
        let place = room.admit(address(1)).unwrap();
        let known = room.admit(address(1)).unwrap();
        known.known();
        tokio::time::sleep(IDLE / 2).await;
        place.asked();
        place.closing().await;
        assert_eq!(began.elapsed(), IDLE + IDLE / 2, "counted from the last request");
        assert!(tokio::time::timeout(IDLE * 1000, known.closing()).await.is_err());
    }
}
