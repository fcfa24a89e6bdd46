//! What an attacker, a crash, a clock or a careless caller may try against enrollment and handshake. Each test says in
//! its name what holds all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;
use fleet_core::code::*;
use fleet_core::driver::*;
use fleet_core::enrollment::server::*;
use fleet_core::enrollment::*;
use fleet_core::future::BoxFuture;
use fleet_core::handshake::agent as ha;
use fleet_core::handshake::server as hs;
use fleet_core::handshake::*;
use fleet_core::id::*;
use fleet_core::keys::*;
use fleet_core::manifest::*;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::*;
use fleet_core::store::*;
use fleet_core::testing::*;
use fleet_core::time::*;
use fleet_core::transport::*;
use std::future::Future;
use std::sync::{Arc, Mutex};

fn root(seed: u64) -> RootSecretKey {
    RootSecretKey::generate(&SeededRandom::new(seed)).unwrap()
}

struct E {
    world: World,
    agent: AgentPeer,
    store: Arc<MemoryServerStore>,
    code: NewCode,
}
fn enrolled(seed: u64) -> E {
    let store = Arc::new(MemoryServerStore::new());
    let world = block_on(World::with_store(seed, store.clone()));
    let agent = world.agent(0);
    let code = block_on(world.server.create_code());
    block_on(agent.enroll(&world, "site-1", &code)).unwrap();
    world.advance(Duration::from_secs(1));
    E { world, agent, store, code }
}

fn org(store: &MemoryServerStore, id: OrgId) -> Versioned<OrganizationRecord> {
    block_on(store.load(Query::Organization(id))).unwrap().unwrap().organization
}
fn change_manifest(
    store: &MemoryServerStore,
    id: OrgId,
    root: &RootSecretKey,
    f: impl FnOnce(&mut OrgManifest),
) {
    let held = org(store, id);
    let mut m = held.record.manifest.manifest().clone();
    m.epoch += 1;
    f(&mut m);
    let s = root.sign(m.transcript().as_bytes());
    let manifest = SignedManifest::verify(m, s).unwrap();
    let put = Put { record: OrganizationRecord { manifest, ..held.record }, expected: Some(held.version) };
    block_on(store.commit(Changeset { organization: Some(put), ..Changeset::default() })).unwrap();
}

#[test]
fn a_manifest_with_another_command_key_ends_every_session() {
    let e = enrolled(1);
    let online = block_on(e.agent.driver.handshake()).unwrap();
    let token = online.session.token.hash();
    let org_id = e.world.server.operator.org_id;
    change_manifest(&e.store, org_id, &root(1), |m| {
        m.command = CommandSecretKey::from_seed(&[9; 32]).public()
    });
    let r = block_on(e.world.server.driver.authenticate(&token));
    assert!(matches!(r, Err(ServerError::Auth(hs::AuthError::Session))), "section 5 step 5: {r:?}");
}

