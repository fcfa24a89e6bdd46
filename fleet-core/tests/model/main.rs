//! The shipped machines under an attacker, checked in every state up to a bound.
//!
//! # What is real, and what is the model
//! A state is what the server keeps (its records), what the honest agent keeps (its disk, and where its handshake
//! stands), what was sent so far, and the time. A step rebuilds the shipped machine from these, runs it with real keys
//! and real signatures, commits its change on the shipped store in memory, and reads the records back. Nothing of a
//! decision is written here a second time. A step is remembered whole, and with it the signatures that it verified: it
//! is a function of the records, the message, the time and the randomness that go into it. One test computes every step
//! each time it is taken, and compares.
//!
//! # Who takes part
//! * An **operator** makes codes, types the fingerprint that the honest agent shows, cancels, revokes, and issues the
//!   manifest anew.
//! * The **server** serves each call at once, or reads the store for it at one moment and commits at a later one while
//!   everything else goes on.
//! * The **honest agent** enrolls, dies between two saves, makes sessions, gives handshakes up and begins others, is
//!   revoked and enrolls again with new keys.
//! * The **attacker** is the network. It has everything that was sent, delivers it to either side in any order and as
//!   often as it likes, or not at all, and puts the parts together anew. It owns an agent of the organization, enrolled
//!   and confirmed, a second set of keys, and another server with a root and a command key of its own.
//!
//! # What it leaves out
//! * Guesses: the attacker makes what its keys and what it has seen allow.
//! * What TLS is for. The attacker reads and changes everything, so it can hold an honest agent's session, and since
//!   nobody signs the answer to Complete, give it any token. What is checked is that server and agent agree on the
//!   handshake all the same.
//! * The drivers' loops: a call here is one attempt, and one more if its commit came too late. What the drivers do
//!   about crashes is in `tests/simulation.rs`.
//! * Limits of rate, clocks that are set back, pasted api_keys, offline roots, manifests with other keys than before,
//!   and a second organization.
//!
//! # How far it goes
//! Each run visits every state within its [`Bounds`], which it prints. The usual ones take seconds. `FLEET_MODEL=deep`
//! takes the same runs further; it wants an optimized build, and the output:
//!
//! ```text
//! FLEET_MODEL=deep cargo test --release -p fleet-core --all-features --locked --test model -- --nocapture
//! ```
//!
//! States are told apart by 64 bits of hash, as stateright does. In ten million states the odds that it takes two for
//! one, and so leaves one out, are about 1 in 400,000.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod attacker;
mod bugs;
mod cast;
mod fleet;
mod intern;
mod properties;
mod runs;
mod server;
mod state;
mod tables;

use std::collections::BTreeSet;
use std::io::Write as _;

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, Expectation, HasDiscoveries, Model as _, Path};

use bugs::Bug;
use runs::Run;
use state::{Action, Bounds, FleetModel, State};

/// Prints what a run came to, past the capture of a test's output: the bound is part of the claim.
struct Line {
    of: String,
    /// Tells when it is under way, too.
    patient: bool,
    said: u64,
}

