//! What waits to be uploaded (protocol section 9).
//!
//! A spool holds messages in memory: samples or events that were put together, up to 500 in one.
//! A message gets its sequence when it is first sent and keeps it, so that the server knows a
//! repeat from its sequence alone. It is deleted when the server says that it is durable, and when
//! the spool is full, the oldest first; what is thrown away is counted.
//!
//! The spool is lost with the process: readings that were not uploaded yet are gone, and so are
//! events. Only the counters are on disk, and they never fall behind what was sent: a range is
//! reserved *before* its first sequence is used. The reserved range is minutes long, because
//! sequences follow the clock in milliseconds, and a write for every upload would wear out the
//! small disks that agents run on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fleet_core::{
    store::CommitError,
    telemetry::{Event, EventKind, Sample},
    time::{UnixMillis, next_counter},
};
use tokio::sync::Notify;

use crate::counters::Counter;

/// The most items in one message.
pub const MAX_ITEMS: usize = 500;
/// The most bytes in one message, by [`Spooled::weight`]: half of what the server takes.
pub const MAX_WEIGHT: usize = 512 * 1024;
/// How far ahead of what is used the counter on disk is: 5 min of sequences that follow the clock.
const RESERVE: i64 = 300_000;

/// What a spool can hold.
pub trait Spooled: Send + Sync + 'static {
    /// About how many bytes it takes on the wire, never too few.
    fn weight(&self) -> usize;
}

impl Spooled for Sample {
    fn weight(&self) -> usize {
        // Tag, length and value of every field at its longest; a serial has up to 4 bytes a character.
        self.endpoint.to_string().len() + 100 + self.fan_rpm.len() * 6 + self.boards.len() * 40
    }
}

impl Spooled for Event {
    fn weight(&self) -> usize {
        match &self.kind {
            EventKind::Discovered(seen) => {
                let texts = [&seen.address, &seen.make, &seen.model, &seen.firmware, &seen.driver];
                let serial = seen.serial.as_ref().map_or(0, String::len);
                seen.endpoint.to_string().len() + serial + texts.map(String::len).iter().sum::<usize>() + 100
            }
            EventKind::StatusChanged { endpoint, .. } => endpoint.to_string().len() + 60,
            // Kinds to come: a page each, until they are weighed.
            _ => 4096,
        }
    }
}

/// What waits to be uploaded, and what became of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Items that wait.
    pub waiting: u64,
    /// Items that the server has.
    pub delivered: u64,
    /// Items that were thrown away because the spool was full.
    pub dropped: u64,
    /// Items that were thrown away because the server refused their message.
    pub refused: u64,
}

/// A message as it is sent.
#[derive(Debug)]
pub struct Message<T> {
    /// Its sequence, never used for another.
    pub sequence: i64,
    /// When its last item was taken, by the agent's clock.
    pub captured_at: UnixMillis,
    /// What it holds.
    pub items: Arc<Vec<T>>,
}

impl<T> Clone for Message<T> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), ..*self }
    }
}

/// What a server's word on durability came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every case")]
pub enum Settled {
    /// This many items were deleted.
    Deleted(u64),
    /// The server is ahead of this agent, which was restored from a backup: everything is numbered
    /// anew from there, and nothing was deleted.
    Renumbered,
}

/// A bounded spool. Any number of tasks add to it, one uploads.
#[derive(Debug)]
pub struct Spool<T> {
    inner: Mutex<Inner<T>>,
    added: Notify,
    counter: Counter,
    capacity: usize,
}

#[derive(Debug)]
struct Inner<T> {
    entries: VecDeque<Entry<T>>,
    /// What the next entry is put together from.
    open: Vec<T>,
    open_weight: usize,
    open_at: UnixMillis,
    /// Of all entries.
    weight: usize,
    /// The last sequence given.
    issued: i64,
    /// The highest sequence that may be given before the counter is written again.
    reserved: i64,
    delivered: u64,
    dropped: u64,
    refused: u64,
    /// It overflowed since it was last empty.
    is_full: bool,
}

#[derive(Debug)]
struct Entry<T> {
    sequence: Option<i64>,
    captured_at: UnixMillis,
    items: Arc<Vec<T>>,
    weight: usize,
}

