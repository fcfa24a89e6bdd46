//! The model: its states, its steps, and how far it goes.

use std::sync::Mutex;

use fleet_core::id::AgentId;
use fleet_core::store::{AgentStatus, ChallengeRecord, EnrollmentState};
use stateright::{Model, Property};

use crate::agent::{Agent, Phase};
use crate::attacker::{Awaits, Known};
use crate::bugs::Bug;
use crate::cast::{Body, Holder, Message, at};
use crate::fleet::Fleet;
use crate::intern::Id;
use crate::properties;
use crate::server::{Op, Outcome, Read};
use crate::tables::Tables;

/// How far a run goes. Within these bounds it visits every state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The moments at which anything happens, in seconds since the beginning.
    pub(crate) times: &'static [u64],
    /// The honest agent is enrolled when the run begins.
    pub(crate) enrolled: bool,
    /// With which keys the honest agent enrolls.
    pub(crate) holders: &'static [Holder],
    /// How many handshakes it begins with each set of keys.
    pub(crate) handshakes: u8,
    /// How many Begins the server answers to the attacker's own agent, and to others.
    pub(crate) begins: [u8; 2],
    /// How many calls read the store at one moment and commit at a later one.
    pub(crate) races: u8,
    /// How often the manifest is issued anew.
    pub(crate) reissues: u8,
    /// Whose agents may be revoked.
    pub(crate) revocable: &'static [Holder],
    /// Enrollments may be cancelled.
    pub(crate) cancels: bool,
    /// The attacker has every code as soon as it is made.
    pub(crate) codes_stolen: bool,
    /// It makes a difference whether a second use of a code was noted.
    pub(crate) second_uses: bool,
    /// What must be seen to happen.
    pub(crate) reaches: &'static [properties::Reach],
}

/// A call that has read the store and not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    op: Op,
    read: Read,
}

/// What the server keeps, what the honest agent keeps, what was sent, and the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) time: u8,
    pub(crate) tables: Id<Tables>,
    pub(crate) agent: Id<Agent>,
    pub(crate) known: Id<Known>,
    pub(crate) flight: Option<Flight>,
    /// The challenges that sessions were made for, in no order.
    pub(crate) accepted: Id<Vec<Id<ChallengeRecord>>>,
    /// Whose fingerprints an operator typed, as [`Holder::bit`]s.
    pub(crate) typed: u8,
    begins: [u8; 2],
    races: u8,
    reissues: u8,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The server serves a call at once.
    Serve(Op),
    /// The server serves a call as far as its commit.
    Read(Op),
    /// That call commits.
    Commit,
    /// Time passes.
    Tick,
    /// The honest agent makes keys and registers.
    Enroll(Holder),
    /// An answer to Register arrives, and the agent's process lives on or dies before anybody agreed to join.
    Answer(Id<Message>, bool),
    /// The honest agent begins a handshake; one that was under way is given up.
    Handshake,
    /// An answer to Begin arrives.
    Challenge(Id<Message>),
    /// An answer to Complete arrives.
    Session(Id<Message>),
}

pub(crate) struct FleetModel {
    pub(crate) bounds: Bounds,
    pub(crate) fleet: Mutex<Fleet>,
}

impl FleetModel {
    pub(crate) fn new(bounds: Bounds, bug: Option<Bug>) -> Self {
        Self { bounds, fleet: Mutex::new(Fleet::new(bounds, bug)) }
    }

