//! Enrollment, end to end in memory: what is refused, that it changes nothing, and what the
//! operator sees of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;
use std::sync::Arc;

use fleet_core::code::{ApiKey, EnrollmentCode};
use fleet_core::driver::{AgentError, EnrollmentProgress, ServerError};
use fleet_core::enrollment::agent::EnrollError;
use fleet_core::enrollment::server::{
    ConfirmError, EndError, Operator, Register, RegisterError, RegisterOutcome, ReissueError, RevokeError,
    reissue,
};
use fleet_core::enrollment::{NewCode, RegisterRequest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{AgentSecretKeys, KeyError, KeyRole, RootSecretKey, Signature};
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal, UNAUTHENTICATED};
use fleet_core::store::{
    ActivityKind, AgentStatus, AgentStore as _, CommitError, EnrollmentState, MemoryServerStore, Query,
    Snapshot,
};
use fleet_core::testing::{SeededRandom, World, block_on};
use fleet_core::time::Clock as _;

const HOUR: Duration = Duration::from_secs(3600);

/// A request made by hand, so that each part can be made wrong.
struct Forge {
    token: String,
    name: &'static str,
    keys: AgentSecretKeys,
    public: [[u8; 32]; 3],
}

impl Forge {
    fn new(code: &NewCode, seed: u64) -> Self {
        let keys = AgentSecretKeys::generate(&SeededRandom::new(seed)).unwrap();
        let public = keys.public().unwrap().by_role().map(|(_, key)| *key);
        Self { token: text(code), name: "site-1", keys, public }
    }

    /// Signed by the right keys over whatever the request says.
    fn signed(&self) -> RegisterRequest {
        let unsigned = self.with_proofs([Signature::from_bytes([0; 64]); 2]);
        let [identity, miner_signing] = unsigned.transcripts();
        self.with_proofs([
            self.keys.identity.sign(identity.as_bytes()),
            self.keys.miner_signing.sign(miner_signing.as_bytes()),
        ])
    }

    fn with_proofs(&self, proofs: [Signature; 2]) -> RegisterRequest {
        RegisterRequest::new(self.token.clone(), Name::new(self.name).unwrap(), self.public, proofs)
    }
}

fn text(code: &NewCode) -> String {
    code.code.as_ref().unwrap().expose().to_owned()
}

fn enrollment_of(world: &World, code: &NewCode) -> Snapshot {
    block_on(world.server.store.load(Query::Enrollment(code.enrollment_id))).unwrap().unwrap()
}

