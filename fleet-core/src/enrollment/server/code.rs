use core::fmt;
use core::time::Duration;

use super::Operator;
use crate::code::{EnrollmentCode, SecretHash};
use crate::commit::NeedsCommit;
use crate::enrollment::NewCode;
use crate::id::EnrollmentId;
use crate::policy::Policy;
use crate::random::{RandomError, SecureRandom};
use crate::refusal::{Code, Refusal};
use crate::store::{ActivityKind, Changeset, EnrollmentRecord, EnrollmentState, Put, Snapshot};
use crate::time::UnixMillis;

/// CreateEnrollmentCode's request.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateCode {
    /// How long the code is good for; the policy's default if `None`.
    pub ttl: Option<Duration>,
    /// The hash of a code that the operator's tool made, with an offline root.
    pub code_sha256: Option<[u8; 32]>,
}

impl fmt::Debug for CreateCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateCode")
            .field("ttl", &self.ttl)
            .field("code_sha256", &self.code_sha256.map(SecretHash::from_bytes))
            .finish()
    }
}

/// A code was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateCodeError {
    /// The ttl is out of bounds.
    #[error("ttl must be between 60 and 604800 seconds, got {} s", got.as_secs())]
    Ttl {
        /// The ttl that was asked for.
        got: Duration,
    },
    /// The root is offline: the operator's tool makes the code, from the manifest that it last signed.
    #[error("code_sha256 is required: with an offline root the operator's tool makes the code")]
    HashRequired,
    /// There is an enrollment of this code.
    #[error("code_sha256 is of a code that was given before")]
    CodeTaken,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<CreateCodeError> for Refusal {
    fn from(error: CreateCodeError) -> Self {
        match error {
            CreateCodeError::Ttl { .. } => Self::new(Code::InvalidArgument, error),
            CreateCodeError::HashRequired | CreateCodeError::CodeTaken => {
                Self::new(Code::FailedPrecondition, error)
            }
            CreateCodeError::Random(_) => Self::unavailable(),
        }
    }
}

/// Makes an enrollment and its code, from a snapshot of the operator's organization.
///
/// # Errors
/// [`CreateCodeError`].
pub fn create_code(
    request: CreateCode,
    operator: &Operator,
    found: &Snapshot,
    now: UnixMillis,
    policy: &Policy,
    random: &dyn SecureRandom,
) -> Result<NeedsCommit<NewCode>, CreateCodeError> {
    let ttl = request.ttl.unwrap_or(policy.code_ttl);
    if ttl < Policy::MIN_CODE_TTL || ttl > Policy::MAX_CODE_TTL {
        return Err(CreateCodeError::Ttl { got: ttl });
    }
    let (hash, code) = match request.code_sha256 {
        Some(hash) => (SecretHash::from_bytes(hash), None),
        None => {
            let pin = found.organization.record.manifest.manifest().pin();
            let code = EnrollmentCode::generate(pin, random)?;
            (code.hash(), Some(code))
        }
    };
    let enrollment = EnrollmentRecord {
        id: EnrollmentId::random(random)?,
        org_id: found.organization.record.id,
        code: hash,
        state: EnrollmentState::Pending,
        created_at: now,
        expires_at: now.saturating_add(ttl),
        agent_id: None,
        answered_at: None,
        second_uses: 0,
        second_use_at: None,
    };
    let new = NewCode { enrollment_id: enrollment.id, code, expires_at: enrollment.expires_at };
    let activity = operator.activity(now, ActivityKind::CodeCreated, None, Some(enrollment.id));
    let change = Changeset {
        // The code pins this very manifest's keys.
        organization_unchanged: Some((found.organization.record.id, found.organization.version)),
        enrollment: Some(Put::new(enrollment)),
        activity: vec![activity],
        ..Changeset::default()
    };
    Ok(NeedsCommit::new(change, new))
}
