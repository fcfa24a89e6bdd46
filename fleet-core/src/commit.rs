//! Where a machine stops for storage: what comes next exists only after the write.

use crate::store::{AgentState, Changeset};

/// A server's machine that wants a change committed before its result may leave.
///
/// Commit [`NeedsCommit::change`], then call [`NeedsCommit::committed`]. If the commit is refused
/// as stale, drop this and begin again from a new snapshot: nothing was promised to anybody.
#[derive(Debug)]
#[must_use = "the result exists only after the change is committed"]
pub struct NeedsCommit<T> {
    change: Box<Changeset>,
    result: T,
}

impl<T> NeedsCommit<T> {
    pub(crate) fn new(change: Changeset, result: T) -> Self {
        Self { change: Box::new(change), result }
    }

    /// The change to commit.
    #[must_use]
    pub fn change(&self) -> &Changeset {
        &self.change
    }

    /// The result, now that the change is durable.
    pub fn committed(self) -> T {
        self.result
    }
}

/// An agent's machine that wants its state on disk before it goes on.
#[derive(Debug)]
#[must_use = "the next step exists only after the state is saved"]
pub struct NeedsSave<T> {
    state: Option<AgentState>,
    next: T,
}

impl<T> NeedsSave<T> {
    pub(crate) const fn new(state: AgentState, next: T) -> Self {
        Self { state: Some(state), next }
    }

    pub(crate) const fn unchanged(next: T) -> Self {
        Self { state: None, next }
    }

    /// The state to save; `None` if nothing changed.
    #[must_use]
    pub const fn state(&self) -> Option<&AgentState> {
        self.state.as_ref()
    }

    /// The next step, now that the state is durable.
    pub fn saved(self) -> T {
        self.next
    }
}
