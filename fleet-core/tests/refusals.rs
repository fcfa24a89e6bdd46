//! Refusals that no honest peer meets: signers that lie, keys that are gone, limits, a full server, and records that
//! change under a decision. Each is told by its name, and changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fleet_core::code::{EnrollmentCode, SecretHash};
use fleet_core::driver::{AgentDriver, AgentError, Gate, OneRoot, ServerDriver, ServerError, ServerKeys};
use fleet_core::enrollment::NewCode;
use fleet_core::enrollment::agent::EnrollError;
use fleet_core::enrollment::server::{CreateCode, CreateCodeError, EndError, expire};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::BeginRequest;
use fleet_core::handshake::agent::{HandshakeError, begin};
use fleet_core::handshake::server::AuthError;
use fleet_core::id::{AgentId, EnrollmentId};
use fleet_core::keys::{
    AgentKeyring, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, KeyRole, RootSecretKey, Signature,
    Signer, SignerError,
};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    AgentKeyStore, AgentStore as _, ChallengeRecord, Changeset, CommitError, EnrollmentState, MemoryKeyStore,
    MemoryServerStore, Query, ServerStore, Snapshot, StoreError,
};
use fleet_core::testing::{AgentPeer, SeededRandom, World, block_on};
use fleet_core::time::{Clock as _, Monotonic, UnixMillis};

/// Names one key, and signs with another.
#[derive(Debug)]
struct Liar {
    names: [u8; 32],
    signs: IdentitySecretKey,
}

impl Liar {
    fn new(names: [u8; 32]) -> Arc<Self> {
        Arc::new(Self { names, signs: IdentitySecretKey::from_seed(&[9; 32]) })
    }
}

impl Signer for Liar {
    fn public_key(&self) -> [u8; 32] {
        self.names
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        let signature = self.signs.sign(message);
        Box::pin(async move { Ok(signature) })
    }
}

/// Keys of which the signer in one role lies.
#[derive(Debug)]
struct LyingKeys {
    keys: Arc<MemoryKeyStore>,
    role: KeyRole,
}

impl LyingKeys {
    fn lying(&self, keyring: AgentKeyring) -> AgentKeyring {
        let mut keyring = keyring;
        if self.role == KeyRole::Identity {
            keyring.identity = Liar::new(keyring.identity.public_key());
        } else {
            keyring.miner_signing = Liar::new(keyring.miner_signing.public_key());
        }
        keyring
    }
}

impl AgentKeyStore for LyingKeys {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        Box::pin(async { Ok(self.keys.open().await?.map(|keyring| self.lying(keyring))) })
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        Box::pin(async { Ok(self.lying(self.keys.replace(keys).await?)) })
    }
}

/// The agent of a peer with other keys.
fn with_keys(world: &World, peer: &AgentPeer, keys: Arc<dyn AgentKeyStore>) -> AgentDriver {
    let random = Arc::new(SeededRandom::new(5));
    AgentDriver::new(peer.store.clone(), keys, peer.link.clone(), world.clock.clone(), random)
}

fn parsed(new: &NewCode) -> EnrollmentCode {
    EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap()
}

fn enroll(driver: &AgentDriver, new: &NewCode) -> Result<(), AgentError> {
    let name = Name::new("site-1").unwrap();
    block_on(driver.enroll(parsed(new), "https://fleet.example", name)).map(drop)
}

fn enrolled(seed: u64) -> (World, AgentPeer, NewCode) {
    let world = World::new(seed);
    let peer = world.agent(0);
    let new = block_on(world.server.create_code());
    block_on(peer.enroll(&world, "site-1", &new)).unwrap();
    world.advance(Duration::from_secs(1));
    (world, peer, new)
}

fn snapshot(world: &World, new: &NewCode) -> Snapshot {
    block_on(world.server.store.load(Query::Enrollment(new.enrollment_id))).unwrap().unwrap()
}

fn begin_request(world: &World, peer: &AgentPeer) -> BeginRequest {
    let state = block_on(peer.store.load()).unwrap().unwrap().record;
    let api_key = state.api_key.clone().unwrap();
    begin(state, api_key, world.clock.monotonic(), &SeededRandom::new(7)).unwrap().request()
}

