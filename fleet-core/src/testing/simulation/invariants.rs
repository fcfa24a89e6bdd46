//! What holds after everything that happens, whatever happens. One function each.
//!
//! Each is given a [`Moment`]: an event, the store before and after it, and the model, which has taken note of it. The
//! last, [`an_honest_agent_gets_online_once_the_faults_stop`], is about the end of a run, and is given how each agent
//! gets on then.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Event, Outcome, What};
use super::model::{Enrollment, Model};
use super::{AgentDump, Call, Reply, Secrets, StoreDump};
use crate::code::SecretHash;
use crate::driver::{AgentError, ServerError};
use crate::enrollment::agent::EnrollError;
use crate::enrollment::server::{ConfirmError, RegisterError};
use crate::id::OrgId;
use crate::keys::RootPublicKey;
use crate::store::{ActivityKind, AgentStatus, EnrollmentState};
use crate::time::UnixMillis;

/// Something happened: the event, what led to it, and what should be true now.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Moment<'a> {
    /// What happened.
    pub event: &'a Event,
    /// The server's store after the event before.
    pub before: &'a Arc<StoreDump>,
    /// The model, which knows of the event.
    pub model: &'a Model,
    /// Everything secret that came up so far.
    pub secrets: &'a Secrets,
    /// The organizations and their roots.
    pub roots: &'a BTreeMap<OrgId, RootPublicKey>,
    /// What each call wrote so far that changed something, by its id.
    pub writes: &'a BTreeMap<usize, Vec<super::Write>>,
}

/// Whether it holds, or what was found instead.
pub type Verdict = Result<(), String>;

/// An invariant: its name, and what judges it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Invariant {
    /// The name of the function.
    pub name: &'static str,
    /// The function.
    pub holds: fn(&Moment<'_>) -> Verdict,
}

macro_rules! invariants {
    ($($name:ident),* $(,)?) => {
        /// Every invariant that is judged after each event.
        pub const ALL: &[Invariant] = &[$(Invariant { name: stringify!($name), holds: $name }),*];
    };
}

invariants! {
    a_session_exists_only_for_keys_that_the_operator_confirmed_by_fingerprint,
    a_code_binds_one_key_set_once,
    a_challenge_works_once,
    after_a_revoke_commits_nothing_is_accepted,
    a_refused_message_changes_nothing,
    no_secret_stands_in_the_store_in_clear,
    a_session_is_accepted_while_it_lives_and_no_longer,
    states_and_counters_only_move_forward,
    nobody_acts_on_another_organization,
    an_agent_keeps_to_the_organization_of_its_code,
}

/// The name of the invariant that is judged at the end.
pub const AN_HONEST_AGENT_GETS_ONLINE: &str = stringify!(an_honest_agent_gets_online_once_the_faults_stop);

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Moment<'_> {
    const fn store(&self) -> &Arc<StoreDump> {
        &self.event.store
    }

    fn is_changed(&self) -> bool {
        !Arc::ptr_eq(self.before, self.store())
    }
}

/// A session exists only for an agent whose very keys an operator of its organization confirmed, by typing their
/// fingerprint.
pub fn a_session_exists_only_for_keys_that_the_operator_confirmed_by_fingerprint(
    moment: &Moment<'_>,
) -> Verdict {
    let store = moment.store();
    let accepted = moment.event.what.accepted(moment.model);
    let holders = store.sessions.values().map(|session| session.agent_id).chain(accepted);
    for agent_id in holders {
        let agent =
            store.agents.get(&agent_id).ok_or_else(|| format!("no agent {agent_id} has a session"))?;
        let (org, keys) = (agent.record.org_id, agent.record.keys);
        require(moment.model.is_confirmed(org, agent_id, &keys.fingerprint()), || {
            format!("agent {agent_id} has a session, and nobody confirmed its keys")
        })?;
    }
    let strangers = |token, agent_id| {
        store.agents.get(agent_id).map(|agent| *agent.record.keys.identity())
            != store.sessions.get(token).map(|session| session.identity)
    };
    let stranger = store.sessions.iter().find(|(token, session)| strangers(*token, &session.agent_id));
    require(stranger.is_none(), || "a session is of another key than its agent's".to_owned())
}

