//! The open streams of agents: one of each kind for each agent, the newest wins.
//!
//! A stream is registered first and its agent's right checked after: a revocation that happens in between finds the
//! stream here and ends it, one that happened before is found by the check.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::id::AgentId;
use tokio::sync::watch;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StreamKind {
    Telemetry,
    Events,
    Control,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    #[error("a newer stream of this agent took over")]
    Superseded,
    #[error("the agent was revoked")]
    Revoked,
    #[error("the server stops")]
    Stopping,
}

/// Which stream it is of its agent and kind, and how it is told to end.
type Stream = (u64, watch::Sender<Option<End>>);

#[derive(Debug, Default)]
struct Open {
    streams: BTreeMap<(AgentId, StreamKind), Stream>,
    last: u64,
    stopping: bool,
}

/// Every open stream. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams {
    open: Arc<Mutex<Open>>,
}

/// A registered stream; dropping it takes it off the list.
#[derive(Debug)]
pub(crate) struct Registered {
    streams: Streams,
    key: (AgentId, StreamKind),
    id: u64,
    end: watch::Receiver<Option<End>>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a stream and ends the agent's older one of the kind.
    pub(crate) fn register(&self, agent: AgentId, kind: StreamKind) -> Registered {
        let mut open = self.lock();
        let (sender, end) = watch::channel(open.stopping.then_some(End::Stopping));
        open.last = open.last.wrapping_add(1);
        let id = open.last;
        if let Some((_, older)) = open.streams.insert((agent, kind), (id, sender)) {
            older.send_replace(Some(End::Superseded));
        }
        drop(open);
        Registered { streams: self.clone(), key: (agent, kind), id, end }
    }

    /// Ends every stream of an agent.
    pub(crate) fn end(&self, agent: AgentId, why: End) {
        for kind in [StreamKind::Telemetry, StreamKind::Events, StreamKind::Control] {
            if let Some((_, stream)) = self.lock().streams.get(&(agent, kind)) {
                stream.send_replace(Some(why));
            }
        }
    }

    /// Ends every stream, and those that are opened from now on.
    pub(crate) fn stop(&self) {
        let mut open = self.lock();
        open.stopping = true;
        for (_, stream) in open.streams.values() {
            stream.send_replace(Some(End::Stopping));
        }
    }

    /// Whether an agent has a stream of this kind.
    pub(crate) fn is_open(&self, agent: AgentId, kind: StreamKind) -> bool {
        self.lock().streams.contains_key(&(agent, kind))
    }

    /// How many streams of a kind are open.
    pub(crate) fn count(&self, kind: StreamKind) -> usize {
        self.lock().streams.keys().filter(|(_, k)| *k == kind).count()
    }
}

impl Registered {
    /// Waits until the stream is to end.
    pub(crate) async fn ended(&mut self) -> End {
        match self.end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(End::Stopping),
            // The sender lives in the list until this is dropped or replaced.
            Err(_) => End::Superseded,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if open.streams.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            open.streams.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_stream_wins_and_stays_when_the_older_is_dropped() {
        let streams = Streams::default();
        let agent = AgentId::new(1).unwrap();
        let mut older = streams.register(agent, StreamKind::Control);
        let mut newer = streams.register(agent, StreamKind::Control);
        let _other = streams.register(agent, StreamKind::Events);
        assert_eq!(older.ended().await, End::Superseded);
        drop(older);
        assert_eq!(streams.count(StreamKind::Control), 1);
        streams.end(agent, End::Revoked);
        assert_eq!(newer.ended().await, End::Revoked);
        drop(newer);
        assert_eq!(streams.count(StreamKind::Control), 0);
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_what_is_open_and_what_comes() {
        let streams = Streams::default();
        let agent = AgentId::new(1).unwrap();
        let mut open = streams.register(agent, StreamKind::Telemetry);
        streams.stop();
        assert_eq!(open.ended().await, End::Stopping);
        assert_eq!(streams.register(agent, StreamKind::Events).ended().await, End::Stopping);
    }
}