#[test]
fn a_session_is_not_stored_across_a_change_of_command_key() {
    let e = enrolled(2);
    let state = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let keyring = block_on(e.agent.keys.open()).unwrap().unwrap();
    let expect = ha::begin(
        state.clone(),
        state.api_key.clone().unwrap(),
        e.world.clock.monotonic(),
        &SeededRandom::new(5),
    )
    .unwrap();
    let resp = block_on(e.world.server.driver.begin(expect.request())).unwrap();
    let needs = expect.challenge(resp, e.world.clock.monotonic()).unwrap().saved().verify().unwrap();
    let sig = block_on(keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
    let req = needs.signed(sig, e.world.clock.monotonic()).unwrap().request().clone();
    let c = hs::Complete::new(req);
    let rec = block_on(e.store.take_challenge(c.challenge())).unwrap();
    let needs = c.taken(rec, e.world.clock.now()).unwrap();
    let found = block_on(e.store.load(needs.query())).unwrap();
    let step = needs.resolve(found, e.world.clock.now(), &Policy::default(), &SeededRandom::new(6)).unwrap();
    change_manifest(&e.store, e.world.server.operator.org_id, &root(2), |m| {
        m.command = CommandSecretKey::from_seed(&[9; 32]).public()
    });
    let r = block_on(e.store.commit(step.change().clone()));
    assert!(matches!(r, Err(CommitError::Stale)), "{r:?}");
}

#[test]
fn a_code_of_an_old_pin_is_not_stored_after_the_pin_changed() {
    let e = enrolled(3);
    let op = e.world.server.operator.clone();
    let found = block_on(e.store.load(Query::Organization(op.org_id))).unwrap().unwrap();
    let step = create_code(
        CreateCode::default(),
        &op,
        &found,
        e.world.clock.now(),
        &Policy::default(),
        &SeededRandom::new(9),
    )
    .unwrap();
    change_manifest(&e.store, op.org_id, &root(3), |m| {
        m.recovery = Some(RecoverySecretKey::from_scalar(&[5; 32]).public())
    });
    let r = block_on(e.store.commit(step.change().clone()));
    assert!(matches!(r, Err(CommitError::Stale)), "{r:?}");
}

#[test]
fn a_predecessor_that_opens_a_control_stream_does_not_end_its_successor() {
    let e = enrolled(4);
    let one = block_on(e.agent.driver.handshake()).unwrap().session.token.hash();
    e.world.advance(Duration::from_secs(1));
    let two = block_on(e.agent.driver.handshake()).unwrap().session.token.hash();
    block_on(e.world.server.driver.take_over(&one)).unwrap();
    let r = block_on(e.world.server.driver.authenticate(&two));
    assert!(r.is_ok(), "{r:?}");
}

#[test]
fn take_over_is_a_call_under_a_session_and_ends_delivery() {
    let world = World::new(5);
    let agent = world.agent(0);
    let code = block_on(world.server.create_code());
    block_on(async {
        let text = EnrollmentCode::parse(code.code.as_ref().unwrap().expose()).unwrap();
        let mut en = agent.driver.enroll(text, "https://x", Name::new("a").unwrap()).await.unwrap();
        en.poll().await.unwrap();
        en.join().await.unwrap();
        let id = world.server.agent_of(&code).await.unwrap();
        world.server.confirm(&code, id, *en.fingerprint()).await.unwrap();
        world.advance(Duration::from_secs(2));
        assert_eq!(en.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        let online = agent.driver.handshake().await.unwrap();
        world.server.driver.take_over(&online.session.token.hash()).await.unwrap();
        let found = world.server.store.load(Query::Agent(id)).await.unwrap().unwrap();
        assert!(
            found.agent.unwrap().record.sealed_api_key.is_none(),
            "delivery goes on after a call under a session"
        );
    });
}

#[test]
fn after_the_clock_was_set_back_the_predecessor_is_the_one_in_use() {
    let e = enrolled(6);
    let d = &e.world.server.driver;
    let _old = block_on(e.agent.driver.handshake()).unwrap().session.token.hash();
    let back = e.world.clock.now().saturating_sub(Duration::from_secs(30));
    e.world.clock.set_wall(back);
    let two = block_on(e.agent.driver.handshake()).unwrap().session.token.hash();
    e.world.advance(Duration::from_secs(1));
    assert!(block_on(d.authenticate(&two)).is_ok());
    let three = block_on(e.agent.driver.handshake()).unwrap().session.token.hash();
    let _ = three;
    assert!(block_on(d.authenticate(&two)).is_ok(), "the session in use was dropped for an older one");
}

/// A transport over the driver, with something that happens during Complete, once.
struct Hooked {
    server: ServerDriver,
    hook: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}
impl core::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("H")
    }
}
impl Transport for Hooked {
    fn register(&self, r: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async move { self.server.register(r).await.map_err(|e| TransportError::Refused(e.into())) })
    }
    fn begin(&self, r: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async move { self.server.begin(r).await.map_err(|e| TransportError::Refused(e.into())) })
    }
    fn complete(&self, r: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async move {
            let a = self.server.complete(r).await.map_err(|e| TransportError::Refused(e.into()));
            let hook = self.hook.lock().unwrap().take();
            if let Some(h) = hook {
                h();
            }
            a
        })
    }
}

