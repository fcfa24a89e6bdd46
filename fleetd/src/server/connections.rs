//! How many connections are open, in all and from one address.
//!
//! A connection is a stranger's until a call on it has shown good credentials, and again once those are refused or their
//! agent is revoked, or when they were not shown for as long as a session lasts. Each agent, operator and credential keeps
//! so many connections from being a stranger's, the latest. Strangers are so many for each address and
//! must make room for others: where there is none, the oldest of them is closed, for an agent that keeps to the protocol
//! shows its credentials at once. So neither one address nor many can keep agents out by connecting and waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_core::code::SecretHash;
use fleet_core::id::{AgentId, UserId};
use fleet_proto::rpc::Status;
use tokio::sync::Notify;
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

/// How many connections are known for one subject; of more the oldest are strangers'.
const KNOWN_PER_SUBJECT: usize = 64;
/// How long a connection is known after good credentials were last shown on it: no session lasts longer.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose good credentials were shown on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Agent(AgentId),
    Operator(UserId),
    /// Whoever has a code or an api_key: an agent without a session, which is not to wait for one for long.
    Credential(SecretHash),
}

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
    strangers: BTreeMap<u64, Seat>,
    by_address: BTreeMap<IpAddr, BTreeSet<u64>>,
    known: BTreeMap<u64, (Subject, Seat)>,
    by_subject: BTreeMap<Subject, BTreeSet<u64>>,
}

/// What a connection is found and told by.
#[derive(Debug, Clone)]
struct Seat {
    address: IpAddr,
    closing: CancellationToken,
    /// It is a stranger's again.
    demoted: Arc<Notify>,
}

impl Taken {
    /// A stranger is one no more: it is known now, gone, or told to go.
    fn remove(&mut self, id: u64) -> Option<Seat> {
        let seat = self.strangers.remove(&id)?;
        take_out(&mut self.by_address, &seat.address, id);
        Some(seat)
    }

    fn seat(&mut self, id: u64, seat: Seat) {
        self.by_address.entry(seat.address).or_default().insert(id);
        self.strangers.insert(id, seat);
    }

    /// Whoever was known is a stranger, or gone.
    fn forget(&mut self, id: u64) -> Option<Seat> {
        let (subject, seat) = self.known.remove(&id)?;
        take_out(&mut self.by_subject, &subject, id);
        Some(seat)
    }

    /// Makes a connection that is known a stranger's.
    fn demote(&mut self, id: u64) {
        if let Some(seat) = self.forget(id) {
            seat.demoted.notify_one();
            self.seat(id, seat);
        }
    }

    /// Makes a connection known, and the oldest of its subject a stranger's if those are too many.
    fn promote(&mut self, id: u64, subject: Subject) {
        let is_credential = matches!(subject, Subject::Credential(_));
        let stays =
            |known: Subject| known == subject || is_credential && !matches!(known, Subject::Credential(_));
        // Who has shown a session shows no less by asking for another.
        if self.known.get(&id).is_some_and(|(known, _)| stays(*known)) {
            return;
        }
        // One that was told to go is neither.
        let Some(seat) = self.remove(id).or_else(|| self.forget(id)) else { return };
        self.known.insert(id, (subject, seat));
        let own = self.by_subject.entry(subject).or_default();
        own.insert(id);
        if own.len() > KNOWN_PER_SUBJECT {
            let oldest = own.iter().copied().find(|other| *other != id);
            oldest.into_iter().for_each(|oldest| self.demote(oldest));
        }
    }

    /// Tells a stranger to go; whether there was one.
    fn close(&mut self, id: Option<u64>) -> bool {
        let seat = id.and_then(|id| self.remove(id));
        if let Some(seat) = &seat {
            seat.closing.cancel();
        }
        seat.is_some()
    }
}

/// Takes an id out of the set of `key`.
fn take_out<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = sets.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            sets.remove(key);
        }
    }
}

