//! One server with several organizations: each root signs for its own, and one that cannot be had stops nobody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_core::driver::{Founding, RootError, RootKeys, ServerDriver, ServerError, ServerKeys};
use fleet_core::enrollment::server::{Confirm, ConfirmError, CreateCode, Operator, Revoke, RevokeError};
use fleet_core::enrollment::{NewCode, RegisterRequest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::future::{BoxFuture, ready};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey, KeyRole, RootSecretKey, Signature, Signer};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{Actor, MemoryServerStore, Query, ServerStore};
use fleet_core::testing::{SeededRandom, VirtualClock, block_on};

/// Roots that can be taken away.
#[derive(Debug, Default)]
struct Roots(Mutex<BTreeMap<OrgId, Arc<dyn Signer>>>);

impl RootKeys for Roots {
    fn root(&self, org_id: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>> {
        let root = self.0.lock().unwrap().get(&org_id).cloned();
        ready(root.map(Some).ok_or_else(|| RootError { org_id, source: "no file".into() }))
    }
}

struct World {
    driver: ServerDriver,
    store: Arc<MemoryServerStore>,
    roots: Arc<Roots>,
    clock: Arc<VirtualClock>,
    random: Arc<SeededRandom>,
}

/// An agent that has registered.
struct Waiting {
    id: AgentId,
    code: NewCode,
    fingerprint: Fingerprint,
    keys: AgentSecretKeys,
}

fn org(id: i64) -> OrgId {
    OrgId::new(id).unwrap()
}

fn operator(id: i64) -> Operator {
    Operator { org_id: org(id), actor: Actor::System }
}

fn root(byte: u8) -> Arc<dyn Signer> {
    Arc::new(RootSecretKey::from_seed(&[byte; 32]))
}

impl World {
    /// Two organizations, 1 and 2.
    fn new() -> Self {
        let (store, roots) = (Arc::new(MemoryServerStore::new()), Arc::new(Roots::default()));
        let (clock, random) = (Arc::new(VirtualClock::default()), Arc::new(SeededRandom::new(1)));
        let command = Arc::new(CommandSecretKey::from_seed(&[9; 32]));
        let keys = ServerKeys { roots: roots.clone(), command };
        let driver = ServerDriver::new(store.clone(), clock.clone(), random.clone(), keys, Policy::default());
        let world = Self { driver, store, roots, clock, random };
        for id in [1, 2] {
            world.give(id, root(id.try_into().unwrap()));
            let name = Name::new(format!("Organization {id}")).unwrap();
            let founding = Founding { org_id: org(id), name, recovery: None, actor: Actor::System };
            let step = block_on(world.driver.found_organization(founding)).unwrap();
            block_on(world.store.commit(step.change().clone())).unwrap();
        }
        world
    }

    fn give(&self, id: i64, root: Arc<dyn Signer>) {
        self.roots.0.lock().unwrap().insert(org(id), root);
    }

    fn take(&self, id: i64) {
        self.roots.0.lock().unwrap().remove(&org(id));
    }

    fn code(&self, id: i64) -> Result<NewCode, ServerError> {
        block_on(self.driver.create_code(CreateCode::default(), &operator(id)))
    }

    fn register(&self, code: &NewCode, keys: &AgentSecretKeys) -> Result<AgentId, ServerError> {
        let token = code.code.as_ref().unwrap().expose().to_owned();
        let public = keys.public().unwrap().by_role().map(|(_, key)| *key);
        let name = Name::new(format!("site-{}", code.enrollment_id)).unwrap();
        let make = |proofs| RegisterRequest::new(token.clone(), name.clone(), public, proofs);
        let [identity, miner_signing] = make([Signature::from_bytes([0; 64]); 2]).transcripts();
        let proofs =
            [keys.identity.sign(identity.as_bytes()), keys.miner_signing.sign(miner_signing.as_bytes())];
        block_on(self.driver.register(make(proofs))).map(|answer| answer.agent_id)
    }

    fn waiting(&self, id: i64) -> Waiting {
        let (code, keys) = (self.code(id).unwrap(), AgentSecretKeys::generate(self.random.as_ref()).unwrap());
        let agent = self.register(&code, &keys).unwrap();
        let fingerprint = keys.public().unwrap().fingerprint();
        Waiting { id: agent, code, fingerprint, keys }
    }