    /// An organization, the attacker's agent in it, and what was sent for that.
    fn beginning(&self, fleet: &mut Fleet) -> State {
        let insider = Holder::Insider;
        let keys = fleet.cast.public(insider).by_role().map(|(_, key)| *key);
        let token = fleet.cast.code(insider).expose().to_owned();
        let request = fleet.prove(&token, "site-9", keys, [insider; 2], [None; 2]);
        let register = Op::Register(fleet.messages.id(Body::Register(request).into()));
        let mut state = State {
            time: 0,
            tables: fleet.founded(),
            agent: fleet.hosts.id(Agent::new()),
            known: fleet.known.id(Vec::new()),
            flight: None,
            accepted: fleet.accepted.id(Vec::new()),
            typed: 0,
            begins: [0; 2],
            races: 0,
            reissues: 0,
        };
        let serve = |state: &mut State, fleet: &mut Fleet, op| {
            *state = self.step(fleet, *state, Action::Serve(op)).expect("an honest step");
        };
        serve(&mut state, fleet, Op::CreateCode(insider));
        serve(&mut state, fleet, register);
        let id = agent_of(fleet, state.tables, insider).expect("registered");
        serve(&mut state, fleet, Op::Confirm(insider, id));
        serve(&mut state, fleet, register);
        if self.bounds.enrolled {
            let first = Holder::First;
            serve(&mut state, fleet, Op::CreateCode(first));
            state = self.step(fleet, state, Action::Enroll(first)).unwrap();
            let register = fleet.fresh(first);
            let register = Op::Register(fleet.register(register));
            serve(&mut state, fleet, register);
            let last = |fleet: &Fleet, state: &State| *fleet.known.get(state.known).last().unwrap();
            let answer = last(fleet, &state);
            state = self.step(fleet, state, Action::Answer(answer, true)).unwrap();
            let id = agent_of(fleet, state.tables, first).unwrap();
            serve(&mut state, fleet, Op::Confirm(first, id));
            serve(&mut state, fleet, register);
            let answer = last(fleet, &state);
            state = self.step(fleet, state, Action::Answer(answer, true)).unwrap();
        }
        state
    }

    const fn now(&self, state: &State) -> u64 {
        self.bounds.times[state.time as usize]
    }

    /// One step; `None` if it changes nothing.
    fn step(&self, fleet: &mut Fleet, before: State, action: Action) -> Option<State> {
        let mut state = before;
        let now = self.now(&state);
        match action {
            Action::Serve(op) => {
                let draw = Self::draw(fleet, &state, op);
                let outcome = fleet.call(op, state.tables, now, draw, state.flight.is_some())?;
                state.asked(fleet, op);
                state.done(fleet, outcome);
            }
            Action::Read(op) => {
                let draw = Self::draw(fleet, &state, op);
                let (tables, taken) = fleet.take(op, state.tables, true);
                let read = Read { found: fleet.load(op, taken, tables), taken, now, draw };
                // One that is refused has nothing to commit.
                fleet.decide(op, read)?;
                state.asked(fleet, op);
                state.tables = tables;
                state.flight = Some(Flight { op, read });
                state.races += 1;
            }
            Action::Commit => {
                let Flight { op, read } = state.flight.take()?;
                if let Some(outcome) = fleet.land(op, read, state.tables, now) {
                    state.done(fleet, outcome);
                }
                state.tables = fleet.settled(state.tables);
            }
            Action::Tick => state.time += 1,
            Action::Enroll(holder) => {
                let disk = fleet.fresh(holder);
                let register = fleet.register(disk);
                state.host(fleet, |agent| {
                    *agent = Agent {
                        disk: Some(disk),
                        online: core::mem::take(&mut agent.online),
                        ..Agent::new()
                    };
                });
                state.sent(fleet, register);
            }
            Action::Answer(message, joins) => {
                let answered = fleet.answered(fleet.hosts.get(state.agent).disk?, message, joins);
                state.host(fleet, |agent| {
                    agent.disk = Some(answered.disk);
                    agent.accept(answered.epoch);
                });
            }
            Action::Handshake => {
                let agent = fleet.hosts.get(state.agent);
                let begin = fleet.begin(agent.disk?, agent.begun)?;
                state.host(fleet, |agent| {
                    agent.phase = Phase::Begun { sent: now, nonce: agent.begun };
                    agent.begun += 1;
                });
                state.sent(fleet, begin);
            }
            Action::Challenge(message) => {
                let agent = fleet.hosts.get(state.agent);
                let Phase::Begun { sent, nonce } = agent.phase else { return None };
                let challenged = fleet.challenged(agent.disk?, nonce, now - sent, message);
                state.host(fleet, |agent| {
                    agent.disk = Some(challenged.disk);
                    agent.accept(challenged.epoch);
                    agent.phase = match challenged.complete {
                        Some((complete, true)) => {
                            Phase::Signed { sent, nonce, challenge: message, complete, at: now }
                        }
                        Some((_, false)) | None => Phase::Idle,
                    };
                });
                if let Some((complete, _)) = challenged.complete {
                    state.sent(fleet, complete);
                }
            }
            Action::Session(message) => {
                let agent = fleet.hosts.get(state.agent);
                let Phase::Signed { sent, nonce, challenge, complete, at } = agent.phase else { return None };
                let (disk, took) = (agent.disk?, (at - sent, now - at));
                let online = fleet.comes_online(disk, nonce, challenge, took, message);
                let holder = fleet.disks.get(disk).holder;
                state.host(fleet, |agent| {
                    agent.phase = Phase::Idle;
                    if online {
                        agent.online.push((holder, complete));
                    }
                });
            }
        }
        (state != before).then_some(state)
    }

