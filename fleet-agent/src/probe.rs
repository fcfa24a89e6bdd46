//! Crashes on demand, for tests of what a crash leaves behind (feature `crash-points`).

use std::sync::Arc;

use fleet_core::driver::{NoProbe, Probe};

/// The environment variable that names the point, as in [`fleet_core::driver::Point::name`].
pub const CRASH_AT: &str = "FLEET_CRASH_AT";

/// The probe that the environment asks for: without the feature, none, whatever it says.
#[must_use]
pub fn from_environment() -> Arc<dyn Probe> {
    #[cfg(feature = "crash-points")]
    if let Ok(name) = std::env::var(CRASH_AT) {
        tracing::warn!(at = name, "this process aborts itself at the point that {CRASH_AT} names");
        return Arc::new(crash::Crash { name });
    }
    Arc::new(NoProbe)
}

#[cfg(feature = "crash-points")]
mod crash {
    use fleet_core::driver::{Point, Probe};

    #[derive(Debug)]
    pub(super) struct Crash {
        pub(super) name: String,
    }

    impl Probe for Crash {
        fn reached(&self, point: Point) {
            if point.name() == self.name {
                std::process::abort();
            }
        }
    }
}
