//! What an agent keeps.

use crate::code::{ApiKey, SecretHash, SessionToken};
use crate::future::BoxFuture;
use crate::id::AgentId;
use crate::keys::{AgentKeyring, AgentPublicKeys, AgentSecretKeys};
use crate::manifest::SignedManifest;
use crate::name::Name;
use crate::store::{CommitError, StoreError, Version, Versioned};
use crate::time::UnixMillis;

/// Everything an agent keeps besides its secret keys, one record.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// The server's URL, as the transport understands it.
    pub server: String,
    /// The name it registers under.
    pub name: Name,
    /// The hash of the code that it enrolls or enrolled with: keys are reused with no other.
    pub code: SecretHash,
    /// The public halves of its keys.
    pub keys: AgentPublicKeys,
    /// The organization it belongs to: the newest manifest seen, under the root that the code
    /// pinned. `None` until the first answer was verified.
    pub manifest: Option<SignedManifest>,
    /// Whether the person at the agent agreed to join the organization.
    pub joined: bool,
    /// Its id, from the first answer on.
    pub agent_id: Option<AgentId>,
    /// Its api_key, from confirmation on.
    pub api_key: Option<ApiKey>,
    /// Its newest session.
    pub session: Option<AgentSession>,
    /// Its counters.
    pub counters: Counters,
}

/// A session as the agent keeps it.
#[derive(Debug, Clone)]
pub struct AgentSession {
    /// The bearer token.
    pub token: SessionToken,
    /// When the handshake that made it began, server time.
    pub created_at: UnixMillis,
    /// When it ends, server time.
    pub expires_at: UnixMillis,
}

/// Counters that must survive a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// The last command sequence accepted, 0 for none.
    pub command: i64,
    /// The last telemetry sequence issued, 0 for none.
    pub telemetry: i64,
    /// The last event sequence issued, 0 for none.
    pub event: i64,
}

/// An agent's storage: one record, replaced whole.
///
/// # What a wrong implementation costs
/// One that loses a committed state after a crash makes the agent enroll twice, or lets a server
/// roll its manifest back. One that lets others read it gives them the api_key. It must be
/// durable when [`AgentStore::commit`] is done.
pub trait AgentStore: core::fmt::Debug + Send + Sync {
    /// Reads the state; `None` if there is none.
    ///
    /// # Cancel safety
    /// The driver drops it at any point: it must not change anything. The future is `Send`; it must not
    /// panic.
    fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>>;

    /// Replaces the state: `expected` is the version it must have, `None` if there must be none.
    /// Returns the new version.
    ///
    /// # Cancel safety
    /// Dropped, the state is replaced or it is not; if it is yet to be, then before any later call is done.
    /// The future is `Send`; it must not panic.
    fn commit(
        &self,
        state: AgentState,
        expected: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, CommitError>>;
}

/// Where an agent's three secret keys are kept.
///
/// # What a wrong implementation costs
/// Whoever reads the identity key is the agent; whoever reads the miner-signing key commands its
/// Proto miners; whoever reads the sealing key opens its secrets. No one file should give all
/// three (protocol section 11).
pub trait AgentKeyStore: core::fmt::Debug + Send + Sync {
    /// The keys; `None` if there are none, or not all three.
    ///
    /// # Cancel safety
    /// The driver drops it at any point: it must not change anything. The future is `Send`; it must not
    /// panic.
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>>;

    /// Keeps new keys in the place of any old ones; durable when done.
    ///
    /// # Cancel safety
    /// Dropped, the old keys are kept or the new ones; where some of both are, [`AgentKeyStore::open`] finds
    /// none. The future is `Send`; it must not panic.
    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>>;
}