impl<T: Spooled> Spool<T> {
    /// An empty spool of at most `capacity` bytes, by [`Spooled::weight`], that goes on from the
    /// counter on disk.
    ///
    /// # Errors
    /// [`CommitError`] if the counter cannot be read.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it does not panic.
    pub async fn open(counter: Counter, capacity: usize) -> Result<Self, CommitError> {
        let issued = counter.read().await?;
        let inner = Inner {
            entries: VecDeque::new(),
            open: Vec::new(),
            open_weight: 0,
            open_at: UnixMillis::EPOCH,
            weight: 0,
            issued,
            reserved: issued,
            delivered: 0,
            dropped: 0,
            refused: 0,
            is_full: false,
        };
        let capacity = capacity.max(2 * MAX_WEIGHT);
        Ok(Self { inner: Mutex::new(inner), added: Notify::new(), counter, capacity })
    }

    /// Adds an item. If that makes the spool too full, the oldest message goes.
    pub fn push(&self, item: T, at: UnixMillis) {
        let weight = item.weight();
        let mut inner = self.lock();
        if weight > MAX_WEIGHT {
            inner.dropped = inner.dropped.saturating_add(1);
            return;
        }
        if inner.open_weight.saturating_add(weight) > MAX_WEIGHT {
            inner.close();
        }
        inner.open.push(item);
        inner.open_weight = inner.open_weight.saturating_add(weight);
        inner.open_at = at;
        if inner.open.len() >= MAX_ITEMS {
            inner.close();
        }
        if inner.weight.saturating_add(inner.open_weight) > self.capacity && !inner.is_full {
            inner.is_full = true;
            tracing::warn!(kind = %self.counter.kind(), "the spool is full; from now on the oldest are thrown away");
        }
        while inner.weight.saturating_add(inner.open_weight) > self.capacity {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.weight = inner.weight.saturating_sub(oldest.weight);
            inner.dropped = inner.dropped.saturating_add(oldest.count());
        }
        drop(inner);
        self.added.notify_one();
    }

    /// Waits until there is something to send.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again. The future is `Send`; it does not panic.
    pub async fn wait(&self) {
        while self.is_empty() {
            self.added.notified().await;
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.entries.is_empty() && inner.open.is_empty()
    }

    /// How much waits, and what became of the rest.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let inner = self.lock();
        let closed: u64 = inner.entries.iter().map(Entry::count).sum();
        Depth {
            waiting: closed.saturating_add(u64::try_from(inner.open.len()).unwrap_or(u64::MAX)),
            delivered: inner.delivered,
            dropped: inner.dropped,
            refused: inner.refused,
        }
    }

    /// The oldest messages, at most `limit`, to be sent in this order. They stay in the spool.
    ///
    /// # Errors
    /// [`CommitError`] if a sequence cannot be reserved; nothing may be sent then.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: sequences may be reserved by then that are never issued,
    /// and gaps are normal. The future is `Send`; it does not panic.
    pub async fn oldest(&self, limit: usize, now: UnixMillis) -> Result<Vec<Message<T>>, CommitError> {
        let reserve = {
            let mut inner = self.lock();
            inner.close();
            let fresh = inner.entries.iter().take(limit).filter(|entry| entry.sequence.is_none()).count();
            let fresh = i64::try_from(fresh).unwrap_or(i64::MAX);
            let last = next_counter(inner.issued, now).saturating_add(fresh);
            (fresh > 0 && last > inner.reserved).then(|| last.saturating_add(RESERVE))
        };
        if let Some(reserve) = reserve {
            self.counter.raise(reserve).await?;
            self.lock().reserved = reserve;
        }
        let mut inner = self.lock();
        let Inner { entries, issued, reserved, .. } = &mut *inner;
        let mut messages = Vec::new();
        for entry in entries.iter_mut().take(limit) {
            let sequence = match entry.sequence {
                Some(sequence) => sequence,
                None => {
                    let sequence = next_counter(*issued, now);
                    if sequence > *reserved {
                        break;
                    }
                    *issued = sequence;
                    entry.sequence = Some(sequence);
                    sequence
                }
            };
            messages.push(Message {
                sequence,
                captured_at: entry.captured_at,
                items: Arc::clone(&entry.items),
            });
        }
        Ok(messages)
    }

    /// The server says that everything up to `durable` is durable.
    pub fn settle(&self, durable: i64) -> Settled {
        let mut inner = self.lock();
        if durable > inner.issued {
            inner.issued = durable;
            for entry in &mut inner.entries {
                entry.sequence = None;
            }
            return Settled::Renumbered;
        }
        let mut deleted: u64 = 0;
        while let Some(first) = inner.entries.front() {
            if first.sequence.is_none_or(|sequence| sequence > durable) {
                break;
            }
            deleted = deleted.saturating_add(first.count());
            inner.weight = inner.weight.saturating_sub(first.weight);
            inner.entries.pop_front();
        }
        inner.delivered = inner.delivered.saturating_add(deleted);
        inner.is_full &= !inner.entries.is_empty();
        Settled::Deleted(deleted)
    }