/// The registration is refused so, and the code is as unused as before.
fn refused(world: &World, code: &NewCode, request: RegisterRequest) -> (RegisterError, Refusal) {
    let before = enrollment_of(world, code);
    let error = match block_on(world.server.driver.register(request)) {
        Err(ServerError::Register(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(enrollment_of(world, code), before, "a refusal changed something");
    (error, error.into())
}

#[test]
fn an_agent_enrolls_and_is_online() {
    let world = World::new(1);
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    let online = block_on(agent.enroll(&world, "site-1", &code)).unwrap();
    let found = enrollment_of(&world, &code);
    assert_eq!(found.enrollment.unwrap().record.state, EnrollmentState::Confirmed);
    let record = found.agent.unwrap().record;
    assert_eq!(record.status, AgentStatus::Confirmed);
    assert!(record.sealed_api_key.is_none(), "sealed delivery ends with the first call under a session");
    assert_eq!(record.last_sequence, online.session.created_at.value(), "a signed server_time is a sequence");
    let certificate = record.certificate.unwrap();
    assert_eq!(certificate.certificate().keys, record.keys);
    assert_eq!(certificate.certificate().key_epoch, 1);
}

#[test]
fn an_unknown_mistyped_expired_or_cancelled_code_is_one_and_the_same_refusal() {
    let world = World::new(2);
    let (unknown, expired, cancelled) = (
        block_on(world.server.create_code()),
        block_on(world.server.create_code()),
        block_on(world.server.create_code()),
    );
    let stranger = EnrollmentCode::generate(Pin::from_bytes([0; 16]), &SeededRandom::new(5)).unwrap();
    block_on(world.server.driver.cancel(cancelled.enrollment_id, &world.server.operator)).unwrap();
    let mut forge = Forge::new(&unknown, 1);
    forge.token = stranger.expose().to_owned();
    let mut answers = vec![refused(&world, &unknown, forge.signed())];
    // Upper case is the agent's to lower: on the wire it is another code.
    forge.token = text(&unknown).to_uppercase();
    answers.push(refused(&world, &unknown, forge.signed()));
    answers.push(refused(&world, &cancelled, Forge::new(&cancelled, 2).signed()));
    world.advance(HOUR);
    answers.push(refused(&world, &expired, Forge::new(&expired, 3).signed()));
    let causes: Vec<_> = answers.iter().map(|(error, _)| *error).collect();
    assert_eq!(
        causes,
        [
            RegisterError::UnknownCode,
            RegisterError::UnknownCode,
            RegisterError::Cancelled,
            RegisterError::Expired
        ]
    );
    for (_, refusal) in answers {
        assert_eq!((refusal.code, refusal.message.as_str()), (Code::Unauthenticated, UNAUTHENTICATED));
    }
}

#[test]
fn keys_that_are_none_and_proofs_that_do_not_hold_are_refused_and_the_code_stays_good() {
    let world = World::new(3);
    let code = block_on(world.server.create_code());
    let good = Forge::new(&code, 1);

    let mut forge = Forge::new(&code, 1);
    forge.public[0] = [0; 32];
    let (error, refusal) = refused(&world, &code, forge.signed());
    assert_eq!(error, RegisterError::Key(KeyError::SmallOrder { role: KeyRole::Identity }));
    assert_eq!(refusal.code, Code::InvalidArgument);
    assert!(refusal.message.contains("identity_pubkey"), "{}", refusal.message);

    let mut forge = Forge::new(&code, 1);
    forge.public[1] = [0xff; 32];
    let (error, _) = refused(&world, &code, forge.signed());
    assert_eq!(error, RegisterError::Key(KeyError::NotCanonical { role: KeyRole::MinerSigning }));

    let mut forge = Forge::new(&code, 1);
    forge.public[2] = [0; 32];
    let (error, _) = refused(&world, &code, forge.signed());
    assert_eq!(error, RegisterError::Key(KeyError::SmallOrder { role: KeyRole::Sealing }));

    let mut forge = Forge::new(&code, 1);
    forge.public[1] = forge.public[0];
    let (error, _) = refused(&world, &code, forge.signed());
    let (first, second) = (KeyRole::Identity, KeyRole::MinerSigning);
    assert_eq!(error, RegisterError::Key(KeyError::TwoRoles { first, second }));

    // Swapped keys: each proof is by the other key.
    let mut forge = Forge::new(&code, 1);
    forge.public.swap(0, 1);
    let (error, refusal) = refused(&world, &code, forge.signed());
    assert_eq!(error, RegisterError::Proof { role: KeyRole::Identity });
    assert_eq!((refusal.code, refusal.message.as_str()), (Code::Unauthenticated, UNAUTHENTICATED));

    // Swapped proofs: each over the other's domain.
    let request = good.signed();
    let swapped = good.with_proofs([request.miner_signing_proof, request.identity_proof]);
    assert_eq!(refused(&world, &code, swapped).0, RegisterError::Proof { role: KeyRole::Identity });

    // Somebody else's miner-signing key, without its secret: the flaw of the original design.
    let mut forge = Forge::new(&code, 1);
    forge.public[1] = Forge::new(&code, 2).public[1];
    assert_eq!(
        refused(&world, &code, forge.signed()).0,
        RegisterError::Proof { role: KeyRole::MinerSigning }
    );

    // A proof for another name, another code, another sealing key.
    let mut renamed = Forge::new(&code, 1);
    renamed.name = "site-2";
    let request = renamed.signed();
    let proofs = [request.identity_proof, request.miner_signing_proof];
    assert_eq!(
        refused(&world, &code, good.with_proofs(proofs)).0,
        RegisterError::Proof { role: KeyRole::Identity }
    );

    // The organization's own key as an agent's.
    let manifest = enrollment_of(&world, &code).organization.record.manifest;
    let mut forge = Forge::new(&code, 1);
    forge.public[0] = *manifest.manifest().command.as_bytes();
    let (error, _) = refused(&world, &code, forge.signed());
    assert_eq!(error, RegisterError::Proof { role: KeyRole::Identity }, "nobody can prove it, either");

    // After all that the code still works.
    let response = block_on(world.server.driver.register(good.signed())).unwrap();
    assert_eq!(response.status, AgentStatus::Pending);
}

#[test]
fn a_name_or_key_in_use_is_refused_and_the_code_stays_good() {
    let world = World::new(4);
    let (first, second) = (block_on(world.server.create_code()), block_on(world.server.create_code()));
    block_on(world.server.driver.register(Forge::new(&first, 1).signed())).unwrap();

    let (error, refusal) = refused(&world, &second, Forge::new(&second, 2).signed());
    assert_eq!(error, RegisterError::NameTaken);
    assert_eq!(refusal.code, Code::FailedPrecondition);
    assert!(refusal.message.contains("name"), "{}", refusal.message);

    let mut same_keys = Forge::new(&second, 1);
    same_keys.name = "site-2";
    let (error, refusal) = refused(&world, &second, same_keys.signed());
    assert_eq!(error, RegisterError::KeyTaken { role: KeyRole::Identity });
    assert_eq!(refusal.code, Code::FailedPrecondition);

    let mut renamed = Forge::new(&second, 2);
    renamed.name = "site-2";
    block_on(world.server.driver.register(renamed.signed())).unwrap();
}

#[test]
fn a_used_code_is_refused_to_others_and_the_operator_sees_it() {
    let world = World::new(5);
    let code = block_on(world.server.create_code());
    block_on(world.server.driver.register(Forge::new(&code, 1).signed())).unwrap();
    let agent = enrollment_of(&world, &code).agent;
    for seed in [2, 3] {
        world.advance(Duration::from_secs(1));
        let error = block_on(world.server.driver.register(Forge::new(&code, seed).signed())).unwrap_err();
        let refusal = Refusal::from(error);
        assert_eq!((refusal.code, refusal.message.as_str()), (Code::Unauthenticated, UNAUTHENTICATED));
    }
    let after = enrollment_of(&world, &code);
    assert_eq!(after.agent, agent, "the first agent is as it was");
    assert_eq!(after.enrollment.unwrap().record.second_uses, 2);

    // A flood of them is refused alike, and counted once a second.
    for seed in 4..20 {
        block_on(world.server.driver.register(Forge::new(&code, seed).signed())).unwrap_err();
    }
    assert_eq!(enrollment_of(&world, &code).enrollment.unwrap().record.second_uses, 2);
}

#[test]
fn a_repeat_is_answered_once_a_second() {
    let world = World::new(6);
    let code = block_on(world.server.create_code());
    let forge = Forge::new(&code, 1);
    let first = block_on(world.server.driver.register(forge.signed())).unwrap();
    let soon = block_on(world.server.driver.register(forge.signed())).unwrap_err();
    let refusal = Refusal::from(soon);
    assert_eq!(refusal.code, Code::ResourceExhausted);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1)));
    world.advance(Duration::from_secs(1));
    let again = block_on(world.server.driver.register(forge.signed())).unwrap();
    assert_eq!(again, first);
    // Without proofs a repeat is somebody else's, however right its name and keys.
    world.advance(Duration::from_secs(1));
    let forged = forge.with_proofs([Signature::from_bytes([1; 64]); 2]);
    assert_eq!(
        Refusal::from(block_on(world.server.driver.register(forged)).unwrap_err()).code,
        Code::Unauthenticated
    );
}

