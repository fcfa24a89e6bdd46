//! How many sessions a server makes.

use core::fmt;
use core::time::Duration;

use crate::id::AgentId;
use crate::time::Monotonic;

/// Decides whether one more session may begin. Asked once for each BeginAuthHandshake whose api_key and identity are an
/// agent's own, before a challenge is stored: whoever has no credentials can neither use the gate up nor learn that it
/// is closed, and whoever is turned away has lost nothing and comes back with the same Begin.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Counts one of an agent. Several Begins of one agent may ask at once, before the first of them is stored: a gate
    /// that many agents share must not let one use it up.
    ///
    /// # Errors
    /// How long to wait, if there is no room now.
    fn admit(&self, agent: AgentId, now: Monotonic) -> Result<(), Duration>;
}

/// A gate that is always open.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing to it")]
pub struct OpenGate;

impl Gate for OpenGate {
    fn admit(&self, _: AgentId, _: Monotonic) -> Result<(), Duration> {
        Ok(())
    }
}
