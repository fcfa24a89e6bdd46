//! The on-premises agent: it owns miner I/O and dials out to the fleet server.
//!
//! # What to use when
//!
//! | you want | use |
//! | --- | --- |
//! | the whole agent in your process | [`run::run`] |
//! | its commands under your own binary | [`cli::AgentArgs`] and [`cli::execute`] |
//! | to enroll with a dialog of your own | [`enroll::Enrollment`] |
//! | only the miners | [`miner`] |
//!
//! # How it hangs together
//! [`state`] is the disk, [`gateway`] the server. The [`keeper`] keeps a session; [`uploads`],
//! [`heartbeat`] and [`control`] use it. What miners report waits in a [`spool`]. Every loop
//! survives a server that is gone, for any time.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `asic-rs` (default) | WhatsMiner, Antminer and Bitaxe miners |
//! | `sim` | simulated miners, for tests |
//! | `crash-points` | crashes on demand, for tests |

pub mod backoff;
pub mod cli;
pub mod clock;
pub mod control;
pub mod counters;
pub mod enroll;
pub mod gateway;
pub mod health;
pub mod heartbeat;
pub mod keeper;
pub mod miner;
pub mod probe;
pub mod prompt;
pub mod refusals;
pub mod run;
pub mod server_url;
pub mod service_manager;
#[cfg(feature = "sim")]
pub mod sim;
pub mod spool;
pub mod state;
pub mod tls;
pub mod uploads;
