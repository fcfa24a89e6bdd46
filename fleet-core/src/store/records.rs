//! The server's records, whole.

use core::fmt;

use crate::certificate::SignedCertificate;
use crate::code::SecretHash;
use crate::id::{AgentId, EnrollmentId, OrgId, UserId};
use crate::keys::{AgentPublicKeys, CommandPublicKey, IdentityPublicKey};
use crate::manifest::SignedManifest;
use crate::name::Name;
use crate::time::UnixMillis;

/// An organization and its manifest in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Its id; the manifest's too.
    pub id: OrgId,
    /// The manifest in force.
    pub manifest: SignedManifest,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// Where an enrollment stands (protocol section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol's states are these; a new one is a new protocol")]
pub enum EnrollmentState {
    /// The code was made and not used.
    Pending,
    /// An agent registered; an operator must confirm it.
    AwaitingConfirmation,
    /// An operator confirmed the agent.
    Confirmed,
    /// Time ran out before that.
    Expired,
    /// An operator cancelled it before that.
    Cancelled,
}

/// One enrollment: the row behind one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentRecord {
    /// Its id, the `pending_enrollment_id` of the wire.
    pub id: EnrollmentId,
    /// The organization that the agent will belong to.
    pub org_id: OrgId,
    /// The hash of the code, all that is stored of it.
    pub code: SecretHash,
    /// Where it stands.
    pub state: EnrollmentState,
    /// When the code was made.
    pub created_at: UnixMillis,
    /// When its time is up: the code's own while PENDING, then the confirmation's.
    pub expires_at: UnixMillis,
    /// The agent that registered with the code.
    pub agent_id: Option<AgentId>,
    /// When Register last answered for it.
    pub answered_at: Option<UnixMillis>,
    /// How often somebody tried to register other keys or another name with the used code; counted at most once a
    /// second.
    pub second_uses: i64,
    /// When that was counted last.
    pub second_use_at: Option<UnixMillis>,
}

/// Where an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol knows these two kinds")]
pub enum AgentKind {
    /// In its own process; enrolled with a code.
    Remote,
    /// The half of a combined server that owns miner I/O.
    Local,
}

/// Where an agent stands (protocol section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the protocol's states are these; a new one is a new protocol")]
pub enum AgentStatus {
    /// Registered, not confirmed.
    Pending,
    /// Confirmed by fingerprint.
    Confirmed,
    /// Revoked: its name is free, its keys never are.
    Revoked,
    /// Its enrollment expired or was cancelled: its name and keys are free.
    Discarded,
}

/// One agent.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// Its id.
    pub id: AgentId,
    /// Its organization.
    pub org_id: OrgId,
    /// Its name, unique among agents of the organization that are neither revoked nor discarded.
    pub name: Name,
    /// Where it runs.
    pub kind: AgentKind,
    /// Its public keys, unique among all agents that were not discarded.
    pub keys: AgentPublicKeys,
    /// Where it stands.
    pub status: AgentStatus,
    /// The enrollment that made it; `None` for the local kind.
    pub enrollment_id: Option<EnrollmentId>,
    /// Its certificate, from confirmation on.
    pub certificate: Option<SignedCertificate>,
    /// Its api_key sealed to its sealing key, from confirmation until its first call under a
    /// session.
    pub sealed_api_key: Option<Vec<u8>>,
    /// When it registered.
    pub created_at: UnixMillis,
    /// When it was confirmed.
    pub confirmed_at: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked_at: Option<UnixMillis>,
    /// The highest command sequence issued to it, 0 for none; every `server_time` signed for it
    /// counts as one (protocol section 8).
    pub last_sequence: i64,
    /// When BeginAuthHandshake last answered it.
    pub last_begin_at: Option<UnixMillis>,
}

impl fmt::Debug for AgentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRecord")
            .field("id", &self.id)
            .field("org_id", &self.org_id)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("keys", &self.keys)
            .field("status", &self.status)
            .field("enrollment_id", &self.enrollment_id)
            .field("certificate", &self.certificate)
            .field("sealed_api_key", &self.sealed_api_key.as_ref().map(|_| format_args!("..")))
            .field("created_at", &self.created_at)
            .field("confirmed_at", &self.confirmed_at)
            .field("revoked_at", &self.revoked_at)
            .field("last_sequence", &self.last_sequence)
            .field("last_begin_at", &self.last_begin_at)
            .finish()
    }
}

