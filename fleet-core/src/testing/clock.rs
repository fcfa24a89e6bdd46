use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use crate::time::{Clock, Monotonic, UnixMillis};

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct VirtualClock {
    hands: Mutex<(UnixMillis, Duration)>,
}

impl VirtualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn new(now: UnixMillis) -> Self {
        Self { hands: Mutex::new((now, Duration::ZERO)) }
    }

    /// Time passes: both hands move.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        hands.0 = hands.0.saturating_add(by);
        hands.1 = hands.1.saturating_add(by);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall(&self, now: UnixMillis) {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Default for VirtualClock {
    /// 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self::new(UnixMillis::new(1_767_225_600_000).unwrap_or_default())
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> UnixMillis {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::new(self.hands.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}
