//! Pauses between retries: exponential, with full jitter, 1 s to 60 s (protocol section 11).

use std::{sync::Arc, time::Duration};

use fleet_core::random::SecureRandom;

/// The shortest pause.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause, unless the server asks for a longer one.
pub const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// How long to wait before trying again. Each pause is drawn from the shortest one up to a bound
/// that doubles with every failure, so that agents that lost one server together do not come back
/// together.
#[derive(Debug)]
pub struct Backoff {
    random: Arc<dyn SecureRandom>,
    failures: u32,
}

impl Backoff {
    /// Without a failure so far.
    #[must_use]
    pub fn new(random: Arc<dyn SecureRandom>) -> Self {
        Self { random, failures: 0 }
    }

    /// It worked: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait.
    pub fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let bound = SHORTEST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        let span = bound.saturating_sub(SHORTEST);
        SHORTEST.saturating_add(span.mul_f64(self.draw()))
    }

    /// It failed, and the server said when to come back: never earlier than that, and up to a quarter later, since it
    /// may have said the same to others.
    pub fn pause_after(&mut self, asked: Option<Duration>) -> Duration {
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
        self.pause().max(asked.saturating_add((asked / 4).mul_f64(self.draw())))
    }

    /// From 0 to 1. Without randomness 1: late, and never in step with nothing.
    fn draw(&self) -> f64 {
        let draw = self.random.array::<4>().map_or(u32::MAX, u32::from_be_bytes);
        f64::from(draw) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use fleet_core::{random::RandomError, testing::SeededRandom};

    use super::*;

    #[derive(Debug)]
    struct Constant(u8);
    impl SecureRandom for Constant {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn the_bound_doubles_up_to_a_minute_and_starts_over() {
        let mut backoff = Backoff::new(Arc::new(Constant(0xff)));
        let pauses: Vec<u64> = (0..8).map(|_| backoff.pause().as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::from_secs(2));
    }

    #[test]
    fn agents_that_lost_one_server_together_come_back_spread_over_a_second() {
        let mut tenths = [0_u32; 10];
        for seed in 0..500 {
            let first = Backoff::new(Arc::new(SeededRandom::new(seed))).pause();
            let into = first.checked_sub(SHORTEST).unwrap();
            tenths[usize::try_from(into.as_millis() / 100).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (20..=90).contains(count)), "{tenths:?}");
    }

    #[test]
    fn no_pause_is_shorter_than_a_second() {
        let mut backoff = Backoff::new(Arc::new(Constant(0)));
        assert!((0..100).all(|_| backoff.pause() == SHORTEST));
    }

    #[test]
    fn the_server_may_ask_for_a_longer_pause_within_reason() {
        let mut backoff = Backoff::new(Arc::new(Constant(0)));
        assert_eq!(backoff.pause_after(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(backoff.pause_after(Some(Duration::from_secs(90_000))), Duration::from_secs(600));
        assert_eq!(backoff.pause_after(None), SHORTEST);
        let mut late = Backoff::new(Arc::new(Constant(0xff)));
        assert_eq!(
            late.pause_after(Some(Duration::from_secs(40))),
            Duration::from_secs(50),
            "not all at once"
        );
    }
}