    /// Numbers what a call draws at random, so that no two calls draw the same.
    fn draw(fleet: &Fleet, state: &State, op: Op) -> u8 {
        if let Op::Begin(message) = op {
            state.begins[group(fleet, message)]
        } else if let Op::Complete(_) = op {
            u8::try_from(fleet.accepted.get(state.accepted).len()).expect("few sessions")
        } else {
            0
        }
    }

    /// What people, clocks and the honest agent may do.
    fn honest(&self, fleet: &mut Fleet, state: &State, actions: &mut Vec<Action>, calls: &mut Vec<Op>) {
        let (bounds, facts) = (&self.bounds, fleet.facts(state.tables));
        let agent = fleet.hosts.get(state.agent);
        let disk = agent.disk.map(|disk| fleet.disks.get(disk));
        let enrolled = |holder| facts.enrollments.iter().find(|e| e.holder == holder);
        for (at_, holder) in bounds.holders.iter().enumerate() {
            let Some(enrollment) = enrolled(*holder) else {
                // A second code is made when the first one led nowhere, or to an agent that was revoked.
                let over = at_ == 0
                    || enrolled(bounds.holders[at_ - 1]).is_some_and(|first| match first.state {
                        EnrollmentState::Cancelled | EnrollmentState::Expired => true,
                        EnrollmentState::Confirmed => facts.agents.iter().any(|(id, status, _)| {
                            Some(*id) == first.agent && *status == AgentStatus::Revoked
                        }),
                        EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation => false,
                    });
                if over {
                    calls.push(Op::CreateCode(*holder));
                }
                continue;
            };
            if disk.as_ref().is_none_or(|disk| disk.holder < *holder) {
                actions.push(Action::Enroll(*holder));
            }
            let waits =
                matches!(enrollment.state, EnrollmentState::Pending | EnrollmentState::AwaitingConfirmation);
            // The operator types what the agent shows, and the agent shows nothing before it has an answer.
            let shown = disk.as_ref().is_some_and(|disk| disk.holder == *holder && disk.manifest.is_some());
            match enrollment.agent {
                Some(id) if shown && enrollment.state == EnrollmentState::AwaitingConfirmation => {
                    calls.push(Op::Confirm(*holder, id));
                }
                Some(_) | None => {}
            }
            if waits && bounds.cancels {
                calls.push(Op::Cancel(*holder));
            }
            if waits && enrollment.expires_at <= at(self.now(state)) {
                calls.push(Op::Expire(*holder));
            }
        }
        for (id, status, holder) in &facts.agents {
            if *status == AgentStatus::Confirmed
                && holder.is_some_and(|holder| bounds.revocable.contains(&holder))
            {
                calls.push(Op::Revoke(*id));
            }
        }
        if state.reissues < bounds.reissues {
            calls.push(Op::Reissue);
        }
        if usize::from(state.time) + 1 < bounds.times.len() {
            actions.push(Action::Tick);
        }
        if state.flight.is_some() {
            actions.push(Action::Commit);
        }
        if disk.is_some_and(|disk| disk.api_key.is_some()) && agent.begun < bounds.handshakes {
            actions.push(Action::Handshake);
        }
    }

    /// What the attacker may deliver.
    fn attacks(&self, fleet: &mut Fleet, state: &State, actions: &mut Vec<Action>, calls: &mut Vec<Op>) {
        let knows = fleet.knows(state.known, fleet.stolen(state));
        let allowed = |op: &&Op| {
            let Op::Begin(message) = op else { return true };
            let group = group(fleet, *message);
            state.begins[group] < self.bounds.begins[group]
        };
        calls.extend(knows.calls.iter().filter(allowed));
        let agent = fleet.hosts.get(state.agent);
        let Some(disk) = agent.disk.map(|disk| fleet.disks.get(disk)) else { return };
        let awaits = match agent.phase {
            Phase::Idle if disk.api_key.is_none() => Awaits::Registered,
            Phase::Idle => return,
            Phase::Begun { nonce, .. } => Awaits::Challenge(nonce),
            Phase::Signed { .. } => Awaits::Session,
        };
        for message in fleet.answers(state.known, disk.holder, disk.agent_id, awaits).iter() {
            match awaits {
                Awaits::Registered => {
                    actions.push(Action::Answer(*message, true));
                    if disk.manifest.is_none() {
                        actions.push(Action::Answer(*message, false));
                    }
                }
                Awaits::Challenge(_) => actions.push(Action::Challenge(*message)),
                Awaits::Session => actions.push(Action::Session(*message)),
            }
        }
    }
}

