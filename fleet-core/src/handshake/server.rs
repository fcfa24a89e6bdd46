//! The server's half of the handshake, and the check of every later call.

use core::time::Duration;

use subtle::ConstantTimeEq;

use super::{Auth, BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::certificate::SignedCertificate;
use crate::code::{SecretHash, SessionToken};
use crate::commit::NeedsCommit;
use crate::id::{AgentId, OrgId};
use crate::keys::{CommandPublicKey, IdentityPublicKey, KeyError, Signature, SignatureVerified};
use crate::manifest::SignedManifest;
use crate::policy::Policy;
use crate::random::{RandomError, SecureRandom};
use crate::refusal::{Code, Refusal};
use crate::store::{
    Activity, ActivityKind, Actor, AgentRecord, AgentStatus, ChallengeRecord, Changeset, Query,
    SessionRecord, Snapshot, Versioned,
};
use crate::time::UnixMillis;
use crate::transcript::{Domain, Transcript};

/// A handshake or a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No agent has this api_key.
    #[error("no agent has this api_key")]
    ApiKey,
    /// The identity key is not acceptable as a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The identity key is not the agent's.
    #[error("identity_pubkey is not the agent's")]
    Identity,
    /// The agent is not confirmed, or was revoked.
    #[error("the agent is {status:?}, not Confirmed")]
    Status {
        /// Where it stands.
        status: AgentStatus,
    },
    /// The agent asks too often.
    #[error("asked again too soon")]
    TooSoon {
        /// When to ask again.
        retry_after: core::time::Duration,
    },
    /// The server makes as many sessions as it may.
    #[error("too many agents begin sessions")]
    Busy {
        /// When to ask again.
        retry_after: core::time::Duration,
    },
    /// There is no such challenge; it may have been taken before.
    #[error("no such challenge")]
    Challenge,
    /// The challenge's time is up.
    #[error("the challenge expired")]
    ChallengeExpired,
    /// The agent's signature does not verify.
    #[error("the agent's signature does not verify")]
    Signature,
    /// There is no such session, or it ended.
    #[error("no such session")]
    Session,
    /// The server's command key is not the manifest's, or its signer signs something else.
    #[error("the server's command key is not the manifest's")]
    CommandKey,
    /// The store's records contradict each other.
    #[error("the agent's records are inconsistent")]
    Inconsistent,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::ApiKey
            | AuthError::Key(_)
            | AuthError::Identity
            | AuthError::Status { .. }
            | AuthError::Challenge
            | AuthError::ChallengeExpired
            | AuthError::Signature
            | AuthError::Session => Self::unauthenticated(),
            AuthError::TooSoon { retry_after } | AuthError::Busy { retry_after } => {
                Self::exhausted(error, retry_after)
            }
            AuthError::CommandKey | AuthError::Inconsistent => Self::new(Code::Internal, "internal error"),
            AuthError::Random(_) => Self::unavailable(),
        }
    }
}

/// BeginAuthHandshake, waiting for the agent that the api_key belongs to.
#[derive(Debug)]
pub struct Begin {
    request: BeginRequest,
}

/// A challenge that waits for the command key's signature.
#[derive(Debug)]
pub struct NeedsServerSignature {
    record: ChallengeRecord,
    agent: Versioned<AgentRecord>,
    manifest: SignedManifest,
    certificate: SignedCertificate,
}

impl Begin {
    /// Takes a request.
    #[must_use]
    pub const fn new(request: BeginRequest) -> Self {
        Self { request }
    }

    /// What to load.
    #[must_use]
    pub fn query(&self) -> Query {
        Query::AgentByApiKey(self.request.api_key_hash())
    }

