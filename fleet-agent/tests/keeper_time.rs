//! The session keeper on virtual time: renewal, retries, and when an agent gives up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod memory;

use std::{sync::Arc, time::Duration};

use fleet_agent::keeper::{Keeper, KeeperEnd, SessionHandle, SessionState};
use fleet_core::{
    driver::AgentDriver,
    store::{MemoryAgentStore, MemoryKeyStore},
    testing::SeededRandom,
    time::Clock,
};
use memory::Bench;
use tokio::time::{Instant, sleep, timeout};

async fn number(handle: &mut SessionHandle) -> u64 {
    timeout(Duration::from_secs(300), handle.online()).await.expect("online within 5 min").number
}

fn is_online(handle: &SessionHandle) -> bool {
    matches!(handle.state(), SessionState::Online(_))
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_at_two_thirds_of_its_life() {
    let bench = Bench::new().await;
    let keeper = bench.keeper();
    let mut handle = keeper.handle();
    let task = tokio::spawn(keeper.run());
    assert_eq!(number(&mut handle).await, 1);
    let first = handle.online().await;
    let life = first.expires_at.since(first.server_time.at(bench.clock.monotonic()));
    let began = Instant::now();
    timeout(life, handle.replaced(&first)).await.expect("renewed before it expires");
    let took = began.elapsed();
    assert!(
        took >= life * 2 / 3 - Duration::from_secs(1) && took < life * 2 / 3 + Duration::from_secs(2),
        "{took:?}"
    );
    assert_eq!(number(&mut handle).await, 2);
    assert!(bench.server.authenticate(&handle.online().await.token.hash()).await.is_ok());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_for_a_day_is_taken_up_again() {
    let bench = Bench::new().await;
    bench.cut(true);
    let keeper = bench.keeper();
    let mut handle = keeper.handle();
    let task = tokio::spawn(keeper.run());
    sleep(Duration::from_secs(24 * 3_600)).await;
    assert!(!task.is_finished(), "unreachable is not refused");
    assert!(!is_online(&handle));
    let tries = bench.begins();
    assert!((24 * 60..24 * 3_600 / 10).contains(&tries), "{tries} tries in a day");
    bench.cut(false);
    number(&mut handle).await;
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_renewed_is_used_until_it_expires() {
    let bench = Bench::new().await;
    let keeper = bench.keeper();
    let mut handle = keeper.handle();
    let task = tokio::spawn(keeper.run());
    let first = handle.online().await;
    let life = first.expires_at.since(first.server_time.at(bench.clock.monotonic()));
    bench.cut(true);
    sleep(life - Duration::from_secs(5)).await;
    assert!(is_online(&handle), "it is good for 5 s more");
    sleep(Duration::from_secs(10)).await;
    assert!(!is_online(&handle), "its time is up");
    bench.cut(false);
    assert_eq!(number(&mut handle).await, 2);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_refuses_is_replaced_at_once() {
    let bench = Bench::new().await;
    let keeper = bench.keeper();
    let mut handle = keeper.handle();
    let task = tokio::spawn(keeper.run());
    let first = handle.online().await;
    sleep(Duration::from_secs(120)).await;
    let began = Instant::now();
    handle.refused(&first);
    handle.replaced(&first).await;
    assert_eq!(number(&mut handle).await, 2);
    assert!(began.elapsed() < Duration::from_secs(1));
    // What an old session was answered says nothing about the new one.
    handle.refused(&first);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(number(&mut handle).await, 2);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_refused_right_away_do_not_make_a_storm() {
    let bench = Bench::new().await;
    let keeper = bench.keeper();
    let mut handle = keeper.handle();
    let task = tokio::spawn(keeper.run());
    let storm = async {
        loop {
            let session = handle.online().await;
            handle.refused(&session);
            handle.replaced(&session).await;
        }
    };
    let _: Result<(), _> = timeout(Duration::from_secs(600), storm).await;
    assert!(bench.begins() < 60, "{} handshakes in 10 min", bench.begins());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_revoked_agent_gives_up_after_five_refusals_and_ten_minutes() {
    let bench = Bench::new().await;
    bench.revoke().await;
    let began = Instant::now();
    let end = timeout(Duration::from_secs(3_600), bench.keeper().run()).await.expect("it gives up");
    assert!(matches!(end, KeeperEnd::Refused), "{end:?}");
    assert!(began.elapsed() >= Duration::from_secs(600), "not before 10 min: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(700));
    assert!(bench.begins() >= 5);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_does_not_end_the_agent() {
    let bench = Bench::new().await;
    bench.revoke().await;
    let mut keeper = Box::pin(bench.keeper().run());
    let for_nine_minutes = timeout(Duration::from_secs(540), &mut keeper).await;
    assert!(for_nine_minutes.is_err(), "many refusals, but not for long enough");
    assert!(bench.begins() >= 5);
    // No answer is no refusal, however long it lasts.
    bench.cut(true);
    assert!(timeout(Duration::from_secs(3_600), &mut keeper).await.is_err());
    bench.cut(false);
    assert!(timeout(Duration::from_secs(120), &mut keeper).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_with_too_many_sessions_is_not_asked_before_the_time_it_names() {
    let bench = Bench::new().await;
    let wait = Duration::from_secs(240);
    bench.door.shut(Some(wait));
    let mut keeper = Box::pin(bench.keeper().run());
    let asked = |begins| assert_eq!(bench.begins(), begins, "Begins in the time");
    assert!(timeout(wait - Duration::from_secs(1), &mut keeper).await.is_err());
    asked(1);
    // A quarter later it has asked again.
    assert!(timeout(wait / 4 + Duration::from_secs(2), &mut keeper).await.is_err());
    asked(2);
    // For as long as it may take: no number of such answers is a refusal.
    assert!(timeout(Duration::from_secs(24 * 3_600), &mut keeper).await.is_err());
    assert!((24 * 3_600 / 300..=24 * 3_600 / 240 + 2).contains(&bench.begins()), "{}", bench.begins());
    bench.revoke().await;
    let began = Instant::now();
    assert!(timeout(Duration::from_secs(3_600), &mut keeper).await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(600), "none of them counts: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_enrolled_does_not_try() {
    let bench = Bench::new().await;
    let driver = AgentDriver::new(
        Arc::new(MemoryAgentStore::new()),
        Arc::new(MemoryKeyStore::new()),
        bench.transport.clone(),
        bench.clock.clone(),
        Arc::new(SeededRandom::new(4)),
    );
    let random = Arc::new(SeededRandom::new(5));
    let end = Keeper::new(driver, bench.transport.clone(), bench.clock.clone(), random).run().await;
    assert!(matches!(end, KeeperEnd::Broken(_)));
    assert_eq!(bench.begins(), 0);
}
