//! The history of devices and of the fleet, in steps of time.
//!
//! # What is averaged
//! Samples do not come evenly: a miner that does not answer is read less often than one that does,
//! and how often miners are read is configured at each agent. So samples are averaged within five
//! minutes, which is what a roll-up holds, and five minutes weigh the same whatever number of
//! samples they have. A device's average over a longer step is that of its five minutes in which it
//! reported the value. The fleet's is that of its sums over devices at each five minutes, of those
//! in which anybody reported: a device that mined for half of an hour counts half.
//!
//! # Where it is read
//! From roll-ups, or, for steps below five minutes, from the samples themselves, as long as these
//! are kept. A step begins at a multiple of itself since the epoch, so that the steps of one request
//! and of the next are the same.

mod query;

use core::time::Duration;

use fleet_core::time::UnixMillis;

/// How much time a roll-up holds.
pub const ROLL_UP: Duration = Duration::from_secs(300);
pub(crate) const ROLL_UP_MS: i64 = 300_000;

/// The most steps that one call answers.
pub const MAX_STEPS: u32 = 10_000;

/// What a history is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle both")]
pub enum HistorySource {
    /// The samples themselves.
    Readings,
    /// Five minutes of them at a time.
    RollUps,
}

/// A range of time, divided into steps of the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    source: HistorySource,
    first: i64,
    step: i64,
    count: u32,
}

/// A range cannot be divided so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepsError {
    /// It holds no time.
    #[error("the range must end after it begins")]
    Empty,
    /// Readings are answered in whole seconds, up to a roll-up's five minutes.
    #[error("a step of readings must be whole seconds, 1 to 300, got {} ms", got.as_millis())]
    Readings {
        /// The step.
        got: Duration,
    },
    /// It has too many steps.
    #[error("the range has {got} steps of {} s, at most {limit} are answered", step.as_secs())]
    TooMany {
        /// How many.
        got: u64,
        /// The step.
        step: Duration,
        /// How many are answered.
        limit: u32,
    },
}

impl Steps {
    /// The steps that hold `since..until`, of roll-ups: of five minutes or the next multiple of
    /// that from `step` on.
    ///
    /// # Errors
    /// [`StepsError`].
    pub fn of_roll_ups(since: UnixMillis, until: UnixMillis, step: Duration) -> Result<Self, StepsError> {
        let millis =
            i64::try_from(step.as_millis()).unwrap_or(i64::MAX - ROLL_UP_MS).min(i64::MAX - ROLL_UP_MS);
        let rest = millis.checked_rem(ROLL_UP_MS).unwrap_or(0);
        let whole = if rest == 0 { millis } else { millis - rest + ROLL_UP_MS };
        Self::divide(HistorySource::RollUps, since, until, whole.max(ROLL_UP_MS))
    }

    /// The steps that hold `since..until`, of readings: whole seconds, up to five minutes.
    ///
    /// # Errors
    /// [`StepsError`].
    pub fn of_readings(since: UnixMillis, until: UnixMillis, step: Duration) -> Result<Self, StepsError> {
        let is_whole = step.subsec_nanos() == 0 && (1..=300).contains(&step.as_secs());
        let millis = i64::try_from(step.as_millis()).ok().filter(|_| is_whole);
        let millis = millis.ok_or(StepsError::Readings { got: step })?;
        Self::divide(HistorySource::Readings, since, until, millis)
    }

    fn divide(
        source: HistorySource,
        since: UnixMillis,
        until: UnixMillis,
        step: i64,
    ) -> Result<Self, StepsError> {
        if since >= until {
            return Err(StepsError::Empty);
        }
        let (first, last) = (since.value() / step, (until.value() - 1) / step);
        let got = u64::try_from(last - first).unwrap_or(0).saturating_add(1);
        let count = u32::try_from(got).ok().filter(|count| *count <= MAX_STEPS);
        let of = Duration::from_millis(step.unsigned_abs());
        let count = count.ok_or(StepsError::TooMany { got, step: of, limit: MAX_STEPS })?;
        Ok(Self { source, first: first * step, step, count })
    }

    /// What they are read from.
    #[must_use]
    pub const fn source(&self) -> HistorySource {
        self.source
    }

    /// How long each is.
    #[must_use]
    pub const fn step(&self) -> Duration {
        Duration::from_millis(self.step.unsigned_abs())
    }

