use super::Operator;
use crate::commit::NeedsCommit;
use crate::id::AgentId;
use crate::keys::Signature;
use crate::manifest::{ManifestError, OrgManifest, RevokedKeyId, SignedManifest};
use crate::refusal::{Code, Refusal};
use crate::store::{
    ActivityKind, AgentRecord, AgentStatus, Changeset, OrganizationRecord, Query, Snapshot, Versioned,
};
use crate::time::{UnixMillis, next_counter};
use crate::transcript::Transcript;

/// RevokeAgent, waiting for the agent's records.
#[derive(Debug, Clone)]
pub struct Revoke {
    /// Who revokes.
    pub operator: Operator,
    /// The agent.
    pub agent_id: AgentId,
}

/// A revocation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// There is no such agent in the operator's organization.
    #[error("no agent {agent_id}")]
    NotFound {
        /// The agent that was named.
        agent_id: AgentId,
    },
    /// It is not confirmed; its enrollment is to be cancelled instead.
    #[error("the agent is not confirmed: cancel its enrollment instead")]
    NotConfirmed,
    /// It was revoked before.
    #[error("the agent is already revoked")]
    AlreadyRevoked,
    /// The new manifest is not signed by the root.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<RevokeError> for Refusal {
    fn from(error: RevokeError) -> Self {
        let code = match error {
            RevokeError::NotFound { .. } => Code::NotFound,
            RevokeError::NotConfirmed | RevokeError::AlreadyRevoked => Code::FailedPrecondition,
            RevokeError::Manifest(_) => return Self::unavailable(),
        };
        Self::new(code, error)
    }
}

/// A revocation that waits for the managed root's signature over the manifest that lists it.
#[derive(Debug)]
pub struct NeedsManifestSignature {
    operator: Operator,
    organization: Versioned<OrganizationRecord>,
    agent: Versioned<AgentRecord>,
    manifest: OrgManifest,
}

impl Revoke {
    /// What to load.
    #[must_use]
    pub const fn query(&self) -> Query {
        Query::Agent(self.agent_id)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`RevokeError`]; nothing is to be written then.
    pub fn resolve(
        self,
        found: Option<Snapshot>,
        now: UnixMillis,
    ) -> Result<NeedsManifestSignature, RevokeError> {
        let missing = RevokeError::NotFound { agent_id: self.agent_id };
        let Snapshot { organization, agent, .. } = found.ok_or(missing)?;
        let agent = agent.filter(|agent| agent.record.org_id == self.operator.org_id).ok_or(missing)?;
        match agent.record.status {
            AgentStatus::Confirmed => {}
            AgentStatus::Pending | AgentStatus::Discarded => return Err(RevokeError::NotConfirmed),
            // Revoked while the root was offline: the manifest that lists it is still owed.
            AgentStatus::Revoked
                if !organization.record.manifest.manifest().revokes(agent.record.keys.identity()) => {}
            AgentStatus::Revoked => return Err(RevokeError::AlreadyRevoked),
        }
        let mut manifest = organization.record.manifest.manifest().clone();
        manifest.epoch = next_counter(manifest.epoch, now);
        let id = RevokedKeyId::of(agent.record.keys.identity());
        if let Err(at) = manifest.revoked.binary_search(&id) {
            manifest.revoked.insert(at, id);
        }
        Ok(NeedsManifestSignature { operator: self.operator, organization, agent, manifest })
    }
}

impl NeedsManifestSignature {
    /// What the managed root is to sign.
    #[must_use]
    pub fn to_sign(&self) -> Transcript {
        self.manifest.transcript()
    }

    /// Takes the root's signature. Status, credentials and manifest become one change.
    ///
    /// # Errors
    /// [`RevokeError::Manifest`].
    pub fn signed(self, signature: Signature, now: UnixMillis) -> Result<NeedsCommit<()>, RevokeError> {
        self.finish(Some(signature), now)
    }

    /// Whether the managed root can sign: it is the organization's, and the list of revoked keys has room.
    #[must_use]
    pub fn can_be_signed_by(&self, root: &[u8; 32]) -> bool {
        self.manifest.root.as_bytes() == root && self.manifest.validate().is_ok()
    }

    /// With an offline root: the agent is revoked at once, the manifest follows when the operator
    /// has signed it. A revocation never fails because a manifest cannot be signed.
    ///
    /// # Errors
    /// [`RevokeError::AlreadyRevoked`] if only the manifest is owed.
    pub fn unsigned(self, now: UnixMillis) -> Result<NeedsCommit<()>, RevokeError> {
        self.finish(None, now)
    }

    fn finish(self, signature: Option<Signature>, now: UnixMillis) -> Result<NeedsCommit<()>, RevokeError> {
        let organization = match signature {
            Some(signature) => {
                let manifest = SignedManifest::verify(self.manifest, signature)?;
                let record = OrganizationRecord { manifest, ..self.organization.record.clone() };
                Some(self.organization.replace(record))
            }
            None if self.agent.record.status == AgentStatus::Revoked => {
                return Err(RevokeError::AlreadyRevoked);
            }
            None => None,
        };
        if self.agent.record.status == AgentStatus::Revoked {
            return Ok(NeedsCommit::new(Changeset { organization, ..Changeset::default() }, ()));
        }
        let agent = &self.agent.record;
        let activity =
            self.operator.activity(now, ActivityKind::AgentRevoked, Some(agent.id), agent.enrollment_id);
        let change = Changeset {
            organization,
            agent: Some(self.agent.replace(AgentRecord {
                status: AgentStatus::Revoked,
                sealed_api_key: None,
                revoked_at: Some(now),
                ..agent.clone()
            })),
            forget_credentials: Some(agent.id),
            activity: vec![activity],
            ..Changeset::default()
        };
        Ok(NeedsCommit::new(change, ()))
    }
}
