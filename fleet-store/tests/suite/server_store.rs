//! `ServerStore`.

use std::sync::Arc;

use fleet_core::keys::CommandSecretKey;
use fleet_core::store::{
    AgentKind, AgentRecord, ChallengeRecord, Changeset, CommitError, Put, Query, ServerStore,
};
use fleet_core::testing::{World, store_conformance};
use sea_orm::{ConnectionTrait as _, Statement};
use tokio::task::JoinSet;

use crate::support::Databases;
use crate::support::fixture::Fixture;

/// The suite of the trait.
pub async fn conformance(on: &Databases) {
    store_conformance(&|| Box::pin(async { Arc::new(on.store().await) as Arc<dyn ServerStore> })).await;
}

/// Of any number of callers one gets a challenge.
pub async fn a_challenge_is_taken_once_by_many(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    for round in 0..8_u8 {
        let challenge = ChallengeRecord {
            challenge: [round; 32],
            agent_id: peer.id(),
            api_key: peer.api_key.hash,
            identity: *peer.record.keys.identity(),
            client_nonce: [2; 32],
            command: CommandSecretKey::from_seed(&[3; 32]).public(),
            server_time: f.now,
            expires_at: f.later(30),
            last_sequence: 1,
            manifest_hash: [4; 32],
        };
        f.commit(Changeset { challenge: Some(challenge), ..Changeset::default() }).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let store = f.store.clone();
            tasks.spawn(async move { store.take_challenge([round; 32]).await.unwrap().is_some() });
        }
        let taken = tasks.join_all().await.into_iter().filter(|taken| *taken).count();
        assert_eq!(taken, 1, "round {round}");
    }
}

/// Of any number of writers that saw one version, one writes.
pub async fn one_of_many_writers_wins(on: &Databases) {
    let f = Fixture::new(on).await;
    let peer = f.peer("a").await;
    let held = f.store.load(Query::Agent(peer.id())).await.unwrap().unwrap().agent.unwrap();
    let mut tasks = JoinSet::new();
    for sequence in 1..=16 {
        let (store, held) = (f.store.clone(), held.clone());
        tasks.spawn(async move {
            let record = AgentRecord { last_sequence: sequence, ..held.record };
            let put = Put { record, expected: Some(held.version) };
            store.commit(Changeset { agent: Some(put), ..Changeset::default() }).await
        });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(CommitError::Stale))), "{results:?}");
}

/// Two registrations of one name, or of one key, at once.
pub async fn names_and_keys_are_unique_among_many(on: &Databases) {
    let f = Fixture::new(on).await;
    let keys = f.agent_record("x", AgentKind::Remote).keys;
    let (mut names, mut same_keys) = (JoinSet::new(), JoinSet::new());
    for number in 0..8 {
        let by_name = f.agent_record("same", AgentKind::Remote);
        let by_key = AgentRecord { keys, ..f.agent_record(&format!("k{number}"), AgentKind::Remote) };
        for (tasks, record) in [(&mut names, by_name), (&mut same_keys, by_key)] {
            let store = f.store.clone();
            let put = Put { record, expected: None };
            tasks.spawn(
                async move { store.commit(Changeset { agent: Some(put), ..Changeset::default() }).await },
            );
        }
    }
    let names = names.join_all().await;
    assert_eq!(names.iter().filter(|result| result.is_ok()).count(), 1, "{names:?}");
    assert!(names.iter().all(|r| matches!(r, Ok(()) | Err(CommitError::NameTaken))), "{names:?}");
    let keys = same_keys.join_all().await;
    assert_eq!(keys.iter().filter(|result| result.is_ok()).count(), 1, "{keys:?}");
    assert!(keys.iter().all(|r| matches!(r, Ok(()) | Err(CommitError::KeyTaken { .. }))), "{keys:?}");
}

/// Every manifest that ever was in force is kept.
pub async fn manifests_are_kept(on: &Databases) {
    let f = Fixture::new(on).await;
    let world = World::with_store(8, Arc::new(f.store.clone())).await;
    let agent = world.agent(0);
    let code = world.server.create_code().await;
    let online = agent.enroll(&world, "site-1", &code).await.unwrap();
    let token = online.session.token.hash();
    let identity = world.server.driver.authenticate(&token).await.unwrap();
    world.server.revoke(identity.agent_id).await.unwrap();
    let org = world.server.operator.org_id.value();
    let raw = f.empty.raw().await;
    let sql = format!("SELECT COUNT(*) AS n FROM manifest WHERE org_id = {org}");
    let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    assert_eq!(row.unwrap().try_get::<i64>("", "n").unwrap(), 2);
    raw.close().await.unwrap();
}