/// A connection's place, which it gives back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    id: u64,
    closing: CancellationToken,
    demoted: Arc<Notify>,
    /// When there was a request last, or it became a stranger's.
    asked_at: Mutex<Instant>,
    /// When good credentials were shown last.
    shown_at: Mutex<Instant>,
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
        let (id, closing, demoted) = (taken.last, CancellationToken::new(), Arc::new(Notify::new()));
        taken.seat(id, Seat { address, closing: closing.clone(), demoted: Arc::clone(&demoted) });
        drop(taken);
        let (now, room) = (Instant::now(), Arc::clone(self));
        let (asked_at, shown_at, calls) = (Mutex::new(now), Mutex::new(now), AtomicUsize::new(0));
        Some(Arc::new(Place { room, id, closing, demoted, asked_at, shown_at, calls }))
    }

    /// Nothing of `subject` is accepted any more: its connections are strangers'.
    pub(super) fn forget(&self, subject: Subject) {
        let mut taken = self.lock();
        let own: Vec<_> = taken.by_subject.get(&subject).into_iter().flatten().copied().collect();
        own.into_iter().for_each(|id| taken.demote(id));
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

    /// Good credentials were shown: as long as they are good, this connection is nobody's to close.
    pub(super) fn known(&self, subject: Subject) {
        *self.shown_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.room.lock().promote(self.id, subject);
    }

    /// Credentials were refused: this connection is a stranger's.
    pub(super) fn refused(&self) {
        self.room.lock().demote(self.id);
    }

    fn is_strangers(&self) -> bool {
        !self.room.lock().known.contains_key(&self.id)
    }

    /// How long it may stay as it is, and whether it is known.
    fn until(&self) -> (Instant, bool) {
        let at = |time: &Mutex<Instant>| *time.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = self.room.lock().known.get(&self.id).map(|(subject, _)| *subject);
        match subject {
            Some(Subject::Agent(_) | Subject::Operator(_)) => (at(&self.shown_at) + KNOWN_FOR, true),
            Some(Subject::Credential(_)) | None => (at(&self.asked_at) + self.room.idle_timeout, false),
        }
    }

    /// Waits until the connection is to be closed, because it has asked for nothing in a while or somebody else needs
    /// its place.
    pub(super) async fn closing(&self) {
        loop {
            let (until, is_known) = self.until();
            if until <= Instant::now() {
                if !is_known {
                    self.room.reached.note(Limit::IdleTimeout);
                    return;
                }
                self.refused();
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                // What is open on it has the time that a stranger's has.
                () = self.demoted.notified() => self.asked(),
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.remove(self.id);
        taken.forget(self.id);
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

    fn agent(id: i64) -> Subject {
        Subject::Agent(AgentId::new(id).unwrap())
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_oldest_stranger_of_an_address_makes_room_for_the_next_of_it() {
        let room = room(100, 2);
        let known = room.admit(address(1)).unwrap();
        known.known(agent(1));
        let (first, second) = (room.admit(address(1)).unwrap(), room.admit(address(1)).unwrap());
        let other = room.admit(address(2)).unwrap();
        let third = room.admit(address(1)).unwrap();
        let closed =
            |places: &[&Arc<Place>]| places.iter().map(|p| p.closing.is_cancelled()).collect::<Vec<_>>();
        assert_eq!(closed(&[&known, &first, &second, &other, &third]), [false, true, false, false, false]);
        // Whoever is known takes no place among the strangers.
        second.known(agent(1));
        let _fourth = room.admit(address(1)).unwrap();
        assert_eq!(closed(&[&second, &third]), [false, false]);
    }

    #[test]
    fn a_full_room_takes_in_new_ones_as_long_as_there_are_strangers() {
        let room = room(3, 100);
        let known = [1, 2].map(|last| room.admit(address(last)).unwrap());
        known.iter().for_each(|place| place.known(agent(1)));
        let stranger = room.admit(address(3)).unwrap();
        let next = room.admit(address(4)).unwrap();
        assert!(stranger.closing.is_cancelled() && !next.closing.is_cancelled());
        drop(stranger);
        next.known(agent(1));
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
        place.known(agent(1));
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
        known.known(agent(1));
        tokio::time::sleep(IDLE / 2).await;
        place.asked();
        place.closing().await;
        assert_eq!(began.elapsed(), IDLE + IDLE / 2, "counted from the last request");
        assert!(tokio::time::timeout(IDLE * 1000, known.closing()).await.is_err());
        known.known(agent(1));
        let began = Instant::now();
        known.closing().await;
        assert_eq!(began.elapsed(), KNOWN_FOR + IDLE, "no session is left");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_known_no_more_has_the_time_of_a_stranger() {
        let room = room(10, 10);
        for what in ["revoked", "refused"] {
            let place = room.admit(address(1)).unwrap();
            let other = room.admit(address(1)).unwrap();
            place.known(agent(1));
            other.known(agent(2));
            let waits = tokio::spawn({
                let place = Arc::clone(&place);
                async move { place.closing().await }
            });
            tokio::time::sleep(IDLE * 5).await;
            let began = Instant::now();
            if what == "revoked" {
                room.forget(agent(1))
            } else {
                place.refused()
            }
            waits.await.unwrap();
            assert_eq!(began.elapsed(), IDLE, "{what}");
            assert!(tokio::time::timeout(IDLE * 10, other.closing()).await.is_err(), "{what}");
        }
        let code = Subject::Credential(SecretHash::of("a code"));
        let place = room.admit(address(1)).unwrap();
        place.known(code);
        let began = Instant::now();
        place.closing().await;
        assert_eq!(began.elapsed(), IDLE, "no session was shown");
    }

    #[test]
    fn one_agent_keeps_so_many_connections_and_the_others_make_room() {
        let room = room(KNOWN_PER_SUBJECT * 2, 1000);
        let of_one: Vec<_> = (0..KNOWN_PER_SUBJECT * 2).map(|_| room.admit(address(1)).unwrap()).collect();
        of_one.iter().for_each(|place| place.known(agent(1)));
        assert_eq!(room.lock().known.len(), KNOWN_PER_SUBJECT);
        let (older, newer) = of_one.split_at(KNOWN_PER_SUBJECT);
        let next = room.admit(address(2)).unwrap();
        assert!(older[0].closing.is_cancelled() && newer.iter().all(|place| !place.closing.is_cancelled()));
        // Whoever makes itself known again takes the place of another of its own.
        older[1].known(agent(1));
        assert_eq!(room.lock().known.len(), KNOWN_PER_SUBJECT);
        assert!(!older[1].is_strangers() && newer[0].is_strangers());
        next.known(agent(2));
        drop((of_one, next));
        let taken = room.lock();
        assert!(taken.known.is_empty() && taken.by_subject.is_empty() && taken.strangers.is_empty());
    }
}
