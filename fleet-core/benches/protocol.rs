//! What enrollment, handshake and the check of a session cost in memory, beside the cryptography that they need.
//!
//!     cargo bench -p fleet-core --all-features --bench protocol
//!
//! Every benchmark has a `floor`: the bare calls of ed25519-dalek, x25519-dalek and sha2 that it needs, over messages of
//! the same length, and nothing else. A sample of a benchmark has its floor run beside it, so that whatever else the
//! machine does weighs on both; the ratio is the median of those pairs.
//!
//! | benchmark | what is measured | its floor |
//! | --- | --- | --- |
//! | `enroll/server` | `ServerDriver`: a code is made, Register, ConfirmAgent, Register's repeat that delivers the api_key | `VerifyingKey::from_bytes` 2, `verify_strict` 5, `sign` 1, X25519 2, SHA-256 7 |
//! | `handshake/server` | `ServerDriver`: BeginAuthHandshake, CompleteAuthHandshake | `sign` 1, `verify_strict` 2, SHA-256 3 |
//! | `handshake/agent` | `AgentDriver::handshake` over answers that were recorded | `verify_strict` 4, `sign` 1, SHA-256 2 |
//! | `session/resolve` | the token's hash and `ServerDriver::authenticate` | SHA-256 1 |
//! | `session/lookup` | what of that is the store's | SHA-256 1 |
//!
//! One verification of each is of a signature just made: a `Signer` may be another process or a device, and nothing leaves
//! that was not verified. The store is `MemoryServerStore`. Randomness is free of charge, on both sides.
//!
//! With `FLEET_BENCH_ASSERT=1` a handshake that takes more than 1.25 times its floor is a failure, as is one that was not
//! measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement stops at a fault, prints what it measured, and reads the clock that the crate does not"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::Criterion;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use fleet_core::code::{EnrollmentCode, SessionToken};
use fleet_core::driver::{AgentDriver, Founding, ServerDriver, ServerKeys};
use fleet_core::enrollment::agent::begin as begin_enrollment;
use fleet_core::enrollment::server::{Confirm, CreateCode, Operator};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse};
use fleet_core::future::{BoxFuture, ready};
use fleet_core::handshake::agent::begin as begin_handshake;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::id::OrgId;
use fleet_core::keys::{AgentKeyring, AgentPublicKeys, AgentSecretKeys, CommandSecretKey, RootSecretKey};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::{RandomError, SecureRandom};
use fleet_core::store::{
    Actor, AgentKeyStore as _, AgentState, AgentStore as _, MemoryAgentStore, MemoryKeyStore,
    MemoryServerStore, Query, ServerStore as _,
};
use fleet_core::testing::{VirtualClock, block_on};
use fleet_core::time::Clock as _;
use fleet_core::transport::{Transport, TransportError};
use sha2::{Digest as _, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

const HANDSHAKES: [&str; 2] = ["handshake/server", "handshake/agent"];
/// What a handshake may take, as a multiple of its floor.
const MOST: f64 = 1.25;
/// The lengths of what is signed and hashed, in bytes, to the next ten.
const AUTH: usize = 260;
const CERTIFICATE: usize = 200;
const MANIFEST: usize = 150;
const PROOF: usize = 190;

/// Costs nothing, never repeats, and is no secret from anybody.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl SecureRandom for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        for (to, from) in out.iter_mut().zip(number.to_be_bytes().into_iter().cycle()) {
            *to = from;
        }
        Ok(())
    }
}

/// The same every time, so that a server's recorded answers fit.
#[derive(Debug)]
struct Same;

impl SecureRandom for Same {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        out.fill(7);
        Ok(())
    }
}

/// A server with an organization, and its clock.
struct Server {
    driver: ServerDriver,
    store: Arc<MemoryServerStore>,
    clock: Arc<VirtualClock>,
    operator: Operator,
}

impl Server {
    fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryServerStore::new()), Arc::new(VirtualClock::default()));
        let root = Arc::new(RootSecretKey::from_seed(&[1; 32]));
        let keys = ServerKeys::managed(root, Arc::new(CommandSecretKey::from_seed(&[2; 32])));
        let mut policy = Policy::default();
        (policy.begin_interval, policy.register_interval) = (Duration::ZERO, Duration::ZERO);
        let random = Arc::new(Counting::default());
        let driver = ServerDriver::new(store.clone(), clock.clone(), random, keys, policy);
        let org_id = OrgId::new(1).unwrap();
        let (name, actor) = (Name::new("Acme Mining").unwrap(), Actor::System);
        let founding = Founding { org_id, name, recovery: None, actor: actor.clone() };
        let step = block_on(driver.found_organization(founding)).unwrap();
        block_on(store.commit(step.change().clone())).unwrap();
        step.committed();
        Self { driver, store, clock, operator: Operator { org_id, actor } }
    }
}

