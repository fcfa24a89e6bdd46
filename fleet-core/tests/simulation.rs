//! The two peers under crashes and a faulty link: whatever happens, running it again finishes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;

use fleet_core::driver::Point;
use fleet_core::store::AgentStatus;
use fleet_core::store::Query;
use fleet_core::testing::{Fault, World, block_on};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Enrolls under a crash at `point`, then starts whoever crashed again.
fn crash_at(point: Point) {
    let world = World::new(1);
    let agent = world.agent(0);
    let code = block_on(world.server.create_code());
    agent.crash.arm(point);
    world.server.crash.arm(point);
    block_on(agent.enroll(&world, "site-1", &code)).unwrap_or_else(|error| panic!("{point:?}: {error}"));
    let hit = !agent.crash.is_armed() || !world.server.crash.is_armed();
    assert!(hit, "{point:?} was never reached");
    let found = block_on(world.server.store.load(Query::Enrollment(code.enrollment_id))).unwrap().unwrap();
    assert_eq!(found.agent.unwrap().record.status, AgentStatus::Confirmed, "{point:?}");
    assert_eq!(found.enrollment.unwrap().record.second_uses, 0, "{point:?}: the agent looked like a thief");
}

#[test]
fn a_crash_at_any_point_is_made_good_by_running_it_again() {
    for point in Point::ALL {
        crash_at(point);
    }
}

#[test]
fn points_have_names_of_their_own() {
    let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Point::ALL.len());
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        Just(Fault::LoseRequest),
        Just(Fault::LoseReply),
        Just(Fault::Duplicate),
        (1u64..40).prop_map(|seconds| Fault::Delay(Duration::from_secs(seconds))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Liveness: once the faults stop, an honest agent with a good code gets online.
    #[test]
    fn an_honest_agent_gets_online_once_the_faults_stop(
        seed in any::<u64>(),
        faults in prop::collection::vec(fault(), 0..16),
        agent_point in prop::option::of(prop::sample::select(&Point::ALL[..])),
        server_point in prop::option::of(prop::sample::select(&Point::ALL[..])),
    ) {
        let world = World::new(seed);
        let agent = world.agent(0);
        let code = block_on(world.server.create_code());
        agent.link.expect_faults(faults);
        if let Some(point) = agent_point { agent.crash.arm(point); }
        if let Some(point) = server_point { world.server.crash.arm(point); }
        let online = block_on(agent.enroll(&world, "site-1", &code));
        prop_assert!(online.is_ok(), "{:?}", online);
    }

    /// The same seed and the same calls make the same bytes.
    #[test]
    fn a_run_is_reproducible(seed in any::<u64>()) {
        let run = || {
            let world = World::new(seed);
            let agent = world.agent(0);
            let code = block_on(world.server.create_code());
            let online = block_on(agent.enroll(&world, "site-1", &code)).unwrap();
            (code.code.unwrap().expose().to_owned(), online.session.token.expose().to_owned())
        };
        prop_assert_eq!(run(), run());
    }
}