#[test]
fn an_agent_sends_no_proof_that_does_not_verify() {
    for role in [KeyRole::Identity, KeyRole::MinerSigning] {
        let world = World::new(1);
        let peer = world.agent(0);
        let new = block_on(world.server.create_code());
        let driver = with_keys(&world, &peer, Arc::new(LyingKeys { keys: peer.keys.clone(), role }));
        match enroll(&driver, &new) {
            Err(AgentError::Enroll(error)) => assert_eq!(error, EnrollError::Signer { role }),
            other => panic!("{other:?}"),
        }
        // With a signer that does not lie it goes on, with the same keys.
        assert!(enroll(&peer.driver, &new).is_ok());
    }
}

#[test]
fn an_agent_sends_no_signature_over_a_challenge_that_does_not_verify() {
    let (world, peer, new) = enrolled(2);
    let keys = LyingKeys { keys: peer.keys.clone(), role: KeyRole::Identity };
    let outcome = block_on(with_keys(&world, &peer, Arc::new(keys)).handshake());
    assert!(matches!(outcome, Err(AgentError::Handshake(HandshakeError::Signer))), "{outcome:?}");
    assert_eq!(snapshot(&world, &new).sessions.len(), 1, "no session was made");
}

#[test]
fn an_agent_without_its_keys_says_so() {
    let (world, peer, new) = enrolled(3);
    let driver = with_keys(&world, &peer, Arc::new(MemoryKeyStore::new()));
    let outcome = block_on(driver.handshake());
    assert!(matches!(outcome, Err(AgentError::KeysMissing)), "{outcome:?}");

    let waiting = world.agent(1);
    let other = block_on(world.server.create_code());
    enroll(&waiting.driver, &other).unwrap();
    let driver = with_keys(&world, &waiting, Arc::new(MemoryKeyStore::new()));
    let outcome = enroll(&driver, &other);
    assert!(matches!(outcome, Err(AgentError::KeysMissing)), "it makes no others by itself: {outcome:?}");
    assert_eq!(snapshot(&world, &new).sessions.len(), 1);
}

#[test]
fn an_agent_with_keys_that_its_state_does_not_name_stops() {
    let (world, peer, _) = enrolled(4);
    let others = Arc::new(MemoryKeyStore::new());
    block_on(others.replace(AgentSecretKeys::generate(&SeededRandom::new(44)).unwrap())).unwrap();
    let outcome = block_on(with_keys(&world, &peer, others.clone()).handshake());
    assert!(matches!(outcome, Err(AgentError::Enroll(EnrollError::OtherKeys))), "{outcome:?}");

    let waiting = world.agent(1);
    let new = block_on(world.server.create_code());
    enroll(&waiting.driver, &new).unwrap();
    let outcome = enroll(&with_keys(&world, &waiting, others), &new);
    assert!(matches!(outcome, Err(AgentError::Enroll(EnrollError::OtherKeys))), "{outcome:?}");
}

/// A server on the world's store, with a command key that signs so.
fn server(world: &World, store: Arc<dyn ServerStore>, command: Arc<dyn Signer>) -> ServerDriver {
    // A world's root and command key are the first that its seed draws.
    let root = Arc::new(RootSecretKey::generate(&SeededRandom::new(SEED)).unwrap());
    let keys = ServerKeys { roots: Arc::new(OneRoot(root)), command };
    ServerDriver::new(store, world.clock.clone(), Arc::new(SeededRandom::new(6)), keys, Policy::default())
}

const SEED: u64 = 5;

fn command() -> CommandSecretKey {
    let random = SeededRandom::new(SEED);
    RootSecretKey::generate(&random).unwrap();
    CommandSecretKey::generate(&random).unwrap()
}

#[test]
fn a_server_answers_nothing_that_its_command_key_did_not_sign() {
    let (world, peer, new) = enrolled(SEED);
    let before = snapshot(&world, &new);
    let lying = server(&world, world.server.store.clone(), Liar::new(*command().public().as_bytes()));
    match block_on(lying.begin(begin_request(&world, &peer))) {
        Err(ServerError::Auth(error)) => {
            assert_eq!(error, AuthError::CommandKey);
            assert_eq!(Refusal::from(error).code, Code::Internal);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(snapshot(&world, &new), before, "and stores no challenge");
    let honest = server(&world, world.server.store.clone(), Arc::new(command()));
    assert!(block_on(honest.begin(begin_request(&world, &peer))).is_ok());
}

/// Closed, and counts who asks.
#[derive(Debug, Default)]
struct Closed(AtomicUsize);

impl Gate for Closed {
    fn admit(&self, _: AgentId, _: Monotonic) -> Result<(), Duration> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Duration::from_secs(7))
    }
}

