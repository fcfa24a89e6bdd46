//! What must hold in every state, and what must be seen in some.

use fleet_core::id::AgentId;
use fleet_core::store::{AgentStatus, EnrollmentState};
use stateright::Property;

use crate::agent::{Agent, Disk};
use crate::cast::{Body, Holder, Message, START};
use crate::fleet::Fleet;
use crate::intern::Id;
use crate::server::Op;
use crate::state::{Bounds, FleetModel, State};
use crate::tables::{Enrolled, Facts};

/// A property that some state must have, so that the others are not true of nothing.
pub(crate) type Reach = (&'static str, fn(&FleetModel, &State) -> bool);

pub(crate) const CONFIRMED: &str =
    "sessions are for keys whose fingerprint an operator typed, and for nobody else's";
pub(crate) const ONCE: &str = "no challenge is accepted twice";
pub(crate) const SERVER_AGREES: &str = "a session of the honest agent's is over a transcript that it signed";
pub(crate) const AGENT_AGREES: &str =
    "each time the honest agent is online, it is over a challenge of the server's own";
pub(crate) const SIGNS: &str = "the honest agent signs nothing that the server has not signed before";
pub(crate) const REVOKED: &str = "a revoked agent has no api_key, no challenge and no session";
pub(crate) const EPOCH: &str = "the honest agent accepts no manifest of a lower epoch than before";
pub(crate) const PINNED: &str = "the honest agent belongs to the organization that its code pins";
pub(crate) const BOUND: &str = "a code is bound to one set of keys";

pub(crate) const AT_MOST_TWO: &str = "an agent has at most two sessions";
pub(crate) const SEALED: &str = "the attacker opens no api_key that is the honest agent's";

/// Every property of a run.
pub(crate) fn all(bounds: &Bounds) -> Vec<Property<FleetModel>> {
    let always = [
        Property::<FleetModel>::always(CONFIRMED, |model, state| {
            let fleet = &mut *model.fleet.lock().unwrap();
            let typed =
                |holder: &Option<Holder>| holder.is_some_and(|holder| holder.bit() & state.typed != 0);
            let now = model.bounds.times[state.time as usize];
            fleet.facts(state.tables).sessions.iter().all(typed)
                && fleet.tokens_that_pass(state.tables, now) & !state.typed == 0
        }),
        Property::<FleetModel>::always(ONCE, |model, state| {
            let accepted = model.fleet.lock().unwrap().accepted.get(state.accepted);
            distinct(&accepted)
        }),
        Property::<FleetModel>::always(SERVER_AGREES, |model, state| {
            let fleet = &mut *model.fleet.lock().unwrap();
            let signed = &fleet.knows(state.known, fleet.stolen(state)).signed;
            fleet.accepted.get(state.accepted).iter().all(|id| {
                let identity = fleet.challenges.get(*id).identity;
                match fleet.cast.holder_of(identity.as_bytes()) {
                    Some(holder) if holder.is_honest() => signed.contains(&fleet.memo.recorded[id]),
                    // The attacker signs for its own agents; whether they may have sessions is another property.
                    Some(_) => true,
                    None => false,
                }
            })
        }),
        Property::<FleetModel>::always(AGENT_AGREES, |model, state| {
            let fleet = &mut *model.fleet.lock().unwrap();
            let offered = &fleet.knows(state.known, fleet.stolen(state)).offered;
            let agent = fleet.hosts.get(state.agent);
            let signed: Vec<_> =
                agent.online.iter().map(|(_, complete)| fleet.memo.signed[complete]).collect();
            signed.iter().all(|signed| offered.contains(signed)) && distinct(&signed)
        }),
        Property::<FleetModel>::always(SIGNS, |model, state| {
            let fleet = &mut *model.fleet.lock().unwrap();
            let knows = fleet.knows(state.known, fleet.stolen(state));
            knows.signed.iter().all(|signed| knows.offered.contains(signed))
        }),
        Property::<FleetModel>::always(REVOKED, |model, state| !facts(model, state).revoked_lives),
        Property::<FleetModel>::always(EPOCH, |model, state| !host(model, state).went_back),
        Property::<FleetModel>::always(PINNED, |model, state| {
            let fleet = &*model.fleet.lock().unwrap();
            let manifest = disk(fleet, state).and_then(|disk| disk.manifest);
            manifest.is_none_or(|id| {
                let pin = fleet.manifests.get(id).manifest().pin();
                pin == fleet.cast.manifest.manifest().pin()
            })
        }),
        Property::<FleetModel>::always(BOUND, |model, state| !facts(model, state).code_bound_twice),
        Property::<FleetModel>::always(AT_MOST_TWO, |model, state| {
            let sessions = &facts(model, state).sessions;
            sessions.iter().all(|one| sessions.iter().filter(|other| *other == one).count() <= 2)
        }),
        Property::<FleetModel>::always(SEALED, |model, state| {
            let fleet = &mut *model.fleet.lock().unwrap();
            let opened = &fleet.knows(state.known, fleet.stolen(state)).opened;
            let facts = fleet.facts(state.tables);
            let honest = |(id, _, holder): &&(AgentId, AgentStatus, Option<Holder>)| {
                holder.is_some_and(Holder::is_honest) && opened.contains(id)
            };
            !facts.agents.iter().any(|agent| honest(&agent))
        }),
    ];
    let sometimes =
        bounds.reaches.iter().map(|(name, holds)| Property::<FleetModel>::sometimes(name, *holds));
    always.into_iter().chain(sometimes).collect()
}

pub(crate) const ONLINE: Reach =
    ("the honest agent is online", |model, state| !host(model, state).online.is_empty());

pub(crate) const RENEWED: Reach = ("the honest agent has renewed its session", |model, state| {
    let first = |(holder, _): &&(Holder, Id<Message>)| *holder == Holder::First;
    host(model, state).online.iter().filter(first).count() > 1
});

pub(crate) const ENROLLED_ANEW: Reach = ("the honest agent is online with new keys", |model, state| {
    host(model, state).online.iter().any(|(holder, _)| *holder == Holder::Second)
});

pub(crate) const REVOKED_ONLINE: Reach =
    ("the honest agent is revoked after it was online", |model, state| {
        !host(model, state).online.is_empty() && has(model, state, Some(Holder::First), AgentStatus::Revoked)
    });

pub(crate) const SESSION_IN_USE: Reach =
    ("a token of the honest agent's passes the server's check", |model, state| {
        let now = model.bounds.times[state.time as usize];
        model.fleet.lock().unwrap().tokens_that_pass(state.tables, now) & Holder::First.bit() != 0
    });

pub(crate) const INSIDER_ONLINE: Reach = ("the attacker's agent has a session", |model, state| {
    facts(model, state).sessions.contains(&Some(Holder::Insider))
});

pub(crate) const CODE_TAKEN: Reach =
    ("the attacker's keys wait for confirmation under the honest agent's code", |m, s| {
        has(m, s, Some(Holder::Spare), AgentStatus::Pending)
    });

pub(crate) const MIXTURE: Reach =
    ("an agent with the attacker's identity and the honest sealing key waits", |m, s| {
        has(m, s, None, AgentStatus::Pending)
    });

pub(crate) const USED_AGAIN: Reach = ("a second use of a code is noted", |model, state| {
    facts(model, state).enrollments.iter().any(|enrollment| enrollment.used_again)
});

pub(crate) const MISLED: Reach = ("the honest agent was given the id of the attacker's", |model, state| {
    let fleet = &*model.fleet.lock().unwrap();
    let id = disk(fleet, state).and_then(|disk| disk.agent_id);
    id.is_some()
        && fleet
            .facts(state.tables)
            .agents
            .iter()
            .any(|(held, _, holder)| Some(*held) == id && *holder == Some(Holder::Insider))
});

pub(crate) const NEWER_MANIFEST: Reach =
    ("the honest agent holds a newer manifest than its first", |model, state| {
        host(model, state).epoch > START
    });

pub(crate) const IN_FLIGHT_LATE: Reach =
    ("a call commits after the agent that it is about was revoked", |m, s| {
        s.flight.is_some() && has(m, s, Some(Holder::First), AgentStatus::Revoked)
    });

pub(crate) const SESSION_OVER: Reach =
    ("a session of the honest agent's is over, though it is kept", |model, state| {
        let now = model.bounds.times[state.time as usize];
        facts(model, state).sessions.contains(&Some(Holder::First))
            && model.fleet.lock().unwrap().tokens_that_pass(state.tables, now) & Holder::First.bit() == 0
    });

pub(crate) const CANCELLED: Reach = ("the honest agent's enrollment is cancelled", |model, state| {
    let ended = |e: &Enrolled| e.holder == Holder::First && e.state == EnrollmentState::Cancelled;
    facts(model, state).enrollments.iter().any(ended)
});

pub(crate) const EXPIRED: Reach = ("the honest agent's enrollment is expired", |model, state| {
    let ended = |e: &Enrolled| e.holder == Holder::First && e.state == EnrollmentState::Expired;
    facts(model, state).enrollments.iter().any(ended)
});

fn facts(model: &FleetModel, state: &State) -> std::sync::Arc<Facts> {
    model.fleet.lock().unwrap().facts(state.tables)
}

fn host(model: &FleetModel, state: &State) -> std::sync::Arc<Agent> {
    model.fleet.lock().unwrap().hosts.get(state.agent)
}

fn disk(fleet: &Fleet, state: &State) -> Option<std::sync::Arc<Disk>> {
    Some(fleet.disks.get(fleet.hosts.get(state.agent).disk?))
}

fn has(model: &FleetModel, state: &State, whose: Option<Holder>, status: AgentStatus) -> bool {
    facts(model, state).agents.iter().any(|(_, held, holder)| *holder == whose && *held == status)
}

fn distinct<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(at, value)| !values[..at].contains(value))
}

