//! Sequences of operations against the model: two organizations on one server, their agents, operators and an attacker.

use std::sync::LazyLock;

use fleet_core::testing::simulation::{Action, Schedule, Sound, run as simulate};

use crate::Outcome;
use crate::script::Script;

/// The most actions of one schedule.
const LONGEST: usize = 48;
/// What the actions of a script are made after.
const SCHEDULES: [&str; 11] = [
    include_str!("../../fleet-core/tests/schedules/a-code-expires-while-an-agent-waits.schedule"),
    include_str!("../../fleet-core/tests/schedules/a-control-stream-ends-the-predecessor-alone.schedule"),
    include_str!("../../fleet-core/tests/schedules/a-thief-with-the-code-comes-first.schedule"),
    include_str!("../../fleet-core/tests/schedules/agent-crashes-between-its-keys-and-its-state.schedule"),
    include_str!("../../fleet-core/tests/schedules/clocks-jump-under-a-session.schedule"),
    include_str!("../../fleet-core/tests/schedules/confirmation-commits-and-the-server-crashes.schedule"),
    include_str!(
        "../../fleet-core/tests/schedules/everything-heard-before-a-revocation-comes-after-it.schedule"
    ),
    include_str!("../../fleet-core/tests/schedules/messages-arrive-late-twice-and-out-of-order.schedule"),
    include_str!("../../fleet-core/tests/schedules/revocation-overtakes-a-repeat-of-register.schedule"),
    include_str!("../../fleet-core/tests/schedules/session-commits-and-the-server-crashes.schedule"),
    include_str!("../../fleet-core/tests/schedules/two-organizations-on-one-server.schedule"),
];

/// Every action of those, once, as text.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let schedules = SCHEDULES.iter().map(|text| text.parse::<Schedule>().expect("it is replayed"));
    let mut lines: Vec<_> = schedules.flat_map(|s| s.actions).map(|action| action.to_string()).collect();
    lines.sort();
    lines.dedup();
    lines
});

/// A schedule as text, or a seed of one byte and actions: for each a byte that picks a line, and one for each of its
/// numbers.
pub(crate) fn run(data: &[u8]) -> Outcome {
    let Some(schedule) = text(data).or_else(|| script(data)) else { return Outcome::Refused };
    match simulate(&schedule, &Sound) {
        Ok(report) if report.sights.is_empty() => Outcome::Refused,
        Ok(_) => Outcome::Taken,
        Err(violation) => panic!("{violation}\n{schedule}"),
    }
}

fn text(data: &[u8]) -> Option<Schedule> {
    let text = core::str::from_utf8(data).ok().filter(|text| text.starts_with("seed "))?;
    let mut schedule: Schedule = text.parse().ok()?;
    schedule.actions.truncate(LONGEST);
    Some(schedule)
}

fn script(data: &[u8]) -> Option<Schedule> {
    let mut script = Script::new(data);
    let mut schedule: Schedule = format!("seed {}\n", script.byte()?).parse().ok()?;
    while let Some(which) = script.byte().filter(|_| schedule.actions.len() < LONGEST) {
        let Some(line) = LINES.get(usize::from(which) % LINES.len()) else { break };
        let words = line.split(' ').map(|word| match word.split_once('=') {
            Some((field, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{field}={}", script.byte().unwrap_or(0))
            }
            Some(_) | None => word.to_owned(),
        });
        // A number may be too large for where it stands.
        schedule.actions.extend(words.collect::<Vec<_>>().join(" ").parse::<Action>());
    }
    Some(schedule)
}