/// A code binds one set of keys under one name, once: no second agent comes of it, and Register is answered for no
/// other.
pub fn a_code_binds_one_key_set_once(moment: &Moment<'_>) -> Verdict {
    let store = moment.store();
    for (id, Enrollment { bound, answered, .. }) in &moment.model.enrollments {
        require(bound.len() <= 1, || format!("{} agents registered with one code", bound.len()))?;
        require(answered.iter().all(|answered| bound.contains(answered)), || {
            "Register was answered for another agent than the one that registered".to_owned()
        })?;
        let rows: Vec<_> =
            store.agents.values().filter(|row| row.record.enrollment_id == Some(*id)).collect();
        let as_bound = rows.len() == bound.len()
            && rows.iter().zip(bound).all(|(row, bound)| {
                let keys = row.record.keys.by_role().map(|(_, key)| *key);
                (row.record.id, keys, row.record.name.as_str())
                    == (bound.agent_id, bound.keys, bound.name.as_str())
            });
        require(as_bound, || format!("the store holds other agents of enrollment {id} than registered"))?;
        let named = store.enrollments.get(id).and_then(|row| row.record.agent_id);
        require(named == bound.first().map(|bound| bound.agent_id), || {
            format!("enrollment {id} names another agent than the one that registered")
        })?;
    }
    if let What::Answered { call: Call::Register(request), result: Ok(_), .. } = &moment.event.what {
        let known = moment.model.enrollments.values().any(|known| known.code == request.code());
        require(known, || "Register was answered for a code that nobody made".to_owned())?;
    }
    Ok(())
}

/// A challenge makes one session at most, for the agent that it was made for, and is gone from the store then.
pub fn a_challenge_works_once(moment: &Moment<'_>) -> Verdict {
    let twice = moment.model.challenges.values().find(|(_, uses)| *uses > 1);
    require(twice.is_none(), || "one challenge made two sessions".to_owned())?;
    if let What::Wrote { call: Call::Complete(request), write, .. } = &moment.event.what {
        for session in super::dump::added(&write.before.sessions, &write.after.sessions) {
            let made_for = moment.model.challenges.get(&request.challenge).map(|(agent, _)| *agent);
            require(made_for == Some(session.agent_id), || {
                format!("a session of agent {} came of a challenge made for {made_for:?}", session.agent_id)
            })?;
            let waits = write.after.challenges.values().any(|row| row.challenge == request.challenge);
            require(!waits, || "a challenge that made a session still waits".to_owned())?;
        }
    }
    Ok(())
}

/// From the moment that a revocation is committed nothing of that agent is accepted, and no credential of it is left.
pub fn after_a_revoke_commits_nothing_is_accepted(moment: &Moment<'_>) -> Verdict {
    let (model, store) = (moment.model, moment.store());
    if let Some(agent) = moment.event.what.accepted(model) {
        require(!model.revoked.contains(&agent), || format!("agent {agent} is revoked, and was accepted"))?;
    }
    if let What::Answered { result: Ok(Reply::Registered(reply)), .. } = &moment.event.what
        && model.revoked.contains(&reply.agent_id)
    {
        require(reply.status == AgentStatus::Revoked && reply.sealed_api_key.is_none(), || {
            format!("agent {} is revoked, and Register says {:?}", reply.agent_id, reply.status)
        })?;
    }
    for agent in &model.revoked {
        let row = store.agents.get(agent).map(|row| &row.record);
        require(row.is_some_and(|row| row.status == AgentStatus::Revoked), || {
            format!("agent {agent} was revoked and is not any more")
        })?;
        let left = store.api_keys.values().any(|key| key.agent_id == *agent)
            || store.sessions.values().any(|session| session.agent_id == *agent)
            || store.challenges.contains_key(agent)
            || row.is_some_and(|row| row.sealed_api_key.is_some());
        require(!left, || format!("agent {agent} is revoked and has credentials"))?;
    }
    Ok(())
}