#[test]
fn only_the_agents_own_fingerprint_confirms() {
    let world = World::new(7);
    let code = block_on(world.server.create_code());
    let forge = Forge::new(&code, 1);
    let agent_id = block_on(world.server.driver.register(forge.signed())).unwrap().agent_id;
    let right = forge.keys.public().unwrap().fingerprint();
    let confirm = |agent, fingerprint: Fingerprint| block_on(world.server.confirm(&code, agent, fingerprint));

    let before = enrollment_of(&world, &code);
    let wrong = Forge::new(&code, 2).keys.public().unwrap().fingerprint();
    assert!(matches!(confirm(agent_id, wrong), Err(ServerError::Confirm(ConfirmError::WrongFingerprint))));
    assert_eq!(enrollment_of(&world, &code), before, "a wrong fingerprint changed something");
    let nobody = AgentId::new(1).unwrap();
    assert!(matches!(confirm(nobody, right), Err(ServerError::Confirm(ConfirmError::NotFound { .. }))));

    // Another organization's operator sees no such agent.
    let mut stranger = fleet_core::enrollment::server::Confirm {
        operator: Operator { org_id: OrgId::new(999).unwrap(), ..world.server.operator.clone() },
        agent_id,
        enrollment_id: code.enrollment_id,
        fingerprint: right,
        certificate: None,
    };
    let result = block_on(world.server.driver.confirm(stranger.clone()));
    assert!(matches!(result, Err(ServerError::Confirm(ConfirmError::NotFound { .. }))));
    // Another enrollment is not the agent's.
    stranger.operator = world.server.operator.clone();
    stranger.enrollment_id = block_on(world.server.create_code()).enrollment_id;
    let result = block_on(world.server.driver.confirm(stranger));
    assert!(matches!(result, Err(ServerError::Confirm(ConfirmError::NotFound { .. }))));

    // One key differs: the miner-signing key alone changes the fingerprint.
    let other = Forge::new(&code, 2).keys.public().unwrap();
    let own = forge.keys.public().unwrap();
    let mixed =
        fleet_core::keys::AgentPublicKeys::new(*own.identity(), *other.miner_signing(), *own.sealing())
            .unwrap();
    assert!(confirm(agent_id, mixed.fingerprint()).is_err());

    confirm(agent_id, right).unwrap();
    assert!(matches!(confirm(agent_id, right), Err(ServerError::Confirm(ConfirmError::NotAwaiting))));
}