impl Reporter<FleetModel> for Line {
    fn report_checking(&mut self, data: ReportData) {
        let seconds = data.duration.as_secs();
        let due = self.patient && seconds >= self.said + 30;
        if !data.done && !due {
            return;
        }
        self.said = seconds;
        let ReportData { total_states, unique_states, max_depth, .. } = data;
        let far = if data.done { "every state: " } else { "so far: " };
        let line = format!(
            "model: {}\n    {far}{unique_states} distinct, {total_states} reached, {max_depth} deep; {seconds} s\n",
            self.of
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }

    fn report_discoveries(
        &mut self,
        _: &FleetModel,
        _: std::collections::BTreeMap<&'static str, ReportDiscovery<FleetModel>>,
    ) {
    }

    fn delay(&self) -> core::time::Duration {
        core::time::Duration::from_millis(100)
    }
}

fn words(model: &FleetModel, path: Path<State, Action>) -> String {
    let actions = path.into_actions();
    actions.iter().map(|action| format!("\n  - {}", model.format_action(action))).collect()
}

/// Visits every state within the bounds: all that must hold holds in each, all that must be seen is seen.
fn check(run: &Run) {
    let deep = match std::env::var("FLEET_MODEL").as_deref() {
        Err(_) | Ok("") => false,
        Ok("deep") => true,
        Ok(other) => panic!("FLEET_MODEL may be deep, and is {other:?}"),
    };
    let (bounds, at_least) = if deep { run.deep } else { run.usual };
    let checker = FleetModel::new(bounds, None).checker().spawn_bfs();
    let mut line = Line { of: format!("{}: {bounds}", run.name), patient: deep, said: 0 };
    let checker = checker.join_and_report(&mut line);
    assert!(checker.is_done());
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let path = found.remove(property.name);
        match (property.expectation, path) {
            (Expectation::Always, None) | (Expectation::Sometimes, Some(_)) => {}
            (Expectation::Always, Some(path)) => {
                panic!("not always: {}{}", property.name, words(checker.model(), path));
            }
            (Expectation::Sometimes, None) => panic!("never: {}", property.name),
            (Expectation::Eventually, _) => unreachable!("no property is of this kind"),
        }
    }
    // A run that shrinks to nothing proves nothing.
    let distinct = checker.unique_state_count();
    assert!(distinct >= at_least, "{}: {distinct} distinct states, and there were {at_least}", run.name);
}

#[test]
fn an_enrollment_from_the_first_message_on() {
    check(&runs::ENROLLMENT);
}

#[test]
fn calls_that_overlap_under_one_code() {
    check(&runs::ONE_CODE);
}

#[test]
fn handshakes_and_renewals() {
    check(&runs::HANDSHAKES);
}

#[test]
fn manifests_and_revocations() {
    check(&runs::MANIFESTS);
}

#[test]
fn a_whole_life_until_the_agent_is_enrolled_anew() {
    check(&runs::LIFE);
}

#[test]
fn calls_that_overlap_at_the_server() {
    check(&runs::RACES);
}

#[test]
fn time_that_runs_out() {
    check(&runs::TIME);
}

/// What is remembered of a step is what the machine comes to each time.
#[test]
fn a_step_that_is_computed_again_comes_to_the_same() {
    for bounds in runs::AGAIN {
        let counted = |doubts| {
            let model = FleetModel::new(bounds, None);
            model.fleet.lock().unwrap().memo.doubts = doubts;
            let checker = model.checker().spawn_bfs().join();
            (checker.unique_state_count(), checker.state_count(), checker.max_depth())
        };
        let once = counted(false);
        assert_eq!(counted(true), once);
    }
}

/// With a fault put in, the checker comes upon a state in which this property does not hold, within bounds in which it
/// does hold without the fault.
fn finds(bug: Bug, bounds: Bounds, property: &'static str) {
    let checker = FleetModel::new(bounds, Some(bug))
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{bug:?} is not found"));
    println!("{bug:?}: not always: {property}{}", words(checker.model(), path));
}

#[test]
fn a_challenge_that_is_not_consumed_is_found() {
    finds(Bug::ChallengeStays, runs::HANDSHAKES.usual.0, properties::ONCE);
}

#[test]
fn a_fingerprint_that_is_not_compared_is_found() {
    finds(Bug::FingerprintNotCompared, runs::ENROLLMENT.usual.0, properties::CONFIRMED);
}

#[test]
fn a_revocation_that_leaves_credentials_is_found() {
    finds(Bug::RevokedKeepsCredentials, runs::MANIFESTS.usual.0, properties::REVOKED);
}

#[test]
fn a_store_that_ignores_versions_is_found() {
    finds(Bug::VersionsIgnored, runs::ONE_CODE.usual.0, properties::BOUND);
}

#[test]
fn an_agent_that_signs_before_it_verifies_is_found() {
    finds(Bug::SignsUnverified, runs::HANDSHAKES.usual.0, properties::SIGNS);
}

#[test]
fn an_agent_that_does_not_check_the_pin_is_found() {
    finds(Bug::PinNotChecked, runs::ENROLLMENT.usual.0, properties::PINNED);
}

#[test]
fn an_agent_that_does_not_save_a_manifest_is_found() {
    finds(Bug::ManifestNotSaved, runs::MANIFESTS.usual.0, properties::EPOCH);
}
