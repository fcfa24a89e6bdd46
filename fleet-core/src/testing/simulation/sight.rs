//! What is worth seeing in a run. A generator that no longer brings it about tests nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, Outcome, What};
use super::model::Model;
use super::{Call, Kind, Reply};
use crate::code::SecretHash;
use crate::driver::{AgentError, Point, ServerError};
use crate::enrollment::agent::EnrollError;
use crate::enrollment::server::{ConfirmError, RegisterError};
use crate::handshake::agent::HandshakeError;
use crate::id::OrgId;

macro_rules! sights {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Something that a run should show now and then.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Sight { $($(#[$doc])* $name),* }

        impl Sight {
            /// Every one.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }
    };
}

sights! {
    /// An agent made a session and called under it, before the faults stopped.
    Online,
    /// Agents of both organizations did.
    BothOrganizationsOnline,
    /// An agent made a session while it had one.
    Renewed,
    /// An agent began anew and was online once more.
    EnrolledAgain,
    /// A session was used beside its successor.
    Overlapped,
    /// A live session was refused at its end or its successor's beginning.
    SessionEnded,
    /// A revocation hit a live session.
    LiveSessionRevoked,
    /// A handshake message or a session of a revoked agent came afterwards, and was refused.
    ReplayedAfterRevoke,
    /// An enrollment was cancelled after an agent had registered.
    CancelledWhileWaiting,
    /// An enrollment expired.
    Expired,
    /// A code was used a second time, by whomever.
    SecondUse,
    /// A fingerprint was typed that was another agent's.
    WrongFingerprint,
    /// An operator asked about another organization's agent.
    ForeignOperator,
    /// A name was taken.
    NameTaken,
    /// A request reached the server twice.
    Duplicate,
    /// A challenge was answered twice.
    ChallengeTwice,
    /// An older message arrived after a newer one of its kind.
    Reordered,
    /// An attacker's request was refused.
    ForgedRequestRefused,
    /// An agent refused an answer that an attacker had made.
    ForgedReplyRefused,
    /// A reply came too late, or on clocks that had jumped.
    StaleReply,
    /// An agent refused a manifest that is older than the one it holds.
    OldManifest,
    /// The server crashed while it had calls under way.
    ServerCrashedInACall,
    /// The server crashed at a named point.
    ServerCrashedAtAPoint,
    /// An agent crashed at a named point.
    AgentCrashedAtAPoint,
    /// Two calls of the server ran into each other, and one had to decide again.
    Stale,
    /// A confirmation was committed, and its operator was not told.
    ConfirmedAndCrashed,
    /// An agent got online with an api_key that was pasted.
    Pasted,
}

#[derive(Debug, Default)]
pub(super) struct Sights {
    seen: BTreeSet<Sight>,
    crashes: Vec<Point>,
    is_frozen: bool,
    online: BTreeSet<OrgId>,
    /// Agents that were online, and of them those that began anew.
    were_online: BTreeSet<usize>,
    began_anew: BTreeSet<usize>,
    /// The newest message of each kind that was delivered.
    newest: BTreeMap<Kind, usize>,
    confirmed: BTreeSet<usize>,
    /// Whether the message that is being delivered is an attacker's.
    is_forged: bool,
    used: BTreeSet<SecretHash>,
}

impl Sights {
    /// What comes now does not count.
    pub(super) const fn freeze(&mut self) {
        self.is_frozen = true;
    }

    pub(super) fn into_parts(self) -> (BTreeSet<Sight>, Vec<Point>) {
        (self.seen, self.crashes)
    }

    /// Looks at an event; the model does not know of it yet.
    pub(super) fn look(&mut self, event: &Event, model: &Model) {
        if self.is_frozen {
            return;
        }
        match &event.what {
            What::Delivered { message, kind, is_forged, times, .. } => {
                self.is_forged = *is_forged;
                let newest = self.newest.entry(*kind).or_insert(*message);
                let is_late = *message < *newest && *times == 1;
                *newest = *message.max(newest);
                self.see(Sight::Reordered, is_late);
                self.see(Sight::Duplicate, *times > 1 && !kind.is_reply());
                self.see(Sight::ChallengeTwice, *times > 1 && *kind == Kind::Complete);
            }
            What::Wrote { id, call, write, .. } => {
                self.see(Sight::Stale, write.is_stale);
                if !write.is_done {
                    return;
                }
                match call {
                    Call::Revoke(revoke) => {
                        let mut sessions = write.before.sessions.values();
                        let is_live = sessions.any(|session| {
                            session.agent_id == revoke.agent_id && session.expires_at > event.now
                        });
                        self.see(Sight::LiveSessionRevoked, is_live);
                    }
                    Call::Cancel(enrollment, _) => {
                        let row = write.before.enrollments.get(enrollment);
                        let waits = row.is_some_and(|row| row.record.agent_id.is_some());
                        self.see(Sight::CancelledWhileWaiting, waits);
                    }
                    Call::Sweep => self.see(Sight::Expired, true),
                    Call::Confirm(_) if write.before.api_keys != write.after.api_keys => {
                        self.confirmed.insert(*id);
                    }
                    Call::Confirm(_)
                    | Call::CreateCode(_)
                    | Call::Register(_)
                    | Call::Begin(_)
                    | Call::Complete(_)
                    | Call::Authenticate(_)
                    | Call::TakeOver(_) => {}
                }
            }
            What::Answered { call, result: Ok(reply), .. } => self.accepted(call, reply, model),
            What::Answered { call, result: Err(error), .. } => self.refused(event, call, error, model),
            What::Lost { id, .. } => {
                self.see(Sight::ServerCrashedInACall, true);
                let is_confirmed = self.confirmed.contains(id);
                self.see(Sight::ConfirmedAndCrashed, is_confirmed);
            }
            What::ServerCrashed { at } => {
                self.see(Sight::ServerCrashedAtAPoint, at.is_some());
                self.crashes.extend(at);
            }
            What::Stepped { agent, outcome, before, is_renewal, .. } => {
                self.see(Sight::Renewed, *is_renewal);
                if matches!(outcome, Outcome::Online) {
                    self.were_online.insert(*agent);
                    let anew = self.began_anew.contains(agent);
                    self.see(Sight::EnrolledAgain, anew);
                }
                let had_none = before.as_ref().is_some_and(|before| before.api_key.is_none());
                self.see(Sight::Pasted, had_none && matches!(outcome, Outcome::Online));
                match outcome {
                    Outcome::Crashed(at) => {
                        self.see(Sight::AgentCrashedAtAPoint, at.is_some());
                        self.crashes.extend(at);
                    }
                    Outcome::Failed(AgentError::Handshake(error)) => {
                        self.see(Sight::StaleReply, matches!(error, HandshakeError::Stale { .. }));
                        self.see(Sight::OldManifest, matches!(error, HandshakeError::Succession(_)));
                        self.see(Sight::ForgedReplyRefused, self.is_forged);
                    }
                    Outcome::Failed(AgentError::Enroll(error)) => {
                        self.see(Sight::OldManifest, matches!(error, EnrollError::Succession(_)));
                        self.see(Sight::ForgedReplyRefused, self.is_forged);
                    }
                    Outcome::Waiting(_) | Outcome::Enrollment(_) | Outcome::Online | Outcome::Failed(_) => {}
                }
                self.is_forged = false;
            }
            What::Wiped { agent } => {
                if self.were_online.contains(agent) {
                    self.began_anew.insert(*agent);
                }
            }
            What::Called { .. } | What::Stopped { .. } | What::Reissued { .. } => {}
        }
    }

    fn accepted(&mut self, call: &Call, reply: &Reply, model: &Model) {
        let Reply::Caller(caller) = reply else { return };
        self.online.insert(caller.org_id);
        self.see(Sight::Online, true);
        let both = self.online.len() > 1;
        self.see(Sight::BothOrganizationsOnline, both);
        if let Call::Authenticate(token) = call {
            self.used.insert(*token);
            let sessions = model.sessions.get(&caller.agent_id);
            let is_newest = sessions.and_then(|s| s.last()).is_some_and(|s| s.token == *token);
            self.see(Sight::Overlapped, !is_newest);
        }
    }

    fn refused(&mut self, event: &Event, call: &Call, error: &ServerError, model: &Model) {
        self.see(Sight::ForgedRequestRefused, self.is_forged);
        self.is_forged = false;
        let of = match call {
            Call::Authenticate(token) | Call::TakeOver(token) => model.holders.get(token).copied(),
            Call::Complete(request) => model.challenges.get(&request.challenge).map(|(agent, _)| *agent),
            Call::Begin(request) => {
                let mut agents = event.store.agents.values();
                let same = agents.find(|row| *row.record.keys.identity().as_bytes() == request.identity);
                same.map(|row| row.record.id)
            }
            Call::CreateCode(_)
            | Call::Register(_)
            | Call::Confirm(_)
            | Call::Cancel(..)
            | Call::Revoke(_)
            | Call::Sweep => None,
        };
        self.see(Sight::ReplayedAfterRevoke, of.is_some_and(|agent| model.revoked.contains(&agent)));
        match (call, error) {
            (Call::Authenticate(token), _) => {
                let had =
                    self.used.contains(token) && of.is_some_and(|agent| !model.revoked.contains(&agent));
                self.see(Sight::SessionEnded, had);
            }
            (_, ServerError::Register(RegisterError::SecondUse)) => self.see(Sight::SecondUse, true),
            (_, ServerError::Register(RegisterError::NameTaken)) => self.see(Sight::NameTaken, true),
            (_, ServerError::Confirm(ConfirmError::WrongFingerprint)) => {
                self.see(Sight::WrongFingerprint, true);
            }
            (
                Call::Confirm(_) | Call::Cancel(..) | Call::Revoke(_),
                ServerError::Confirm(ConfirmError::NotFound { .. })
                | ServerError::End(crate::enrollment::server::EndError::NotFound { .. })
                | ServerError::Revoke(crate::enrollment::server::RevokeError::NotFound { .. }),
            ) => self.see(Sight::ForeignOperator, true),
            _ => {}
        }
    }

    fn see(&mut self, sight: Sight, is_there: bool) {
        if is_there {
            self.seen.insert(sight);
        }
    }
}