#[test]
fn a_wrong_fingerprint_and_a_second_use_stand_in_the_activity_log() {
    let store = Arc::new(MemoryServerStore::new());
    let world = block_on(World::with_store(8, store.clone()));
    let code = block_on(world.server.create_code());
    let forge = Forge::new(&code, 1);
    let agent_id = block_on(world.server.driver.register(forge.signed())).unwrap().agent_id;
    let wrong = Forge::new(&code, 2).keys.public().unwrap().fingerprint();
    block_on(world.server.confirm(&code, agent_id, wrong)).unwrap_err();
    block_on(world.server.driver.register(Forge::new(&code, 2).signed())).unwrap_err();
    let kinds: Vec<_> = store.activity().into_iter().map(|line| line.kind).collect();
    assert_eq!(
        kinds,
        [
            ActivityKind::OrganizationCreated,
            ActivityKind::CodeCreated,
            ActivityKind::AgentRegistered,
            ActivityKind::WrongFingerprint,
            ActivityKind::CodeUsedAgain,
        ]
    );
}

#[test]
fn a_confirmation_out_of_time_is_refused_and_the_sweep_frees_name_and_keys() {
    let world = World::new(9);
    let code = block_on(world.server.create_code());
    let forge = Forge::new(&code, 1);
    let agent_id = block_on(world.server.driver.register(forge.signed())).unwrap().agent_id;
    let fingerprint = forge.keys.public().unwrap().fingerprint();
    world.advance(Policy::default().confirmation_ttl);
    let late = block_on(world.server.confirm(&code, agent_id, fingerprint));
    assert!(matches!(late, Err(ServerError::Confirm(ConfirmError::Expired))));
    assert_eq!(
        Refusal::from(block_on(world.server.driver.register(forge.signed())).unwrap_err()).code,
        Code::Unauthenticated
    );
    assert_eq!(block_on(world.server.driver.sweep(100)).unwrap(), 1);
    assert_eq!(block_on(world.server.driver.sweep(100)).unwrap(), 0);
    let swept = enrollment_of(&world, &code);
    assert_eq!(swept.enrollment.unwrap().record.state, EnrollmentState::Expired);
    assert_eq!(swept.agent.unwrap().record.status, AgentStatus::Discarded);
    let next = block_on(world.server.create_code());
    block_on(world.server.driver.register(Forge::new(&next, 1).signed())).expect("name and keys are free");
}

#[test]
fn cancelling_ends_what_waits_and_nothing_else() {
    let world = World::new(10);
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    block_on(agent.enroll(&world, "site-1", &code)).unwrap();
    let driver = &world.server.driver;
    let confirmed = block_on(driver.cancel(code.enrollment_id, &world.server.operator));
    assert!(matches!(confirmed, Err(ServerError::End(EndError::NotWaiting))));
    let other = block_on(world.server.create_code());
    let stranger = Operator { org_id: OrgId::new(999).unwrap(), ..world.server.operator.clone() };
    let foreign = block_on(driver.cancel(other.enrollment_id, &stranger));
    assert!(matches!(foreign, Err(ServerError::End(EndError::NotFound { .. }))));
}