    /// Deletes one message that the server will never take, so that those behind it get through.
    pub fn discard(&self, sequence: i64) {
        let mut inner = self.lock();
        let Some(at) = inner.entries.iter().position(|entry| entry.sequence == Some(sequence)) else {
            return;
        };
        if let Some(entry) = inner.entries.remove(at) {
            inner.weight = inner.weight.saturating_sub(entry.weight);
            inner.refused = inner.refused.saturating_add(entry.count());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let weight = std::mem::take(&mut self.open_weight);
        let items = Arc::new(std::mem::take(&mut self.open));
        self.weight = self.weight.saturating_add(weight);
        self.entries.push_back(Entry { sequence: None, captured_at: self.open_at, items, weight });
    }
}

impl<T> Entry<T> {
    fn count(&self) -> u64 {
        u64::try_from(self.items.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleet_core::testing::block_on;
    use proptest::prelude::*;

    use super::*;
    use crate::counters::{UploadKind, tests::MemoryStore};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    struct Item(u64, usize);

    impl Spooled for Item {
        fn weight(&self) -> usize {
            self.1
        }
    }

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(millis).unwrap()
    }

    fn counter(store: &Arc<MemoryStore>) -> Counter {
        Counter::new(Arc::clone(store) as _, UploadKind::Telemetry)
    }

    fn open(store: &Arc<MemoryStore>, capacity: usize) -> Spool<Item> {
        block_on(Spool::open(counter(store), capacity)).unwrap()
    }

    fn sequences(spool: &Spool<Item>, limit: usize, now: i64) -> Vec<i64> {
        let messages = block_on(spool.oldest(limit, at(now))).unwrap();
        messages.iter().map(|message| message.sequence).collect()
    }

    #[test]
    fn a_message_keeps_its_sequence_until_it_is_durable() {
        let store = Arc::new(MemoryStore::default());
        let spool = open(&store, 0);
        spool.push(Item(1, 10), at(5_000));
        assert_eq!(sequences(&spool, 9, 6_000), [6_000]);
        spool.push(Item(2, 10), at(5_000));
        assert_eq!(sequences(&spool, 9, 6_000), [6_000, 6_001]);
        assert_eq!(spool.settle(5_999), Settled::Deleted(0));
        assert_eq!(spool.settle(6_000), Settled::Deleted(1));
        assert_eq!(sequences(&spool, 9, 9_000), [6_001]);
        assert_eq!(spool.settle(6_001), Settled::Deleted(1));
        assert!(spool.is_empty());
        assert_eq!(spool.depth(), Depth { delivered: 2, ..Depth::default() });
    }

    #[test]
    fn messages_are_bounded_by_items_and_by_bytes() {
        let store = Arc::new(MemoryStore::default());
        let spool = open(&store, usize::MAX / 2);
        for id in 0..1_001 {
            spool.push(Item(id, 10), at(1));
        }
        let messages = block_on(spool.oldest(9, at(1))).unwrap();
        assert_eq!(messages.iter().map(|message| message.items.len()).collect::<Vec<_>>(), [500, 500, 1]);
        let spool = open(&store, usize::MAX / 2);
        for id in 0..3 {
            spool.push(Item(id, MAX_WEIGHT / 2), at(1));
        }
        let messages = block_on(spool.oldest(9, at(1))).unwrap();
        assert_eq!(messages.iter().map(|message| message.items.len()).collect::<Vec<_>>(), [2, 1]);
        spool.push(Item(9, MAX_WEIGHT + 1), at(1));
        assert_eq!(spool.depth().dropped, 1);
    }

    #[test]
    fn the_counter_is_reserved_in_blocks_and_before_use() {
        let store = Arc::new(MemoryStore::default());
        let spool = open(&store, 0);
        spool.push(Item(1, 1), at(0));
        store.fail(true);
        assert!(block_on(spool.oldest(9, at(1_000))).is_err());
        assert_eq!(spool.depth().waiting, 1);
        store.fail(false);
        assert_eq!(sequences(&spool, 9, 1_000), [1_000]);
        assert_eq!(store.telemetry(), 1_001 + RESERVE);
        let writes = store.writes();
        for now in 2..200 {
            spool.push(Item(1, 1), at(0));
            sequences(&spool, 1_000, now * 1_000);
        }
        assert_eq!(store.writes(), writes, "one block is enough for all of this");
        // A restart goes on above everything that may have been sent.
        let spool = open(&store, 0);
        spool.push(Item(1, 1), at(0));
        assert_eq!(sequences(&spool, 9, 200_000), [1_002 + RESERVE]);
    }

    #[test]
    fn an_agent_that_fell_behind_renumbers_and_deletes_nothing() {
        let store = Arc::new(MemoryStore::default());
        let spool = open(&store, 0);
        spool.push(Item(1, 1), at(0));
        assert_eq!(sequences(&spool, 9, 10), [10]);
        spool.push(Item(2, 1), at(0));
        assert_eq!(sequences(&spool, 9, 10), [10, 11]);
        assert_eq!(spool.settle(9_000_000), Settled::Renumbered);
        assert_eq!(spool.depth(), Depth { waiting: 2, ..Depth::default() });
        assert_eq!(sequences(&spool, 9, 12), [9_000_001, 9_000_002]);
        assert!(store.telemetry() >= 9_000_002);
    }

    #[test]
    fn a_refused_message_does_not_hold_up_the_rest() {
        let store = Arc::new(MemoryStore::default());
        let spool = open(&store, 0);
        for id in 0..2 {
            spool.push(Item(id, 1), at(0));
            sequences(&spool, 9, 10);
        }
        spool.discard(10);
        spool.discard(99);
        assert_eq!(sequences(&spool, 9, 10), [11]);
        assert_eq!(spool.depth(), Depth { waiting: 1, refused: 1, ..Depth::default() });
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Send { limit: usize, now: i64 },
        Durable { nth: usize },
        Ahead { by: i64 },
        Restart,
        FailWrites(bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..MAX_WEIGHT / 2).prop_map(Step::Push),
            4 => (1..6usize, 0..2_000_000i64).prop_map(|(limit, now)| Step::Send { limit, now }),
            3 => (0..6usize).prop_map(|nth| Step::Durable { nth }),
            1 => (1..5_000_000i64).prop_map(|by| Step::Ahead { by }),
            1 => Just(Step::Restart),
            1 => any::<bool>().prop_map(Step::FailWrites),
        ];
        proptest::collection::vec(step, 1..80)
    }

