//! What should be true, kept apart from what the store says.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::dump::added;
use super::event::{Event, What};
use super::honest::ROOM;
use super::{AgentDump, Call, Reply, Write};
use crate::code::SecretHash;
use crate::enrollment::RegisterRequest;
use crate::fingerprint::Fingerprint;
use crate::id::{AgentId, EnrollmentId, OrgId};
use crate::store::EnrollmentState;
use crate::time::UnixMillis;

// The protocol's numbers, written down once more (sections 4 and 5): a wrong default does not pass for right.
const CODE_TTL: Duration = Duration::from_secs(3600);
const CONFIRMATION_TTL: Duration = Duration::from_secs(24 * 3600);
const SESSION_TTL: Duration = Duration::from_secs(3600);
const SESSION_OVERLAP: Duration = Duration::from_secs(60);

/// What a code was used for, who was confirmed, which sessions live. It follows from what operators and messages
/// asked for and what the server agreed to, by the protocol's rules; the store is read for the ids of new records.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Model {
    /// One for each code.
    pub enrollments: BTreeMap<EnrollmentId, Enrollment>,
    /// Every fingerprint that an operator typed and that was not refused, by the call.
    pub typed: BTreeMap<usize, Typed>,
    /// Whom each challenge was made for, and how many sessions it made.
    pub challenges: BTreeMap<[u8; 32], (AgentId, u32)>,
    /// The sessions of each agent, oldest first.
    pub sessions: BTreeMap<AgentId, Vec<Session>>,
    /// Agents whose revocation was committed.
    pub revoked: BTreeSet<AgentId>,
    /// Which agent each session is of, ended ones too.
    pub holders: BTreeMap<SecretHash, AgentId>,
}

/// One code, and what became of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enrollment {
    /// The organization whose operator made it.
    pub org: OrgId,
    /// The code's hash.
    pub code: SecretHash,
    /// Where it stands.
    pub state: EnrollmentState,
    /// When its time is up.
    pub expires_at: UnixMillis,
    /// Who registered with it, in order.
    pub bound: Vec<Bound>,
    /// Whom Register was answered for.
    pub answered: BTreeSet<Bound>,
}

/// An agent as it registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Bound {
    /// The id that the server gave.
    pub agent_id: AgentId,
    /// The keys of the request: identity, miner-signing, sealing.
    pub keys: [[u8; 32]; 3],
    /// The name of the request.
    pub name: String,
}

/// What an operator typed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Typed {
    /// The operator's organization.
    pub org: OrgId,
    /// The agent that it was typed for.
    pub agent_id: AgentId,
    /// What was typed.
    pub fingerprint: Fingerprint,
}

/// A session.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Session {
    /// Its token's hash.
    pub token: SecretHash,
    /// When it ends.
    pub expires_at: UnixMillis,
}

impl Model {
    /// Takes note of an event.
    pub fn observe(&mut self, event: &Event) {
        match &event.what {
            What::Called { id, call: Call::Confirm(confirm) } => {
                let org = confirm.operator.org_id;
                let typed = Typed { org, agent_id: confirm.agent_id, fingerprint: confirm.fingerprint };
                self.typed.insert(*id, typed);
            }
            What::Answered { id, call: Call::Confirm(_), result: Err(_), .. } => {
                self.typed.remove(id);
            }
            What::Answered {
                call: Call::Register(request), result: Ok(Reply::Registered(reply)), ..
            } => {
                if let Some(enrollment) = self.of_code(request.code()) {
                    enrollment.answered.insert(Bound::new(reply.agent_id, request));
                }
            }
            What::Wrote { call, write, was_stopped, .. } if write.is_done => {
                self.wrote(call, write, event.now, *was_stopped);
            }
            _ => {}
        }
    }

    fn wrote(&mut self, call: &Call, write: &Write, now: UnixMillis, was_stopped: bool) {
        let Write { before, after, .. } = write;
        match call {
            Call::CreateCode(operator) => {
                for row in added(&before.enrollments, &after.enrollments) {
                    let enrollment = Enrollment {
                        org: operator.org_id,
                        code: row.record.code,
                        state: EnrollmentState::Pending,
                        expires_at: now.saturating_add(CODE_TTL),
                        bound: Vec::new(),
                        answered: BTreeSet::new(),
                    };
                    self.enrollments.insert(row.record.id, enrollment);
                }
            }
            Call::Register(request) => {
                let ids: Vec<_> = added(&before.agents, &after.agents).map(|row| row.record.id).collect();
                if let (false, Some(enrollment)) = (ids.is_empty(), self.of_code(request.code())) {
                    enrollment.state = EnrollmentState::AwaitingConfirmation;
                    enrollment.expires_at = now.saturating_add(CONFIRMATION_TTL);
                    enrollment.bound.extend(ids.into_iter().map(|id| Bound::new(id, request)));
                }
            }
            Call::Begin(_) => {
                for row in after.challenges.values() {
                    self.challenges.entry(row.challenge).or_insert((row.agent_id, 0));
                }
            }
            Call::Complete(request) => {
                let new: Vec<_> = added(&before.sessions, &after.sessions).collect();
                if let Some((_, uses)) = self.challenges.get_mut(&request.challenge) {
                    *uses += u32::try_from(new.len()).unwrap_or(u32::MAX);
                }
                for row in new {
                    self.holders.insert(row.token, row.agent_id);
                    let sessions = self.sessions.entry(row.agent_id).or_default();
                    if was_stopped {
                        // The server looked at its clock some time before.
                        sessions.retain(|session| after.sessions.contains_key(&session.token));
                        for session in sessions.iter_mut() {
                            session.expires_at = after.sessions[&session.token].expires_at;
                        }
                    } else {
                        // Of the sessions that live the newest goes on for a while.
                        sessions.retain(|session| session.expires_at > now);
                        sessions.drain(..sessions.len().saturating_sub(1));
                        for session in sessions.iter_mut() {
                            session.expires_at = session.expires_at.min(now.saturating_add(SESSION_OVERLAP));
                        }
                    }
                    let expires_at =
                        if was_stopped { row.expires_at } else { now.saturating_add(SESSION_TTL) };
                    sessions.push(Session { token: row.token, expires_at });
                }
            }
            Call::TakeOver(token) => {
                let sessions = self.holders.get(token).and_then(|agent| self.sessions.get_mut(agent));
                if let Some(sessions) = sessions
                    && let Some(at) = sessions.iter().position(|session| session.token == *token)
                {
                    sessions.drain(..at);
                }
            }
            Call::Confirm(confirm) => self.end(confirm.enrollment_id, EnrollmentState::Confirmed, write),
            Call::Cancel(enrollment, _) => self.end(*enrollment, EnrollmentState::Cancelled, write),
            Call::Sweep => {
                let due =
                    before.enrollments.iter().filter(|(id, row)| after.enrollments.get(id) != Some(row));
                for (id, _) in due {
                    self.end(*id, EnrollmentState::Expired, write);
                }
            }
            Call::Revoke(revoke) => {
                self.revoked.insert(revoke.agent_id);
                self.sessions.remove(&revoke.agent_id);
            }
            Call::Authenticate(_) => {}
        }
    }

