//! How the server reaches the agent half that owns a device: through one trait, in this process or over the agent's
//! control stream. Code above it does not know which.

use core::fmt;
use std::sync::Arc;

use fleet_agent::miner::site::SiteHandle;
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
    site: Option<SiteHandle>,
}

impl AgentLink for LocalLink {
    fn is_reachable(&self) -> bool {
        self.site.is_some()
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
    site: Option<SiteHandle>,
}

impl Links {
    /// Links over these streams and, in combined mode, the site in this process.
    pub(super) const fn new(streams: Streams, site: Option<SiteHandle>) -> Self {
        Self { streams, site }
    }

    /// The way to `agent`.
    pub(super) fn to(&self, agent: &AgentRecord) -> Arc<dyn AgentLink> {
        match agent.kind {
            AgentKind::Local => Arc::new(LocalLink { site: self.site.clone() }),
            AgentKind::Remote => Arc::new(StreamLink { agent: agent.id, streams: self.streams.clone() }),
        }
    }
}
