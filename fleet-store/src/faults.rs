//! Transactions that fail on demand, for tests. Feature `fault-injection`.

use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::DbErr;
use tokio::sync::Notify;

use crate::store::{Inner, Store};

/// What goes wrong at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a test must go through all of them")]
pub enum Fault {
    /// The step does not happen, and fails.
    FailBefore,
    /// The step happens, and the caller is told that it failed, as when a connection breaks before
    /// the answer.
    FailAfter,
    /// The step happens, and its future is never done; the caller is to drop the operation when
    /// [`Faults::hung`] is.
    HangAfter,
}

/// Fails one step of a store's work: a `BEGIN`, a statement, a `COMMIT` or a `ROLLBACK`, or a read
/// outside of transactions.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many steps there still are until the fault, and the fault.
    armed: Mutex<Option<(usize, Fault)>>,
    hung: Notify,
}

impl Faults {
    /// The `n`-th step from now, counted from 1, is to fail; no other.
    pub fn arm(&self, n: usize, fault: Fault) {
        *self.lock() = Some((n, fault));
    }

    /// From now on nothing fails; whether anything has.
    pub fn disarm(&self) -> bool {
        self.lock().take().is_some_and(|(left, _)| left == 0)
    }

    /// Done once a step hangs.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again. The future is `Send`; it does not panic.
    pub async fn hung(&self) {
        self.hung.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(usize, Fault)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Fault> {
        let mut armed = self.lock();
        let (left, fault) = armed.as_mut().filter(|(left, _)| *left > 0)?;
        *left -= 1;
        (*left == 0).then_some(*fault)
    }

    pub(crate) async fn around<T>(
        self: Arc<Self>,
        step: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let fault = self.next();
        let failed = || Err(DbErr::Custom("a fault that a test asked for".to_owned()));
        match fault {
            None => step.await,
            Some(Fault::FailBefore) => failed(),
            Some(Fault::FailAfter) => {
                step.await?;
                failed()
            }
            Some(Fault::HangAfter) => {
                let _done = step.await?;
                self.hung.notify_one();
                pending().await
            }
        }
    }
}

impl Store {
    /// This store, with transactions that fail when `faults` says so. Other handles of it are as
    /// they were.
    #[must_use]
    pub fn with_faults(&self, faults: Arc<Faults>) -> Self {
        let Inner { backend, writer, reader, .. } = self.inner.as_ref();
        let (writer, reader) = (writer.clone(), reader.clone());
        let inner = Inner { backend: *backend, writer, reader, faults: Some(faults) };
        Self { inner: Arc::new(inner), devices_per_agent: self.devices_per_agent }
    }
}