    /// Checks the api_key's agent and makes the challenge.
    ///
    /// # Errors
    /// [`AuthError`]; nothing is to be written then.
    pub fn resolve(
        self,
        found: Option<Snapshot>,
        now: UnixMillis,
        policy: &Policy,
        random: &dyn SecureRandom,
    ) -> Result<NeedsServerSignature, AuthError> {
        let snapshot = found.ok_or(AuthError::ApiKey)?;
        let agent = snapshot.agent.ok_or(AuthError::ApiKey)?;
        confirmed(&agent.record)?;
        // The same bytes are the same key. Of others it is only said what is wrong with them.
        let identity = *agent.record.keys.identity();
        if self.request.identity != *identity.as_bytes() {
            IdentityPublicKey::parse(&self.request.identity)?;
            return Err(AuthError::Identity);
        }
        if let Some(last) = agent.record.last_begin_at {
            let waited = now.since(last);
            // A clock that was set back must not lock the agent out.
            if waited < policy.begin_interval && last <= now {
                let retry_after = policy.begin_interval.saturating_sub(waited);
                return Err(AuthError::TooSoon { retry_after });
            }
        }
        let manifest = snapshot.organization.record.manifest;
        let certificate = agent.record.certificate.clone().ok_or(AuthError::Inconsistent)?;
        let record = ChallengeRecord {
            challenge: random.array()?,
            agent_id: agent.record.id,
            api_key: self.request.api_key_hash(),
            identity,
            client_nonce: self.request.client_nonce,
            command: manifest.manifest().command,
            server_time: now,
            expires_at: now.saturating_add(policy.challenge_ttl()),
            last_sequence: agent.record.last_sequence,
            manifest_hash: manifest.hash(),
        };
        Ok(NeedsServerSignature { record, agent, manifest, certificate })
    }
}

impl NeedsServerSignature {
    /// Whose handshake it is.
    #[must_use]
    pub const fn agent_id(&self) -> AgentId {
        self.record.agent_id
    }

    /// What the command key is to sign.
    #[must_use]
    pub fn to_sign(&self) -> Transcript {
        transcript(&self.record, Domain::AuthServer)
    }

    /// Takes the signature. The challenge replaces any earlier one of the agent, and the
    /// `server_time` that was signed counts as an issued sequence (protocol section 8).
    ///
    /// # Errors
    /// [`AuthError::CommandKey`] if the signature is not by the manifest's command key.
    pub fn signed(self, signature: Signature) -> Result<NeedsCommit<BeginResponse>, AuthError> {
        let record = self.record;
        let SignatureVerified { .. } = record
            .command
            .verify(&transcript(&record, Domain::AuthServer), &signature)
            .map_err(|_| AuthError::CommandKey)?;
        let response = BeginResponse {
            challenge: record.challenge,
            expires_at: record.expires_at,
            server_time: record.server_time,
            last_sequence: record.last_sequence,
            manifest: (&self.manifest).into(),
            certificate: (self.certificate.certificate().clone(), *self.certificate.signature()),
            signature,
        };
        let agent = self.agent.replace(AgentRecord {
            last_sequence: self.agent.record.last_sequence.max(record.server_time.value()),
            last_begin_at: Some(record.server_time),
            ..self.agent.record.clone()
        });
        let change = Changeset { agent: Some(agent), challenge: Some(record), ..Changeset::default() };
        Ok(NeedsCommit::new(change, response))
    }
}

/// CompleteAuthHandshake, waiting for its challenge to be taken.
#[derive(Debug)]
pub struct Complete {
    request: CompleteRequest,
}

/// Evidence that a challenge was taken out of the store: it cannot be taken again.
#[derive(Debug)]
struct ChallengeConsumed(ChallengeRecord);

/// A completed signature, waiting for the agent's records.
#[derive(Debug)]
pub struct NeedsAgent {
    consumed: ChallengeConsumed,
    signature: SignatureVerified,
}

impl Complete {
    /// Takes a request.
    #[must_use]
    pub const fn new(request: CompleteRequest) -> Self {
        Self { request }
    }

    /// The challenge to take.
    #[must_use]
    pub const fn challenge(&self) -> [u8; 32] {
        self.request.challenge
    }

    /// Takes the challenge that the store deleted, and verifies the signature over it.
    ///
    /// # Errors
    /// [`AuthError`]; the challenge is gone all the same.
    pub fn taken(self, record: Option<ChallengeRecord>, now: UnixMillis) -> Result<NeedsAgent, AuthError> {
        let taken = record.filter(|record| record.challenge.ct_eq(&self.request.challenge).into());
        let record = taken.ok_or(AuthError::Challenge)?;
        let consumed = ChallengeConsumed(record);
        if consumed.0.expires_at <= now {
            return Err(AuthError::ChallengeExpired);
        }
        let signature = consumed
            .0
            .identity
            .verify(&transcript(&consumed.0, Domain::AuthAgent), &self.request.signature)
            .map_err(|_| AuthError::Signature)?;
        Ok(NeedsAgent { consumed, signature })
    }
}

