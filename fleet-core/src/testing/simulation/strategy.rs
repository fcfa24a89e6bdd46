//! Schedules drawn at random, most of which get somewhere.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Action, Change, Field, Kind, Peer, Schedule};
use crate::driver::Point;

/// The most parts that are drawn.
const LONGEST: usize = 32;

/// Schedules. They shrink to fewer actions, newer messages and smaller numbers.
pub fn schedules() -> impl Strategy<Value = Schedule> {
    // The seed decides bytes and no course of events, so a few will do.
    (0u64..64, vec(start(), 0..4), vec(part(), 1..LONGEST)).prop_map(|(seed, start, parts)| Schedule {
        seed,
        actions: start.into_iter().chain(parts).flatten().collect(),
    })
}

/// An agent that is online, or on its way, by whichever road.
fn start() -> impl Strategy<Value = Vec<Action>> {
    prop_oneof![
        5 => agent().prop_map(|agent| vec![Action::Online { agent }]),
        3 => (agent(), 3usize..12).prop_map(|(agent, steps)| go(agent, steps)),
        // Through a crash at any point.
        2 => (agent(), armed()).prop_map(|(agent, arm)| vec![arm, Action::Online { agent }]),
        // Its api_key is pasted before it asks for it: five steps lead to the confirmation.
        1 => agent().prop_map(|agent| {
            [go(agent, 5), vec![Action::Paste { agent }], go(agent, 5)].concat()
        }),
    ]
}

/// What belongs together, so that it happens often enough.
fn part() -> impl Strategy<Value = Vec<Action>> {
    prop_oneof![
        20 => action().prop_map(|action| vec![action]),
        7 => calls_that_run_into_each_other(),
        1 => an_operator_gets_ahead_of_a_repeat(),
        2 => somebody_gets_ahead_of_a_confirmation(),
        2 => an_old_manifest_comes_after_a_new_one(),
        1 => an_old_manifest_comes_while_enrolling(),
        1 => a_clock_is_set_between_sessions(),
        1 => what_was_heard_before_a_revocation_comes_after_it(),
        1 => nobody_confirms_for_a_day(),
    ]
}

fn calls_that_run_into_each_other() -> impl Strategy<Value = Vec<Action>> {
    (vec(stopped(), 1..4), vec(running(), 1..3)).prop_map(|(stopped, others)| {
        let resumed = vec![resume(); stopped.len()];
        [stopped, others, resumed].concat()
    })
}

/// Of the repeat that would bring the api_key.
fn an_operator_gets_ahead_of_a_repeat() -> impl Strategy<Value = Vec<Action>> {
    let overtakes = operator(Just(None).boxed());
    (agent(), name(), 1u8..3, overtakes).prop_map(|(agent, name, pause, overtakes)| {
        let confirm = Action::Confirm { code: 0, by: 0, shown: agent, pause: None };
        let repeat = vec![Action::Deliver { back: 0, pause: Some(pause) }, overtakes, resume()];
        [registered(agent, name), vec![newest(), confirm], ask(agent), repeat].concat()
    })
}

fn somebody_gets_ahead_of_a_confirmation() -> impl Strategy<Value = Vec<Action>> {
    let of_register: Vec<_> = Field::ALL.into_iter().filter(|field| field.kind() == Kind::Register).collect();
    let forged = (select(of_register), change())
        .prop_map(|(field, change)| vec![Action::Forge { field, back: 0, change }]);
    let thief = name().prop_map(|name| vec![Action::Thief { code: 0, name }]);
    // The one that was meant to be shown, or another.
    let confirmed = (agent(), pause())
        .prop_map(|(shown, pause)| vec![newest(), Action::Confirm { code: 0, by: 0, shown, pause }]);
    let cancelled = pause().prop_map(|pause| vec![newest(), Action::Cancel { code: 0, by: 0, pause }]);
    let ahead = prop_oneof![2 => forged, 1 => thief, 2 => confirmed, 1 => cancelled];
    (agent(), name(), ahead).prop_map(|(agent, name, ahead)| [sent(agent, name), ahead].concat())
}

