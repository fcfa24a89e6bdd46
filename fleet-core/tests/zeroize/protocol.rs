//! Every state of the machines that holds a secret, and the drivers that run them.

use core::time::Duration;

use fleet_core::code::EnrollmentCode;
use fleet_core::driver::EnrollmentProgress;
use fleet_core::enrollment::agent as enrolling;
use fleet_core::enrollment::server::{Confirm, ConfirmStep, CreateCode, Register, create_code};
use fleet_core::handshake::{agent as online, server};
use fleet_core::keys::{AgentKeyring, AgentSecretKeys, CommandSecretKey, RootSecretKey};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::{AgentKeyStore as _, AgentStore as _, Query};
use fleet_core::testing::{AgentPeer, SeededRandom, World, block_on};
use fleet_core::time::Clock as _;

use crate::memory::{Living, Masked, Memory, crowded};
use crate::values::{random_and_text, secret_of_api_key, secret_of_code};

const SEED: u64 = 5;
/// What the agent of that world draws from.
const AGENTS: u64 = SEED * 1000 + 1;

/// A world, an agent of it, and the secret keys of both.
fn peers() -> (World, AgentPeer, Vec<Masked>) {
    let world = World::new(SEED);
    let agent = world.agent(0);
    let keys = vec![
        Masked::drawn("the root key", SEED, &[]),
        Masked::drawn("the command key", SEED, &[32]),
        Masked::drawn("the identity key", AGENTS, &[]),
        Masked::drawn("the miner-signing key", AGENTS, &[32]),
        Masked::drawn("the sealing key", AGENTS, &[32, 32]),
    ];
    (world, agent, keys)
}

fn root() -> RootSecretKey {
    RootSecretKey::generate(&SeededRandom::new(SEED)).unwrap()
}

fn command() -> CommandSecretKey {
    let random = SeededRandom::new(SEED);
    drop(RootSecretKey::generate(&random).unwrap());
    CommandSecretKey::generate(&random).unwrap()
}

/// Runs something to each of its stages, where it leaves one value alive.
fn to_every_stage(memory: &mut Memory, stages: usize, run: fn(usize) -> Option<Living>) {
    for stage in 0..stages {
        let crowd = crowded();
        let living = run(stage).unwrap();
        drop(crowd);
        memory.gone(living);
    }
    assert!(run(stages).is_none(), "there are more than {stages} stages");
}

/// Leaves with the value if this is the stage; everything else that the function holds is dropped.
macro_rules! stage {
    ($left:ident, $value:expr, $holds:expr, $all:expr) => {
        match $left.checked_sub(1) {
            Some(stages) => $left = stages,
            None => return Some(Living::new($value, vec![$holds], $all)),
        }
    };
}

pub(crate) fn every_state_of_an_enrollment(memory: &mut Memory) {
    to_every_stage(memory, 12, enrollment);
}

fn enrollment(mut left: usize) -> Option<Living> {
    let (world, agent, mut all) = peers();
    let (now, policy, random) = (world.clock.now(), Policy::default(), SeededRandom::new(77));
    let operator = world.server.operator.clone();
    let load = |query| block_on(world.server.store.load(query)).unwrap().unwrap();
    let organization = load(Query::Organization(operator.org_id));
    let made = create_code(CreateCode::default(), &operator, &organization, now, &policy, &random).unwrap();
    // The first draw is the code's.
    all.push(Masked::drawn("the code's bytes", 77, &[]));
    block_on(world.server.store.commit(made.change().clone())).unwrap();
    let drawn_again = {
        let pin = organization.organization.record.manifest.manifest().pin();
        EnrollmentCode::generate(pin, &SeededRandom::new(77)).unwrap()
    };
    all.push(secret_of_code(&drawn_again));
    drop(drawn_again);
    stage!(left, made, "the code", all);
    let new = made.committed();
    stage!(left, new, "the code", all);

    let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
    let keys = AgentSecretKeys::generate(&SeededRandom::new(AGENTS)).unwrap();
    let keyring: AgentKeyring = block_on(agent.keys.replace(keys)).unwrap();
    let (public, name) = (keyring.public().unwrap(), Name::new("site-1").unwrap());
    let begun = enrolling::begin(code, "https://fleet.example", name, public, None).unwrap();
    stage!(left, begun, "the code", all);
    let proofs = begun.saved();
    stage!(left, proofs, "the code", all);
    let [identity, miner_signing] = proofs.to_sign();
    let signatures = [
        block_on(keyring.identity.sign(identity.as_bytes())).unwrap(),
        block_on(keyring.miner_signing.sign(miner_signing.as_bytes())).unwrap(),
    ];
    let expect = proofs.signed(signatures).unwrap();
    stage!(left, expect, "the code", all);
    let register = Register::new(expect.request().clone());
    stage!(left, register, "the code", all);
    let answer = block_on(world.server.driver.register(expect.request().clone())).unwrap();
    let (agent_id, fingerprint) = (answer.agent_id, answer.fingerprint);
    let asked = expect.answer(answer).unwrap();
    stage!(left, asked, "the code", all);
    let enrolling::Progress::AskToJoin(ask) = asked.saved() else { panic!("it does not ask") };
    stage!(left, ask, "the code", all);
    let enrolling::Progress::Wait(expect) = ask.join().unwrap().saved() else { panic!("it does not wait") };

    let confirm =
        Confirm { operator, agent_id, enrollment_id: new.enrollment_id, fingerprint, certificate: None };
    let found = load(confirm.query());
    let ConfirmStep::Sign(step) = confirm.resolve(Some(found), now).unwrap() else { panic!("refused") };
    let signature = root().sign(step.to_sign().unwrap().as_bytes());
    let confirmed = step.signed(Some(signature), now, &SeededRandom::new(78)).unwrap();
    all.extend(random_and_text(["the api_key's bytes", "the api_key"], 78, &[4]));
    block_on(world.server.store.commit(confirmed.change().clone())).unwrap();
    stage!(left, confirmed, "the api_key", all);
    let api_key = confirmed.committed();
    stage!(left, api_key, "the api_key", all);
    drop(api_key);

    world.advance(Duration::from_secs(2));
    let answer = block_on(world.server.driver.register(expect.request().clone())).unwrap();
    let enrolling::Progress::Open(open) = expect.answer(answer).unwrap().saved() else { panic!("no key") };
    let plaintext = block_on(keyring.sealing.open(open.info().as_bytes(), open.sealed())).unwrap();
    stage!(left, plaintext, "the api_key", all);
    let opened = open.opened(&plaintext).unwrap();
    drop(plaintext);
    stage!(left, opened, "the api_key", all);
    assert_eq!(left, 0);
    None
}