impl NeedsAgent {
    /// What to load.
    #[must_use]
    pub const fn query(&self) -> Query {
        Query::AgentByApiKey(self.consumed.0.api_key)
    }

    /// Checks that status, identity key and api_key are still those of Begin, and makes the
    /// session. The newest of the earlier sessions lives on for a while; older ones end.
    ///
    /// A challenge makes one session, so this is used up. If the commit is stale,
    /// [`NeedsSessionCommit::stale`] gives it back for a newer snapshot.
    ///
    /// # Errors
    /// [`AuthError`]; nothing is to be written then.
    pub fn resolve(
        self,
        found: Option<Snapshot>,
        now: UnixMillis,
        policy: &Policy,
        random: &dyn SecureRandom,
    ) -> Result<NeedsSessionCommit, AuthError> {
        let SignatureVerified { .. } = self.signature;
        let ChallengeConsumed(challenge) = &self.consumed;
        // The api_key is the one of Begin: it is what the snapshot was looked up by.
        let Snapshot { organization, agent, sessions, .. } = found.ok_or(AuthError::ApiKey)?;
        let agent = agent.ok_or(AuthError::ApiKey)?;
        confirmed(&agent.record)?;
        if agent.record.id != challenge.agent_id {
            return Err(AuthError::ApiKey);
        }
        if *agent.record.keys.identity() != challenge.identity {
            return Err(AuthError::Identity);
        }
        if organization.record.manifest.manifest().command != challenge.command {
            return Err(AuthError::Challenge);
        }
        if challenge.expires_at <= now {
            return Err(AuthError::ChallengeExpired);
        }
        let token = SessionToken::generate(random)?;
        let version = organization.version;
        let newest = sessions.iter().map(|session| session.created_at).max();
        let session = SessionRecord {
            token: token.hash(),
            agent_id: agent.record.id,
            api_key: challenge.api_key,
            identity: challenge.identity,
            command: challenge.command,
            // The newest is told by this, so a clock that was set back must not make it look old.
            created_at: newest.map_or(now, |newest| now.max(newest.saturating_add(Duration::from_millis(1)))),
            expires_at: now.saturating_add(policy.session_ttl()),
        };
        let response = CompleteResponse { token, expires_at: session.expires_at };
        let predecessor =
            sessions.into_iter().filter(|s| s.expires_at > now).max_by_key(|s| s.created_at).map(|s| {
                SessionRecord {
                    expires_at: s.expires_at.min(now.saturating_add(policy.session_overlap())),
                    ..s
                }
            });
        let activity = Activity {
            at: now,
            org_id: agent.record.org_id,
            actor: Actor::System,
            kind: ActivityKind::SessionCreated,
            agent_id: Some(agent.record.id),
            enrollment_id: None,
        };
        let change = Changeset {
            organization_unchanged: Some((agent.record.org_id, version)),
            agent: Some(agent.replace(agent.record.clone())),
            sessions: Some(predecessor.into_iter().chain([session]).collect()),
            activity: vec![activity],
            ..Changeset::default()
        };
        Ok(NeedsSessionCommit { step: NeedsCommit::new(change, response), again: self })
    }
}

/// A session that waits for storage: commit [`Self::change`], then call one of the others, by what the store said.
///
/// Each of them uses it up, so that what was made of one challenge is one session: its token comes out, or the way back
/// to a newer snapshot does, never both.
#[derive(Debug)]
#[must_use = "the result exists only after the change is committed"]
pub struct NeedsSessionCommit {
    step: NeedsCommit<CompleteResponse>,
    again: NeedsAgent,
}

impl NeedsSessionCommit {
    /// The change to commit.
    #[must_use]
    pub fn change(&self) -> &Changeset {
        self.step.change()
    }

    /// The answer, now that the change is durable.
    #[must_use]
    pub fn committed(self) -> CompleteResponse {
        self.step.committed()
    }

    /// The way back, now that the store refused the change as stale: nothing was written, and the token is dropped.
    ///
    /// Not for a commit that failed otherwise: the session may be stored then, and the challenge has made its one.
    #[must_use]
    pub fn stale(self) -> NeedsAgent {
        self.again
    }
}