/// An agent's keys, and its Register for a code.
struct Agent(AgentSecretKeys, AgentPublicKeys);

impl Agent {
    fn new(random: &dyn SecureRandom) -> Self {
        let keys = AgentSecretKeys::generate(random).unwrap();
        let public = keys.public().unwrap();
        Self(keys, public)
    }

    fn register(&self, code: &EnrollmentCode) -> RegisterRequest {
        let name = Name::new("site-1").unwrap();
        let proofs =
            begin_enrollment(code.clone(), "https://fleet.example", name, self.1, None).unwrap().saved();
        let [identity, miner_signing] = proofs.to_sign();
        let signatures =
            [self.0.identity.sign(identity.as_bytes()), self.0.miner_signing.sign(miner_signing.as_bytes())];
        proofs.signed(signatures).unwrap().request().clone()
    }
}

/// So many enrollments, each at a server of its own. The time that the servers worked.
fn enroll(random: &dyn SecureRandom, times: u64) -> Duration {
    let servers: Vec<_> = (0..times).map(|_| (Server::new(), Agent::new(random))).collect();
    let mut worked = Duration::ZERO;
    let codes = timed(&mut worked, || {
        let mut codes = Vec::with_capacity(servers.len());
        for (Server { driver, operator, .. }, _) in &servers {
            codes.push(block_on(driver.create_code(CreateCode::default(), operator)).unwrap());
        }
        codes
    });
    let prepared = servers.iter().zip(codes).map(|((server, agent), new)| {
        let request = agent.register(new.code.as_ref().unwrap());
        (
            &server.driver,
            server.operator.clone(),
            agent.1.fingerprint(),
            new.enrollment_id,
            request.clone(),
            request,
        )
    });
    let prepared: Vec<_> = prepared.collect();
    timed(&mut worked, || {
        for (driver, operator, fingerprint, enrollment_id, first, again) in prepared {
            let agent_id = block_on(driver.register(first)).unwrap().agent_id;
            let confirm = Confirm { operator, agent_id, enrollment_id, fingerprint, certificate: None };
            block_on(driver.confirm(confirm)).unwrap();
            assert!(block_on(driver.register(again)).unwrap().sealed_api_key.is_some());
        }
    });
    worked
}

fn timed<T>(worked: &mut Duration, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = black_box(call());
    *worked += begun.elapsed();
    result
}

/// A link that notes what the server answered, or says it once more.
#[derive(Debug)]
struct Link {
    server: ServerDriver,
    begun: Mutex<Option<BeginResponse>>,
    completed: Mutex<Option<CompleteResponse>>,
}

impl Transport for Link {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        ready(Ok(block_on(self.server.register(request)).unwrap()))
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        let mut held = self.begun.lock().unwrap();
        ready(Ok(held.get_or_insert_with(|| block_on(self.server.begin(request)).unwrap()).clone()))
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        let mut held = self.completed.lock().unwrap();
        ready(Ok(held.get_or_insert_with(|| block_on(self.server.complete(request)).unwrap()).clone()))
    }
}

/// An enrolled agent whose handshakes are all the same, and its server.
struct Enrolled {
    server: Server,
    agent: AgentDriver,
    state: AgentState,
    keyring: AgentKeyring,
    session: String,
}

impl Enrolled {
    fn new() -> Self {
        let server = Server::new();
        let (store, keys) = (Arc::new(MemoryAgentStore::new()), Arc::new(MemoryKeyStore::new()));
        let link = Arc::new(Link {
            server: server.driver.clone(),
            begun: Mutex::default(),
            completed: Mutex::default(),
        });
        let driver = |random: Arc<dyn SecureRandom>| {
            AgentDriver::new(store.clone(), keys.clone(), link.clone(), server.clock.clone(), random)
        };
        let (enrolls, agent) = (driver(Arc::new(Counting::default())), driver(Arc::new(Same)));
        let session = block_on(async {
            let new = server.driver.create_code(CreateCode::default(), &server.operator).await.unwrap();
            let name = Name::new("site-1").unwrap();
            let mut enrolling =
                enrolls.enroll(new.code.unwrap(), "https://fleet.example", name).await.unwrap();
            enrolling.poll().await.unwrap();
            enrolling.join().await.unwrap();
            let confirm = Confirm {
                operator: server.operator.clone(),
                agent_id: store.load().await.unwrap().unwrap().record.agent_id.unwrap(),
                enrollment_id: new.enrollment_id,
                fingerprint: *enrolling.fingerprint(),
                certificate: None,
            };
            server.driver.confirm(confirm).await.unwrap();
            enrolling.poll().await.unwrap();
            agent.handshake().await.unwrap().session
        });
        // The first call under a session ends the delivery of the api_key; those after it only look.
        block_on(server.driver.authenticate(&session.token.hash())).unwrap();
        let state = block_on(store.load()).unwrap().unwrap().record;
        let keyring = block_on(keys.open()).unwrap().unwrap();
        let session = session.token.expose().to_owned();
        Self { server, agent, state, keyring, session }
    }

