use crate::commit::NeedsCommit;
use crate::enrollment::{RegisterRequest, RegisterResponse};
use crate::id::AgentId;
use crate::keys::{AgentPublicKeys, KeyError, KeyRole, SignatureVerified, distinct};
use crate::policy::Policy;
use crate::random::{RandomError, SecureRandom};
use crate::refusal::{Code, Refusal};
use crate::store::{
    Activity, ActivityKind, Actor, AgentKind, AgentRecord, AgentStatus, Changeset, EnrollmentRecord,
    EnrollmentState, Put, Query, Snapshot, Versioned,
};
use crate::time::UnixMillis;

/// Register, waiting for what the store has under the code.
///
/// Checks in the protocol's order: the code, the keys, the proofs, then the uniqueness of keys
/// against the manifest; the store's commit checks name and keys against all agents. No refusal
/// consumes the code.
#[derive(Debug, Clone)]
pub struct Register {
    request: RegisterRequest,
}

/// A registration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No enrollment has this code.
    #[error("no such enrollment code")]
    UnknownCode,
    /// The code's time is up, or the confirmation's.
    #[error("the enrollment expired")]
    Expired,
    /// An operator cancelled the enrollment.
    #[error("the enrollment was cancelled")]
    Cancelled,
    /// The code is bound to other keys or another name.
    #[error("the enrollment code was used before, with other keys or another name")]
    SecondUse,
    /// A key is not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A proof does not verify.
    #[error("the proof of {role} does not verify")]
    Proof {
        /// Which key's.
        role: KeyRole,
    },
    /// A key is in use: by the organization, or by another agent.
    #[error("{role} is in use")]
    KeyTaken {
        /// The role that the key would have had.
        role: KeyRole,
    },
    /// Another agent of the organization has the name.
    #[error("name is in use by another agent of the organization")]
    NameTaken,
    /// The agent asks more than once a second.
    #[error("asked again too soon")]
    TooSoon {
        /// When to ask again.
        retry_after: core::time::Duration,
    },
    /// The store's records contradict each other.
    #[error("the enrollment's records are inconsistent")]
    Inconsistent,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::UnknownCode
            | RegisterError::Expired
            | RegisterError::Cancelled
            | RegisterError::SecondUse
            | RegisterError::Proof { .. } => Self::unauthenticated(),
            RegisterError::Key(_) => Self::new(Code::InvalidArgument, error),
            RegisterError::KeyTaken { .. } | RegisterError::NameTaken => {
                Self::new(Code::FailedPrecondition, error)
            }
            RegisterError::TooSoon { retry_after } => Self::exhausted(error, retry_after),
            RegisterError::Inconsistent => Self::new(Code::Internal, "internal error"),
            RegisterError::Random(_) => Self::unavailable(),
        }
    }
}

/// What Register comes to.
#[derive(Debug)]
pub enum RegisterOutcome {
    /// The agent is answered once the change is committed.
    Answer(Box<NeedsCommit<RegisterResponse>>),
    /// The agent is refused, and the operator is to see it: a second use of a code.
    Refuse(NeedsCommit<RegisterError>),
}

/// Evidence that both proofs verified.
struct ProofsVerified {
    _identity: SignatureVerified,
    _miner_signing: SignatureVerified,
}

impl Register {
    /// Takes a request.
    #[must_use]
    pub const fn new(request: RegisterRequest) -> Self {
        Self { request }
    }

    /// What to load.
    #[must_use]
    pub fn query(&self) -> Query {
        Query::EnrollmentByCode(self.request.code())
    }

    /// Decides.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing is to be written then.
    pub fn resolve(
        self,
        found: Option<Snapshot>,
        now: UnixMillis,
        policy: &Policy,
        random: &dyn SecureRandom,
    ) -> Result<RegisterOutcome, RegisterError> {
        let snapshot = found.ok_or(RegisterError::UnknownCode)?;
        let enrollment = snapshot.enrollment.clone().ok_or(RegisterError::UnknownCode)?;
        let in_time = enrollment.record.expires_at > now;
        match enrollment.record.state {
            EnrollmentState::Pending if in_time => self.first(&snapshot, &enrollment, now, policy, random),
            EnrollmentState::AwaitingConfirmation if in_time => {
                self.again(&snapshot, &enrollment, now, policy)
            }
            EnrollmentState::Confirmed => self.again(&snapshot, &enrollment, now, policy),
            EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation | EnrollmentState::Expired => {
                self.ended(&snapshot, &enrollment, now, policy, RegisterError::Expired)
            }
            EnrollmentState::Cancelled => {
                self.ended(&snapshot, &enrollment, now, policy, RegisterError::Cancelled)
            }
        }
    }

    /// A code whose enrollment ended: what its own agent asks is refused, what somebody else asks is noted as well.
    fn ended(
        self,
        snapshot: &Snapshot,
        enrollment: &Versioned<EnrollmentRecord>,
        now: UnixMillis,
        policy: &Policy,
        error: RegisterError,
    ) -> Result<RegisterOutcome, RegisterError> {
        match &snapshot.agent {
            Some(agent) if !self.is_of(&agent.record) => second_use(enrollment, now, policy),
            Some(_) | None => Err(error),
        }
    }

    /// Whether the request is by the agent that registered: same name, same keys, both proofs good.
    fn is_of(&self, agent: &AgentRecord) -> bool {
        let request = &self.request;
        let keys = [request.identity, request.miner_signing, request.sealing];
        request.name == agent.name
            && agent.keys.by_role().map(|(_, key)| *key) == keys
            && self.verify_proofs(&agent.keys).is_ok()
    }