#[test]
fn a_full_server_says_when_to_come_back_and_only_to_its_agents() {
    let (world, peer, new) = enrolled(SEED);
    let before = snapshot(&world, &new);
    let gate = Arc::new(Closed::default());
    let full = server(&world, world.server.store.clone(), Arc::new(command())).with_gate(gate.clone());
    let request = begin_request(&world, &peer);
    match block_on(full.begin(request.clone())) {
        Err(ServerError::Auth(error)) => {
            assert_eq!(error, AuthError::Busy { retry_after: Duration::from_secs(7) });
            let refusal = Refusal::from(error);
            assert_eq!(refusal.code, Code::ResourceExhausted);
            assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(snapshot(&world, &new), before, "nothing is lost by coming back");
    assert_eq!(gate.0.load(Ordering::Relaxed), 1);
    let mut stranger = request;
    stranger.identity = *command().public().as_bytes();
    let refused = block_on(full.begin(stranger));
    assert!(matches!(refused, Err(ServerError::Auth(AuthError::Identity))), "{refused:?}");
    assert_eq!(gate.0.load(Ordering::Relaxed), 1, "a stranger was let to ask");
}

#[test]
fn a_code_lives_a_minute_to_seven_days() {
    let world = World::new(7);
    let driver = &world.server.driver;
    let create = |ttl| {
        let request = CreateCode { ttl: Some(ttl), ..CreateCode::default() };
        block_on(driver.create_code(request, &world.server.operator))
    };
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3600));
    for ttl in [least, most] {
        let new = create(ttl).unwrap();
        assert_eq!(new.expires_at, world.clock.now().saturating_add(ttl));
    }
    for ttl in
        [Duration::ZERO, least - Duration::from_nanos(1), most + Duration::from_nanos(1), Duration::MAX]
    {
        match create(ttl) {
            Err(ServerError::CreateCode(error)) => {
                assert_eq!(error, CreateCodeError::Ttl { got: ttl });
                assert_eq!(Refusal::from(error).code, Code::InvalidArgument);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_enrollment_expires_when_its_time_is_up_and_not_before() {
    let world = World::new(8);
    let new = block_on(world.server.create_code());
    let found = snapshot(&world, &new);
    let just_before = UnixMillis::new(new.expires_at.value() - 1).unwrap();
    let early = expire(&found, just_before).map(drop);
    assert_eq!(early, Err(EndError::NotDue));
    assert_eq!(Refusal::from(EndError::NotDue).code, Code::FailedPrecondition);
    let due = expire(&found, new.expires_at).unwrap();
    assert_eq!(due.change().enrollment.as_ref().unwrap().record.state, EnrollmentState::Expired);
}

/// Refuses the first change that makes a session, as if something else had been committed just before.
#[derive(Debug, Default)]
struct Overtaken {
    store: MemoryServerStore,
    tried: Mutex<Vec<SecretHash>>,
}

impl ServerStore for Overtaken {
    fn load(&self, query: Query) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        self.store.load(query)
    }

    fn take_challenge(
        &self,
        challenge: [u8; 32],
    ) -> BoxFuture<'_, Result<Option<ChallengeRecord>, StoreError>> {
        self.store.take_challenge(challenge)
    }

    fn commit(&self, change: Changeset) -> BoxFuture<'_, Result<(), CommitError>> {
        if let Some(sessions) = &change.sessions {
            let mut tried = self.tried.lock().unwrap();
            tried.push(sessions.last().unwrap().token);
            if tried.len() == 1 {
                return Box::pin(async { Err(CommitError::Stale) });
            }
        }
        self.store.commit(change)
    }

    fn due(&self, now: UnixMillis, limit: u32) -> BoxFuture<'_, Result<Vec<EnrollmentId>, StoreError>> {
        self.store.due(now, limit)
    }
}

#[test]
fn a_challenge_whose_session_was_overtaken_makes_one_session_all_the_same() {
    let store = Arc::new(Overtaken::default());
    let world = block_on(World::with_store(9, store.clone()));
    let peer = world.agent(0);
    let new = block_on(world.server.create_code());
    let online = block_on(peer.enroll(&world, "site-1", &new)).unwrap();
    let tried = store.tried.lock().unwrap().clone();
    let [overtaken, stored] = tried[..] else { panic!("decided {} times", tried.len()) };
    assert_ne!(overtaken, stored, "the token of the first decision was dropped");
    assert_eq!(online.session.token.hash(), stored);
    let sessions: Vec<_> = snapshot(&world, &new).sessions.iter().map(|session| session.token).collect();
    assert_eq!(sessions, [stored]);
}