    /// When the first begins.
    #[must_use]
    pub const fn start(&self) -> UnixMillis {
        match UnixMillis::new(self.first) {
            Ok(start) => start,
            Err(_) => UnixMillis::EPOCH,
        }
    }

    /// How many there are, at least 1 and at most [`MAX_STEPS`].
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Where the last ends.
    const fn end(&self) -> i64 {
        self.first.saturating_add(self.step.saturating_mul(self.count as i64))
    }
}

/// Average, least and greatest of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Spread {
    /// The average.
    pub average: f64,
    /// The least that any sample had.
    pub min: f64,
    /// The greatest that any sample had.
    pub max: f64,
}

/// One step of a device's history, in which it reported.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DevicePoint {
    /// When the step begins.
    pub start: UnixMillis,
    /// How many samples there are, at least 1.
    pub samples: i64,
    /// The share of the time in which it mined, 0 to 1.
    pub mining: f64,
    /// The share of the time in which it did not answer, 0 to 1.
    pub unreachable: f64,
    /// Hashrate, H/s.
    pub hashrate_hs: Option<Spread>,
    /// Power, W.
    pub power_w: Option<Spread>,
    /// The hottest sensor, °C.
    pub temperature_c: Option<Spread>,
    /// The least uptime that it reported, s: less than the step if it has restarted.
    pub uptime_min_s: Option<u64>,
}

/// One step of the fleet's history, in which any device reported.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct FleetPoint {
    /// When the step begins.
    pub start: UnixMillis,
    /// The sum over devices of the average hashrate, H/s; `None` if no device reported one.
    pub hashrate_hs: Option<f64>,
    /// The sum over devices of the average power, W; `None` if no device reported one.
    pub power_w: Option<f64>,
    /// Devices that reported.
    pub reporting: i64,
    /// Devices that mined, at some time in the step.
    pub mining: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> UnixMillis {
        match UnixMillis::new(millis) {
            Ok(at) => at,
            Err(_) => UnixMillis::EPOCH,
        }
    }

    #[test]
    fn steps_are_multiples_of_themselves_and_hold_the_range() {
        let steps = Steps::of_roll_ups(at(299_999), at(600_001), ROLL_UP).unwrap();
        assert_eq!((steps.start(), steps.count(), steps.end()), (at(0), 3, 900_000));
        let steps = Steps::of_roll_ups(at(300_000), at(600_000), ROLL_UP).unwrap();
        assert_eq!((steps.start(), steps.count()), (at(300_000), 1));
        let steps = Steps::of_readings(at(999), at(2000), Duration::from_secs(1)).unwrap();
        assert_eq!((steps.start(), steps.count(), steps.source()), (at(0), 2, HistorySource::Readings));
    }

    #[test]
    fn a_step_of_roll_ups_is_the_next_multiple_of_five_minutes() {
        for (step, expected) in [(0, 300), (1, 300), (300, 300), (301, 600), (3600, 3600), (3599, 3600)] {
            let steps = Steps::of_roll_ups(at(0), at(1), Duration::from_secs(step)).unwrap();
            assert_eq!(steps.step(), Duration::from_secs(expected), "{step}");
        }
        let year_9999 = at(253_402_300_799_000);
        assert_eq!(Steps::of_roll_ups(at(0), year_9999, Duration::MAX).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_answered_is_refused_with_its_limit() {
        assert_eq!(Steps::of_roll_ups(at(5), at(5), ROLL_UP), Err(StepsError::Empty));
        let most = at(300_000 * i64::from(MAX_STEPS));
        assert_eq!(Steps::of_roll_ups(at(0), most, ROLL_UP).unwrap().count(), MAX_STEPS);
        let over = Steps::of_roll_ups(at(0), at(most.value() + 1), ROLL_UP).unwrap_err();
        assert_eq!(over, StepsError::TooMany { got: 10_001, step: ROLL_UP, limit: MAX_STEPS });
        assert_eq!(over.to_string(), "the range has 10001 steps of 300 s, at most 10000 are answered");
        assert!(Steps::of_roll_ups(at(0), at(i64::MAX), ROLL_UP).is_err());
        for step in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(301)] {
            assert_eq!(Steps::of_readings(at(0), at(1), step), Err(StepsError::Readings { got: step }));
        }
    }
}
