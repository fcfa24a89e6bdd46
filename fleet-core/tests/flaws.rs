//! Each invariant can fail: for each there is a store, a server or an agent that breaks what it says, and the same
//! schedules that `tests/schedules.rs` draws find it out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::wildcard_enum_match_arm, reason = "each flaw has its own place and leaves the rest alone")]

mod flaws_support;

use std::collections::BTreeSet;

use flaws_support::Flaw;
use fleet_core::testing::simulation::invariants::{ALL, AN_HONEST_AGENT_GETS_ONLINE};
use fleet_core::testing::simulation::{Schedule, Sound, minimized, run, schedules};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// How many runs a flaw may stay hidden in: fewer than `tests/schedules.rs` draws.
const RUNS: usize = 200;

macro_rules! flaws {
    ($($test:ident: $flaw:ident breaks $invariant:ident;)*) => {
        $(#[test]
        fn $test() {
            is_found(Flaw::$flaw, stringify!($invariant));
        })*

        #[test]
        fn every_invariant_can_fail() {
            let broken: BTreeSet<_> = [$(stringify!($invariant)),*].into();
            let all: BTreeSet<_> =
                ALL.iter().map(|invariant| invariant.name).chain([AN_HONEST_AGENT_GETS_ONLINE]).collect();
            assert_eq!(broken, all);
        }
    };
}

flaws! {
    a_server_that_takes_any_fingerprint: TakesAnyFingerprint
        breaks a_session_exists_only_for_keys_that_the_operator_confirmed_by_fingerprint;
    a_store_that_shows_a_used_code_as_unused: LetsTwoKeysUseACode
        breaks a_code_binds_one_key_set_once;
    a_store_that_keeps_challenges: KeepsChallenges
        breaks a_challenge_works_once;
    a_store_that_gives_challenges_twice: GivesChallengesTwice
        breaks a_challenge_works_once;
    a_store_that_keeps_credentials_on_revoke: KeepsCredentialsOnRevoke
        breaks after_a_revoke_commits_nothing_is_accepted;
    a_store_that_loses_revocations: LosesRevocations
        breaks after_a_revoke_commits_nothing_is_accepted;
    a_server_that_remembers_sessions: CachesSessions
        breaks after_a_revoke_commits_nothing_is_accepted;
    a_server_that_spends_codes_on_refusals: SpendsCodesOnRefusals
        breaks a_refused_message_changes_nothing;
    a_store_that_commits_in_part: CommitsInPart
        breaks a_refused_message_changes_nothing;
    a_server_that_logs_tokens: LogsTokens
        breaks no_secret_stands_in_the_store_in_clear;
    a_store_that_stretches_sessions: StretchesSessions
        breaks a_session_is_accepted_while_it_lives_and_no_longer;
    a_store_that_is_not_durable: IsNotDurable
        breaks states_and_counters_only_move_forward;
    a_server_that_mixes_organizations: MixesOrganizations
        breaks nobody_acts_on_another_organization;
    an_agent_that_writes_over_an_old_copy: WritesOverAnOldCopy
        breaks an_agent_keeps_to_the_organization_of_its_code;
    a_store_that_keeps_the_first_challenge: KeepsTheFirstChallenge
        breaks an_honest_agent_gets_online_once_the_faults_stop;
}

/// Draws schedules until one shows the flaw as the violation of that invariant.
fn is_found(flaw: Flaw, invariant: &str) {
    let config = Config { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    for after in 1..=RUNS {
        let schedule = schedules().new_tree(&mut runner).unwrap().current();
        let Err(violation) = run(&schedule, &flaw) else { continue };
        if violation.invariant == invariant {
            run(&schedule, &Sound).expect("it is the flaw's fault");
            let least = minimized(&schedule, &flaw, invariant);
            println!("{flaw:?} after {after} runs: {violation}\n{least}");
            // As text it is the same run: what a file says is what happened.
            let replayed: Schedule = least.to_string().parse().unwrap();
            let again = run(&replayed, &flaw).expect_err("it replays");
            assert_eq!(again.invariant, invariant);
            assert!(least.actions.len() <= LONGEST, "it takes no more to show it:\n{least}");
            return;
        }
    }
    panic!("{flaw:?} stayed hidden from {invariant} in {RUNS} runs");
}

/// The most actions that it takes to show a flaw.
const LONGEST: usize = 16;
