use super::Operator;
use crate::commit::NeedsCommit;
use crate::id::EnrollmentId;
use crate::refusal::{Code, Refusal};
use crate::store::{
    Activity, ActivityKind, Actor, AgentRecord, AgentStatus, Changeset, EnrollmentRecord, EnrollmentState,
    Snapshot,
};
use crate::time::UnixMillis;

/// An enrollment is not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndError {
    /// There is no such enrollment in the operator's organization.
    #[error("no pending enrollment {enrollment_id}")]
    NotFound {
        /// The enrollment that was named.
        enrollment_id: EnrollmentId,
    },
    /// It does not wait any more.
    #[error("the enrollment is already confirmed, cancelled or expired")]
    NotWaiting,
    /// Its time is not up.
    #[error("the enrollment is not due")]
    NotDue,
}

impl From<EndError> for Refusal {
    fn from(error: EndError) -> Self {
        let code = match error {
            EndError::NotFound { .. } => Code::NotFound,
            EndError::NotWaiting | EndError::NotDue => Code::FailedPrecondition,
        };
        Self::new(code, error)
    }
}

/// Cancels an enrollment that is not yet confirmed. Its agent, if one registered, is discarded,
/// which frees name and keys.
///
/// # Errors
/// [`EndError`].
pub fn cancel(
    enrollment_id: EnrollmentId,
    operator: &Operator,
    found: Option<Snapshot>,
    now: UnixMillis,
) -> Result<NeedsCommit<()>, EndError> {
    let missing = EndError::NotFound { enrollment_id };
    let snapshot = found.filter(|s| s.organization.record.id == operator.org_id).ok_or(missing)?;
    let kind = ActivityKind::EnrollmentCancelled;
    end(&snapshot, EnrollmentState::Cancelled, missing, |agent| {
        operator.activity(now, kind, agent, Some(enrollment_id))
    })
}

/// Expires an enrollment whose time is up, as [`cancel`] does.
///
/// # Errors
/// [`EndError`].
pub fn expire(snapshot: &Snapshot, now: UnixMillis) -> Result<NeedsCommit<()>, EndError> {
    let enrollment = &snapshot.enrollment.as_ref().ok_or(EndError::NotWaiting)?.record;
    if enrollment.expires_at > now {
        return Err(EndError::NotDue);
    }
    let (id, org_id) = (enrollment.id, enrollment.org_id);
    end(snapshot, EnrollmentState::Expired, EndError::NotFound { enrollment_id: id }, |agent_id| Activity {
        at: now,
        org_id,
        actor: Actor::System,
        kind: ActivityKind::EnrollmentExpired,
        agent_id,
        enrollment_id: Some(id),
    })
}

fn end(
    snapshot: &Snapshot,
    state: EnrollmentState,
    missing: EndError,
    activity: impl FnOnce(Option<crate::id::AgentId>) -> Activity,
) -> Result<NeedsCommit<()>, EndError> {
    let enrollment = snapshot.enrollment.as_ref().ok_or(missing)?;
    match enrollment.record.state {
        EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation => {}
        EnrollmentState::Confirmed | EnrollmentState::Expired | EnrollmentState::Cancelled => {
            return Err(EndError::NotWaiting);
        }
    }
    let agent = snapshot
        .agent
        .as_ref()
        .map(|agent| agent.replace(AgentRecord { status: AgentStatus::Discarded, ..agent.record.clone() }));
    let change = Changeset {
        agent,
        enrollment: Some(enrollment.replace(EnrollmentRecord { state, ..enrollment.record.clone() })),
        activity: vec![activity(enrollment.record.agent_id)],
        ..Changeset::default()
    };
    Ok(NeedsCommit::new(change, ()))
}
