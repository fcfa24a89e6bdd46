//! A store between the server and the one under test: it stops calls, and notes what each of them writes.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Inspect, StoreDump};
use crate::future::BoxFuture;
use crate::id::EnrollmentId;
use crate::store::{ChallengeRecord, Changeset, CommitError, Query, ServerStore, Snapshot, StoreError};
use crate::time::UnixMillis;

/// One operation of a store that changed it, or that said it did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Write {
    /// The store before.
    pub before: Arc<StoreDump>,
    /// The store after.
    pub after: Arc<StoreDump>,
    /// Whether the store said that it was done; nothing may have changed otherwise.
    pub is_done: bool,
    /// Whether it was refused because the records had changed.
    pub is_stale: bool,
}

#[derive(Debug)]
pub(super) struct Meter {
    inner: Arc<dyn Inspect>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many operations there may be before a call is stopped; `None` for any number.
    left: Option<u8>,
    writes: Vec<Write>,
    /// What the store held when it was last looked at; `None` once that may have changed.
    seen: Option<Arc<StoreDump>>,
}

impl Meter {
    pub(super) fn new(inner: Arc<dyn Inspect>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Lets calls go on for so many operations.
    pub(super) fn allow(&self, operations: Option<u8>) {
        self.lock().left = operations;
    }

    /// What was written since this was last called.
    pub(super) fn take_writes(&self) -> Vec<Write> {
        core::mem::take(&mut self.lock().writes)
    }

    /// What the store holds.
    pub(super) fn dump(&self) -> Arc<StoreDump> {
        self.look(&mut self.lock())
    }

    pub(super) fn crashed(&self) {
        self.inner.crashed();
        self.lock().seen = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, state: &mut State) -> Arc<StoreDump> {
        Arc::clone(state.seen.get_or_insert_with(|| Arc::new(self.inner.dump())))
    }

    /// Waits until there may be one more operation.
    async fn admitted(&self) {
        poll_fn(|_| {
            let mut state = self.lock();
            match &mut state.left {
                None => Poll::Ready(()),
                Some(0) => Poll::Pending,
                Some(left) => {
                    *left -= 1;
                    Poll::Ready(())
                }
            }
        })
        .await;
    }

    /// Notes what one operation does. The store under test answers at once: nothing comes between.
    async fn noted<T, E>(
        &self,
        operation: BoxFuture<'_, Result<T, E>>,
        is_stale: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let before = self.look(&mut self.lock());
        let result = operation.await;
        let mut state = self.lock();
        state.seen = None;
        let after = self.look(&mut state);
        let after = if after == before { Arc::clone(&before) } else { after };
        state.seen = Some(Arc::clone(&after));
        let is_stale = result.as_ref().err().is_some_and(is_stale);
        state.writes.push(Write { before, after, is_done: result.is_ok(), is_stale });
        drop(state);
        result
    }
}

impl ServerStore for Meter {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(async {
            self.admitted().await;
            self.inner.load(query).await
        })
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        Box::pin(async move {
            self.admitted().await;
            self.noted(self.inner.take_challenge(challenge), |_| false).await
        })
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(async {
            self.admitted().await;
            self.noted(self.inner.commit(change), |error| matches!(error, CommitError::Stale)).await
        })
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        Box::pin(async move {
            self.admitted().await;
            self.inner.due(now, limit).await
        })
    }
}
