//! Time as values. This crate reads no clock: `now` is always passed in.

use core::{fmt, time::Duration};

/// Wall-clock time: whole milliseconds since the Unix epoch, never negative (protocol section 2).
///
/// For expiry and for records. How long something took is measured with [`Monotonic`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(i64);

/// The value is before the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time must not be negative, got {got} ms")]
pub struct TimeError {
    /// The value that was offered, in milliseconds.
    pub got: i64,
}

impl UnixMillis {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// Takes milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`TimeError`] if negative.
    pub const fn new(millis: i64) -> Result<Self, TimeError> {
        if millis < 0 {
            return Err(TimeError { got: millis });
        }
        Ok(Self(millis))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }

    /// This time and `duration`, whole milliseconds of it, capped at the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// This time less `duration`, not before the epoch.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(0))
    }

    /// How long `earlier` is ago; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Debug for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixMillis({})", self.0)
    }
}

impl TryFrom<i64> for UnixMillis {
    type Error = TimeError;

    fn try_from(millis: i64) -> Result<Self, TimeError> {
        Self::new(millis)
    }
}

/// A reading of a clock that never goes back: the time since some fixed moment, suspension
/// included (`CLOCK_BOOTTIME` on Linux). Comparable only within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Takes the time since the clock's fixed moment.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long `earlier` is ago; zero if it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment and `duration`.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Both clocks of the host.
///
/// A wall clock that is wrong makes codes, challenges and sessions live too long or too short at
/// the server; an agent takes the server's time from the handshake and uses only
/// [`Clock::monotonic`] to carry it on (protocol section 5 step 4), so a monotonic clock that
/// stops while the host sleeps would let it use what has expired.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> UnixMillis;
    /// The clock that never goes back and counts suspension.
    fn monotonic(&self) -> Monotonic;
}

/// The server's time as an agent knows it: adopted from one completed handshake, carried on by
/// the agent's monotonic clock (protocol section 5 step 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    at: UnixMillis,
    sent: Monotonic,
}

impl ServerTime {
    /// `server_time` of a BeginAuthHandshake response, and when that call was *sent*: the
    /// estimate is then never behind the server's clock by more than drift.
    pub(crate) const fn adopt(server_time: UnixMillis, begin_sent: Monotonic) -> Self {
        Self { at: server_time, sent: begin_sent }
    }

    /// The server's time at `now`.
    #[must_use]
    pub fn at(&self, now: Monotonic) -> UnixMillis {
        self.at.saturating_add(now.since(self.sent))
    }
}

/// The next value of a counter: `max(previous + 1, now)`, so that gaps are normal and a restored
/// backup does not fall behind (protocol section 2, Counters).
#[must_use]
pub fn next_counter(previous: i64, now: UnixMillis) -> i64 {
    previous.saturating_add(1).max(now.value()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate_instead_of_wrapping() {
        let late = UnixMillis::new(i64::MAX - 1).unwrap();
        assert_eq!(late.saturating_add(Duration::from_secs(1)).value(), i64::MAX);
        assert_eq!(UnixMillis::EPOCH.since(late), Duration::ZERO);
        assert_eq!(UnixMillis::EPOCH.saturating_sub(Duration::from_secs(1)), UnixMillis::EPOCH);
        assert!(UnixMillis::new(-1).is_err());
    }

    #[test]
    fn counters_follow_the_clock_and_never_repeat() {
        let now = UnixMillis::new(1_000).unwrap();
        assert_eq!(next_counter(0, now), 1_000);
        assert_eq!(next_counter(1_000, now), 1_001);
        assert_eq!(next_counter(5_000, now), 5_001);
        assert_eq!(next_counter(0, UnixMillis::EPOCH), 1);
    }
}
