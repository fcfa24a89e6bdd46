//! For tests, yours and ours: seeded randomness, virtual time, secrets to search for, a two-peer
//! simulator and the store conformance suite. Feature `testing`.
//!
//! [`World`] is for a test that tells one story. [`simulation`] is for all stories: schedules drawn at random, with
//! several peers and an attacker, judged after each event.
//!
//! Nothing here belongs into a product: [`SeededRandom`] can be predicted by anybody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a test support that finds a fault stops the test"
)]

mod clock;
mod crash;
mod executor;
mod link;
mod random;
mod secrets;
pub mod simulation;
mod store_conformance;
mod world;

pub use clock::VirtualClock;
pub use crash::{CrashAt, Crashed, catch_crash};
pub use executor::block_on;
pub use link::{Fault, FaultyLink};
pub use random::SeededRandom;
pub use secrets::Secrets;
pub use store_conformance::store_conformance;
pub use world::{AgentPeer, ServerPeer, World};