/// What is refused changes nothing: at the server nothing but what the protocol asks for (the note of a second use, the
/// note of a wrong fingerprint, the challenge that Complete takes), at the agent nothing but a newer manifest.
pub fn a_refused_message_changes_nothing(moment: &Moment<'_>) -> Verdict {
    match &moment.event.what {
        What::Wrote { call, write, .. } if !write.is_done => {
            require(Arc::ptr_eq(&write.before, &write.after), || {
                format!("the store refused a change of {} and made part of it", call.name())
            })
        }
        What::Answered { id, call, result: Err(error), .. } => {
            let writes = moment.writes.get(id).map(Vec::as_slice).unwrap_or_default();
            let [write] = writes else {
                return require(writes.is_empty(), || {
                    format!("{} was refused ({error}) and wrote more than once", call.name())
                });
            };
            require(*write.after == allowed(call, error, &write.before, &write.after), || {
                format!("{} was refused ({error}) and changed the store", call.name())
            })
        }
        What::Stepped { outcome: Outcome::Failed(error), before, after, .. } => {
            require(unchanged(error, before.as_deref(), after.as_deref()), || {
                format!("an agent refused an answer ({error}) and kept some of it")
            })
        }
        _ => Ok(()),
    }
}

/// The store as it may be after a refusal.
fn allowed(call: &Call, error: &ServerError, before: &StoreDump, after: &StoreDump) -> StoreDump {
    let mut allowed = before.clone();
    let mut noted = |kind| {
        // One line more, of this kind, which says what it says.
        allowed
            .activity
            .extend(after.activity.get(before.activity.len()).filter(|line| line.kind == kind).cloned());
    };
    match (call, error) {
        // Section 4 step 3: it is shown to the operator as a second use.
        (Call::Register(request), ServerError::Register(RegisterError::SecondUse)) => {
            noted(ActivityKind::CodeUsedAgain);
            let row = allowed.enrollments.values_mut().find(|row| row.record.code == request.code());
            if let Some(row) = row {
                row.record.second_uses += 1;
                row.record.second_use_at =
                    after.enrollments.get(&row.record.id).and_then(|row| row.record.second_use_at);
                row.version = row.version.next();
            }
        }
        // Section 4 step 4: a wrong fingerprint is refused and logged.
        (Call::Confirm(_), ServerError::Confirm(ConfirmError::WrongFingerprint)) => {
            noted(ActivityKind::WrongFingerprint);
        }
        // Section 5 step 2: the challenge works once, whatever happens next.
        (Call::Complete(request), _) => {
            allowed.challenges.retain(|_, row| row.challenge != request.challenge);
        }
        _ => {}
    }
    allowed
}

/// Whether an agent keeps what it kept, and nothing of an answer that it refused.
fn unchanged(error: &AgentError, before: Option<&AgentDump>, after: Option<&AgentDump>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return before == after };
    let mut allowed = before.clone();
    match error {
        // Section 5 step 1: a manifest is kept at once, whatever is wrong with the rest.
        AgentError::Handshake(_) | AgentError::Open(_) | AgentError::Enroll(EnrollError::SealedApiKey) => {
            allowed.manifest.clone_from(&after.manifest);
            (allowed.agent_id, allowed.joined) = match before.manifest {
                // The first answer was taken, and the api_key in it does not open.
                None => (after.agent_id, after.joined),
                Some(_) => (before.agent_id, before.joined),
            };
        }
        // The answer was taken: it says that it is over.
        AgentError::Enroll(EnrollError::Revoked | EnrollError::Discarded) => {
            allowed.manifest.clone_from(&after.manifest);
            (allowed.agent_id, allowed.joined) = (after.agent_id, after.joined);
        }
        _ => {}
    }
    allowed == *after
}

/// Neither codes, api_keys and session tokens nor anybody's private keys stand in the store, raw or as text.
pub fn no_secret_stands_in_the_store_in_clear(moment: &Moment<'_>) -> Verdict {
    moment
        .secrets
        .find(&moment.store().bytes())
        .map_or(Ok(()), |what| Err(format!("{what} stands in the store")))
}

/// A session is accepted while the model says that it lives, and no longer: an hour, a minute beside its successor,
/// until its successor opens a control stream, until its agent is revoked.
pub fn a_session_is_accepted_while_it_lives_and_no_longer(moment: &Moment<'_>) -> Verdict {
    match &moment.event.what {
        What::Answered {
            call: Call::Authenticate(token) | Call::TakeOver(token),
            result,
            // Of a call that was stopped, part was decided when it began.
            was_stopped: false,
            ..
        } => {
            let lives = moment.model.is_alive(token, moment.event.now);
            require(result.is_ok() == lives, || {
                let says = if result.is_ok() { "accepted" } else { "refused" };
                format!("a session was {says} that {} alive", if lives { "is" } else { "is not" })
            })?;
            let Ok(Reply::Caller(caller)) = result else { return Ok(()) };
            let holder = moment.model.holders.get(token);
            require(holder == Some(&caller.agent_id), || {
                format!("a session of {holder:?} was taken for one of agent {}", caller.agent_id)
            })
        }
        _ => Ok(()),
    }
}

