//! The host's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_core::time::{Clock, Monotonic, UnixMillis};
use rustix::time::{ClockId, clock_gettime};

/// The wall clock, and `CLOCK_BOOTTIME`, which goes on while the host sleeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis::EPOCH.saturating_add(since_epoch)
    }

    fn monotonic(&self) -> Monotonic {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
        Monotonic::new(Duration::new(seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run() {
        let (wall, monotonic) = (SystemClock.now(), SystemClock.monotonic());
        assert!(wall > UnixMillis::new(1_600_000_000_000).unwrap());
        assert!(SystemClock.monotonic() >= monotonic);
        assert!(monotonic > Monotonic::default());
    }
}