    /// One handshake. The time that the server worked.
    fn handshake(&self) -> Duration {
        let (driver, now) = (&self.server.driver, self.server.clock.monotonic());
        let (state, api_key) = (self.state.clone(), self.state.api_key.clone().unwrap());
        let expect = begin_handshake(state, api_key, now, &Same).unwrap();
        let request = expect.request();
        let mut worked = Duration::ZERO;
        let answer = timed(&mut worked, || block_on(driver.begin(request)).unwrap());
        let needs = expect.challenge(answer, now).unwrap().saved().verify().unwrap();
        let signature = block_on(self.keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
        let request = needs.signed(signature, now).unwrap().request().clone();
        timed(&mut worked, || block_on(driver.complete(request)).unwrap());
        worked
    }

    fn resolve(&self) {
        let token = SessionToken::hash_of(black_box(&self.session)).unwrap();
        black_box(block_on(self.server.driver.authenticate(&token)).unwrap());
    }

    fn look_up(&self) {
        let token = SessionToken::hash_of(black_box(&self.session)).unwrap();
        let query = Query::AgentBySession(token);
        black_box(block_on(self.server.store.load(query)).unwrap().unwrap());
    }
}

/// Bare calls.
struct Floor {
    key: SigningKey,
    public: VerifyingKey,
    encoded: [u8; 32],
    scalar: StaticSecret,
    point: PublicKey,
}

impl Floor {
    fn new() -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let (public, scalar) = (key.verifying_key(), StaticSecret::from([4; 32]));
        Self { encoded: public.to_bytes(), point: PublicKey::from(&scalar), key, public, scalar }
    }

    fn sign(&self, length: usize) -> Signature {
        self.key.sign(black_box(&vec![5; length]))
    }

    fn verify(&self, length: usize, signature: &Signature) {
        self.public.verify_strict(black_box(&vec![5; length]), black_box(signature)).unwrap();
    }

    fn parse(&self) {
        black_box(VerifyingKey::from_bytes(black_box(&self.encoded)).unwrap());
    }

    fn agree(&self) {
        black_box(self.scalar.diffie_hellman(black_box(&self.point)));
    }

    fn hash(length: usize) {
        black_box(Sha256::digest(black_box(&vec![5; length])));
    }

    fn enroll_server(&self, signed: &Signed) {
        // The code: the manifest's pin and the code's hash.
        Self::hash(MANIFEST);
        Self::hash(EnrollmentCode::CHARS);
        // Register, with keys from the wire, and its repeat.
        self.parse();
        self.parse();
        for _ in 0..2 {
            Self::hash(EnrollmentCode::CHARS);
            self.verify(PROOF, &signed.proof);
            self.verify(PROOF, &signed.proof);
        }
        // The fingerprint, of the repeat's answer as of the first.
        Self::hash(130);
        Self::hash(130);
        // ConfirmAgent: the certificate, the api_key's hash, and sealing it, which makes a key pair and agrees.
        self.verify(CERTIFICATE, &self.sign(CERTIFICATE));
        Self::hash(58);
        black_box(PublicKey::from(black_box(&self.scalar)));
        self.agree();
    }

    fn handshake_server(&self, signed: &Signed) {
        // The api_key, the manifest, the server's signature.
        Self::hash(58);
        Self::hash(MANIFEST);
        self.verify(AUTH, &self.sign(AUTH));
        // The agent's signature, the session's token.
        self.verify(AUTH, &signed.auth);
        Self::hash(43);
    }