#[test]
fn a_repeat_that_a_revocation_overtakes_is_decided_again() {
    let world = World::new(16);
    let code = block_on(world.server.create_code());
    let forge = Forge::new(&code, 1);
    let agent_id = block_on(world.server.driver.register(forge.signed())).unwrap().agent_id;
    let fingerprint = forge.keys.public().unwrap().fingerprint();
    block_on(world.server.confirm(&code, agent_id, fingerprint)).unwrap();
    world.advance(Duration::from_secs(2));
    // Register has read the records and not written its answer when the agent is revoked.
    let register = Register::new(forge.signed());
    let found = block_on(world.server.store.load(register.query())).unwrap();
    let now = world.clock.now();
    let outcome = register.resolve(found, now, &Policy::default(), &SeededRandom::new(1)).unwrap();
    let RegisterOutcome::Answer(step) = outcome else { panic!("{outcome:?}") };
    block_on(world.server.revoke(agent_id)).unwrap();
    let late = block_on(world.server.store.commit(step.change().clone()));
    assert!(matches!(late, Err(CommitError::Stale)), "it would be answered as confirmed: {late:?}");
    let again = block_on(world.server.driver.register(forge.signed())).unwrap();
    assert_eq!((again.status, again.sealed_api_key), (AgentStatus::Revoked, None));
}

#[test]
fn a_pending_agent_is_not_revoked_and_a_revoked_one_frees_its_name_alone() {
    let world = World::new(11);
    let code = block_on(world.server.create_code());
    let pending = block_on(world.server.driver.register(Forge::new(&code, 1).signed())).unwrap().agent_id;
    let early = block_on(world.server.revoke(pending));
    assert!(matches!(early, Err(ServerError::Revoke(RevokeError::NotConfirmed))));
    let fingerprint = Forge::new(&code, 1).keys.public().unwrap().fingerprint();
    block_on(world.server.confirm(&code, pending, fingerprint)).unwrap();
    let before = enrollment_of(&world, &code).organization.record.manifest;
    block_on(world.server.revoke(pending)).unwrap();
    let after = enrollment_of(&world, &code).organization.record.manifest;
    assert!(after.manifest().epoch > before.manifest().epoch);
    assert!(after.manifest().revokes(Forge::new(&code, 1).keys.public().unwrap().identity()));
    assert_eq!(after.manifest().pin(), before.manifest().pin(), "a revocation leaves codes good");
    let again = block_on(world.server.revoke(pending));
    assert!(matches!(again, Err(ServerError::Revoke(RevokeError::AlreadyRevoked))));
    // The agent asks once more, and learns it.
    world.advance(Duration::from_secs(2));
    let answer = block_on(world.server.driver.register(Forge::new(&code, 1).signed())).unwrap();
    assert_eq!(answer.status, AgentStatus::Revoked);
    let next = block_on(world.server.create_code());
    let (error, _) = refused(&world, &next, Forge::new(&next, 1).signed());
    assert_eq!(error, RegisterError::KeyTaken { role: KeyRole::Identity }, "keys are never free");
    block_on(world.server.driver.register(Forge::new(&next, 2).signed())).expect("the name is free");
}

#[test]
fn an_agent_stops_at_a_server_that_did_not_make_its_code() {
    let (ours, theirs) = (World::new(12), World::new(13));
    let code = block_on(ours.server.create_code());
    // The other server was given the hash of the code, so that it knows it.
    let request = fleet_core::enrollment::server::CreateCode {
        ttl: None,
        code_sha256: Some(*code.code.as_ref().unwrap().hash().as_bytes()),
    };
    block_on(theirs.server.driver.create_code(request, &theirs.server.operator)).unwrap();
    let agent = theirs.agent(0);
    let stopped = block_on(agent.enroll(&theirs, "site-1", &code)).unwrap_err();
    assert!(matches!(stopped, AgentError::Enroll(EnrollError::WrongPin)), "{stopped:?}");
    let state = block_on(agent.store.load()).unwrap().unwrap().record;
    assert!(state.manifest.is_none() && state.agent_id.is_none(), "nothing is kept of the answer");
}

