//! Whole runs of several peers under everything that can go wrong, judged after each event.
//!
//! A [`Schedule`] is plain data: a seed and a list of [`Action`]s. [`run()`] applies it to a [`Simulation`] (two
//! organizations on one server, two agents, a network that holds every message as a value, an attacker on it, a clock
//! for each peer) and tells a [`model::Model`] what was asked for and what was agreed to. After each event every
//! function of [`invariants`] is asked; at the end the faults stop, and each agent must get online. A schedule that
//! fails prints as text and replays from it, to the byte.
//!
//! ```
//! use fleet_core::testing::simulation::{Schedule, Sight, Sound, run};
//!
//! let schedule: Schedule = "seed 1
//!     online agent=0             # makes a code, enrolls, is confirmed, handshakes
//!     revoke code=0 by=0
//!     use back=0                 # the session that it had
//! ".parse()?;
//! let report = run(&schedule, &Sound)?;
//! assert!(report.sights.contains(&Sight::ReplayedAfterRevoke));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Schedules of your own
//!
//! [`schedules`] draws them at random, for a property test: run what it draws, and print what it shrinks to. A fuzz
//! target makes them out of its input.
//!
//! # Parts of your own
//!
//! [`Parts`] puts a store or a server of yours in the place of this crate's. The store must answer at once
//! ([`Inspect`]), the server must wait for nothing but its store ([`Service`]). `tests/flaws.rs` does so to show that
//! each invariant can fail.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "who watches looks for what concerns it and lets the rest pass"
)]
#![allow(
    clippy::large_enum_variant,
    reason = "messages are few, and a box around each makes them no clearer"
)]

mod action;
mod agent;
mod apply;
mod dump;
mod event;
mod honest;
pub mod invariants;
mod meter;
pub mod model;
mod parts;
mod run;
mod secrets;
mod sight;
mod strategy;
mod wire;
mod world;

pub use action::{Action, ActionError, Change, Peer, Schedule, ScheduleError};
pub use dump::{AgentDump, StoreDump};
pub use event::{Event, Outcome, What};
pub use meter::Write;
pub use parts::{Call, Inspect, Parts, Reply, Service, Sound};
pub use run::{Report, minimized, run};
pub use secrets::Secrets;
pub use sight::Sight;
pub use strategy::schedules;
pub use wire::{Body, Field, Kind};
pub use world::Simulation;