    proptest! {
        /// * `one meaning`: a sequence never stands for two different messages, restarts included.
        /// * `reserved first`: what is sent is never above the counter on disk.
        /// * `in order`: what is sent ascends.
        /// * `accounted for`: every item waits, was delivered, or was counted as dropped.
        #[test]
        fn invariants(steps in steps()) {
            let store = Arc::new(MemoryStore::default());
            let mut spool = open(&store, 0);
            let mut meanings: BTreeMap<i64, Vec<Item>> = BTreeMap::new();
            let mut sent: Vec<i64> = Vec::new();
            let mut pushed: u64 = 0;
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(weight) => {
                        next += 1;
                        pushed += 1;
                        spool.push(Item(next, weight), at(0));
                    }
                    Step::Send { limit, now } => {
                        let Ok(messages) = block_on(spool.oldest(limit, at(now))) else { continue };
                        sent = messages.iter().map(|message| message.sequence).collect();
                        prop_assert!(sent.is_sorted_by(|a, b| a < b), "in order");
                        for message in &messages {
                            prop_assert!(message.sequence <= store.telemetry(), "reserved first");
                            let meaning = meanings.entry(message.sequence).or_insert_with(|| message.items.to_vec());
                            prop_assert_eq!(&*meaning, &*message.items, "one meaning");
                        }
                    }
                    Step::Durable { nth } => {
                        if let Some(durable) = sent.get(nth) {
                            let waiting = spool.depth().waiting;
                            let Settled::Deleted(deleted) = spool.settle(*durable) else {
                                return Err(TestCaseError::fail("it was issued"));
                            };
                            prop_assert_eq!(spool.depth().waiting + deleted, waiting);
                        }
                    }
                    Step::Ahead { by } => {
                        let highest = spool.lock().issued;
                        let before = spool.depth();
                        prop_assert_eq!(spool.settle(highest + by), Settled::Renumbered);
                        prop_assert_eq!(spool.depth(), before);
                        sent.clear();
                    }
                    Step::Restart => {
                        spool = open(&store, 0);
                        sent.clear();
                        pushed = 0;
                    }
                    Step::FailWrites(fail) => store.fail(fail),
                }
                let depth = spool.depth();
                prop_assert_eq!(depth.waiting + depth.delivered + depth.dropped, pushed, "accounted for");
                let inner = spool.lock();
                prop_assert!(inner.weight + inner.open_weight <= spool.capacity);
            }
        }
    }
}
