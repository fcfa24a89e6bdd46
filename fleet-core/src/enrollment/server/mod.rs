//! The server's half of enrollment: one machine for each call, each from a snapshot to a change.

mod code;
mod confirm;
mod end;
mod register;
mod reissue;
mod revoke;

pub use code::{CreateCode, CreateCodeError, create_code};
pub use confirm::{Confirm, ConfirmError, ConfirmStep, NeedsRootSignature};
pub use end::{EndError, cancel, expire};
pub use register::{Register, RegisterError, RegisterOutcome};
pub use reissue::{NeedsReissueSignature, ReissueError, reissue};
pub use revoke::{NeedsManifestSignature, Revoke, RevokeError};

use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::store::{Activity, ActivityKind, Actor};
use crate::time::UnixMillis;

/// Who asks, for an operator's calls: the organization bounds what they can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The operator's organization.
    pub org_id: OrgId,
    /// The operator, for the activity log.
    pub actor: Actor,
}

impl Operator {
    fn activity(
        &self,
        at: UnixMillis,
        kind: ActivityKind,
        agent_id: Option<AgentId>,
        enrollment_id: Option<EnrollmentId>,
    ) -> Activity {
        Activity { at, org_id: self.org_id, actor: self.actor.clone(), kind, agent_id, enrollment_id }
    }
}