pub(crate) fn every_state_of_a_handshake(memory: &mut Memory) {
    to_every_stage(memory, 11, handshake);
}

fn handshake(mut left: usize) -> Option<Living> {
    let (world, agent, mut all) = peers();
    let new = block_on(world.server.create_code());
    all.push(secret_of_code(new.code.as_ref().unwrap()));
    let enrolled = block_on(agent.enroll(&world, "site-1", &new)).unwrap();
    all.push(Masked::new("the session before", enrolled.session.token.expose().bytes()));
    drop(enrolled);
    world.advance(Duration::from_secs(1));
    let (store, clock, policy) = (&world.server.store, &world.clock, Policy::default());
    let held = block_on(agent.store.load()).unwrap().unwrap();
    all.push(secret_of_api_key(held.record.api_key.as_ref().unwrap()));
    all.extend(random_and_text(["the token's bytes", "the token"], 79, &[]));
    stage!(left, held, "the api_key", all);

    let state = held.record;
    let api_key = state.api_key.clone().unwrap();
    let expect = online::begin(state, api_key, clock.monotonic(), &SeededRandom::new(77)).unwrap();
    stage!(left, expect, "the api_key", all);
    let request = expect.request();
    stage!(left, request, "the api_key", all);
    let begin = server::Begin::new(request);
    stage!(left, begin, "the api_key", all);
    let found = block_on(store.load(begin.query())).unwrap();
    let needs = begin.resolve(found, clock.now(), &policy, &SeededRandom::new(77)).unwrap();
    let signature = command().sign(needs.to_sign().as_bytes());
    let begun = needs.signed(signature).unwrap();
    block_on(store.commit(begun.change().clone())).unwrap();
    let verification = expect.challenge(begun.committed(), clock.monotonic()).unwrap();
    stage!(left, verification, "the api_key", all);
    let verification = verification.saved();
    stage!(left, verification, "the api_key", all);
    let needs = verification.verify().unwrap();
    stage!(left, needs, "the api_key", all);
    let keyring = block_on(agent.keys.open()).unwrap().unwrap();
    let signature = block_on(keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
    let session = needs.signed(signature, clock.monotonic()).unwrap();
    stage!(left, session, "the api_key", all);
    let complete = server::Complete::new(session.request().clone());
    let taken = block_on(store.take_challenge(complete.challenge())).unwrap();
    let needs = complete.taken(taken, clock.now()).unwrap();
    let found = block_on(store.load(needs.query())).unwrap();
    let completed = needs.resolve(found, clock.now(), &policy, &SeededRandom::new(79)).unwrap();
    block_on(store.commit(completed.change().clone())).unwrap();
    stage!(left, completed, "the token", all);
    let response = completed.committed();
    stage!(left, response, "the token", all);
    let online = session.session(response, clock.monotonic()).unwrap().saved();
    stage!(left, online, "the token", all);
    assert_eq!(left, 0);
    None
}

/// A whole enrollment and its first handshake by the drivers, their futures on the heap, as a runtime has them.
pub(crate) fn drivers_and_stores(memory: &mut Memory) {
    let _crowd = crowded();
    let (world, agent, mut all) = peers();
    let new = block_on(world.server.create_code());
    all.push(secret_of_code(new.code.as_ref().unwrap()));
    let driver = agent.driver.clone();
    let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
    let name = Name::new("site-1").unwrap();
    let mut enrolling = block_on(Box::pin(driver.enroll(code, "https://fleet.example", name))).unwrap();
    block_on(Box::pin(enrolling.poll())).unwrap();
    assert_eq!(block_on(Box::pin(enrolling.join())).unwrap(), EnrollmentProgress::Waiting);
    let agent_id = block_on(world.server.agent_of(&new)).unwrap();
    let fingerprint = *enrolling.fingerprint();
    let api_key = block_on(Box::pin(world.server.confirm(&new, agent_id, fingerprint))).unwrap();
    all.push(secret_of_api_key(&api_key));
    drop(api_key);
    world.advance(Duration::from_secs(2));
    assert_eq!(block_on(Box::pin(enrolling.poll())).unwrap(), EnrollmentProgress::Enrolled);
    let online = block_on(Box::pin(driver.handshake())).unwrap();
    all.push(Masked::new("the token", online.session.token.expose().bytes()));
    let names = all.iter().map(Masked::name).collect();
    memory.gone(Living::new((new, enrolling, driver, online, world, agent), names, all));
}
