//! The runs, and how far each goes: usually, and when there is time.

use core::fmt;

use crate::cast::Holder::{First, Insider, Second};
use crate::properties::*;
use crate::state::Bounds;

/// One run: its usual bounds and its deep ones, each with a number of distinct states that it must not fall below.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) usual: (Bounds, usize),
    pub(crate) deep: (Bounds, usize),
}

/// Nothing but a first handshake of an agent that is enrolled.
const LEAST: Bounds = Bounds {
    times: &[0],
    enrolled: true,
    holders: &[First],
    handshakes: 1,
    begins: [0, 1],
    races: 0,
    reissues: 0,
    revocable: &[],
    cancels: false,
    codes_stolen: false,
    second_uses: false,
    reaches: &[ONLINE, SESSION_IN_USE],
};

/// A whole enrollment and its first handshake.
const FROM_NOTHING: Bounds = Bounds {
    enrolled: false,
    begins: [1, 1],
    cancels: true,
    second_uses: true,
    reaches: &[ONLINE, SESSION_IN_USE, INSIDER_ONLINE, CODE_TAKEN, MIXTURE, USED_AGAIN, MISLED, CANCELLED],
    ..LEAST
};

/// For the comparison of steps that are remembered with steps that are computed.
pub(crate) const AGAIN: [Bounds; 2] = [
    Bounds { handshakes: 0, begins: [0, 0], reaches: &[], ..FROM_NOTHING },
    Bounds { revocable: &[First], ..LEAST },
];

const AT_ONCE: Bounds = Bounds {
    handshakes: 0,
    begins: [0, 0],
    races: 1,
    cancels: false,
    second_uses: false,
    reaches: &[CODE_TAKEN, MIXTURE, MISLED],
    ..FROM_NOTHING
};

/// Two calls under one code at once, and no handshakes.
pub(crate) const ONE_CODE: Run = Run {
    name: "one code",
    usual: (AT_ONCE, 5_000),
    deep: (Bounds { times: &[0, 7_200], races: 3, cancels: true, second_uses: true, ..AT_ONCE }, 870_000),
};

pub(crate) const ENROLLMENT: Run = Run {
    name: "enrollment",
    usual: (FROM_NOTHING, 5_000),
    deep: (
        Bounds {
            races: 1,
            times: &[0, 7_200],
            begins: [0, 1],
            codes_stolen: true,
            reaches: &[ONLINE, SESSION_IN_USE, CODE_TAKEN, MIXTURE, USED_AGAIN, MISLED, CANCELLED, EXPIRED],
            ..FROM_NOTHING
        },
        700_000,
    ),
};

/// Three handshakes may make more than two sessions.
const RENEWING: Bounds =
    Bounds { handshakes: 3, begins: [0, 3], reaches: &[ONLINE, RENEWED, SESSION_IN_USE], ..LEAST };

pub(crate) const HANDSHAKES: Run = Run {
    name: "handshakes",
    usual: (RENEWING, 7_000),
    deep: (
        Bounds { begins: [2, 3], reaches: &[ONLINE, RENEWED, SESSION_IN_USE, INSIDER_ONLINE], ..RENEWING },
        3_000_000,
    ),
};

const REISSUED: Bounds = Bounds {
    handshakes: 2,
    reissues: 1,
    revocable: &[First, Insider],
    reaches: &[ONLINE, SESSION_IN_USE, REVOKED_ONLINE, NEWER_MANIFEST],
    ..LEAST
};

pub(crate) const MANIFESTS: Run = Run {
    name: "manifests",
    usual: (REISSUED, 8_000),
    deep: (Bounds { begins: [1, 2], ..REISSUED }, 1_200_000),
};

const ANEW: Bounds = Bounds {
    holders: &[First, Second],
    revocable: &[First],
    reaches: &[ONLINE, SESSION_IN_USE, REVOKED_ONLINE, ENROLLED_ANEW, CODE_TAKEN, MIXTURE, MISLED],
    ..LEAST
};

pub(crate) const LIFE: Run = Run {
    name: "life",
    usual: (ANEW, 8_000),
    deep: (Bounds { enrolled: false, cancels: true, begins: [1, 2], ..ANEW }, 1_300_000),
};

const OVERLAPPING: Bounds = Bounds {
    races: 1,
    revocable: &[First],
    reaches: &[ONLINE, SESSION_IN_USE, REVOKED_ONLINE, IN_FLIGHT_LATE],
    ..LEAST
};

pub(crate) const RACES: Run = Run {
    name: "races",
    usual: (OVERLAPPING, 7_000),
    deep: (Bounds { handshakes: 2, begins: [0, 2], reissues: 1, ..OVERLAPPING }, 1_900_000),
};

/// Challenges and replies are good for 30 s, sessions and codes for an hour.
const PASSING: Bounds = Bounds {
    times: &[0, 40, 7_200],
    handshakes: 2,
    begins: [0, 2],
    reaches: &[ONLINE, RENEWED, SESSION_IN_USE, SESSION_OVER],
    ..LEAST
};

pub(crate) const TIME: Run = Run {
    name: "time",
    usual: (PASSING, 12_000),
    deep: (Bounds { times: &[0, 20, 40, 7_200], begins: [1, 2], ..PASSING }, 2_600_000),
};

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begins = if self.enrolled { "an agent that is enrolled" } else { "nothing" };
        let [own, others] = self.begins;
        write!(f, "from {begins}; at {:?} s; honest keys {:?}; ", self.times, self.holders)?;
        write!(f, "{} handshakes with each; {own} + {others} Begins answered; ", self.handshakes)?;
        write!(f, "{} overlapping calls; {} manifests anew; ", self.races, self.reissues)?;
        write!(f, "revocable {:?}; cancels {}; ", self.revocable, self.cancels)?;
        write!(f, "codes stolen {}; second uses told apart {}", self.codes_stolen, self.second_uses)
    }
}