#[test]
fn two_handshakes_at_once_do_not_roll_the_manifest_back() {
    let e = enrolled(7);
    let org_id = e.world.server.operator.org_id;
    let (store, agent, clock) = (e.store.clone(), e.agent.driver.clone(), e.world.clock.clone());
    let hook = Box::new(move || {
        change_manifest(&store, org_id, &root(7), |m| m.revoked.push(RevokedKeyId::from_bytes([1; 16])));
        clock.advance(Duration::from_secs(1));
        block_on(agent.handshake()).unwrap();
    });
    let link = Arc::new(Hooked { server: e.world.server.driver.clone(), hook: Mutex::new(Some(hook)) });
    let slow = AgentDriver::new(
        e.agent.store.clone(),
        e.agent.keys.clone(),
        link,
        e.world.clock.clone(),
        Arc::new(SeededRandom::new(99)),
    );
    block_on(slow.handshake()).unwrap();
    let held = block_on(e.agent.store.load()).unwrap().unwrap().record.manifest.unwrap();
    let now = org(&e.store, org_id).record.manifest;
    assert_eq!(held.manifest().epoch, now.manifest().epoch, "the pinned manifest was rolled back on disk");
}

#[test]
fn a_poll_that_is_under_way_does_not_lose_a_pasted_api_key() {
    let store = Arc::new(MemoryServerStore::new());
    let world = block_on(World::with_store(8, store.clone()));
    let agent = world.agent(0);
    let code = block_on(world.server.create_code());
    block_on(async {
        let text = EnrollmentCode::parse(code.code.as_ref().unwrap().expose()).unwrap();
        let mut en = agent.driver.enroll(text, "https://x", Name::new("a").unwrap()).await.unwrap();
        en.poll().await.unwrap();
        en.join().await.unwrap();
        let id = world.server.agent_of(&code).await.unwrap();
        let key = world.server.confirm(&code, id, *en.fingerprint()).await.unwrap();
        world.advance(Duration::from_secs(2));
        let online = agent.driver.handshake_with(key).await.unwrap();
        world.server.driver.authenticate(&online.session.token.hash()).await.unwrap();
        change_manifest(&store, world.server.operator.org_id, &root(8), |_| {});
        world.advance(Duration::from_secs(2));
        let p = en.poll().await;
        let st = agent.store.load().await.unwrap().unwrap().record;
        assert!(st.api_key.is_some(), "api_key and session lost by {p:?}");
    });
}

#[derive(Debug)]
struct FlakyStore {
    inner: Arc<MemoryAgentStore>,
    fail: Mutex<u32>,
    hang: Mutex<bool>,
}
impl AgentStore for FlakyStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<Versioned<AgentState>>, StoreError>> {
        self.inner.load()
    }
    fn commit(&self, s: AgentState, v: Option<Version>) -> BoxFuture<'_, Result<Version, CommitError>> {
        if *self.hang.lock().unwrap() {
            return Box::pin(core::future::pending());
        }
        let mut f = self.fail.lock().unwrap();
        if *f > 0 {
            *f -= 1;
            return Box::pin(async { Err(CommitError::Store(StoreError("disk full".into()))) });
        }
        self.inner.commit(s, v)
    }
}
fn flaky(world: &World) -> (Arc<FlakyStore>, AgentDriver) {
    let a = world.agent(0);
    let f = Arc::new(FlakyStore { inner: a.store.clone(), fail: Mutex::new(0), hang: Mutex::new(false) });
    let d = AgentDriver::new(
        f.clone(),
        a.keys.clone(),
        a.link.clone(),
        world.clock.clone(),
        Arc::new(SeededRandom::new(4)),
    );
    (f, d)
}

#[test]
fn a_failed_save_in_join_is_not_waiting() {
    let world = World::new(9);
    let (f, d) = flaky(&world);
    let code = block_on(world.server.create_code());
    block_on(async {
        let text = EnrollmentCode::parse(code.code.as_ref().unwrap().expose()).unwrap();
        let mut en = d.enroll(text, "https://x", Name::new("a").unwrap()).await.unwrap();
        en.poll().await.unwrap();
        *f.fail.lock().unwrap() = 1;
        assert!(en.join().await.is_err());
        let again = en.join().await;
        let joined = f.load().await.unwrap().unwrap().record.joined;
        assert!(joined || again.is_err(), "join says {again:?}, and joined is {joined}");
    });
}

