//! What is kept, and the traits behind which it is kept.
//!
//! The state machines never call storage: they take a [`Snapshot`] and hand out a [`Changeset`].
//! A driver loads the one and commits the other. Concurrency is optimistic: each record has a
//! [`Version`], a changeset names the versions that it was made from, and a commit that finds
//! another fails as [`CommitError::Stale`] and changes nothing; the driver then starts over.

mod agent;
mod memory;
mod records;

pub use agent::{AgentKeyStore, AgentSession, AgentState, AgentStore, Counters};
#[cfg(feature = "testing")]
pub(crate) use memory::Tables as MemoryTables;
pub use memory::{MemoryAgentStore, MemoryKeyStore, MemoryServerStore};
pub use records::{
    Activity, ActivityKind, Actor, AgentApiKeyRecord, AgentKind, AgentRecord, AgentStatus, ChallengeRecord,
    EnrollmentRecord, EnrollmentState, OrganizationRecord, SessionRecord,
};

use crate::code::SecretHash;
use crate::future::BoxFuture;
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::keys::KeyRole;
use crate::time::UnixMillis;

/// How often a record was written; 1 when it is first stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i64);

impl Version {
    /// The version of a record that was stored once.
    pub const FIRST: Self = Self(1);

    /// Takes a version from storage.
    #[must_use]
    pub const fn from_value(value: i64) -> Self {
        Self(value)
    }

    /// The value to store.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }

    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A record and the version it had when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub record: T,
    /// Its version.
    pub version: Version,
}

impl<T> Versioned<T> {
    /// Writes `record` in the place of this one.
    pub(crate) const fn replace(&self, record: T) -> Put<T> {
        Put { record, expected: Some(self.version) }
    }
}

/// One record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put<T> {
    /// The record as it shall be, whole.
    pub record: T,
    /// The version it must have now; `None` if it must not exist.
    pub expected: Option<Version>,
}

impl<T> Put<T> {
    /// Writes a record that does not exist.
    pub(crate) const fn new(record: T) -> Self {
        Self { record, expected: None }
    }
}

/// Which records to read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// An organization alone.
    Organization(OrgId),
    /// An enrollment by the hash of its code, with its agent if it has one.
    EnrollmentByCode(SecretHash),
    /// An enrollment, with its agent if it has one.
    Enrollment(EnrollmentId),
    /// An agent, with the enrollment that made it and its sessions.
    Agent(AgentId),
    /// The agent that an api_key belongs to, with the enrollment that made it and its sessions.
    /// Nothing for a user's api_key.
    AgentByApiKey(SecretHash),
    /// The agent that a session token belongs to, with the enrollment that made it and its
    /// sessions; also if the session has expired.
    AgentBySession(SecretHash),
}

/// What a [`Query`] found, all of it as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The organization.
    pub organization: Versioned<OrganizationRecord>,
    /// The enrollment.
    pub enrollment: Option<Versioned<EnrollmentRecord>>,
    /// The agent.
    pub agent: Option<Versioned<AgentRecord>>,
    /// The agent's sessions, expired ones included, at most two.
    pub sessions: Vec<SessionRecord>,
}

/// Everything that one step writes; all of it happens or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changeset {
    /// An organization, with its manifest in force. Earlier manifests are kept.
    pub organization: Option<Put<OrganizationRecord>>,
    /// An organization that the decision was made from and that must still have this version, its manifest above
    /// all. Nothing of it is written.
    pub organization_unchanged: Option<(OrgId, Version)>,
    /// An agent. Written before the enrollment, so that two flows cannot deadlock.
    pub agent: Option<Put<AgentRecord>>,
    /// An enrollment.
    pub enrollment: Option<Put<EnrollmentRecord>>,
    /// A new api_key of an agent.
    pub api_key: Option<AgentApiKeyRecord>,
    /// A new challenge; replaces any earlier one of its agent.
    pub challenge: Option<ChallengeRecord>,
    /// All sessions of [`Changeset::agent`]; others of that agent are deleted.
    pub sessions: Option<Vec<SessionRecord>>,
    /// Deletes every api_key, session and challenge of this agent, before anything is added.
    pub forget_credentials: Option<AgentId>,
    /// Lines for the activity log.
    pub activity: Vec<Activity>,
}

/// The backend failed.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A changeset was not committed; nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A record has another version, exists though it must not, or a credential that the change
    /// builds on (the api_key of a challenge or session) is gone. Load again and decide again.
    #[error("the records changed meanwhile")]
    Stale,
    /// Another agent of the organization that is neither revoked nor discarded has this name.
    #[error("an agent of this name exists")]
    NameTaken,
    /// Another agent, of whatever organization, that was not discarded has this key in some role.
    #[error("{role} is in use")]
    KeyTaken {
        /// The role that the key would have had.
        role: KeyRole,
    },
    /// The backend failed. Whether the change happened may be unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A server's storage for enrollment and handshake.
///
/// # What a wrong implementation costs
/// * [`ServerStore::take_challenge`] that returns one challenge twice lets a recorded handshake be
///   completed again.
/// * [`ServerStore::commit`] that writes part of a changeset, or ignores a version, lets one code
///   enroll two agents, or an agent go on after its revocation.
/// * One that does not hold keys and names unique lets one agent pass for another.
///
/// `fleet_core::testing::store_conformance` (feature `testing`) tests all of this.
pub trait ServerStore: core::fmt::Debug + Send + Sync {
    /// Reads everything that belongs to `query`, as of one moment; `None` if it finds nothing.
    ///
    /// # Cancel safety
    /// The driver drops it at any point: it must not change anything. The future is `Send`; it must not
    /// panic.
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>>;

    /// Deletes a challenge and returns it, in one step: of any number of callers one gets it.
    ///
    /// # Cancel safety
    /// Dropped, the challenge is there still or it is gone; what is gone no later call gets. The future is
    /// `Send`; it must not panic.
    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>>;

    /// Makes a whole change, or none of it.
    ///
    /// # Cancel safety
    /// Dropped, the whole change happens or none of it; if it is yet to happen, then in its turn, as any
    /// other caller's. The future is `Send`; it must not panic.
    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Enrollments that wait (PENDING or AWAITING_CONFIRMATION) and whose time is up at `now`,
    /// oldest first, at most `limit`.
    ///
    /// # Cancel safety
    /// The driver drops it at any point: it must not change anything. The future is `Send`; it must not
    /// panic.
    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>>;
}