impl Fleet {
    /// The codes that the attacker has by other ways than the network.
    pub(crate) fn stolen(&self, state: &State) -> u8 {
        if !self.bounds.codes_stolen {
            return 0;
        }
        self.facts(state.tables).enrollments.iter().fold(0, |bits, enrollment| bits | enrollment.holder.bit())
    }

    /// A call in words, for the path to a counterexample.
    pub(crate) fn describe(&self, op: Op) -> String {
        let whose = |id: AgentId| format!("agent {}", id.value());
        match op {
            Op::CreateCode(holder) => format!("a new code for {holder:?}"),
            Op::Register(message) | Op::Begin(message) | Op::Complete(message) => self.tell(message),
            Op::Confirm(holder, id) => {
                format!("the confirmation of {} by {holder:?}'s fingerprint", whose(id))
            }
            Op::Cancel(holder) => format!("the end of {holder:?}'s enrollment by an operator"),
            Op::Expire(holder) => format!("the end of {holder:?}'s enrollment by time"),
            Op::Revoke(id) => format!("the revocation of {}", whose(id)),
            Op::Reissue => "a new manifest".to_owned(),
            Op::Call(message) => format!("a call under {}", self.tell(message)),
            Op::Stream(message) => format!("a control stream under {}", self.tell(message)),
        }
    }

    /// A message in words.
    pub(crate) fn tell(&self, message: Id<Message>) -> String {
        let whose = |identity: &[u8; 32]| format!("{:?}", self.cast.holder_of(identity));
        let what = match &self.messages.get(message).body {
            Body::Register(m) => format!("Register of {:?} with identity {}", m.name, whose(&m.identity)),
            Body::Registered(m) => format!("Register: agent {} is {:?}", m.agent_id, m.status),
            Body::Begin(m) => format!("Begin with identity {}", whose(&m.identity)),
            Body::Challenge(m) => {
                let epoch = m.manifest.manifest.epoch - START;
                format!("Begin: certificate of agent {}, manifest {epoch}", m.certificate.0.agent_id)
            }
            Body::Complete(_) => "Complete".to_owned(),
            Body::Session(_) => "Complete: a session".to_owned(),
        };
        format!("{what} ({message:?})")
    }
}
