//! The upload counters on disk.

use std::{fmt, sync::Arc};

use fleet_core::store::{AgentState, AgentStore, CommitError, Counters, StoreError};

/// How often a write is tried again because the state was written meanwhile.
const ATTEMPTS: usize = 16;

/// What is uploaded; each has a sequence of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol has these two")]
pub enum UploadKind {
    /// Samples.
    Telemetry,
    /// Events.
    Events,
}

impl fmt::Display for UploadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Telemetry => "telemetry",
            Self::Events => "events",
        })
    }
}

/// One of the counters in an agent's store.
#[derive(Debug, Clone)]
pub struct Counter {
    store: Arc<dyn AgentStore>,
    kind: UploadKind,
}

impl Counter {
    /// The counter of one kind of upload.
    #[must_use]
    pub const fn new(store: Arc<dyn AgentStore>, kind: UploadKind) -> Self {
        Self { store, kind }
    }

    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> UploadKind {
        self.kind
    }

    /// The value on disk, 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`] within.
    ///
    /// # Cancel safety
    /// It only reads, and may be dropped at any point. The future is `Send`; it does not panic.
    pub async fn read(&self) -> Result<i64, CommitError> {
        let held = self.store.load().await?;
        Ok(held.map_or(0, |held| self.of(held.record.counters)))
    }

    /// Raises the value on disk; a higher one stays.
    ///
    /// # Errors
    /// [`CommitError`]; there must be a state.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: the value is raised or not. The future is `Send`; it
    /// does not panic.
    pub async fn raise(&self, to: i64) -> Result<(), CommitError> {
        for _ in 0..ATTEMPTS {
            let Some(held) = self.store.load().await? else {
                return Err(StoreError(Box::new(NoState)).into());
            };
            let mut counters = held.record.counters;
            let counter = match self.kind {
                UploadKind::Telemetry => &mut counters.telemetry,
                UploadKind::Events => &mut counters.event,
            };
            if *counter >= to {
                return Ok(());
            }
            *counter = to;
            let state = AgentState { counters, ..held.record };
            match self.store.commit(state, Some(held.version)).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::Stale)
    }

    const fn of(&self, counters: Counters) -> i64 {
        match self.kind {
            UploadKind::Telemetry => counters.telemetry,
            UploadKind::Events => counters.event,
        }
    }
}

/// There is no agent whose counter it could be.
#[derive(Debug, thiserror::Error)]
#[error("this agent is not enrolled")]
struct NoState;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use fleet_core::{
        code::SecretHash,
        future::{BoxFuture, ready},
        keys::AgentSecretKeys,
        name::Name,
        store::{MemoryAgentStore, Version, Versioned},
        testing::{SeededRandom, block_on},
    };

    use super::*;

    /// A store with an agent in it, whose writes are counted and can be made to fail.
    #[derive(Debug)]
    pub(crate) struct MemoryStore {
        store: MemoryAgentStore,
        writes: AtomicUsize,
        fails: AtomicBool,
    }

    impl Default for MemoryStore {
        fn default() -> Self {
            let state = AgentState {
                server: "https://fleet.example".to_owned(),
                name: Name::new("site-1").unwrap(),
                code: SecretHash::of("a code"),
                keys: AgentSecretKeys::generate(&SeededRandom::new(1)).unwrap().public().unwrap(),
                manifest: None,
                joined: false,
                agent_id: None,
                api_key: None,
                session: None,
                counters: Counters::default(),
            };
            let store = MemoryAgentStore::new();
            block_on(store.commit(state, None)).unwrap();
            Self { store, writes: AtomicUsize::new(0), fails: AtomicBool::new(false) }
        }
    }

    impl MemoryStore {
        pub(crate) fn fail(&self, fails: bool) {
            self.fails.store(fails, Ordering::Relaxed);
        }

        pub(crate) fn writes(&self) -> usize {
            self.writes.load(Ordering::Relaxed)
        }

        pub(crate) fn telemetry(&self) -> i64 {
            block_on(self.store.load()).unwrap().unwrap().record.counters.telemetry
        }
    }

    impl AgentStore for MemoryStore {
        fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>> {
            self.store.load()
        }

        fn commit(
            &self,
            state: AgentState,
            expected: Option<Version>,
        ) -> BoxFuture<'_, Result<Version, CommitError>> {
            if self.fails.load(Ordering::Relaxed) {
                return ready(Err(StoreError("no space left".into()).into()));
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
            self.store.commit(state, expected)
        }
    }

    #[test]
    fn counters_are_apart_and_never_fall() {
        let store = Arc::new(MemoryStore::default());
        let counter = |kind| Counter::new(Arc::clone(&store) as _, kind);
        let (telemetry, events) = (counter(UploadKind::Telemetry), counter(UploadKind::Events));
        block_on(async {
            telemetry.raise(10).await.unwrap();
            telemetry.raise(5).await.unwrap();
            events.raise(3).await.unwrap();
            assert_eq!((telemetry.read().await.unwrap(), events.read().await.unwrap()), (10, 3));
        });
        assert_eq!(store.writes(), 2);
    }
}