/// States, epochs, sequences and the activity log only move forward, an agent's together with its enrollment's, ids and
/// keys stay, and nothing that was committed is lost, also not in a crash.
pub fn states_and_counters_only_move_forward(moment: &Moment<'_>) -> Verdict {
    if !moment.is_changed() {
        return Ok(());
    }
    let (before, after) = (moment.before, moment.store());
    require(after.activity.starts_with(&before.activity), || "the activity log was rewritten".to_owned())?;
    for (id, old) in &before.organizations {
        let new = after.organizations.get(id).ok_or_else(|| format!("organization {id} is gone"))?;
        let (old, new) = (old.record.manifest.manifest(), new.record.manifest.manifest());
        require(old == new || (old.epoch < new.epoch && old.pin() == new.pin()), || {
            format!("the manifest of organization {id} went back")
        })?;
        require(old.revoked.iter().all(|key| new.revoked.contains(key)), || {
            format!("the manifest of organization {id} forgot a revocation")
        })?;
    }
    for (id, old) in &before.enrollments {
        let new = after.enrollments.get(id).ok_or_else(|| format!("enrollment {id} is gone"))?;
        let (old, new) = (&old.record, &new.record);
        require((old.org_id, old.code, old.created_at) == (new.org_id, new.code, new.created_at), || {
            format!("enrollment {id} is another")
        })?;
        require(old.state == new.state || may_follow(old.state, new.state), || {
            format!("enrollment {id} went from {:?} to {:?}", old.state, new.state)
        })?;
        require(old.second_uses <= new.second_uses, || format!("second uses of {id} were forgotten"))?;
    }
    for (id, agent) in &after.agents {
        let enrollment = agent.record.enrollment_id.and_then(|id| after.enrollments.get(&id));
        let state = enrollment.map(|row| row.record.state);
        require(state.is_some_and(|state| go_together(state, agent.record.status)), || {
            format!("agent {id} is {:?}, and its enrollment {state:?}", agent.record.status)
        })?;
    }
    for (id, old) in &before.agents {
        let new = after.agents.get(id).ok_or_else(|| format!("agent {id} is gone"))?;
        let (old, new) = (&old.record, &new.record);
        let fixed =
            |row: &crate::store::AgentRecord| (row.org_id, row.keys, row.enrollment_id, row.created_at);
        require(fixed(old) == fixed(new) && old.name == new.name, || format!("agent {id} is another"))?;
        let status = match (old.status, new.status) {
            (old, new) if old == new => true,
            (AgentStatus::Pending, AgentStatus::Confirmed | AgentStatus::Discarded) => true,
            (old, new) => (old, new) == (AgentStatus::Confirmed, AgentStatus::Revoked),
        };
        require(status, || format!("agent {id} went from {:?} to {:?}", old.status, new.status))?;
        require(old.last_sequence <= new.last_sequence, || format!("agent {id}'s sequence went back"))?;
        require(old.certificate.is_none() || old.certificate == new.certificate, || {
            format!("agent {id}'s certificate is another")
        })?;
    }
    Ok(())
}

/// Whether an agent stands where its enrollment does (section 4).
const fn go_together(enrollment: EnrollmentState, agent: AgentStatus) -> bool {
    match enrollment {
        EnrollmentState::Pending => false,
        EnrollmentState::AwaitingConfirmation => matches!(agent, AgentStatus::Pending),
        EnrollmentState::Confirmed => matches!(agent, AgentStatus::Confirmed | AgentStatus::Revoked),
        EnrollmentState::Expired | EnrollmentState::Cancelled => matches!(agent, AgentStatus::Discarded),
    }
}

const fn may_follow(old: EnrollmentState, new: EnrollmentState) -> bool {
    match old {
        EnrollmentState::Pending => matches!(
            new,
            EnrollmentState::AwaitingConfirmation | EnrollmentState::Expired | EnrollmentState::Cancelled
        ),
        EnrollmentState::AwaitingConfirmation => {
            matches!(new, EnrollmentState::Confirmed | EnrollmentState::Expired | EnrollmentState::Cancelled)
        }
        EnrollmentState::Confirmed | EnrollmentState::Expired | EnrollmentState::Cancelled => false,
    }
}