#[test]
fn a_poll_that_is_dropped_can_be_called_again() {
    let world = World::new(10);
    let (f, d) = flaky(&world);
    let code = block_on(world.server.create_code());
    block_on(async {
        let text = EnrollmentCode::parse(code.code.as_ref().unwrap().expose()).unwrap();
        let mut en = d.enroll(text, "https://x", Name::new("a").unwrap()).await.unwrap();
        *f.hang.lock().unwrap() = true;
        {
            let fut = en.poll();
            let mut fut = Box::pin(fut);
            let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
            assert!(fut.as_mut().poll(&mut cx).is_pending());
        }
        *f.hang.lock().unwrap() = false;
        world.advance(Duration::from_secs(2));
        let r = en.poll().await;
        assert!(r.is_ok(), "driver/mod.rs: calling again goes on: {r:?}");
    });
}

#[test]
fn an_agent_is_revoked_also_where_the_manifest_cannot_be_signed() {
    let e = enrolled(11);
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::from_seed(&[77; 32])),
        Arc::new(CommandSecretKey::from_seed(&[78; 32])),
    );
    let d = ServerDriver::new(
        e.store.clone(),
        e.world.clock.clone(),
        Arc::new(SeededRandom::new(1)),
        keys,
        Policy::default(),
    );
    let id = block_on(e.world.server.agent_of(&e.code)).unwrap();
    let r = block_on(d.revoke(Revoke { operator: e.world.server.operator.clone(), agent_id: id }));
    assert!(r.is_ok(), "{r:?}");
}

#[test]
fn a_code_hash_given_twice_is_refused_as_that() {
    let world = World::new(12);
    let req = CreateCode { ttl: None, code_sha256: Some([7; 32]) };
    let d = &world.server.driver;
    block_on(d.create_code(req, &world.server.operator)).unwrap();
    let r = Refusal::from(block_on(d.create_code(req, &world.server.operator)).unwrap_err());
    assert_ne!(r.code, Code::Unavailable, "{r:?}");
}

