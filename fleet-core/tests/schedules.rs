//! Whole runs, drawn at random and replayed from files: every invariant of
//! [`fleet_core::testing::simulation::invariants`] holds after every event.
//!
//! * `FLEET_PROPTEST_CASES`: how many runs to draw instead of [`CASES`].
//! * `FLEET_PROPTEST_SEED`: a number to draw them from instead of [`SEED`], or `random`.
//! * `FLEET_SCHEDULE`: a file to replay, and to tell what happens in it (with `--nocapture`).
//!
//! A run that fails is shrunk and written to a file, whose path is printed. Once it is mended the file goes to
//! `tests/schedules`, under a name that says what it shows: what stands there is replayed by
//! [`schedules_replay_from_files`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use fleet_core::driver::Point;
use fleet_core::testing::simulation::invariants::Violation;
use fleet_core::testing::simulation::{
    Action, Peer, Report, Schedule, Sight, Sound, minimized, run, schedules,
};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// How many runs are drawn unless somebody asks for more.
const CASES: u32 = 256;
/// What they are drawn from: the same runs every time.
const SEED: u64 = 0x000f_1ee7;

fn runner() -> TestRunner {
    let cases = env::var("FLEET_PROPTEST_CASES").map_or(CASES, |n| n.parse().expect("FLEET_PROPTEST_CASES"));
    let rng_seed = match env::var("FLEET_PROPTEST_SEED").as_deref() {
        Ok("random") => RngSeed::Random,
        Ok(seed) => RngSeed::Fixed(seed.parse().expect("FLEET_PROPTEST_SEED")),
        Err(_) => RngSeed::Fixed(SEED),
    };
    let max_shrink_iters = 4096;
    TestRunner::new(Config {
        cases,
        rng_seed,
        max_shrink_iters,
        failure_persistence: None,
        ..Config::default()
    })
}

/// In how many of a hundred runs each thing must be seen, at least: about half of what is seen now. A generator that
/// no longer brings it about tests nothing.
const BOUNDS: [(Sight, u32); Sight::ALL.len()] = [
    (Sight::Online, 60),
    (Sight::BothOrganizationsOnline, 25),
    (Sight::Renewed, 25),
    (Sight::EnrolledAgain, 15),
    (Sight::Overlapped, 7),
    (Sight::SessionEnded, 6),
    (Sight::LiveSessionRevoked, 16),
    (Sight::ReplayedAfterRevoke, 16),
    (Sight::CancelledWhileWaiting, 5),
    (Sight::Expired, 9),
    (Sight::SecondUse, 14),
    (Sight::WrongFingerprint, 5),
    (Sight::ForeignOperator, 20),
    (Sight::NameTaken, 7),
    (Sight::Duplicate, 30),
    (Sight::ChallengeTwice, 11),
    (Sight::Reordered, 25),
    (Sight::ForgedRequestRefused, 21),
    (Sight::ForgedReplyRefused, 2),
    (Sight::StaleReply, 6),
    (Sight::OldManifest, 10),
    (Sight::ServerCrashedInACall, 13),
    (Sight::ServerCrashedAtAPoint, 11),
    (Sight::AgentCrashedAtAPoint, 8),
    (Sight::Stale, 5),
    (Sight::ConfirmedAndCrashed, 1),
    (Sight::Pasted, 4),
];

/// With fewer runs than this, shares say nothing.
const ENOUGH: u32 = 200;

/// What was seen in all runs together.
#[derive(Debug, Default)]
struct Tally {
    runs: u32,
    sights: BTreeMap<Sight, u32>,
}

impl Tally {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        for sight in report.sights {
            *self.sights.entry(sight).or_default() += 1;
        }
    }

    fn share(&self, sight: Sight) -> u32 {
        self.sights.get(&sight).copied().unwrap_or(0) * 100 / self.runs.max(1)
    }

    /// The generator does what it is for.
    fn check(&self) {
        let shares: String = Sight::ALL.iter().fold(String::new(), |mut all, sight| {
            let _ = writeln!(all, "{:>4} %  {sight:?}", self.share(*sight));
            all
        });
        println!("of {} runs\n{shares}", self.runs);
        if self.runs < ENOUGH {
            return;
        }
        for (sight, bound) in BOUNDS {
            assert!(
                self.share(sight) >= bound,
                "{sight:?} is seen in less than {bound} % of runs:\n{shares}"
            );
        }
    }
}

