//! Runs the machines over stores, signers and a transport, without naming a runtime.
//!
//! [`ServerDriver`] answers calls; [`AgentDriver`] enrolls and handshakes. Neither sleeps nor
//! spawns: whoever calls them decides when. Every future here is `Send`. Dropping one between two
//! of its steps is like a crash there: what was committed stays, the rest did not happen, and
//! calling again goes on.

mod agent;
mod gate;
mod probe;
mod roots;
mod server;

pub use agent::{AgentDriver, AgentError, Enrolling, EnrollmentProgress};
pub use gate::{Gate, OpenGate};
pub use probe::{NoProbe, Point, Probe};
pub use roots::{OfflineRoots, OneRoot, RootError, RootKeys};
pub use server::{Founding, ServerDriver, ServerError, ServerKeys};
