//! How the server reaches the agent half that owns a device: through one trait, in this process or over the agent's
//! control stream. Code above it does not know which.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_core::id::AgentId;
use fleet_core::store::{AgentKind, AgentRecord};

use super::streams::{StreamKind, Streams};

/// The way to one agent half.
pub(super) trait AgentLink: fmt::Debug + Send + Sync {
    /// Whether it can be reached at this moment.
    fn is_reachable(&self) -> bool;
}

/// The half in this process.
#[derive(Debug)]
struct LocalLink {
    runs: Arc<AtomicBool>,
}

impl AgentLink for LocalLink {
    fn is_reachable(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }
}

/// An agent of its own, over its control stream.
#[derive(Debug)]
struct StreamLink {
    agent: AgentId,
    streams: Streams,
}

impl AgentLink for StreamLink {
    fn is_reachable(&self) -> bool {
        self.streams.is_open(self.agent, StreamKind::Control)
    }
}

/// Finds the way to an agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    streams: Streams,
    local_runs: Arc<AtomicBool>,
}

impl Links {
    /// Links over these streams and, once it runs, to the half in this process.
    pub(super) fn new(streams: Streams) -> Self {
        Self { streams, local_runs: Arc::default() }
    }

    /// Notes whether the half in this process runs.
    pub(super) fn set_local(&self, runs: bool) {
        self.local_runs.store(runs, Ordering::Relaxed);
    }

    /// The way to `agent`.
    pub(super) fn to(&self, agent: &AgentRecord) -> Arc<dyn AgentLink> {
        match agent.kind {
            AgentKind::Local => Arc::new(LocalLink { runs: Arc::clone(&self.local_runs) }),
            AgentKind::Remote => Arc::new(StreamLink { agent: agent.id, streams: self.streams.clone() }),
        }
    }
}