#[test]
fn a_session_longer_than_24_hours_is_malformed() {
    let e = enrolled(14);
    let state = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let keyring = block_on(e.agent.keys.open()).unwrap().unwrap();
    let expect = ha::begin(
        state.clone(),
        state.api_key.clone().unwrap(),
        e.world.clock.monotonic(),
        &SeededRandom::new(5),
    )
    .unwrap();
    let resp = block_on(e.world.server.driver.begin(expect.request())).unwrap();
    let needs = expect.challenge(resp, e.world.clock.monotonic()).unwrap().saved().verify().unwrap();
    let sig = block_on(keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
    let ex = needs.signed(sig, e.world.clock.monotonic()).unwrap();
    let mut r = block_on(e.world.server.driver.complete(ex.request().clone())).unwrap();
    r.expires_at = UnixMillis::new(253_402_300_799_000).unwrap();
    let now = e.world.clock.monotonic();
    let o = ex.session(r, now);
    assert_eq!(o.map(|step| step.saved().renew_at), Err(ha::HandshakeError::Malformed));
}

#[test]
fn a_challenge_is_not_printed() {
    let e = enrolled(15);
    let state = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let req = BeginRequest::new(
        state.api_key.unwrap().expose().to_owned(),
        *state.keys.identity().as_bytes(),
        [0xAB; 32],
    );
    let b = hs::Begin::new(req);
    let found = block_on(e.store.load(b.query())).unwrap();
    let needs = b.resolve(found, e.world.clock.now(), &Policy::default(), &SeededRandom::new(1)).unwrap();
    let s = format!("{needs:?}");
    assert!(!s.contains("171, 171"), "{}", &s[..400]);
}

#[test]
fn a_manifest_that_no_peer_decodes_does_not_validate() {
    let e = enrolled(16);
    let mut m = org(&e.store, e.world.server.operator.org_id).record.manifest.manifest().clone();
    m.revoked = (0..16385u32)
        .map(|i| {
            let mut b = [0; 16];
            b[..4].copy_from_slice(&i.to_be_bytes());
            RevokedKeyId::from_bytes(b)
        })
        .collect();
    let error = ManifestError::TooMany { field: "revoked", max: 16_384, got: 16_385 };
    assert_eq!(m.validate(), Err(error));
}

#[test]
fn second_uses_do_not_keep_the_operator_from_confirming() {
    // A store that lets a thief of the code call Register before every commit of Confirm.
    #[derive(Debug)]
    struct Racy {
        inner: Arc<MemoryServerStore>,
        thief: Mutex<Option<ServerDriver>>,
        req: Mutex<Option<RegisterRequest>>,
    }
    impl ServerStore for Racy {
        fn load(&self, q: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
            self.inner.load(q)
        }
        fn take_challenge(&self, c: [u8; 32]) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
            self.inner.take_challenge(c)
        }
        fn commit(&self, c: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
            let d = self.thief.lock().unwrap().clone();
            if let (Some(d), Some(r)) = (d, self.req.lock().unwrap().clone()) {
                let _ = block_on(d.register(r));
            }
            self.inner.commit(c)
        }
        fn due(&self, n: UnixMillis, l: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
            self.inner.due(n, l)
        }
    }
    let inner = Arc::new(MemoryServerStore::new());
    let world = block_on(World::with_store(17, inner.clone()));
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    let racy = Arc::new(Racy { inner: inner.clone(), thief: Mutex::new(None), req: Mutex::new(None) });
    let r = SeededRandom::new(17);
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::generate(&r).unwrap()),
        Arc::new(CommandSecretKey::generate(&r).unwrap()),
    );
    let d = ServerDriver::new(
        racy.clone(),
        world.clock.clone(),
        Arc::new(SeededRandom::new(2)),
        keys,
        Policy::default(),
    );
    block_on(async {
        let t = code.code.as_ref().unwrap().expose().to_owned();
        let mut en = agent
            .driver
            .enroll(EnrollmentCode::parse(&t).unwrap(), "https://x", Name::new("a").unwrap())
            .await
            .unwrap();
        en.poll().await.unwrap();
        let id = world.server.agent_of(&code).await.unwrap();
        *racy.req.lock().unwrap() = Some(RegisterRequest::new(
            t,
            Name::new("z").unwrap(),
            [[1; 32]; 3],
            [Signature::from_bytes([0; 64]); 2],
        ));
        *racy.thief.lock().unwrap() = Some(world.server.driver.clone());
        let c = Confirm {
            operator: world.server.operator.clone(),
            agent_id: id,
            enrollment_id: code.enrollment_id,
            fingerprint: *en.fingerprint(),
            certificate: None,
        };
        let r = d.confirm(c).await;
        assert!(r.is_ok(), "{:?}; activity lines {}", r.err(), inner.activity().len());
    });
}

#[test]
fn a_second_use_after_cancelling_is_seen() {
    let world = World::new(18);
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    block_on(async {
        let t = code.code.as_ref().unwrap().expose().to_owned();
        let mut en = agent
            .driver
            .enroll(EnrollmentCode::parse(&t).unwrap(), "https://x", Name::new("a").unwrap())
            .await
            .unwrap();
        en.poll().await.unwrap();
        world.server.driver.cancel(code.enrollment_id, &world.server.operator).await.unwrap();
        let r = RegisterRequest::new(
            t,
            Name::new("z").unwrap(),
            [[1; 32]; 3],
            [Signature::from_bytes([0; 64]); 2],
        );
        assert!(world.server.driver.register(r).await.is_err());
        let n = world
            .server
            .store
            .load(Query::Enrollment(code.enrollment_id))
            .await
            .unwrap()
            .unwrap()
            .enrollment
            .unwrap()
            .record
            .second_uses;
        assert_eq!(n, 1);
    });
}

#[test]
fn a_manifest_planted_in_the_database_is_not_pinned_by_new_codes() {
    let e = enrolled(19);
    let org_id = e.world.server.operator.org_id;
    let attacker = RootSecretKey::from_seed(&[66; 32]);
    // Somebody who can write the database and has no key of the server.
    let held = org(&e.store, org_id);
    let mut m = held.record.manifest.manifest().clone();
    m.epoch += 1;
    m.root = attacker.public();
    let s = attacker.sign(m.transcript().as_bytes());
    let manifest = SignedManifest::verify(m, s).unwrap();
    let put = Put { record: OrganizationRecord { manifest, ..held.record }, expected: Some(held.version) };
    block_on(e.store.commit(Changeset { organization: Some(put), ..Changeset::default() })).unwrap();
    let new = block_on(e.world.server.driver.create_code(CreateCode::default(), &e.world.server.operator));
    assert!(
        matches!(new, Err(ServerError::OtherKey { role: KeyRole::Root })),
        "{new:?}: the driver holds root {:?} and makes a code that pins {:?}",
        root(19).public(),
        attacker.public()
    );
}

