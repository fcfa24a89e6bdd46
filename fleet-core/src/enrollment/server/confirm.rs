use super::Operator;
use crate::certificate::{AgentCertificate, CertificateError, SignedCertificate};
use crate::code::ApiKey;
use crate::commit::NeedsCommit;
use crate::enrollment::api_key_info;
use crate::fingerprint::Fingerprint;
use crate::hpke;
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::keys::{RootPublicKey, Signature};
use crate::random::{RandomError, SecureRandom};
use crate::refusal::{Code, Refusal};
use crate::store::{
    ActivityKind, AgentApiKeyRecord, AgentRecord, AgentStatus, Changeset, EnrollmentRecord, EnrollmentState,
    Query, Snapshot, Version, Versioned,
};
use crate::time::UnixMillis;
use crate::transcript::Transcript;

/// ConfirmAgent, waiting for the agent's records.
///
/// The fingerprint is the one that the operator read at the *agent*: it is what authenticates all
/// three keys.
#[derive(Debug, Clone)]
pub struct Confirm {
    /// Who confirms.
    pub operator: Operator,
    /// The agent.
    pub agent_id: AgentId,
    /// The enrollment that made it.
    pub enrollment_id: EnrollmentId,
    /// What the operator typed.
    pub fingerprint: Fingerprint,
    /// The certificate that the operator's tool signed, with an offline root.
    pub certificate: Option<(AgentCertificate, Signature)>,
}

/// A confirmation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// There is no such agent in the operator's organization, or the enrollment is not its own.
    #[error("no agent {agent_id} with pending enrollment {enrollment_id}")]
    NotFound {
        /// The agent that was named.
        agent_id: AgentId,
        /// The enrollment that was named.
        enrollment_id: EnrollmentId,
    },
    /// The agent does not wait for a confirmation.
    #[error("the agent is not awaiting confirmation")]
    NotAwaiting,
    /// The time to confirm is up.
    #[error("the enrollment expired; create a new code")]
    Expired,
    /// The typed fingerprint is not the agent's.
    #[error(
        "fingerprint is not the agent's: compare it with what the agent shows, and do not confirm if it differs"
    )]
    WrongFingerprint,
    /// The organization's root is offline, and the request brings no certificate.
    #[error("agent_certificate must be present: the organization's root key is offline")]
    CertificateMissing,
    /// The certificate does not say what the server's record says.
    #[error("agent_certificate does not match the agent's record")]
    CertificateMismatch,
    /// The certificate is malformed or not signed by the root.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The random source or the cipher failed.
    #[error("the api_key could not be made")]
    ApiKey,
}

impl From<RandomError> for ConfirmError {
    fn from(_: RandomError) -> Self {
        Self::ApiKey
    }
}

impl From<ConfirmError> for Refusal {
    fn from(error: ConfirmError) -> Self {
        let code = match error {
            ConfirmError::NotFound { .. } => Code::NotFound,
            ConfirmError::NotAwaiting | ConfirmError::Expired | ConfirmError::WrongFingerprint => {
                Code::FailedPrecondition
            }
            ConfirmError::CertificateMissing
            | ConfirmError::CertificateMismatch
            | ConfirmError::Certificate(_) => Code::InvalidArgument,
            ConfirmError::ApiKey => return Self::unavailable(),
        };
        Self::new(code, error)
    }
}

/// Where a confirmation goes on.
#[derive(Debug)]
pub enum ConfirmStep {
    /// The managed root must sign the certificate.
    Sign(Box<NeedsRootSignature>),
    /// The request is refused, and the activity log is to hold it.
    Refuse(NeedsCommit<ConfirmError>),
}

/// Evidence that the typed fingerprint is that of the very keys to be certified.
#[derive(Debug)]
struct FingerprintMatched(());

/// A confirmation that waits for the root's signature over the certificate.
#[derive(Debug)]
pub struct NeedsRootSignature {
    operator: Operator,
    agent: Versioned<AgentRecord>,
    enrollment: Versioned<EnrollmentRecord>,
    root: RootPublicKey,
    organization: (OrgId, Version),
    certificate: AgentCertificate,
    /// Already signed, with an offline root.
    given: Option<Signature>,
    matched: FingerprintMatched,
}

impl Confirm {
    /// What to load.
    #[must_use]
    pub const fn query(&self) -> Query {
        Query::Agent(self.agent_id)
    }

