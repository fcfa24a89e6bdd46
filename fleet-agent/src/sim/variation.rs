//! Values that vary over time, the same way for the same seed.

use std::time::Duration;

use tokio::time::Instant;

/// The clock and the seed of one miner's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variation {
    seed: u64,
    started: Instant,
}

impl Variation {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, started: Instant::now() }
    }

    /// Time since the miner started.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// `base`, moved by at most the fraction `swing`: a slow wave and some noise. Each `channel`
    /// of a miner moves by itself.
    pub(super) fn around(&self, channel: u64, base: f64, swing: f64) -> f64 {
        let seconds = self.elapsed().as_secs();
        let phase = fraction(self.seed, channel);
        // The value of a reading, not of an instant: the whole of a poll sees one state.
        let time = u32::try_from(seconds).map_or(0.0, f64::from);
        let wave = (std::f64::consts::TAU * (time / 90.0 + phase)).sin();
        let noise = fraction(self.seed ^ channel.rotate_left(32), seconds) * 2.0 - 1.0;
        base * (1.0 + swing * (0.6 * wave + 0.4 * noise))
    }

    /// Like [`around`](Self::around), to two decimal places, as miners report.
    pub(super) fn rounded(&self, channel: u64, base: f64, swing: f64) -> f64 {
        (self.around(channel, base, swing) * 100.0).round() / 100.0
    }

    /// Like [`around`](Self::around), as a whole number.
    pub(super) fn whole(&self, channel: u64, base: f64, swing: f64) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; bases are small"
        )]
        let value = self.around(channel, base, swing).round() as u32;
        value
    }
}

/// A number in 0..1 that depends on both arguments (splitmix64).
fn fraction(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    u32::try_from(z >> 32).map_or(0.0, f64::from) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn values_vary_within_the_swing_and_repeat_for_a_seed() {
        let (one, same, other) = (Variation::new(7), Variation::new(7), Variation::new(8));
        let mut values = Vec::new();
        for _ in 0..100 {
            let value = one.around(1, 100.0, 0.05);
            assert!((95.0..=105.0).contains(&value), "{value}");
            assert!((value - same.around(1, 100.0, 0.05)).abs() < f64::EPSILON);
            assert!((value - other.around(1, 100.0, 0.05)).abs() > f64::EPSILON);
            values.push(value);
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        values.dedup();
        assert_eq!(values.len(), 100);
    }
}