/// Gives up the way back: a stale commit then ends the handshake, and the agent begins anew.
impl From<NeedsSessionCommit> for NeedsCommit<CompleteResponse> {
    fn from(needs: NeedsSessionCommit) -> Self {
        needs.step
    }
}

/// Who calls, by a session token. Nothing in a message's body says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The agent.
    pub agent_id: AgentId,
    /// Its organization.
    pub org_id: OrgId,
    /// The session, by the hash of its token.
    pub session: SecretHash,
    /// When the session ends.
    pub expires_at: UnixMillis,
}

/// Checks a session token against its snapshot ([`Query::AgentBySession`]): the session lives, the
/// agent is confirmed, and its identity key and the organization's command key still are those of
/// the handshake.
///
/// # Errors
/// [`AuthError`].
pub fn check_session(
    token: &SecretHash,
    found: Option<&Snapshot>,
    now: UnixMillis,
) -> Result<AgentIdentity, AuthError> {
    let (snapshot, agent, session) = lookup(token, found)?;
    confirmed(&agent.record)?;
    if session.expires_at <= now
        || session.command != snapshot.organization.record.manifest.manifest().command
    {
        return Err(AuthError::Session);
    }
    if session.identity != *agent.record.keys.identity() {
        return Err(AuthError::Identity);
    }
    Ok(AgentIdentity {
        agent_id: agent.record.id,
        org_id: agent.record.org_id,
        session: session.token,
        expires_at: session.expires_at,
    })
}

/// The change that ends the sealed delivery of the api_key, at the first call under a session;
/// `None` if it has ended.
#[must_use]
pub fn end_delivery(snapshot: &Snapshot) -> Option<NeedsCommit<()>> {
    let agent = snapshot.agent.as_ref().filter(|agent| agent.record.sealed_api_key.is_some())?;
    let record = AgentRecord { sealed_api_key: None, ..agent.record.clone() };
    let change = Changeset { agent: Some(agent.replace(record)), ..Changeset::default() };
    Some(NeedsCommit::new(change, ()))
}

/// A session opens a control stream: its predecessor ends. A successor that there may be already does not: what an old
/// token can do must not end a newer session.
///
/// It is a call under a session, so the sealed delivery of the api_key ends with it.
///
/// # Errors
/// [`AuthError`], as [`check_session`].
pub fn take_over(
    token: &SecretHash,
    found: Option<&Snapshot>,
    now: UnixMillis,
) -> Result<NeedsCommit<AgentIdentity>, AuthError> {
    let identity = check_session(token, found, now)?;
    let (snapshot, agent, session) = lookup(token, found)?;
    let live = snapshot.sessions.iter().filter(|other| other.created_at >= session.created_at);
    let record = AgentRecord { sealed_api_key: None, ..agent.record.clone() };
    let change = Changeset {
        agent: Some(agent.replace(record)),
        sessions: Some(live.cloned().collect()),
        ..Changeset::default()
    };
    Ok(NeedsCommit::new(change, identity))
}

fn lookup<'a>(
    token: &SecretHash,
    found: Option<&'a Snapshot>,
) -> Result<(&'a Snapshot, &'a Versioned<AgentRecord>, &'a SessionRecord), AuthError> {
    let snapshot = found.ok_or(AuthError::Session)?;
    let agent = snapshot.agent.as_ref().ok_or(AuthError::Session)?;
    let session = snapshot.sessions.iter().find(|s| s.token == *token).ok_or(AuthError::Session)?;
    Ok((snapshot, agent, session))
}

const fn confirmed(agent: &AgentRecord) -> Result<(), AuthError> {
    match agent.status {
        AgentStatus::Confirmed => Ok(()),
        status @ (AgentStatus::Pending | AgentStatus::Revoked | AgentStatus::Discarded) => {
            Err(AuthError::Status { status })
        }
    }
}

fn transcript(record: &ChallengeRecord, domain: Domain) -> Transcript {
    let command: &CommandPublicKey = &record.command;
    Auth {
        command,
        agent_id: record.agent_id,
        identity: &record.identity,
        client_nonce: &record.client_nonce,
        challenge: &record.challenge,
        server_time: record.server_time,
        expires_at: record.expires_at,
        last_sequence: record.last_sequence,
        manifest_hash: &record.manifest_hash,
    }
    .transcript(domain)
}
