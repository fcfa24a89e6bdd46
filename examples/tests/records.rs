//! Records as bytes: every change of an agent's life is read back as it was written.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use fleet_core::future::BoxFuture;
use fleet_core::id::EnrollmentId;
use fleet_core::store::{
    ChallengeRecord, Changeset, CommitError, MemoryServerStore, Query, ServerStore, Snapshot, StoreError,
};
use fleet_core::testing::{World, block_on};
use fleet_core::time::UnixMillis;
use fleet_examples::records::{decode, encode};

/// Compares every change with what is read back of it.
#[derive(Debug, Default)]
struct Compares(MemoryServerStore);

impl ServerStore for Compares {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        self.0.load(query)
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        self.0.take_challenge(challenge)
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        let org = change.agent.as_ref().map(|put| put.record.org_id);
        let found = org.and_then(|id| block_on(self.0.load(Query::Organization(id))).unwrap());
        let root = found.map(|found| found.organization.record.manifest.manifest().root);
        let bytes = encode(&change, root);
        let kept = Changeset { activity: Vec::new(), ..change.clone() };
        assert_eq!(decode(&bytes), Some(kept));
        for length in 0..bytes.len() {
            assert_eq!(decode(bytes.get(..length).unwrap()), None, "cut off at {length}");
        }
        self.0.commit(change)
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        self.0.due(now, limit)
    }
}

#[test]
fn every_change_of_an_agents_life_is_read_back_as_it_was() {
    block_on(async {
        let world = World::with_store(1, Arc::new(Compares::default())).await;
        let code = world.server.create_code().await;
        let agent = world.agent(0);
        agent.enroll(&world, "site-1 – Süd", &code).await.unwrap();
        let agent_id = world.server.agent_of(&code).await.unwrap();
        world.server.revoke(agent_id).await.unwrap();
    });
}
