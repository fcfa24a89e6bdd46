//! Which steps a history is answered in, and what it is read from.

use std::time::Duration;

use fleet_core::time::UnixMillis;
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::rpc::Status;
use fleet_store::{DevicePoint, FleetPoint, HistorySource, MAX_STEPS, ROLL_UP, Spread, Steps, StepsError};

/// The steps that people read a clock in; beyond the last, multiples of it. Those below a roll-up's five minutes are
/// for readings.
const USUAL_S: [u64; 16] =
    [1, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];
const DAY_S: u64 = 86_400;
const DEFAULT_POINTS: u32 = 500;
/// No step is longer than this, which is what others hold a span of time in: 64 bits of nanoseconds.
const LATEST_S: i64 = 9_223_372_036;
/// The fleet's sum reads a roll-up for each device and five minutes of the range: a year of it would keep the database
/// busy for minutes.
pub(super) const LONGEST_OF_FLEET: Duration = Duration::from_secs(31 * DAY_S);

/// What a request says of its steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) since: UnixMillis,
    pub(super) until: UnixMillis,
    pub(super) step: Option<Duration>,
    pub(super) max_points: u32,
}

impl Asked {
    /// Reads the fields that both requests have.
    pub(super) fn new(
        (since, until): (UnixMillis, UnixMillis),
        step: Option<&prost_types::Duration>,
        max_points: i32,
    ) -> Result<Self, Status> {
        if since >= until {
            return Err(Status::invalid("since: must be before until"));
        }
        if until.value() / 1000 >= LATEST_S {
            return Err(Status::invalid("until: must be before 2262-04-11T23:47:16Z"));
        }
        let step = step.map(|step| match (u64::try_from(step.seconds), step.nanos) {
            (Ok(seconds), 0) => Ok(Duration::from_secs(seconds)),
            _ => Err(Status::invalid("step: must be whole seconds")),
        });
        let step = step.transpose()?;
        if step.is_some() && max_points != 0 {
            return Err(Status::invalid("max_points: give either it or step, not both"));
        }
        let max_points = match u32::try_from(max_points) {
            Ok(0) | Err(_) => DEFAULT_POINTS,
            Ok(points) => points.min(MAX_STEPS),
        };
        Ok(Self { since, until, step, max_points })
    }

    /// From readings if the step is below five minutes and they are kept for all of the range, else from roll-ups.
    pub(super) fn of_device(self, readings_since: UnixMillis) -> Result<Steps, Status> {
        // A step that begins before the range does is read whole, too.
        let are_kept = |steps: &Steps| steps.start() >= readings_since;
        match self.step {
            Some(step) if step < ROLL_UP => {
                let readings = Steps::of_readings(self.since, self.until, step);
                // Roll-ups might answer less finely what is too much, but that is not what was asked for.
                match readings {
                    Ok(steps) if are_kept(&steps) => Ok(steps),
                    Err(error @ StepsError::TooMany { .. }) if self.since >= readings_since => {
                        Err(refused(error))
                    }
                    Ok(_) | Err(_) => self.of_roll_ups(step),
                }
            }
            Some(step) => self.of_roll_ups(step),
            None => {
                let below = usual().take_while(|step| *step < ROLL_UP);
                let readings = below.filter_map(|step| Steps::of_readings(self.since, self.until, step).ok());
                let mut fit = readings.filter(|steps| steps.count() <= self.max_points && are_kept(steps));
                fit.next().map_or_else(|| self.fitting_roll_ups(), Ok)
            }
        }
    }

    /// From roll-ups.
    pub(super) fn of_fleet(self) -> Result<Steps, Status> {
        let range = self.until.since(self.since);
        if range > LONGEST_OF_FLEET {
            let days = LONGEST_OF_FLEET.as_secs() / DAY_S;
            return Err(Status::invalid(format_args!("until: must be at most {days} days after since")));
        }
        match self.step {
            Some(step) => self.of_roll_ups(step),
            None => self.fitting_roll_ups(),
        }
    }

    fn of_roll_ups(self, step: Duration) -> Result<Steps, Status> {
        Steps::of_roll_ups(self.since, self.until, step).map_err(refused)
    }

    fn fitting_roll_ups(self) -> Result<Steps, Status> {
        let fits = |step| {
            let steps = Steps::of_roll_ups(self.since, self.until, step).ok()?;
            (steps.count() <= self.max_points).then_some(steps)
        };
        if let Some(steps) = usual().find_map(fits) {
            return Ok(steps);
        }
        // Whole days; a longer one where the range begins and ends within one.
        let range = self.until.since(self.since).as_secs();
        let days = range.div_ceil(u64::from(self.max_points).saturating_mul(DAY_S)).max(1);
        let step = |days: u64| Duration::from_secs(days.saturating_mul(DAY_S));
        let found =
            [days, days.saturating_add(1), days.saturating_mul(2)].map(step).into_iter().find_map(fits);
        // One step that holds all.
        found.map_or_else(|| self.of_roll_ups(Duration::from_millis(self.until.value().unsigned_abs())), Ok)
    }
}

fn usual() -> impl Iterator<Item = Duration> {
    USUAL_S.into_iter().map(Duration::from_secs)
}

fn refused(error: StepsError) -> Status {
    match error {
        StepsError::Empty => Status::invalid("since: must be before until"),
        StepsError::TooMany { .. } | StepsError::Readings { .. } | _ => {
            Status::invalid(format_args!("step: {error}"))
        }
    }
}

pub(super) fn source(steps: &Steps) -> i32 {
    let source = match steps.source() {
        HistorySource::Readings => fleet::HistorySource::Readings,
        HistorySource::RollUps => fleet::HistorySource::RollUps,
    };
    source.into()
}