#[test]
fn a_revocation_without_the_root_is_listed_once_the_root_is_there() {
    let e = enrolled(21);
    let id = block_on(e.world.server.agent_of(&e.code)).unwrap();
    let keys = ServerKeys::offline(Arc::new(CommandSecretKey::from_seed(&[78; 32])));
    let d = ServerDriver::new(
        e.store.clone(),
        e.world.clock.clone(),
        Arc::new(SeededRandom::new(1)),
        keys,
        Policy::default(),
    );
    block_on(d.revoke(Revoke { operator: e.world.server.operator.clone(), agent_id: id })).unwrap();
    // Later, with the root at hand, the manifest that is owed is made.
    let r = block_on(
        e.world.server.driver.revoke(Revoke { operator: e.world.server.operator.clone(), agent_id: id }),
    );
    assert!(r.is_ok(), "{r:?}");
}

#[test]
fn no_policy_lets_a_challenge_live_longer_than_the_protocol_does() {
    let e = enrolled(22);
    let p = {
        let mut p = Policy::default();
        p.challenge_ttl = Duration::from_secs(3600);
        p
    };
    let r = SeededRandom::new(22);
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::generate(&r).unwrap()),
        Arc::new(CommandSecretKey::generate(&r).unwrap()),
    );
    let d =
        ServerDriver::new(e.store.clone(), e.world.clock.clone(), Arc::new(SeededRandom::new(1)), keys, p);
    let state = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let resp = block_on(d.begin(BeginRequest::new(
        state.api_key.unwrap().expose().to_owned(),
        *state.keys.identity().as_bytes(),
        [1; 32],
    )))
    .unwrap();
    assert!(
        resp.expires_at.since(resp.server_time) <= Duration::from_secs(30),
        "Policy lets a challenge live {:?}",
        resp.expires_at.since(resp.server_time)
    );
}