    /// Decides.
    ///
    /// # Errors
    /// [`ConfirmError`]; nothing is to be written then.
    pub fn resolve(self, found: Option<Snapshot>, now: UnixMillis) -> Result<ConfirmStep, ConfirmError> {
        let missing = ConfirmError::NotFound { agent_id: self.agent_id, enrollment_id: self.enrollment_id };
        let Snapshot { organization, enrollment, agent, .. } = found.ok_or(missing)?;
        let (agent, enrollment) = (agent.ok_or(missing)?, enrollment.ok_or(missing)?);
        if agent.record.org_id != self.operator.org_id
            || enrollment.record.org_id != self.operator.org_id
            || enrollment.record.id != self.enrollment_id
            || enrollment.record.agent_id != Some(self.agent_id)
        {
            return Err(missing);
        }
        if agent.record.status != AgentStatus::Pending
            || enrollment.record.state != EnrollmentState::AwaitingConfirmation
        {
            return Err(ConfirmError::NotAwaiting);
        }
        if enrollment.record.expires_at <= now {
            return Err(ConfirmError::Expired);
        }
        if !agent.record.keys.fingerprint().matches(&self.fingerprint) {
            let kind = ActivityKind::WrongFingerprint;
            let activity = self.operator.activity(now, kind, Some(self.agent_id), Some(self.enrollment_id));
            let change = Changeset { activity: vec![activity], ..Changeset::default() };
            return Ok(ConfirmStep::Refuse(NeedsCommit::new(change, ConfirmError::WrongFingerprint)));
        }
        let matched = FingerprintMatched(());
        let expected = AgentCertificate {
            org_id: agent.record.org_id,
            agent_id: agent.record.id,
            name: agent.record.name.clone(),
            keys: agent.record.keys,
            key_epoch: 1,
            issued_at: now,
        };
        let (certificate, given) = match self.certificate {
            // The tool's clock is its own; every other field must be the server's record's.
            Some((theirs, signature)) => {
                if (AgentCertificate { issued_at: theirs.issued_at, ..expected }) != theirs {
                    return Err(ConfirmError::CertificateMismatch);
                }
                (theirs, Some(signature))
            }
            None => (expected, None),
        };
        Ok(ConfirmStep::Sign(Box::new(NeedsRootSignature {
            operator: self.operator,
            root: organization.record.manifest.manifest().root,
            organization: (organization.record.id, organization.version),
            agent,
            enrollment,
            certificate,
            given,
            matched,
        })))
    }
}

impl NeedsRootSignature {
    /// What the managed root is to sign; `None` if the request brought a certificate.
    #[must_use]
    pub fn to_sign(&self) -> Option<Transcript> {
        self.given.is_none().then(|| self.certificate.transcript())
    }

    /// Takes the managed root's signature, `None` if [`NeedsRootSignature::to_sign`] was `None` or
    /// the server has no root key.
    ///
    /// Agent, certificate, enrollment and api_key become one change. The api_key comes out once,
    /// for pasting, and is sealed to the agent for Register's repeat.
    ///
    /// # Errors
    /// [`ConfirmError`]; nothing is to be written then.
    pub fn signed(
        self,
        signature: Option<Signature>,
        now: UnixMillis,
        random: &dyn SecureRandom,
    ) -> Result<NeedsCommit<ApiKey>, ConfirmError> {
        let FingerprintMatched(()) = self.matched;
        let signature = self.given.or(signature).ok_or(ConfirmError::CertificateMissing)?;
        let certificate = SignedCertificate::verify(self.certificate, signature, &self.root)?;
        let (agent, enrollment) = (&self.agent.record, &self.enrollment.record);
        let api_key = ApiKey::generate(random)?;
        let info = api_key_info(agent.id, enrollment.code, agent.keys.sealing().as_bytes());
        let sealed =
            hpke::seal(agent.keys.sealing(), info.as_bytes(), &[], api_key.expose().as_bytes(), random)
                .map_err(|_| ConfirmError::ApiKey)?;
        let kind = ActivityKind::AgentConfirmed;
        let activity = self.operator.activity(now, kind, Some(agent.id), Some(enrollment.id));
        let change = Changeset {
            organization_unchanged: Some(self.organization),
            api_key: Some(AgentApiKeyRecord {
                hash: api_key.hash(),
                digits: api_key.digits().to_owned(),
                agent_id: agent.id,
                created_at: now,
            }),
            agent: Some(self.agent.replace(AgentRecord {
                status: AgentStatus::Confirmed,
                certificate: Some(certificate),
                sealed_api_key: Some(sealed),
                confirmed_at: Some(now),
                ..agent.clone()
            })),
            enrollment: Some(
                self.enrollment
                    .replace(EnrollmentRecord { state: EnrollmentState::Confirmed, ..enrollment.clone() }),
            ),
            activity: vec![activity],
            ..Changeset::default()
        };
        Ok(NeedsCommit::new(change, api_key))
    }
}