#[test]
fn every_invariant_holds_in_runs_drawn_at_random() {
    let tally = RefCell::new(Tally::default());
    let outcome = runner().run(&schedules(), |schedule| {
        let report =
            run(&schedule, &Sound).map_err(|violation| TestCaseError::fail(violation.to_string()))?;
        tally.borrow_mut().add(report);
        Ok(())
    });
    match outcome {
        Ok(()) => tally.into_inner().check(),
        Err(TestError::Fail(_, schedule)) => {
            let invariant = run(&schedule, &Sound).expect_err("it failed before").invariant;
            let schedule = minimized(&schedule, &Sound, invariant);
            let violation = run(&schedule, &Sound).expect_err("it still fails");
            let path = write(&schedule, &violation);
            panic!("{violation}\n\nThe run stands in {}:\n\n{}", path.display(), told(&schedule, &violation));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Both sides, at every named point of an enrollment and its first handshakes.
#[test]
fn a_crash_at_any_point_breaks_no_invariant() {
    for point in Point::ALL {
        let peer = if point.name().starts_with("agent-") { Peer::Agent(0) } else { Peer::Server };
        let online = Action::Online { agent: 0 };
        let actions = vec![Action::Arm { peer, point }, online.clone(), online];
        let report = run(&Schedule { seed: 1, actions }, &Sound);
        let report = report.unwrap_or_else(|violation| panic!("{}: {violation}", point.name()));
        assert_eq!(report.crashes, [point], "{} was not reached", point.name());
    }
}

/// The server, before any operation of its store, in each step of an enrollment and two handshakes.
#[test]
fn a_crash_before_any_operation_of_the_store_breaks_no_invariant() {
    const STEPS: usize = 20;
    let mut crashes = 0;
    for step in 0..STEPS {
        for operations in 0..4 {
            let mut actions = vec![Action::Go { agent: 0, pause: None }; step];
            actions.push(Action::Go { agent: 0, pause: Some(operations) });
            actions.push(Action::Crash { peer: Peer::Server });
            actions.push(Action::Online { agent: 0 });
            let report = run(&Schedule { seed: 2, actions }, &Sound);
            let report =
                report.unwrap_or_else(|violation| panic!("step {step}, operation {operations}: {violation}"));
            crashes += usize::from(report.sights.contains(&Sight::ServerCrashedInACall));
        }
    }
    // Three Registers, Begins and Completes, a confirmation and two calls, each of one operation or more.
    assert!(crashes >= 16, "{crashes} calls were cut short");
}

#[test]
fn every_sight_has_a_bound() {
    let bounded: BTreeSet<_> = BOUNDS.iter().map(|(sight, _)| *sight).collect();
    assert_eq!(bounded, Sight::ALL.into());
    assert!(BOUNDS.iter().all(|(_, bound)| *bound > 0));
}

#[test]
fn a_schedule_is_the_same_run_every_time_also_after_it_was_written_down() {
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(1), ..Config::default() });
    for _ in 0..16 {
        let schedule = schedules().new_tree(&mut runner).unwrap().current();
        let read: Schedule = schedule.to_string().parse().unwrap();
        assert_eq!(read, schedule);
        let [one, other] = [&schedule, &read].map(|schedule| run(schedule, &Sound).unwrap().trace);
        assert_eq!(one, other);
        // What is written of a run, with what came of it, is the same run too.
        let told: Schedule = format!("seed {}\n{}", schedule.seed, one.join("\n")).parse().unwrap();
        assert_eq!(told, schedule);
    }
}

/// Every file says in a line `# shows: ...` which sights it is for.
#[test]
fn schedules_replay_from_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schedules");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let (schedule, text) = read(&path);
        let name = path.file_name().unwrap().to_string_lossy();
        let report = run(&schedule, &Sound)
            .unwrap_or_else(|violation| panic!("{name}: {violation}\n{}", told(&schedule, &violation)));
        let seen: BTreeSet<_> = report.sights.iter().map(|sight| format!("{sight:?}")).collect();
        let shows = text.lines().find_map(|line| line.strip_prefix("# shows:")).unwrap_or_default();
        let shows: Vec<_> = shows.split_whitespace().collect();
        assert!(!shows.is_empty(), "{name} has no line '# shows: ...'");
        for sight in shows {
            assert!(seen.contains(sight), "{name} shows {seen:?}, not {sight}:\n{}", report.trace.join("\n"));
        }
    }
}

/// Tells what happens in the file that `FLEET_SCHEDULE` names.
#[test]
fn one_schedule_is_told() {
    let Some(path) = env::var_os("FLEET_SCHEDULE") else { return };
    let (schedule, _) = read(Path::new(&path));
    match run(&schedule, &Sound) {
        Ok(report) => println!("{}\n{:?}", report.trace.join("\n"), report.sights),
        Err(violation) => panic!("{violation}\n{}", told(&schedule, &violation)),
    }
}

/// A schedule and what came of it, as a file that replays.
fn told(schedule: &Schedule, violation: &Violation) -> String {
    format!("# {violation}\n# shows:\n\nseed {}\n{}\n", schedule.seed, violation.trace.join("\n"))
}

fn write(schedule: &Schedule, violation: &Violation) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schedules");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{}.schedule", violation.invariant.replace('_', "-")));
    fs::write(&path, told(schedule, violation)).unwrap();
    path
}

fn read(path: &Path) -> (Schedule, String) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schedule = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (schedule, text)
}
