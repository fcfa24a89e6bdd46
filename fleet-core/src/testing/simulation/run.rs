//! Runs a schedule against peers and model, and judges every event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::{Event, What};
use super::honest::Wish;
use super::invariants::{
    ALL, AN_HONEST_AGENT_GETS_ONLINE, Moment, Recovery, Violation,
    an_honest_agent_gets_online_once_the_faults_stop,
};
use super::model::Model;
use super::{AgentDump, Parts, Schedule, Sight, Simulation, StoreDump, Write};
use crate::driver::Point;
use crate::id::OrgId;
use crate::keys::RootPublicKey;

/// How many steps an agent has to get online once the faults stop: a new beginning takes fifteen.
const STEPS: usize = 24;

/// The invariant that costs most.
const SEARCH: &str = "no_secret_stands_in_the_store_in_clear";

/// A run in which every invariant held.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// What was seen in it before the faults stopped.
    pub sights: BTreeSet<Sight>,
    /// Where a peer crashed, in order.
    pub crashes: Vec<Point>,
    /// What happened: a line an action, and below it what it came to.
    pub trace: Vec<String>,
}

/// Runs a schedule to its end, lets the faults stop, and brings every agent online.
///
/// # Errors
/// [`Violation`] names the first invariant that does not hold.
pub fn run(schedule: &Schedule, parts: &dyn Parts) -> Result<Report, Box<Violation>> {
    let mut runner = Runner::new(schedule.seed, parts);
    for action in &schedule.actions {
        runner.trace.push(action.to_string());
        runner.simulation.apply(action);
        runner.judge()?;
    }
    runner.sights.freeze();
    runner.trace.push("# The faults stop.".to_owned());
    runner.simulation.calm_down();
    runner.judge()?;
    for agent in 0..runner.simulation.agents.len() {
        runner.bring_online(agent)?;
    }
    let (sights, crashes) = runner.sights.into_parts();
    Ok(Report { sights, crashes, trace: runner.trace })
}

/// The schedule without what the violation of this invariant does not need: no action can be left out of what is
/// answered. A strategy's own shrinking keeps together what it made together.
#[must_use]
pub fn minimized(schedule: &Schedule, parts: &dyn Parts, invariant: &str) -> Schedule {
    let fails =
        |schedule: &Schedule| run(schedule, parts).is_err_and(|violation| violation.invariant == invariant);
    let mut least = schedule.clone();
    let mut length = usize::MAX;
    while least.actions.len() < length {
        length = least.actions.len();
        for at in (0..length).rev() {
            let mut fewer = least.clone();
            fewer.actions.remove(at);
            if fails(&fewer) {
                least = fewer;
            }
        }
    }
    least
}

struct Runner<'a> {
    simulation: Simulation<'a>,
    model: Model,
    roots: BTreeMap<OrgId, RootPublicKey>,
    /// What each call wrote that changed something.
    writes: BTreeMap<usize, Vec<Write>>,
    before: Arc<StoreDump>,
    sights: super::sight::Sights,
    trace: Vec<String>,
    /// The store and the number of secrets that were searched last: nothing new, nothing to search.
    searched: Option<(Arc<StoreDump>, usize)>,
}

impl<'a> Runner<'a> {
    fn new(seed: u64, parts: &'a dyn Parts) -> Self {
        let simulation = Simulation::new(seed, parts);
        let (roots, before) = (simulation.organizations().collect(), simulation.store());
        Self {
            simulation,
            model: Model::default(),
            roots,
            writes: BTreeMap::new(),
            before,
            sights: super::sight::Sights::default(),
            trace: Vec::new(),
            searched: None,
        }
    }

    /// Judges what happened since.
    fn judge(&mut self) -> Result<(), Box<Violation>> {
        while let Some(event) = self.simulation.take_event() {
            if !matches!(event.what, What::Called { .. }) {
                self.trace.push(format!("#   {}", event.what));
            }
            self.sights.look(&event, &self.model);
            self.model.observe(&event);
            if let What::Wrote { id, write, .. } = &event.what
                && !Arc::ptr_eq(&write.before, &write.after)
            {
                self.writes.entry(*id).or_default().push(write.clone());
            }
            self.hold(&event)?;
            self.before = event.store;
        }
        Ok(())
    }

    fn hold(&mut self, event: &Event) -> Result<(), Box<Violation>> {
        let secrets = self.simulation.secrets();
        let moment = Moment {
            event,
            before: &self.before,
            model: &self.model,
            secrets,
            roots: &self.roots,
            writes: &self.writes,
        };
        let is_new = self
            .searched
            .as_ref()
            .is_none_or(|(store, count)| !Arc::ptr_eq(store, &event.store) || *count != secrets.count());
        for invariant in ALL {
            if invariant.name == SEARCH && !is_new {
                continue;
            }
            if let Err(found) = (invariant.holds)(&moment) {
                return Err(self.violation(invariant.name, found));
            }
        }
        self.searched = Some((Arc::clone(&event.store), secrets.count()));
        Ok(())
    }

    fn violation(&mut self, invariant: &'static str, found: String) -> Box<Violation> {
        self.trace.push(format!("# {invariant}: {found}"));
        Box::new(Violation { invariant, found, trace: core::mem::take(&mut self.trace) })
    }

    /// Lets an agent take its steps until it is online, and judges the last invariant before each.
    fn bring_online(&mut self, agent: usize) -> Result<(), Box<Violation>> {
        let mut recovery = Recovery {
            agent,
            has_a_good_code: self.has_a_good_code(agent),
            new_codes: 0,
            steps_left: STEPS,
            is_online: false,
        };
        loop {
            recovery.is_online = self.simulation.is_online(agent);
            let wish = (!recovery.is_online).then(|| self.simulation.wish(agent));
            recovery.new_codes += usize::from(wish == Some(Wish::NewCode));
            if let Err(found) = an_honest_agent_gets_online_once_the_faults_stop(&recovery) {
                return Err(self.violation(AN_HONEST_AGENT_GETS_ONLINE, found));
            }
            let Some(wish) = wish else { return Ok(()) };
            self.trace.push(format!("# agent {agent}: {wish:?}"));
            self.simulation.fulfil(agent, wish, None);
            self.judge()?;
            recovery.steps_left -= 1;
        }
    }

    fn has_a_good_code(&self, agent: usize) -> bool {
        let it = &self.simulation.agents[agent];
        let kept = it.state().map(|state| AgentDump::from(&state));
        let code = kept
            .as_ref()
            .and_then(|kept| self.simulation.codes.iter().find(|code| code.hash() == Some(kept.code)));
        let has_pasted =
            code.is_some_and(|code| self.simulation.pasted.contains_key(&code.new.enrollment_id));
        let now = self.simulation.now();
        Recovery::has_a_good_code(&self.model, now, kept.as_ref(), it.code, has_pasted)
    }
}
