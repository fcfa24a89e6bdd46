//! What can be seen of a run from outside.

use core::fmt;
use std::sync::Arc;

use super::{AgentDump, Call, Kind, Reply, StoreDump, Write};
use crate::driver::{AgentError, EnrollmentProgress, Point, ServerError};
use crate::id::OrgId;
use crate::time::UnixMillis;

/// Something that happened, and what the server's store held after it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Event {
    /// What.
    pub what: What,
    /// The server's wall clock.
    pub now: UnixMillis,
    /// The server's store.
    pub store: Arc<StoreDump>,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variants say what happened, the fields to whom")]
pub enum What {
    /// A message reached the server or an agent, the `times`-th time.
    Delivered { message: usize, kind: Kind, agent: Option<usize>, is_forged: bool, times: u32 },
    /// A call began. `id` is its own.
    Called { id: usize, call: Call },
    /// A call did something to the store. `was_stopped` says whether time may have passed within the call.
    Wrote { id: usize, call: Call, write: Write, was_stopped: bool },
    /// A call was stopped between two operations.
    Stopped { id: usize, call: Call },
    /// A call was answered; what it wrote was seen before, as [`What::Wrote`].
    Answered { id: usize, call: Call, result: Result<Reply, ServerError>, was_stopped: bool },
    /// A call was lost in a crash.
    Lost { id: usize, call: Call },
    /// The server crashed, on its own or at a point, and started again.
    ServerCrashed { at: Option<Point> },
    /// An agent ran until it waits, ends, or crashes; what it kept before and after.
    Stepped {
        agent: usize,
        outcome: Outcome,
        before: Option<Box<AgentDump>>,
        after: Option<Box<AgentDump>>,
        /// The organization whose code it enrolls with.
        org: Option<OrgId>,
        /// Whether it made a session while it had one.
        is_renewal: bool,
    },
    /// An agent begins anew, with nothing.
    Wiped { agent: usize },
    /// An organization's manifest was issued anew.
    Reissued { org: OrgId },
}

/// What an agent's run came to.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "as What")]
pub enum Outcome {
    /// It waits for an answer.
    Waiting(Kind),
    /// Its enrollment got here.
    Enrollment(EnrollmentProgress),
    /// It made a session.
    Online,
    /// It refused what it got, or was refused.
    Failed(AgentError),
    /// It crashed, on its own or at a point.
    Crashed(Option<Point>),
}

impl Call {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateCode(_) => "CreateEnrollmentCode",
            Self::Register(_) => "Register",
            Self::Begin(_) => "BeginAuthHandshake",
            Self::Complete(_) => "CompleteAuthHandshake",
            Self::Authenticate(_) => "a call under a session",
            Self::TakeOver(_) => "a control stream",
            Self::Confirm(_) => "ConfirmAgent",
            Self::Cancel(..) => "CancelEnrollment",
            Self::Revoke(_) => "RevokeAgent",
            Self::Sweep => "the sweep",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { kind, agent, is_forged, times, .. } => {
                let forged = if *is_forged { "forged " } else { "" };
                write!(f, "{forged}{kind:?}")?;
                match agent {
                    Some(agent) => write!(f, " of agent {agent}")?,
                    None => f.write_str(" of an attacker")?,
                }
                write!(f, " is delivered")?;
                if *times > 1 { write!(f, ", time {times}") } else { Ok(()) }
            }
            Self::Called { call, .. } => write!(f, "{} begins", call.name()),
            Self::Wrote { call, write, .. } => {
                let changed = if Arc::ptr_eq(&write.before, &write.after) { "nothing" } else { "something" };
                let done = match (write.is_done, write.is_stale) {
                    (true, _) => "done",
                    (false, true) => "stale",
                    (false, false) => "refused",
                };
                write!(f, "{}: the store says {done}, {changed} changed", call.name())
            }
            Self::Stopped { call, .. } => write!(f, "{} is stopped", call.name()),
            Self::Answered { call, result: Ok(_), .. } => write!(f, "{} is answered", call.name()),
            Self::Answered { call, result: Err(error), .. } => {
                write!(f, "{} is refused: {error}", call.name())
            }
            Self::Lost { call, .. } => write!(f, "{} is lost", call.name()),
            Self::ServerCrashed { at: Some(at) } => write!(f, "the server crashes at {}", at.name()),
            Self::ServerCrashed { at: None } => f.write_str("the server crashes"),
            Self::Stepped { agent, outcome, .. } => {
                write!(f, "agent {agent} ")?;
                match outcome {
                    Outcome::Waiting(kind) => write!(f, "sends {kind:?}"),
                    Outcome::Enrollment(progress) => write!(f, "is enrolling: {progress:?}"),
                    Outcome::Online => f.write_str("is online"),
                    Outcome::Failed(error) => write!(f, "gets nowhere: {error}"),
                    Outcome::Crashed(Some(point)) => write!(f, "crashes at {}", point.name()),
                    Outcome::Crashed(None) => f.write_str("crashes"),
                }
            }
            Self::Wiped { agent } => write!(f, "agent {agent} begins anew"),
            Self::Reissued { org } => write!(f, "the manifest of organization {org} is issued anew"),
        }
    }
}
