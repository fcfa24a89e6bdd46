//! From an action to what it does.

use core::time::Duration;

use super::world::{AGENTS, IssuedCode};
use super::{Action, Body, Call, Change, Field, Kind, Peer, Simulation};
use crate::enrollment::RegisterRequest;
use crate::enrollment::server::{Operator, Revoke};
use crate::id::EnrollmentId;
use crate::keys::{AgentSecretKeys, Signature};
use crate::name::Name;

/// How many names an action chooses from.
const NAMES: u8 = 8;

impl Simulation<'_> {
    /// One thing happens; [`Simulation::take_event`] says what it came to.
    pub fn apply(&mut self, action: &Action) {
        match *action {
            Action::Go { agent, pause } => self.go(number(agent), pause),
            Action::Online { agent } => self.online(number(agent)),
            Action::Code { org } => self.call(Call::CreateCode(self.operator(org.into())), None, None),
            Action::Enroll { agent, code, name } => {
                let Some(at) = back(self.codes.len(), code) else { return };
                let issued = &mut self.codes[at];
                issued.is_given = true;
                let code = issued.carried();
                self.enroll(number(agent), code, &site(name));
            }
            Action::Poll { agent } => self.poll(number(agent)),
            Action::Handshake { agent } => self.handshake(number(agent), None),
            Action::Paste { agent } => {
                let agent = number(agent);
                let code = self.codes.iter().find(|code| code.hash() == self.agents[agent].code);
                let api_key = code.and_then(|code| self.pasted.get(&code.new.enrollment_id)).cloned();
                if api_key.is_some() {
                    self.handshake(agent, api_key);
                }
            }
            Action::GiveUp { agent } => self.give_up(number(agent)),
            Action::Wipe { agent } => self.wipe(number(agent)),
            Action::Confirm { code, by, shown, pause } => {
                let Some((enrollment, by)) = self.asked(code, by) else { return };
                if let Some(shown) = self.agents[number(shown)].fingerprint() {
                    self.confirm(enrollment, by, shown, pause);
                }
            }
            Action::Cancel { code, by, pause } => {
                if let Some((enrollment, operator)) = self.asked(code, by) {
                    self.call(Call::Cancel(enrollment, operator), None, pause);
                }
            }
            Action::Revoke { code, by, pause } => {
                let Some((enrollment, operator)) = self.asked(code, by) else { return };
                if let Some(agent_id) = self.registered(enrollment) {
                    self.call(Call::Revoke(Revoke { operator, agent_id }), None, pause);
                }
            }
            Action::Reissue { org } => self.reissue(org.into()),
            Action::Sweep { pause } => self.call(Call::Sweep, None, pause),
            Action::Deliver { back: ago, pause } => {
                if let Some(at) = back(self.messages.len(), ago) {
                    self.deliver(at, None, pause);
                }
            }
            Action::Misdeliver { back: ago, agent } => {
                if let Some(at) = self.sent(ago, |body| body.kind().is_reply()) {
                    self.deliver(at, Some(number(agent)), None);
                }
            }
            Action::Forge { field, back, change } => self.forge(field, back, change),
            Action::Thief { code, name } => self.thief(code, name),
            Action::Use { back: ago, pause } => {
                if let Some(at) = back(self.tokens.len(), ago) {
                    self.call(Call::Authenticate(self.tokens[at]), None, pause);
                }
            }
            Action::TakeOver { back: ago, pause } => {
                if let Some(at) = back(self.tokens.len(), ago) {
                    self.call(Call::TakeOver(self.tokens[at]), None, pause);
                }
            }
            Action::Resume { back: ago, pause } => {
                if let Some(at) = back(self.calls.len(), ago) {
                    self.resume(at, pause);
                }
            }
            Action::Crash { peer: Peer::Server } => self.crash_server(None),
            Action::Crash { peer: Peer::Agent(agent) } => self.crash_agent(number(agent), None),
            Action::Arm { peer: Peer::Server, point } => self.crash.arm(point),
            Action::Arm { peer: Peer::Agent(agent), point } => self.agents[number(agent)].crash.arm(point),
            Action::Pass { seconds } => self.pass(Duration::from_secs(seconds.into())),
            Action::Jump { peer, seconds } => self.jump(peer, seconds),
        }
    }

    fn issued(&self, ago: u8) -> Option<&IssuedCode> {
        self.codes.get(back(self.codes.len(), ago)?)
    }

    /// The enrollment that an operator asks about, and that operator.
    fn asked(&self, code: u8, by: u8) -> Option<(EnrollmentId, Operator)> {
        let issued = self.issued(code)?;
        let own = self.orgs.iter().position(|org| org.operator.org_id == issued.org)?;
        Some((issued.new.enrollment_id, self.operator(own + usize::from(by))))
    }

    /// A message, by how many such were sent since.
    fn sent(&self, ago: u8, is_such: impl Fn(&Body) -> bool) -> Option<usize> {
        let such: Vec<_> = (0..self.messages.len()).filter(|at| is_such(&self.messages[*at].body)).collect();
        Some(such[back(such.len(), ago)?])
    }

    fn forge(&mut self, field: Field, ago: u8, change: Change) {
        let is_such = |body: &Body| super::wire::has(body, field);
        let Some(at) = self.sent(ago, is_such) else { return };
        let other = match change {
            Change::Flip(_) => None,
            Change::From(ago) => self.sent(ago, is_such).map(|at| &self.messages[at].body),
        };
        let message = &self.messages[at];
        // A forged reply goes where the true one went.
        let agent = message.agent.filter(|_| message.body.kind().is_reply());
        if let Some(forged) = super::wire::forge(&message.body, field, change, other) {
            self.inject(forged, agent);
        }
    }

    fn thief(&mut self, code: u8, name: u8) {
        let Some(code) = self.issued(code).map(IssuedCode::carried) else { return };
        let keys = AgentSecretKeys::generate(&self.attacker).unwrap();
        let public = keys.public().unwrap().by_role().map(|(_, key)| *key);
        let name = Name::new(site(name)).unwrap();
        let make = |proofs| RegisterRequest::new(code.expose().to_owned(), name.clone(), public, proofs);
        let [identity, miner_signing] = make([Signature::from_bytes([0; 64]); 2]).transcripts();
        let proofs =
            [keys.identity.sign(identity.as_bytes()), keys.miner_signing.sign(miner_signing.as_bytes())];
        self.inject(Body::Register(make(proofs)), None);
    }
}

impl Kind {
    /// Whether it is a reply.
    #[must_use]
    pub fn is_reply(self) -> bool {
        self != self.request()
    }
}

fn number(agent: u8) -> usize {
    usize::from(agent) % AGENTS
}

fn site(name: u8) -> String {
    // Agents left alone are site-1 and site-2: a name may be taken.
    format!("site-{}", name % NAMES + 1)
}

/// The place of what came so many before the newest of `count`.
fn back(count: usize, ago: u8) -> Option<usize> {
    let ago = usize::from(ago).checked_rem(count)?;
    count.checked_sub(ago + 1)
}