pub(super) fn step(steps: &Steps) -> prost_types::Duration {
    let seconds = i64::try_from(steps.step().as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: 0 }
}

pub(super) fn device_point(point: DevicePoint, steps: &Steps) -> fleet::DevicePoint {
    fleet::DevicePoint {
        start: Some(timestamp(point.start)),
        duration: Some(step(steps)),
        samples: point.samples,
        mining_share: point.mining,
        unreachable_share: point.unreachable,
        hashrate_hs: point.hashrate_hs.map(spread),
        power_w: point.power_w.map(spread),
        temperature_c: point.temperature_c.map(spread),
        min_uptime_s: point.uptime_min_s.map(|s| i64::try_from(s).unwrap_or(i64::MAX)),
    }
}

const fn spread(spread: Spread) -> fleet::Spread {
    fleet::Spread { average: spread.average, min: spread.min, max: spread.max }
}

pub(super) fn fleet_point(point: FleetPoint, steps: &Steps) -> fleet::FleetPoint {
    fleet::FleetPoint {
        start: Some(timestamp(point.start)),
        duration: Some(step(steps)),
        hashrate_hs: point.hashrate_hs,
        power_w: point.power_w,
        devices_reporting: point.reporting,
        devices_mining: point.mining,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: u64 = 3600;
    /// A multiple of all usual steps.
    const NOW_S: u64 = 20_000 * DAY_S;

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis::EPOCH.saturating_add(Duration::from_secs(seconds))
    }

    fn asked(range_s: u64, step_s: Option<u64>, max_points: i32) -> Asked {
        let step = step_s.map(|s| prost_types::Duration { seconds: i64::try_from(s).unwrap(), nanos: 0 });
        Asked::new((at(NOW_S - range_s), at(NOW_S)), step.as_ref(), max_points).unwrap()
    }

    fn device(range_s: u64, step_s: Option<u64>, max_points: i32) -> (HistorySource, u64, u32) {
        let steps = asked(range_s, step_s, max_points).of_device(at(NOW_S - 7 * DAY_S)).unwrap();
        (steps.source(), steps.step().as_secs(), steps.count())
    }

    #[test]
    fn readings_answer_what_is_finer_than_a_roll_up_and_kept() {
        use HistorySource::{Readings, RollUps};
        assert_eq!(device(HOUR_S, Some(5), 0), (Readings, 5, 720));
        assert_eq!(device(HOUR_S, Some(299), 0).0, Readings);
        assert_eq!(device(HOUR_S, Some(300), 0), (RollUps, 300, 12));
        assert_eq!(device(HOUR_S, Some(301), 0), (RollUps, 600, 6));
        assert_eq!(device(7 * DAY_S, Some(240), 0), (Readings, 240, 2520));
        assert_eq!(device(7 * DAY_S + 1, Some(240), 0), (RollUps, 300, 2017), "a second more is not kept");
        assert_eq!(device(90 * DAY_S, Some(HOUR_S), 0), (RollUps, 3600, 2160));
    }

    #[test]
    fn without_a_step_the_points_say_how_fine() {
        use HistorySource::{Readings, RollUps};
        assert_eq!(device(HOUR_S, None, 0), (Readings, 10, 360));
        assert_eq!(device(HOUR_S, None, 12), (RollUps, 300, 12));
        assert_eq!(device(DAY_S, None, 0), (RollUps, 300, 288));
        assert_eq!(device(DAY_S, None, 10_000), (Readings, 10, 8640));
        assert_eq!(device(90 * DAY_S, None, 0), (RollUps, 21_600, 360));
        assert_eq!(device(90 * DAY_S, None, 10_000), (RollUps, 900, 8640));
        assert_eq!(device(8 * DAY_S, None, 10_000), (RollUps, 300, 2304), "not from what is gone");
        assert_eq!(device(20_000 * DAY_S, None, 100).0, RollUps);
        for points in [1, 2, 3, 99, 10_000] {
            for range in [1, 299, 301, DAY_S + 1, 77 * DAY_S + 13, 19_999 * DAY_S + 7] {
                let (_, step, count) = device(range, None, points);
                assert!(
                    count <= u32::try_from(points).unwrap(),
                    "{range} s in {points}: {count} of {step} s"
                );
            }
        }
    }

    #[test]
    fn what_is_too_much_is_refused_by_its_field() {
        let kept = at(NOW_S - 7 * DAY_S);
        let says = |result: Result<Steps, Status>, text: &str| {
            let status = result.unwrap_err();
            assert!(status.message.contains(text), "{status:?}");
        };
        says(
            asked(DAY_S, Some(5), 0).of_device(kept),
            "step: the range has 17280 steps of 5 s, at most 10000",
        );
        says(asked(90 * DAY_S, Some(300), 0).of_device(kept), "step: the range has 25920 steps of 300 s");
        says(asked(90 * DAY_S, Some(5), 0).of_device(kept), "step: the range has 25920 steps of 300 s");
        says(asked(31 * DAY_S + 1, None, 0).of_fleet(), "until: must be at most 31 days after since");
        assert_eq!(asked(31 * DAY_S, None, 0).of_fleet().unwrap().step().as_secs(), 7200);
        assert_eq!(asked(DAY_S, Some(5), 0).of_fleet().unwrap().step(), ROLL_UP);
        let range = (at(5), at(5));
        assert!(Asked::new(range, None, 0).unwrap_err().message.contains("since: must be before until"));
        let range = (at(5), at(6));
        let half = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
        assert!(
            Asked::new(range, Some(&half), 0).unwrap_err().message.contains("step: must be whole seconds")
        );
        let one = prost_types::Duration { seconds: 1, nanos: 0 };
        assert!(Asked::new(range, Some(&one), 5).unwrap_err().message.contains("max_points: give either"));
    }
}
