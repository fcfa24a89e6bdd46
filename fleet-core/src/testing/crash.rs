use core::future::{Future, poll_fn};
use core::pin::pin;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use crate::driver::{Point, Probe};

/// What is left of a driver that crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed(pub Point);

/// A probe that crashes its driver when it reaches a point, once.
#[derive(Debug, Default)]
pub struct CrashAt {
    point: Mutex<Option<Point>>,
}

impl CrashAt {
    /// Crashes at nothing until [`CrashAt::arm`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Crashes when `point` is next reached.
    pub fn arm(&self, point: Point) {
        *self.point.lock().unwrap_or_else(PoisonError::into_inner) = Some(point);
    }

    /// Crashes at nothing any more.
    pub fn disarm(&self) {
        *self.point.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the point was not reached yet.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.point.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Probe for CrashAt {
    fn reached(&self, point: Point) {
        let mut armed = self.point.lock().unwrap_or_else(PoisonError::into_inner);
        if *armed == Some(point) {
            *armed = None;
            drop(armed);
            // Unwinds without the panic hook: a crash that was asked for is no news.
            resume_unwind(Box::new(Crashed(point)));
        }
    }
}

/// Runs a future that may crash at a [`CrashAt`] point. Everything it held in memory is gone then;
/// what its stores committed stays.
///
/// # Errors
/// [`Crashed`] names the point.
///
/// # Cancel safety
/// As the future it runs: dropping the one drops the other. It is `Send` if that one is; it passes on every
/// panic that is no crash.
pub async fn catch_crash<T>(future: impl Future<Output = T>) -> Result<T, Crashed> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => match payload.downcast::<Crashed>() {
            Ok(crashed) => core::task::Poll::Ready(Err(*crashed)),
            Err(payload) => resume_unwind(payload),
        },
    })
    .await
}
