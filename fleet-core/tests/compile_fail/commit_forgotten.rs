//! A decision that nobody commits, and a state that nobody saves, are noticed.
#![allow(unexpected_cfgs)]
#![deny(unused_must_use)]

use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::enrollment::{NewCode, agent::Progress};

fn committed(make: fn() -> NeedsCommit<NewCode>) {
    #[cfg(trybuild)]
    make();
    let _ = make().committed();
}

fn saved(judge: fn() -> NeedsSave<Progress>) {
    #[cfg(trybuild)]
    judge();
    let _ = judge().saved();
}

fn main() {}