impl State {
    /// A call was made.
    fn asked(&mut self, fleet: &Fleet, op: Op) {
        match op {
            Op::Begin(message) => self.begins[group(fleet, message)] += 1,
            Op::Confirm(holder, _) => self.typed |= holder.bit(),
            Op::Reissue => self.reissues += 1,
            Op::CreateCode(_) | Op::Register(_) | Op::Cancel(_) | Op::Expire(_) | Op::Revoke(_) => {}
            Op::Complete(_) | Op::Call(_) | Op::Stream(_) => {}
        }
    }

    /// A call was answered.
    fn done(&mut self, fleet: &mut Fleet, outcome: Outcome) {
        self.tables = outcome.tables;
        if let Some(challenge) = outcome.accepted {
            let mut accepted = (*fleet.accepted.get(self.accepted)).clone();
            accepted.push(challenge);
            accepted.sort_unstable();
            self.accepted = fleet.accepted.id(accepted);
        }
        if let Some(reply) = outcome.reply {
            self.sent(fleet, reply);
        }
    }

    /// The attacker has one more message.
    fn sent(&mut self, fleet: &mut Fleet, message: Id<Message>) {
        let mut known = (*fleet.known.get(self.known)).clone();
        if let Err(place) = known.binary_search(&message) {
            known.insert(place, message);
            self.known = fleet.known.id(known);
        }
    }

    fn host(&mut self, fleet: &mut Fleet, change: impl FnOnce(&mut Agent)) {
        let mut agent = (*fleet.hosts.get(self.agent)).clone();
        change(&mut agent);
        self.agent = fleet.hosts.id(agent);
    }
}

/// Whose Begin it is: 0 for the attacker's own keys, 1 for others.
fn group(fleet: &Fleet, message: Id<Message>) -> usize {
    let identity = fleet.messages.get(message).body.begin().expect("a Begin").identity;
    usize::from(fleet.cast.holder_of(&identity).is_some_and(Holder::is_honest))
}

/// The agent that registered under somebody's code.
fn agent_of(fleet: &Fleet, tables: Id<Tables>, holder: Holder) -> Option<AgentId> {
    fleet.facts(tables).enrollments.iter().find(|e| e.holder == holder)?.agent
}

impl Model for FleetModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.beginning(&mut self.fleet.lock().unwrap())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let fleet = &mut *self.fleet.lock().unwrap();
        let mut calls = Vec::new();
        self.honest(fleet, state, actions, &mut calls);
        self.attacks(fleet, state, actions, &mut calls);
        actions.extend(calls.iter().map(|op| Action::Serve(*op)));
        if state.flight.is_none() && state.races < self.bounds.races {
            let races = |op: &&Op| !matches!(op, Op::CreateCode(_) | Op::Expire(_) | Op::Call(_));
            actions.extend(calls.iter().filter(races).map(|op| Action::Read(*op)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        self.step(&mut self.fleet.lock().unwrap(), *last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.bounds)
    }

    fn format_action(&self, action: &Action) -> String {
        let fleet = &*self.fleet.lock().unwrap();
        match action {
            Action::Serve(op) => format!("the server serves {}", fleet.describe(*op)),
            Action::Read(op) => format!("the server reads for {}", fleet.describe(*op)),
            Action::Commit => "the server commits it".to_owned(),
            Action::Tick => "time passes".to_owned(),
            Action::Enroll(holder) => format!("the agent enrolls with its {holder:?} keys"),
            Action::Answer(message, joins) => {
                format!(
                    "the agent is answered {}{}",
                    fleet.tell(*message),
                    if *joins { "" } else { ", and dies" }
                )
            }
            Action::Handshake => "the agent begins a handshake".to_owned(),
            Action::Challenge(message) | Action::Session(message) => {
                format!("the agent is answered {}", fleet.tell(*message))
            }
        }
    }
}
