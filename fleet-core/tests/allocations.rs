//! What resolving a session allocates: what the store's lookup does, and nothing of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use fleet_core::code::SessionToken;
use fleet_core::handshake::server::check_session;
use fleet_core::store::Query;
use fleet_core::testing::{World, block_on};
use fleet_core::time::Clock as _;

/// A world with an agent online, and its token as it stands in a header.
fn online() -> (World, String) {
    let world = World::new(3);
    let agent = world.agent(0);
    let token = block_on(async {
        let code = world.server.create_code().await;
        agent.enroll(&world, "site-1", &code).await.unwrap().session.token.expose().to_owned()
    });
    world.advance(Duration::from_secs(1));
    (world, token)
}

fn counted(info: &AllocationInfo) -> (u64, u64) {
    (info.count_total, info.bytes_total)
}

#[test]
fn resolving_a_session_allocates_what_the_lookup_does_and_nothing_else() {
    let (world, token) = online();
    let driver = &world.server.driver;
    let hash = SessionToken::hash_of(&token).unwrap();
    let lookup = measure(|| {
        let query = Query::AgentBySession(hash);
        assert!(block_on(world.server.store.load(query)).unwrap().is_some());
    });
    assert!(lookup.count_total > 0, "nothing is counted");
    let whole = measure(|| {
        let hash = SessionToken::hash_of(&token).unwrap();
        assert_eq!(block_on(driver.authenticate(&hash)).unwrap().session, hash);
    });
    assert_eq!(counted(&whole), counted(&lookup), "number and bytes");
}

#[test]
fn judging_a_token_and_a_snapshot_allocates_nothing() {
    let (world, token) = online();
    let hash = SessionToken::hash_of(&token).unwrap();
    let found = block_on(world.server.store.load(Query::AgentBySession(hash))).unwrap();
    let now = world.clock.now();
    let info = measure(|| {
        let hash = SessionToken::hash_of(&token).unwrap();
        assert!(check_session(&hash, found.as_ref(), now).is_ok());
        assert!(SessionToken::hash_of(&token[1..]).is_err());
    });
    assert_eq!(counted(&info), (0, 0));
}