#[test]
fn a_lost_key_delivery_is_made_good_by_pasting() {
    let world = World::new(14);
    let code = block_on(world.server.create_code());
    let agent = world.agent(0);
    let text = EnrollmentCode::parse(&text(&code)).unwrap();
    let name = Name::new("site-1").unwrap();
    block_on(async {
        let mut enrolling = agent.driver.enroll(text, "https://fleet.example", name).await.unwrap();
        let asked = enrolling.poll().await.unwrap();
        assert!(
            matches!(&asked, EnrollmentProgress::AskToJoin { organization } if organization.as_str() == "Acme")
        );
        assert_eq!(enrolling.join().await.unwrap(), EnrollmentProgress::Waiting);
        let agent_id = world.server.agent_of(&code).await.unwrap();
        let api_key = world.server.confirm(&code, agent_id, *enrolling.fingerprint()).await.unwrap();
        let wrong = ApiKey::generate(&SeededRandom::new(1)).unwrap();
        assert!(agent.driver.handshake_with(wrong).await.is_err());
        let kept = agent.store.load().await.unwrap().unwrap().record;
        assert!(kept.api_key.is_none(), "a pasted key is written only once it has worked");
        agent.driver.handshake_with(api_key.clone()).await.unwrap();
        let kept = agent.store.load().await.unwrap().unwrap().record;
        assert_eq!(kept.api_key.unwrap().expose(), api_key.expose());
    });
}

#[test]
fn an_enrolled_agent_is_not_enrolled_again_and_another_code_means_other_keys() {
    let world = World::new(15);
    let (first, second) = (block_on(world.server.create_code()), block_on(world.server.create_code()));
    let agent = world.agent(0);
    let parse = |code: &NewCode| EnrollmentCode::parse(&text(code)).unwrap();
    let name = || Name::new("site-1").unwrap();
    let started = |code| block_on(agent.driver.enroll(parse(code), "https://fleet.example", name()));
    let keys_one = *started(&first).unwrap().fingerprint();
    let keys_again = *started(&first).unwrap().fingerprint();
    let keys_two = *started(&second).unwrap().fingerprint();
    assert_eq!(keys_one, keys_again, "the same code takes up the same keys");
    assert_ne!(keys_one, keys_two, "another code gets other keys");
    block_on(agent.enroll(&world, "site-1", &second)).unwrap();
    let error = started(&first).unwrap_err();
    assert!(matches!(error, AgentError::Enroll(EnrollError::AlreadyEnrolled)));
}

#[test]
fn a_manifest_is_issued_anew_under_a_later_epoch_and_says_the_same() {
    let world = World::new(31);
    let operator = world.server.operator.clone();
    let load = || block_on(world.server.store.load(Query::Organization(operator.org_id))).unwrap();
    let before = load().unwrap().organization.record.manifest;
    let now = world.clock.now();
    // A world makes its root key before anything else.
    let root = RootSecretKey::generate(&SeededRandom::new(31)).unwrap();
    let foreign = Operator { org_id: OrgId::new(999).unwrap(), ..operator.clone() };
    let missing = reissue(foreign.clone(), load(), now).unwrap_err();
    assert_eq!(missing, ReissueError::NotFound { org_id: foreign.org_id });
    // Of another root.
    let needs = reissue(operator.clone(), load(), now).unwrap();
    let wrong = RootSecretKey::from_seed(&[9; 32]).sign(needs.to_sign().as_bytes());
    assert!(matches!(needs.signed(wrong, now), Err(ReissueError::Manifest(_))));
    // At one moment twice: the epoch rises all the same.
    let mut last = before.manifest().epoch;
    for _ in 0..2 {
        let needs = reissue(operator.clone(), load(), now).unwrap();
        assert_eq!(root.public(), *needs.root());
        let signature = root.sign(needs.to_sign().as_bytes());
        let step = needs.signed(signature, now).unwrap();
        block_on(world.server.store.commit(step.change().clone())).unwrap();
        let epoch = step.committed();
        assert!(epoch > last && epoch >= now.value());
        last = epoch;
    }
    let after = load().unwrap().organization.record.manifest;
    assert_eq!(after.manifest().epoch, last);
    assert_eq!(after.succeeds(before.manifest()), Ok(()));
    let mut same = after.manifest().clone();
    same.epoch = before.manifest().epoch;
    assert_eq!(&same, before.manifest());
    assert_eq!(after.manifest().pin(), before.manifest().pin(), "codes stay good");
}