    fn handshake_agent(&self, signed: &Signed) {
        // Manifest, certificate, whether the manifest revokes it, the server's signature, its own.
        self.verify(MANIFEST, &signed.manifest);
        Self::hash(MANIFEST);
        self.verify(CERTIFICATE, &signed.certificate);
        Self::hash(32);
        self.verify(AUTH, &signed.auth);
        self.verify(AUTH, &self.sign(AUTH));
    }
}

/// Signatures that others made.
struct Signed {
    proof: Signature,
    auth: Signature,
    manifest: Signature,
    certificate: Signature,
}

/// The ratios of what was measured to the floor beside it, by name, and the times.
#[derive(Default)]
struct Taken(RefCell<BTreeMap<&'static str, Vec<(Duration, Duration)>>>);

impl Taken {
    /// Measures so many calls, which say how long they took, with the floor beside them; then the floor by itself.
    fn measure(
        &self,
        criterion: &mut Criterion,
        name: &'static str,
        mut calls: impl FnMut(u64) -> Duration,
        mut floor: impl FnMut(),
    ) {
        let mut floors = |times: u64| {
            let begun = Instant::now();
            (0..times).for_each(|_| floor());
            begun.elapsed()
        };
        criterion.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let took = calls(times);
                let least = floors(times);
                let each = u32::try_from(times).unwrap();
                self.0.borrow_mut().entry(name).or_default().push((took / each, least / each));
                took
            });
        });
        criterion.bench_function(&format!("{name}/floor"), |bencher| bencher.iter_custom(&mut floors));
    }

    /// The medians: what it took, its floor, and the one as a multiple of the other.
    fn median(&self, name: &str) -> Option<(Duration, Duration, f64)> {
        let taken = self.0.borrow();
        let pairs = taken.get(name)?;
        let mut ratios: Vec<_> =
            pairs.iter().map(|(took, least)| took.as_secs_f64() / least.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times.get(times.len() / 2).copied()
        };
        let took = middle(pairs.iter().map(|(took, _)| *took).collect())?;
        let least = middle(pairs.iter().map(|(_, least)| *least).collect())?;
        Some((took, least, *ratios.get(ratios.len() / 2)?))
    }

    fn say(&self) {
        for name in self.0.borrow().keys() {
            let Some((took, least, ratio)) = self.median(name) else { continue };
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            println!("{name}: {:.2} us, {ratio:.2} times floor, {:.2} us", micros(took), micros(least));
        }
    }

    /// Whether each handshake takes no more than it may.
    fn is_good(&self) -> bool {
        HANDSHAKES.into_iter().fold(true, |good, name| match self.median(name) {
            Some((_, _, ratio)) if ratio <= MOST => good,
            Some((_, _, ratio)) => {
                println!("FAILED: {name} takes {ratio:.2} times floor, at most {MOST} are good");
                false
            }
            None => {
                println!("FAILED: {name} was not measured");
                false
            }
        })
    }
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let (taken, floor, enrolled) = (Taken::default(), Floor::new(), Enrolled::new());
    let signed = Signed {
        proof: floor.sign(PROOF),
        auth: floor.sign(AUTH),
        manifest: floor.sign(MANIFEST),
        certificate: floor.sign(CERTIFICATE),
    };
    let whole = |times: u64, call: &dyn Fn()| {
        let mut worked = Duration::ZERO;
        timed(&mut worked, || (0..times).for_each(|_| call()));
        worked
    };
    let random = Counting::default();
    // First, as handshakes end its session.
    let (resolve, look_up) = (|| enrolled.resolve(), || enrolled.look_up());
    taken.measure(&mut criterion, "session/resolve", |times| whole(times, &resolve), || Floor::hash(43));
    taken.measure(&mut criterion, "session/lookup", |times| whole(times, &look_up), || Floor::hash(43));
    let enrollments = |times| enroll(&random, times);
    taken.measure(&mut criterion, "enroll/server", enrollments, || floor.enroll_server(&signed));
    let handshakes = |times: u64| (0..times).map(|_| enrolled.handshake()).sum();
    taken.measure(&mut criterion, "handshake/server", handshakes, || floor.handshake_server(&signed));
    let handshake = || drop(black_box(block_on(enrolled.agent.handshake()).unwrap()));
    let handshakes = |times| whole(times, &handshake);
    taken.measure(&mut criterion, "handshake/agent", handshakes, || floor.handshake_agent(&signed));
    criterion.final_summary();
    taken.say();
    let is_asserted = std::env::var("FLEET_BENCH_ASSERT").is_ok_and(|value| value == "1");
    if is_asserted && !taken.is_good() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