    /// A write that leaves the enrollment alone, as the note of a wrong fingerprint does, ends nothing.
    fn end(&mut self, id: EnrollmentId, state: EnrollmentState, write: &Write) {
        if let Some(enrollment) = self.enrollments.get_mut(&id)
            && write.before.enrollments.get(&id) != write.after.enrollments.get(&id)
        {
            enrollment.state = state;
        }
    }

    /// The enrollment of a code.
    pub fn of_code(&mut self, code: SecretHash) -> Option<&mut Enrollment> {
        self.enrollments.values_mut().find(|enrollment| enrollment.code == code)
    }

    /// Whether a session is to be accepted now.
    #[must_use]
    pub fn is_alive(&self, token: &SecretHash, now: UnixMillis) -> bool {
        let sessions = self.holders.get(token).and_then(|agent| self.sessions.get(agent));
        sessions.into_iter().flatten().any(|session| session.token == *token && session.expires_at > now)
    }

    /// Whether an operator of this organization typed this fingerprint for this agent.
    #[must_use]
    pub fn is_confirmed(&self, org: OrgId, agent_id: AgentId, fingerprint: &Fingerprint) -> bool {
        let same = |typed: &Typed| {
            typed.org == org && typed.agent_id == agent_id && typed.fingerprint.matches(fingerprint)
        };
        self.typed.values().any(same)
    }

    /// Whether a code is good for whoever comes first.
    #[must_use]
    pub fn is_unused(&self, code: SecretHash, now: UnixMillis) -> bool {
        self.enrollments.values().any(|known| {
            known.code == code
                && known.state == EnrollmentState::Pending
                && known.expires_at > now.saturating_add(ROOM)
        })
    }

    /// Whether an agent that keeps this must get online with the code that it has: the code is good, nobody else used
    /// it, the agent was not turned away, and nobody told it another id than its own. `has_pasted` says whether its
    /// operator holds its api_key.
    #[must_use]
    pub fn must_get_online(&self, agent: &AgentDump, now: UnixMillis, has_pasted: bool) -> bool {
        let Some(enrollment) = self.enrollments.values().find(|known| known.code == agent.code) else {
            return false;
        };
        let keys = agent.keys.by_role().map(|(_, key)| *key);
        let is_own = |bound: &Bound| {
            bound.keys == keys
                && bound.name == agent.name.as_str()
                && agent.agent_id.is_none_or(|id| id == bound.agent_id)
        };
        let is_in_time = enrollment.expires_at > now.saturating_add(ROOM);
        match enrollment.state {
            EnrollmentState::Pending => is_in_time,
            EnrollmentState::AwaitingConfirmation => is_in_time && enrollment.bound.iter().all(is_own),
            EnrollmentState::Confirmed => {
                let is_revoked = enrollment.bound.iter().any(|bound| self.revoked.contains(&bound.agent_id));
                // Sealed delivery ends with the first call under a session. Only a pasted api_key can have made one
                // for an agent that has not kept its own.
                let never_online =
                    enrollment.bound.iter().all(|b| !self.holders.values().any(|id| *id == b.agent_id));
                let has_api_key = agent.api_key.is_some() || has_pasted || never_online;
                !is_revoked && enrollment.bound.iter().all(is_own) && has_api_key
            }
            EnrollmentState::Expired | EnrollmentState::Cancelled => false,
        }
    }
}

impl Bound {
    fn new(agent_id: AgentId, request: &RegisterRequest) -> Self {
        let keys = [request.identity, request.miner_signing, request.sealing];
        Self { agent_id, keys, name: request.name.as_str().to_owned() }
    }
}

impl What {
    /// The agent that the server accepted something of, if it did.
    #[must_use]
    pub(super) fn accepted(&self, model: &Model) -> Option<AgentId> {
        let Self::Answered { call, result: Ok(reply), .. } = self else { return None };
        match (call, reply) {
            (_, Reply::Begun(reply)) => Some(reply.certificate.0.agent_id),
            (_, Reply::Completed(reply)) => model.holders.get(&reply.token.hash()).copied(),
            (_, Reply::Caller(caller)) => Some(caller.agent_id),
            (Call::Confirm(confirm), Reply::Confirmed(_)) => Some(confirm.agent_id),
            _ => None,
        }
    }
}
