//! What an honest agent and its operator do next.

use core::time::Duration;

use super::agent::Trouble;
use super::world::{IssuedCode, ORGS, Org};
use super::{Call, Simulation};
use crate::code::{EnrollmentCode, SecretHash};
use crate::driver::ServerError;
use crate::enrollment::server::{Confirm, Operator};
use crate::fingerprint::Fingerprint;
use crate::id::{AgentId, EnrollmentId};
use crate::store::EnrollmentState;

/// The next thing that brings an agent online, or keeps it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// A message that is under way arrives.
    Deliver(usize),
    /// A call that was stopped goes on.
    Resume(usize),
    /// The call hangs.
    GiveUp,
    /// A new code, and a new beginning.
    NewCode,
    Enroll,
    Confirm(EnrollmentId),
    Poll,
    Paste(EnrollmentId),
    Handshake,
    Call(SecretHash),
}

/// Agents ask every 2 s (protocol section 4 step 3).
const BETWEEN: Duration = Duration::from_secs(2);
/// What an agent needs to get online, with much to spare: a code is not carried to it on its last minutes.
pub(super) const ROOM: Duration = Duration::from_secs(600);
/// How many steps an agent without bad luck needs, twice over.
const STEPS: usize = 32;

impl Simulation<'_> {
    /// The next step of an agent.
    pub(super) fn go(&mut self, agent: usize, pause: Option<u8>) {
        let wish = self.wish(agent);
        self.fulfil(agent, wish, pause);
    }

    /// Steps until the agent has made a call under a session.
    pub(super) fn online(&mut self, agent: usize) {
        for _ in 0..STEPS {
            if self.is_online(agent) {
                break;
            }
            self.go(agent, None);
        }
    }

    /// Whether a call under the agent's newest session was accepted.
    pub(super) fn is_online(&self, agent: usize) -> bool {
        let agent = &self.agents[agent];
        agent.waits_for.is_none() && agent.online.is_some() && agent.is_used
    }

    pub(super) fn wish(&self, agent: usize) -> Wish {
        let it = &self.agents[agent];
        if let Some(request) = it.waits_for {
            let answer = self.messages.iter().position(|m| m.answers == Some(request) && m.delivered == 0);
            let call = self.calls.iter().position(|call| call.request == Some(request));
            return match (answer, call) {
                (Some(answer), _) => Wish::Deliver(answer),
                (None, Some(call)) => Wish::Resume(call),
                (None, None) if self.messages[request].delivered == 0 => Wish::Deliver(request),
                (None, None) => Wish::GiveUp,
            };
        }
        let code = self.codes.iter().find(|code| it.code.is_some() && code.hash() == it.code);
        match it.trouble {
            Some(Trouble::NeedsApiKey) => {
                let pasted = code.filter(|code| self.pasted.contains_key(&code.new.enrollment_id));
                return pasted.map_or(Wish::NewCode, |code| Wish::Paste(code.new.enrollment_id));
            }
            Some(Trouble::TurnedAway) => return Wish::NewCode,
            Some(Trouble::NameTaken) => return Wish::Enroll,
            None => {}
        }
        if let Some(online) = &it.online {
            return if it.is_used { Wish::Handshake } else { Wish::Call(online.session.token.hash()) };
        }
        if it.state().is_some_and(|state| state.api_key.is_some()) {
            return Wish::Handshake;
        }
        match code {
            None => Wish::NewCode,
            Some(_) if it.enrolling.is_none() => Wish::Enroll,
            Some(code) if self.awaits_confirmation(code.new.enrollment_id) => {
                Wish::Confirm(code.new.enrollment_id)
            }
            Some(_) => Wish::Poll,
        }
    }

    pub(super) fn fulfil(&mut self, agent: usize, wish: Wish, pause: Option<u8>) {
        match wish {
            Wish::Deliver(message) => self.deliver(message, None, pause),
            Wish::Resume(call) => self.resume(call, pause),
            Wish::GiveUp => self.give_up(agent),
            Wish::NewCode => {
                self.wipe(agent);
                let is_good = |code: &IssuedCode| !code.is_given && self.is_good(code.new.enrollment_id);
                let mut at = self.codes.iter().rposition(is_good);
                if at.is_none() {
                    // Every agent begins in an organization of its own; one that begins anew comes to the next.
                    let operator = self.operator(agent + self.agents[agent].beginnings);
                    self.call(Call::CreateCode(operator), None, None);
                    at = self.codes.iter().rposition(|code| !code.is_given);
                }
                if let Some(at) = at {
                    self.codes[at].is_given = true;
                    self.agents[agent].code = self.codes[at].hash();
                }
            }
            Wish::Enroll => {
                self.pass(BETWEEN);
                let it = &mut self.agents[agent];
                if it.trouble.take() == Some(Trouble::NameTaken) {
                    it.name.push('+');
                }
                let (name, hash) = (it.name.clone(), it.code);
                let code = self.codes.iter().find(|code| code.hash() == hash).map(IssuedCode::carried);
                if let Some(code) = code {
                    self.enroll(agent, code, &name);
                }
            }
            Wish::Confirm(enrollment) => {
                let issued = self.codes.iter().find(|code| code.new.enrollment_id == enrollment);
                let own = |org: &&Org| issued.is_some_and(|issued| issued.org == org.operator.org_id);
                let operator = self.orgs.iter().find(own).map(|org| org.operator.clone());
                if let (Some(operator), Some(shown)) = (operator, self.agents[agent].fingerprint()) {
                    self.confirm(enrollment, operator, shown, pause);
                }
            }
            Wish::Poll => {
                self.pass(BETWEEN);
                self.poll(agent);
            }
            Wish::Paste(enrollment) => {
                self.pass(BETWEEN);
                let api_key = self.pasted.get(&enrollment).cloned();
                self.handshake(agent, api_key);
            }
            Wish::Handshake => {
                self.pass(BETWEEN);
                self.handshake(agent, None);
            }
            Wish::Call(token) => self.call(Call::Authenticate(token), None, pause),
        }
    }

    /// The operator of an organization.
    pub(super) fn operator(&self, org: usize) -> Operator {
        self.orgs[org % ORGS].operator.clone()
    }

    /// An operator types a fingerprint for whoever registered. Nothing happens if nobody did.
    pub(super) fn confirm(
        &mut self,
        enrollment_id: EnrollmentId,
        operator: Operator,
        fingerprint: Fingerprint,
        pause: Option<u8>,
    ) {
        if let Some(agent_id) = self.registered(enrollment_id) {
            let confirm = Confirm { operator, agent_id, enrollment_id, fingerprint, certificate: None };
            self.call(Call::Confirm(confirm), None, pause);
        }
    }

    /// Who registered, as the operator's list shows it.
    pub(super) fn registered(&self, enrollment: EnrollmentId) -> Option<AgentId> {
        self.meter.dump().enrollments.get(&enrollment)?.record.agent_id
    }

    /// Whether the operator's list shows a code as unused, with time left.
    fn is_good(&self, enrollment: EnrollmentId) -> bool {
        self.meter.dump().enrollments.get(&enrollment).is_some_and(|row| {
            let expires_at = row.record.expires_at;
            row.record.state == EnrollmentState::Pending && expires_at > self.now().saturating_add(ROOM)
        })
    }

    fn awaits_confirmation(&self, enrollment: EnrollmentId) -> bool {
        let dump = self.meter.dump();
        let state = dump.enrollments.get(&enrollment).map(|row| row.record.state);
        state == Some(EnrollmentState::AwaitingConfirmation)
    }

    /// A call under a session was answered: whoever holds that session notices.
    pub(super) fn called(&mut self, token: SecretHash, result: Result<(), &ServerError>) {
        let same = |online: &crate::handshake::agent::Online| online.session.token.hash() == token;
        for agent in &mut self.agents {
            if agent.online.as_ref().is_some_and(same) {
                match result {
                    Ok(()) => agent.is_used = true,
                    Err(_) => agent.online = None,
                }
            }
        }
    }

    /// The faults stop: nothing crashes or hangs any more, nothing that was sent before arrives, and nobody believes
    /// to be online.
    pub(super) fn calm_down(&mut self) {
        self.crash.disarm();
        self.agents.iter().for_each(|agent| agent.crash.disarm());
        while !self.calls.is_empty() {
            self.resume(0, None);
        }
        for agent in 0..self.agents.len() {
            self.give_up(agent);
            let it = &mut self.agents[agent];
            (it.online, it.is_used) = (None, false);
            // An agent that still needs people finds out again.
            it.trouble = None;
        }
        self.pass(BETWEEN);
    }
}

impl IssuedCode {
    /// As it arrives at the agent, carried by hand.
    pub(super) fn carried(&self) -> EnrollmentCode {
        self.new.code.clone().expect("the roots are managed")
    }
}
