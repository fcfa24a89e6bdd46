//! The demo: it shows what it says, and leaves nothing, however it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::time::{Duration, Instant};

use process_support::{Ended, Home, Process, containing, fingerprint, processes_naming};
use rustix::process::Signal;

const MINERS: usize = 4;

fn demo(home: &Home, arguments: &[&str]) -> Process {
    home.start([&["demo", "--listen", "127.0.0.1:0"], arguments].concat())
}

/// The status of a miner, if the line is its row of the table.
fn status(endpoint: &str) -> impl Fn(&str) -> Option<String> + '_ {
    move |line| {
        let rest = line.strip_prefix(endpoint)?;
        // Columns are two blanks apart; words of a status, one.
        rest.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).nth(3).map(ToOwned::to_owned)
    }
}

/// Whether the line is a row of the table.
fn row(line: &str) -> Option<String> {
    let endpoint = line.split_whitespace().next()?;
    (endpoint.starts_with("mac:") || endpoint.starts_with("sn:")).then(|| endpoint.to_owned())
}

/// No process of it and no file: it kept everything in the directory for temporary files, which is the test's own.
#[track_caller]
fn assert_nothing_left(home: &Home, ended: &Ended) {
    assert_eq!(processes_naming(home.path()), Vec::<String>::new(), "{ended:#?}");
    assert_eq!(home.entries(), Vec::<String>::new(), "{ended:#?}");
}

/// Waits until the table comes again and again.
async fn live(demo: &mut Process) {
    demo.out(containing("Type kill N or revive N")).await.expect("the table is live");
}

#[tokio::test]
async fn once_it_shows_every_miner_mining_and_leaves_nothing() {
    let home = Home::new();
    let mut demo = demo(&home, &["--yes", "--once"]);
    demo.close();
    let ended = demo.ended().await.expect(0);
    let last = ended.stdout.iter().rposition(|line| line.starts_with("MINER ")).expect("a table");
    let rows: Vec<&String> = ended.stdout[last + 1..].iter().filter(|line| row(line).is_some()).collect();
    assert_eq!(rows.len(), MINERS, "{ended:#?}");
    for line in rows {
        let endpoint = row(line).unwrap();
        assert_eq!(status(&endpoint)(line).as_deref(), Some("mining"), "{line}");
        assert!(line.contains("TH/s") && line.contains(" W "), "{line}");
    }
    assert_nothing_left(&home, &ended);
}

#[tokio::test]
async fn it_asks_for_the_fingerprint_and_takes_only_the_right_one() {
    let home = Home::new();
    let mut demo = demo(&home, &["--once"]);
    let shown = demo.out(|line| fingerprint(line.strip_prefix("  agent | ")?)).await.expect("a fingerprint");
    demo.enter("QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R").await;
    demo.out(containing("refused: ")).await.expect("another agent's is refused");
    demo.enter("no fingerprint").await;
    let refused = async |demo: &mut Process| {
        let before = demo.stdout().iter().position(|line| line.contains("refused: ")).unwrap() + 1;
        demo.out_after(before, containing("refused: ")).await
    };
    refused(&mut demo).await.expect("so is what is none");
    assert!(!demo.stdout().iter().any(|line| line.contains("is confirmed")));
    demo.enter(&shown.to_lowercase()).await;
    demo.out(containing("demo-site is confirmed")).await.expect("the right one is taken");
    assert_nothing_left(&home, &demo.ended().await.expect(0));
}

#[tokio::test]
async fn without_an_answer_it_ends_and_leaves_nothing() {
    let home = Home::new();
    let mut demo = demo(&home, &[]);
    demo.close();
    let ended = demo.ended().await.expect(1);
    assert_nothing_left(&home, &ended);
}

#[tokio::test]
async fn a_signal_in_the_middle_ends_it_whole() {
    for signal in [Signal::INT, Signal::TERM] {
        let home = Home::new();
        let mut demo = demo(&home, &["--yes"]);
        live(&mut demo).await;
        assert!(processes_naming(home.path()).len() == 1, "the agent, by its directory");
        demo.signal(signal);
        let ended = demo.ended().await.expect(0);
        assert!(ended.out().contains("nothing of the demo is left"), "{ended:#?}");
        assert_nothing_left(&home, &ended);
    }
}

#[tokio::test]
async fn a_signal_while_it_waits_for_the_fingerprint_ends_it_whole() {
    let home = Home::new();
    let mut demo = demo(&home, &[]);
    demo.out(|line| fingerprint(line.strip_prefix("  agent | ")?)).await.expect("a fingerprint");
    demo.signal(Signal::INT);
    assert_nothing_left(&home, &demo.ended().await.expect(0));
}

#[tokio::test]
async fn a_miner_without_power_is_unreachable_and_not_mining_until_it_has_power_again() {
    let home = Home::new();
    let mut demo = demo(&home, &["--yes"]);
    live(&mut demo).await;
    let address =
        demo.out(|line| line.strip_prefix("miner 1 ")?.rsplit_once(" at ").map(|(_, to)| to.to_owned()));
    let address = address.await.expect("miner 1 has an address");
    let endpoint = demo.out(|line| row(line).filter(|_| line.contains(&address))).await.expect("a row");

    demo.enter("kill 1").await;
    let killed = Instant::now();
    let before = demo.stdout().len();
    let unreachable = |line: &str| status(&endpoint)(line).filter(|status| status == "unreachable");
    demo.out_after(before, unreachable).await.expect("it is unreachable");
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());

    // From then on, in every table that comes.
    let dark = demo.stdout().iter().rposition(|line| unreachable(line).is_some()).unwrap();
    let mut tables = 0;
    while tables < 2 {
        let seen = demo.stdout().len();
        demo.out_after(seen, status(&endpoint)).await.expect("another table");
        tables += 1;
    }
    demo.enter("revive 1").await;
    let revived = demo.stdout().len();
    let statuses: Vec<_> =
        demo.stdout()[dark..revived].iter().filter_map(|line| status(&endpoint)(line)).collect();
    assert!(statuses.len() >= 3 && statuses.iter().all(|status| status == "unreachable"), "{statuses:?}");
    demo.out_after(revived, |line| status(&endpoint)(line).filter(|status| status == "mining"))
        .await
        .expect("it mines");

    demo.enter("kill 9").await;
    demo.enter("dig 1").await;
    demo.out(containing("dig is neither kill nor revive")).await.expect("it says so");
    demo.signal(Signal::INT);
    assert_nothing_left(&home, &demo.ended().await.expect(0));
}