fn an_old_manifest_comes_after_a_new_one() -> impl Strategy<Value = Vec<Action>> {
    let late = (4u8..10).prop_map(|back| Action::Deliver { back, pause: None });
    (agent(), vec(late, 1..4)).prop_map(|(agent, late)| {
        let begin = vec![Action::Pass { seconds: 1 }, Action::Handshake { agent }];
        let heard = vec![Action::Online { agent }, Action::Reissue { org: agent }];
        [heard, begin.clone(), vec![newest(); 2], begin, late].concat()
    })
}

fn an_old_manifest_comes_while_enrolling() -> impl Strategy<Value = Vec<Action>> {
    (agent(), name(), 1u8..6).prop_map(|(agent, name, back)| {
        let heard = vec![newest(), Action::Reissue { org: agent }];
        let late = vec![Action::Deliver { back, pause: None }];
        [registered(agent, name), heard, ask(agent), vec![newest(); 2], ask(agent), late].concat()
    })
}

fn a_clock_is_set_between_sessions() -> impl Strategy<Value = Vec<Action>> {
    (agent(), jump(), ago()).prop_map(|(agent, jump, back)| {
        let handshake = vec![Action::Pass { seconds: 1 }, Action::Handshake { agent }];
        let session = [handshake, vec![newest(); 4]].concat();
        let online = vec![Action::Online { agent }, jump];
        [online, session.clone(), session, vec![Action::Use { back, pause: None }]].concat()
    })
}

fn what_was_heard_before_a_revocation_comes_after_it() -> impl Strategy<Value = Vec<Action>> {
    (pause(), vec(network(), 1..4))
        .prop_map(|(pause, replays)| [vec![Action::Revoke { code: 0, by: 0, pause }], replays].concat())
}

fn nobody_confirms_for_a_day() -> impl Strategy<Value = Vec<Action>> {
    (agent(), 1usize..8, pause()).prop_map(|(agent, steps, pause)| {
        [go(agent, steps), vec![Action::Pass { seconds: 90_000 }, Action::Sweep { pause }]].concat()
    })
}

fn go(agent: u8, steps: usize) -> Vec<Action> {
    vec![Action::Go { agent, pause: None }; steps]
}

const fn resume() -> Action {
    Action::Resume { back: 0, pause: None }
}

/// The newest message arrives.
const fn newest() -> Action {
    Action::Deliver { back: 0, pause: None }
}

fn ask(agent: u8) -> Vec<Action> {
    vec![Action::Pass { seconds: 2 }, Action::Poll { agent }]
}

/// An agent with a code of its own, whose first Register is under way.
fn sent(agent: u8, name: u8) -> Vec<Action> {
    vec![Action::Wipe { agent }, Action::Code { org: agent }, Action::Enroll { agent, code: 0, name }]
}

/// The same, delivered.
fn registered(agent: u8, name: u8) -> Vec<Action> {
    [sent(agent, name), vec![newest()]].concat()
}

/// A call of the server that is stopped.
fn stopped() -> impl Strategy<Value = Action> {
    let pause = || (1u8..4).prop_map(Some);
    prop_oneof![
        6 => (agent(), pause()).prop_map(|(agent, pause)| Action::Go { agent, pause }),
        2 => (0u8..3, pause()).prop_map(|(back, pause)| Action::Deliver { back, pause }),
        1 => (ago(), pause()).prop_map(|(back, pause)| Action::Use { back, pause }),
        1 => (ago(), pause()).prop_map(|(back, pause)| Action::TakeOver { back, pause }),
        3 => operator(pause().boxed()),
    ]
}

/// A call that may run into one that is stopped.
fn running() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => agent().prop_map(|agent| Action::Go { agent, pause: None }),
        4 => (0u8..3).prop_map(|back| Action::Deliver { back, pause: None }),
        1 => ago().prop_map(|back| Action::Use { back, pause: None }),
        4 => operator(Just(None).boxed()),
    ]
}

/// One action. Every other one is honest; what faults do depends on there being something to do it to.
fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        34 => (agent(), option::weighted(0.2, 0u8..4)).prop_map(|(agent, pause)| Action::Go { agent, pause }),
        6 => agent().prop_map(|agent| Action::Online { agent }),
        10 => honest(),
        20 => network(),
        10 => operator(pause().boxed()),
        8 => crash(),
        8 => session(),
        6 => time(),
    ]
}

fn agent() -> impl Strategy<Value = u8> {
    0u8..2
}

/// Few enough that some are taken.
fn name() -> impl Strategy<Value = u8> {
    0u8..8
}