    fn confirm(&self, by: i64, agent: &Waiting) -> Result<(), ServerError> {
        let confirm = Confirm {
            operator: operator(by),
            agent_id: agent.id,
            enrollment_id: agent.code.enrollment_id,
            fingerprint: agent.fingerprint,
            certificate: None,
        };
        block_on(self.driver.confirm(confirm)).map(drop)
    }

    fn revoke(&self, by: i64, agent: &Waiting) -> Result<(), ServerError> {
        block_on(self.driver.revoke(Revoke { operator: operator(by), agent_id: agent.id }))
    }
}

#[test]
fn each_root_signs_for_its_own_organization() {
    let world = World::new();
    for id in [1, 2] {
        let agent = world.waiting(id);
        world.confirm(id, &agent).unwrap();
        let found = block_on(world.store.load(Query::Agent(agent.id))).unwrap().unwrap();
        let manifest = found.organization.record.manifest.manifest().clone();
        assert_eq!(*manifest.root.as_bytes(), root(id.try_into().unwrap()).public_key());
        assert_eq!(manifest.org_id, org(id));
        let certificate = found.agent.unwrap().record.certificate.unwrap();
        assert_eq!(certificate.certificate().org_id, org(id));
        world.revoke(id, &agent).unwrap();
        let found = block_on(world.store.load(Query::Agent(agent.id))).unwrap().unwrap();
        assert_eq!(found.organization.record.manifest.manifest().revoked.len(), 1);
    }
}

#[test]
fn a_root_that_cannot_be_had_stops_what_rests_on_it_and_nobody_else() {
    let world = World::new();
    let (waiting, confirmed, code) = (world.waiting(2), world.waiting(1), world.code(2).unwrap());
    world.take(2);
    let unavailable = |result: Result<(), ServerError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, ServerError::Root(_)), "{error:?}");
        assert_eq!(Refusal::from(error).code, Code::Unavailable);
    };
    unavailable(world.code(2).map(drop));
    let keys = AgentSecretKeys::generate(world.random.as_ref()).unwrap();
    unavailable(world.register(&code, &keys).map(drop));
    unavailable(world.confirm(2, &waiting));
    // Nothing of it shows to another organization.
    let foreign = world.confirm(1, &waiting);
    assert!(matches!(foreign, Err(ServerError::Confirm(ConfirmError::NotFound { .. }))), "{foreign:?}");
    world.confirm(1, &confirmed).expect("the other organization has its own");
    world.code(1).unwrap();
    // Nor does the refusal use anything up: with the root all goes on.
    world.give(2, root(2));
    world.register(&code, &keys).unwrap();
    world.confirm(2, &waiting).unwrap();
}

#[test]
fn a_revocation_waits_for_no_root_and_its_manifest_is_owed() {
    let world = World::new();
    let agent = world.waiting(2);
    world.confirm(2, &agent).unwrap();
    world.take(2);
    world.revoke(2, &agent).unwrap();
    let revoked = || {
        let found = block_on(world.store.load(Query::Agent(agent.id))).unwrap().unwrap();
        found.organization.record.manifest.manifest().revokes(&agent.keys.identity.public())
    };
    assert!(!revoked(), "there was nothing to sign with");
    world.give(2, root(2));
    world.clock.advance(core::time::Duration::from_secs(1));
    world.revoke(2, &agent).unwrap();
    assert!(revoked(), "asked for once more, it is made");
    let again = world.revoke(2, &agent);
    assert!(matches!(again, Err(ServerError::Revoke(RevokeError::AlreadyRevoked))), "{again:?}");
}

#[test]
fn another_organizations_root_signs_nothing() {
    let world = World::new();
    let waiting = world.waiting(2);
    world.give(2, root(1));
    let other = |result: Result<(), ServerError>| {
        assert!(matches!(result, Err(ServerError::OtherKey { role: KeyRole::Root })), "{result:?}");
    };
    other(world.code(2).map(drop));
    other(world.confirm(2, &waiting));
}