/// An operator acts on agents and enrollments of its own organization alone, and no call touches two organizations.
pub fn nobody_acts_on_another_organization(moment: &Moment<'_>) -> Verdict {
    let What::Wrote { call, write, .. } = &moment.event.what else { return Ok(()) };
    let touched = write.before.touched(&write.after);
    let own = match call {
        Call::CreateCode(operator) | Call::Cancel(_, operator) => Some(operator.org_id),
        Call::Confirm(confirm) => Some(confirm.operator.org_id),
        Call::Revoke(revoke) => Some(revoke.operator.org_id),
        Call::Register(_)
        | Call::Begin(_)
        | Call::Complete(_)
        | Call::Authenticate(_)
        | Call::TakeOver(_)
        | Call::Sweep => None,
    };
    let is_own = touched.len() <= 1 && own.is_none_or(|own| touched.iter().all(|org| *org == own));
    require(is_own, || format!("{} for organization {own:?} changed {touched:?}", call.name()))
}

/// An agent pins the root of the organization that made its code, and neither its manifest nor its id, its api_key or
/// its counters are ever taken back.
pub fn an_agent_keeps_to_the_organization_of_its_code(moment: &Moment<'_>) -> Verdict {
    let What::Stepped { agent, before, after, org, .. } = &moment.event.what else { return Ok(()) };
    let Some(after) = after else {
        return require(before.is_none(), || format!("agent {agent} lost what it kept"));
    };
    if let Some(manifest) = &after.manifest {
        let root = org.and_then(|org| moment.roots.get(&org));
        require(root == Some(&manifest.manifest().root), || {
            format!("agent {agent} pinned another root than its organization's")
        })?;
    }
    let Some(before) = before.as_ref().filter(|before| before.code == after.code) else { return Ok(()) };
    let epoch = |dump: &AgentDump| dump.manifest.as_ref().map(|manifest| manifest.manifest().epoch);
    require(epoch(before) <= epoch(after), || format!("agent {agent}'s manifest went back"))?;
    let keeps = before.keys == after.keys
        && (before.agent_id.is_none() || before.agent_id == after.agent_id)
        && (before.api_key.is_none() || before.api_key == after.api_key)
        && before.joined <= after.joined
        && before.counters.max(after.counters) == after.counters;
    require(keeps, || format!("agent {agent} lost part of what it kept"))
}

/// How an agent gets on after the faults have stopped.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Recovery {
    /// Which agent.
    pub agent: usize,
    /// Whether what it had when they stopped must get it online ([`Recovery::has_a_good_code`]).
    pub has_a_good_code: bool,
    /// How many new codes it has asked its operator for since.
    pub new_codes: usize,
    /// How many steps it may still take.
    pub steps_left: usize,
    /// Whether it has a session that its server takes.
    pub is_online: bool,
}

impl Recovery {
    /// Whether an agent has a code that must get it online: `kept` is what it keeps, `given` the code that it was given
    /// last, `has_pasted` whether its operator holds the api_key of the enrollment that it keeps.
    #[must_use]
    pub fn has_a_good_code(
        model: &Model,
        now: UnixMillis,
        kept: Option<&AgentDump>,
        given: Option<SecretHash>,
        has_pasted: bool,
    ) -> bool {
        match kept {
            // Who has an api_key asks for no code any more.
            Some(kept) if kept.api_key.is_some() || given == Some(kept.code) => {
                model.must_get_online(kept, now, has_pasted)
            }
            // Nothing of it was kept with the code that it was given last.
            Some(_) | None => given.is_some_and(|code| model.is_unused(code, now)),
        }
    }
}

/// Once the faults stop, an honest agent with a good code gets online with it, as who it is, and any other with one new
/// code.
pub fn an_honest_agent_gets_online_once_the_faults_stop(recovery: &Recovery) -> Verdict {
    let Recovery { agent, has_a_good_code, new_codes, steps_left, is_online } = *recovery;
    require(new_codes <= usize::from(!has_a_good_code), || {
        format!("agent {agent} was turned away with a good code")
    })?;
    require(is_online || steps_left > 0, || format!("agent {agent} does not get online"))
}

/// An invariant does not hold.
#[derive(Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The invariant's name.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
    /// What happened, up to there: a line an action, and below it what it came to.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

impl std::error::Error for Violation {}