/// How many messages, codes or sessions ago: the newest most often.
fn ago() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0u8), 3 => 1u8..4, 2 => 4u8..24]
}

/// Most calls run to their end.
fn pause() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.35, 0u8..4)
}

fn honest() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => (0u8..2).prop_map(|org| Action::Code { org }),
        4 => (agent(), ago(), name()).prop_map(|(agent, code, name)| Action::Enroll { agent, code, name }),
        2 => agent().prop_map(|agent| Action::Poll { agent }),
        4 => agent().prop_map(|agent| Action::Handshake { agent }),
        1 => agent().prop_map(|agent| Action::Paste { agent }),
        1 => agent().prop_map(|agent| Action::GiveUp { agent }),
        1 => agent().prop_map(|agent| Action::Wipe { agent }),
    ]
}

fn network() -> impl Strategy<Value = Action> {
    prop_oneof![
        10 => (ago(), pause()).prop_map(|(back, pause)| Action::Deliver { back, pause }),
        5 => (0u8..3, pause()).prop_map(|(back, pause)| Action::Resume { back, pause }),
        2 => (ago(), agent()).prop_map(|(back, agent)| Action::Misdeliver { back, agent }),
        6 => (select(&Field::ALL[..]), ago(), change())
            .prop_map(|(field, back, change)| Action::Forge { field, back, change }),
        2 => (ago(), name()).prop_map(|(code, name)| Action::Thief { code, name }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![any::<u8>().prop_map(Change::Flip), ago().prop_map(Change::From)]
}

fn operator(pause: BoxedStrategy<Option<u8>>) -> impl Strategy<Value = Action> {
    let by = prop_oneof![4 => Just(0u8), 1 => Just(1u8)];
    let who = (ago(), by, pause.clone()).boxed();
    prop_oneof![
        4 => (who.clone(), agent())
            .prop_map(|((code, by, pause), shown)| Action::Confirm { code, by, shown, pause }),
        2 => who.clone().prop_map(|(code, by, pause)| Action::Cancel { code, by, pause }),
        4 => who.prop_map(|(code, by, pause)| Action::Revoke { code, by, pause }),
        2 => pause.prop_map(|pause| Action::Sweep { pause }),
        2 => (0u8..2).prop_map(|org| Action::Reissue { org }),
    ]
}

fn crash() -> impl Strategy<Value = Action> {
    prop_oneof![2 => armed(), 1 => peer().prop_map(|peer| Action::Crash { peer })]
}

/// A crash that waits for its point.
fn armed() -> impl Strategy<Value = Action> {
    let (of_agents, of_server): (Vec<_>, Vec<_>) =
        Point::ALL.into_iter().partition(|point| point.name().starts_with("agent-"));
    // What is durable and nobody was told.
    let committed: Vec<_> =
        of_server.iter().copied().filter(|point| point.name().ends_with("-committed")).collect();
    let at_agent = (agent(), select(of_agents))
        .prop_map(|(agent, point)| Action::Arm { peer: Peer::Agent(agent), point });
    let at_server = prop_oneof![select(of_server), select(committed)]
        .prop_map(|point| Action::Arm { peer: Peer::Server, point });
    prop_oneof![at_agent, at_server]
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![2 => Just(Peer::Server), 1 => agent().prop_map(Peer::Agent)]
}

fn session() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (ago(), pause()).prop_map(|(back, pause)| Action::Use { back, pause }),
        1 => (ago(), pause()).prop_map(|(back, pause)| Action::TakeOver { back, pause }),
    ]
}

fn time() -> impl Strategy<Value = Action> {
    const HOUR: u32 = 3600;
    let passes = prop_oneof![
        3 => 0u32..3,
        3 => 25u32..70,
        2 => HOUR - 60..HOUR + 60,
        1 => 24 * HOUR..25 * HOUR,
    ];
    prop_oneof![passes.prop_map(|seconds| Action::Pass { seconds }), jump()]
}

/// Somebody sets a clock.
fn jump() -> impl Strategy<Value = Action> {
    let far = prop_oneof![3 => 1i32..60, 2 => 3000i32..4000, 1 => 80_000i32..100_000];
    (peer(), far, any::<bool>())
        .prop_map(|(peer, by, back)| Action::Jump { peer, seconds: if back { -by } else { by } })
}