    fn first(
        self,
        snapshot: &Snapshot,
        enrollment: &Versioned<EnrollmentRecord>,
        now: UnixMillis,
        policy: &Policy,
        random: &dyn SecureRandom,
    ) -> Result<RegisterOutcome, RegisterError> {
        let keys = self.keys()?;
        let ProofsVerified { .. } = self.verify_proofs(&keys)?;
        let manifest = snapshot.organization.record.manifest.manifest();
        for (_, theirs) in manifest.keys() {
            for (role, key) in keys.by_role() {
                distinct(&[(role, key), (role, theirs)]).map_err(|_| RegisterError::KeyTaken { role })?;
            }
        }
        let agent = AgentRecord {
            id: AgentId::random(random)?,
            org_id: enrollment.record.org_id,
            name: self.request.name,
            kind: AgentKind::Remote,
            keys,
            status: AgentStatus::Pending,
            enrollment_id: Some(enrollment.record.id),
            certificate: None,
            sealed_api_key: None,
            created_at: now,
            confirmed_at: None,
            revoked_at: None,
            last_sequence: 0,
            last_begin_at: None,
        };
        let bound = EnrollmentRecord {
            state: EnrollmentState::AwaitingConfirmation,
            agent_id: Some(agent.id),
            expires_at: now.saturating_add(policy.confirmation_ttl),
            answered_at: Some(now),
            ..enrollment.record.clone()
        };
        let response = response(snapshot, &agent);
        let activity = activity(&bound, ActivityKind::AgentRegistered, now);
        let organization = &snapshot.organization;
        let change = Changeset {
            organization_unchanged: Some((organization.record.id, organization.version)),
            agent: Some(Put::new(agent)),
            enrollment: Some(enrollment.replace(bound)),
            activity: vec![activity],
            ..Changeset::default()
        };
        Ok(RegisterOutcome::Answer(Box::new(NeedsCommit::new(change, response))))
    }

    fn again(
        self,
        snapshot: &Snapshot,
        enrollment: &Versioned<EnrollmentRecord>,
        now: UnixMillis,
        policy: &Policy,
    ) -> Result<RegisterOutcome, RegisterError> {
        let held = snapshot.agent.as_ref().ok_or(RegisterError::Inconsistent)?;
        let agent = &held.record;
        // Somebody who holds the code and not the keys gets the same answer as everybody else,
        // and the operator learns of it; so does one who replays a name and keys without proofs.
        if !self.is_of(agent) {
            return second_use(enrollment, now, policy);
        }
        if let Some(answered_at) = enrollment.record.answered_at {
            let waited = now.since(answered_at);
            // A clock that was set back must not lock the agent out.
            if waited < policy.register_interval && answered_at <= now {
                let retry_after = policy.register_interval.saturating_sub(waited);
                return Err(RegisterError::TooSoon { retry_after });
            }
        }
        let answered = EnrollmentRecord { answered_at: Some(now), ..enrollment.record.clone() };
        let change = Changeset {
            // What is answered is the agent's status: a revocation that came in between makes this stale.
            agent: Some(held.replace(agent.clone())),
            enrollment: Some(enrollment.replace(answered)),
            ..Changeset::default()
        };
        Ok(RegisterOutcome::Answer(Box::new(NeedsCommit::new(change, response(snapshot, agent)))))
    }

    fn keys(&self) -> Result<AgentPublicKeys, KeyError> {
        AgentPublicKeys::parse(&self.request.identity, &self.request.miner_signing, &self.request.sealing)
    }

    fn verify_proofs(&self, keys: &AgentPublicKeys) -> Result<ProofsVerified, RegisterError> {
        let [identity, miner_signing] = self.request.transcripts();
        Ok(ProofsVerified {
            _identity: keys
                .identity()
                .verify(&identity, &self.request.identity_proof)
                .map_err(|_| RegisterError::Proof { role: KeyRole::Identity })?,
            _miner_signing: keys
                .miner_signing()
                .verify(&miner_signing, &self.request.miner_signing_proof)
                .map_err(|_| RegisterError::Proof { role: KeyRole::MinerSigning })?,
        })
    }
}

/// Notes that somebody used a code again, at most once in the interval of repeats: a flood of them must neither fill
/// the log nor keep the operator's confirmation from being committed.
fn second_use(
    enrollment: &Versioned<EnrollmentRecord>,
    now: UnixMillis,
    policy: &Policy,
) -> Result<RegisterOutcome, RegisterError> {
    let noted_lately = enrollment
        .record
        .second_use_at
        .is_some_and(|last| last <= now && now.since(last) < policy.register_interval);
    if noted_lately {
        return Err(RegisterError::SecondUse);
    }
    let noted = EnrollmentRecord {
        second_uses: enrollment.record.second_uses.saturating_add(1),
        second_use_at: Some(now),
        ..enrollment.record.clone()
    };
    let activity = activity(&noted, ActivityKind::CodeUsedAgain, now);
    let change = Changeset {
        enrollment: Some(enrollment.replace(noted)),
        activity: vec![activity],
        ..Changeset::default()
    };
    Ok(RegisterOutcome::Refuse(NeedsCommit::new(change, RegisterError::SecondUse)))
}

fn response(snapshot: &Snapshot, agent: &AgentRecord) -> RegisterResponse {
    RegisterResponse {
        agent_id: agent.id,
        status: agent.status,
        fingerprint: agent.keys.fingerprint(),
        manifest: (&snapshot.organization.record.manifest).into(),
        sealed_api_key: agent.sealed_api_key.clone(),
    }
}

fn activity(enrollment: &EnrollmentRecord, kind: ActivityKind, at: UnixMillis) -> Activity {
    Activity {
        at,
        org_id: enrollment.org_id,
        actor: Actor::System,
        kind,
        agent_id: enrollment.agent_id,
        enrollment_id: Some(enrollment.id),
    }
}