#[test]
fn no_policy_lets_a_session_live_longer_than_the_protocol_does() {
    let e = enrolled(24);
    let p = {
        let mut p = Policy::default();
        p.session_ttl = Duration::from_secs(48 * 3600);
        p.session_overlap = Duration::from_secs(86_400);
        p
    };
    let r = SeededRandom::new(24);
    let keys = ServerKeys::managed(
        Arc::new(RootSecretKey::generate(&r).unwrap()),
        Arc::new(CommandSecretKey::generate(&r).unwrap()),
    );
    let (clock, random) = (e.world.clock.clone(), Arc::new(SeededRandom::new(1)));
    let d = ServerDriver::new(e.store.clone(), clock.clone(), random, keys, p);
    let state = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let keyring = block_on(e.agent.keys.open()).unwrap().unwrap();
    let (before, api_key) = (state.session.clone().unwrap().token.hash(), state.api_key.clone().unwrap());
    let expect = ha::begin(state, api_key, clock.monotonic(), &SeededRandom::new(5)).unwrap();
    let resp = block_on(d.begin(expect.request())).unwrap();
    let needs = expect.challenge(resp, clock.monotonic()).unwrap().saved().verify().unwrap();
    let sig = block_on(keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
    let ex = needs.signed(sig, clock.monotonic()).unwrap();
    let r = block_on(d.complete(ex.request().clone())).unwrap();
    assert_eq!(r.expires_at.since(clock.now()), Duration::from_secs(24 * 3600));
    e.world.advance(Duration::from_secs(59));
    assert!(block_on(d.authenticate(&before)).is_ok());
    e.world.advance(Duration::from_secs(1));
    assert!(block_on(d.authenticate(&before)).is_err(), "beside its successor it lives for 60 s");
}

#[test]
fn transcripts_are_the_bytes_of_the_protocol() {
    fn lp(b: &[u8]) -> Vec<u8> {
        [&(b.len() as u32).to_be_bytes()[..], b].concat()
    }
    fn tr(d: &str, f: &[&[u8]]) -> Vec<u8> {
        let mut v = vec![0];
        v.extend(lp(d.as_bytes()));
        for x in f {
            v.extend(lp(x));
        }
        v
    }
    let e = enrolled(30);
    let m = org(&e.store, e.world.server.operator.org_id).record.manifest.manifest().clone();
    let (o, ep) = (m.org_id.value().to_be_bytes(), m.epoch.to_be_bytes());
    assert_eq!(
        m.transcript().as_bytes(),
        tr(
            "fleet/v1/org-manifest",
            &[&o, b"Acme", &ep, m.root.as_bytes(), m.command.as_bytes(), b"", b"", b""]
        )
    );
    let p = fleet_core::transcript::sha256(&tr(
        "fleet/v1/pin",
        &[&o, m.root.as_bytes(), m.command.as_bytes(), b"", b""],
    ));
    assert_eq!(&m.pin().as_bytes()[..], &p[..16]);
    let st = block_on(e.agent.store.load()).unwrap().unwrap().record;
    let k = st.keys;
    let tok = fleet_core::transcript::sha256(b"tok");
    let r = RegisterRequest::new(
        "tok".into(),
        Name::new("n").unwrap(),
        k.by_role().map(|(_, b)| *b),
        [Signature::from_bytes([0; 64]); 2],
    );
    let f: [&[u8]; 5] =
        [&tok, b"n", k.identity().as_bytes(), k.miner_signing().as_bytes(), k.sealing().as_bytes()];
    assert_eq!(r.transcripts()[0].as_bytes(), tr("fleet/v1/enroll/identity", &f));
    assert_eq!(r.transcripts()[1].as_bytes(), tr("fleet/v1/enroll/miner-signing", &f));
    let id = st.agent_id.unwrap();
    assert_eq!(
        api_key_info(id, SecretHash::of("tok"), k.sealing().as_bytes()).as_bytes(),
        tr("fleet/v1/api-key", &[&id.value().to_be_bytes(), &tok, k.sealing().as_bytes()])
    );
    let expect =
        ha::begin(st.clone(), st.api_key.clone().unwrap(), e.world.clock.monotonic(), &SeededRandom::new(5))
            .unwrap();
    let req = expect.request();
    let b = block_on(e.world.server.driver.begin(req.clone())).unwrap();
    let mh = fleet_core::transcript::sha256(m.transcript().as_bytes());
    let a: [&[u8]; 9] = [
        m.command.as_bytes(),
        &id.value().to_be_bytes(),
        k.identity().as_bytes(),
        &req.client_nonce,
        &b.challenge,
        &b.server_time.value().to_be_bytes(),
        &b.expires_at.value().to_be_bytes(),
        &b.last_sequence.to_be_bytes(),
        &mh,
    ];
    let n = expect.challenge(b.clone(), e.world.clock.monotonic()).unwrap().saved().verify().unwrap();
    assert_eq!(n.to_sign().as_bytes(), tr("fleet/v1/auth/agent", &a));
    let (c, _) = &b.certificate;
    assert_eq!(
        c.transcript().as_bytes(),
        tr(
            "fleet/v1/agent-certificate",
            &[
                &o,
                &id.value().to_be_bytes(),
                b"site-1",
                k.identity().as_bytes(),
                k.miner_signing().as_bytes(),
                k.sealing().as_bytes(),
                &1i64.to_be_bytes(),
                &c.issued_at.value().to_be_bytes()
            ]
        )
    );
}

#[test]
fn a_signature_with_r_of_small_order_or_not_canonical_is_refused() {
    let key = IdentitySecretKey::from_seed(&[7; 32]);
    let t = fleet_core::transcript::Transcript::new(fleet_core::transcript::Domain::Pin);
    for r in [
        [0u8; 32],
        {
            let mut r = [0; 32];
            r[0] = 1;
            r
        },
        {
            let mut r = [0xff; 32];
            r[0] = 0xee;
            r[31] = 0x7f;
            r
        },
    ] {
        let mut s = [0; 64];
        s[..32].copy_from_slice(&r);
        assert!(key.public().verify(&t, &Signature::from_bytes(s)).is_err());
    }
}