/// An api_key of an agent. It does not expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentApiKeyRecord {
    /// The hash of the key, all that is stored of its secret.
    pub hash: SecretHash,
    /// The 8 hex digits that stand in listings.
    pub digits: String,
    /// The agent that it belongs to.
    pub agent_id: AgentId,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// A challenge that waits for its answer, with every field of the handshake's transcript.
///
/// A store may look it up by the challenge as it is, in no constant time: for 30 s, whoever found one
/// out could use it up and nothing else, since its answer takes the agent's identity key.
#[derive(Clone, PartialEq, Eq)]
pub struct ChallengeRecord {
    /// 32 random bytes.
    pub challenge: [u8; 32],
    /// The agent that it was made for.
    pub agent_id: AgentId,
    /// The api_key that Begin was called with.
    pub api_key: SecretHash,
    /// The identity key that Begin was called with.
    pub identity: IdentityPublicKey,
    /// The agent's nonce.
    pub client_nonce: [u8; 32],
    /// The server's command key.
    pub command: CommandPublicKey,
    /// The server's time when it was made.
    pub server_time: UnixMillis,
    /// 30 s later.
    pub expires_at: UnixMillis,
    /// The highest command sequence issued to the agent before.
    pub last_sequence: i64,
    /// SHA-256 of the manifest's transcript.
    pub manifest_hash: [u8; 32],
}

impl fmt::Debug for ChallengeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever reads a live challenge in a log could use it up.
        f.debug_struct("ChallengeRecord")
            .field("agent_id", &self.agent_id)
            .field("server_time", &self.server_time)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A session of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The hash of the token, all that is stored of it.
    pub token: SecretHash,
    /// The agent that it belongs to.
    pub agent_id: AgentId,
    /// The api_key of its handshake: revoking that ends it.
    pub api_key: SecretHash,
    /// The identity key that signed its handshake.
    pub identity: IdentityPublicKey,
    /// The command key that signed the server's half: a manifest with another ends the session.
    pub command: CommandPublicKey,
    /// When it was made; later than every other session of the agent, also if the clock was set back.
    pub created_at: UnixMillis,
    /// When it ends.
    pub expires_at: UnixMillis,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Actor {
    /// An operator, signed in.
    User(UserId),
    /// An operator's api_key, by its 8 hex digits.
    Key(String),
    /// The server itself, or a peer that no operator answers for.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Key(digits) => write!(f, "key:{digits}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// One line of the activity log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// When.
    pub at: UnixMillis,
    /// In which organization.
    pub org_id: OrgId,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: ActivityKind,
    /// The agent concerned.
    pub agent_id: Option<AgentId>,
    /// The enrollment concerned.
    pub enrollment_id: Option<EnrollmentId>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActivityKind {
    /// An organization was made.
    OrganizationCreated,
    /// An enrollment code was made.
    CodeCreated,
    /// An agent registered with a code.
    AgentRegistered,
    /// Somebody used a code again, with other keys or another name.
    CodeUsedAgain,
    /// An operator typed a fingerprint that is not the agent's.
    WrongFingerprint,
    /// An operator confirmed an agent.
    AgentConfirmed,
    /// An operator cancelled an enrollment.
    EnrollmentCancelled,
    /// An enrollment's time ran out.
    EnrollmentExpired,
    /// An agent completed a handshake.
    SessionCreated,
    /// An operator revoked an agent.
    AgentRevoked,
    /// The manifest was issued anew, saying the same under a new epoch.
    ManifestIssued,
}

impl ActivityKind {
    /// The word that stands in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrganizationCreated => "organization_created",
            Self::CodeCreated => "code_created",
            Self::AgentRegistered => "agent_registered",
            Self::CodeUsedAgain => "code_used_again",
            Self::WrongFingerprint => "wrong_fingerprint",
            Self::AgentConfirmed => "agent_confirmed",
            Self::EnrollmentCancelled => "enrollment_cancelled",
            Self::EnrollmentExpired => "enrollment_expired",
            Self::SessionCreated => "session_created",
            Self::AgentRevoked => "agent_revoked",
            Self::ManifestIssued => "manifest_issued",
        }
    }
}
