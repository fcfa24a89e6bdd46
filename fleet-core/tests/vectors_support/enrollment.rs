//! Enrollment: one step of one side, and the whole of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_core::code::{ApiKey, EnrollmentCode, SecretHash};
use fleet_core::driver::{AgentDriver, EnrollmentProgress, ServerDriver, ServerKeys};
use fleet_core::enrollment::agent as machine;
use fleet_core::enrollment::server::{Confirm, CreateCode, Operator};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, api_key_info};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::future::{BoxFuture, ready};
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::hpke;
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::*;
use fleet_core::manifest::{OrgManifest, SignedManifest};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::*;
use fleet_core::testing::{SeededRandom, VirtualClock, block_on};
use fleet_core::transport::{Transport, TransportError};
use serde_json::{Value, json};

use super::blocks::signature;
use super::roots::*;
use super::world::*;
use super::{Given, Stop, agent, server};

const ENROLLMENT: i64 = 5;

fn agent_id(given: Given<'_>) -> Result<AgentId, Stop> {
    AgentId::new(given.integer("agent_id")?).map_err(agent)
}

/// The hash of the code as an agent has it that was given the code to type.
fn code_hash(given: Given<'_>) -> SecretHash {
    EnrollmentCode::parse(given.text("code")).unwrap().hash()
}

pub(crate) fn seal_api_key(given: Given<'_>) -> Result<Value, Stop> {
    let sealing = SealingSecretKey::from_scalar(&given.draw("sealing_scalar")).public();
    let info = api_key_info(agent_id(given)?, code_hash(given), sealing.as_bytes());
    let random = Script::new([given.draws("hpke_ephemeral")]);
    let sealed = hpke::seal(&sealing, info.as_bytes(), &[], given.text("api_key").as_bytes(), &random);
    random.finish();
    Ok(json!({
        "info": hex::encode(info.as_bytes()),
        "sealing_pubkey": hex::encode(sealing.as_bytes()),
        "sealed_api_key": hex::encode(sealed.unwrap()),
    }))
}

pub(crate) fn open_api_key(given: Given<'_>) -> Result<Value, Stop> {
    let secret = SealingSecretKey::from_scalar(&given.draw("sealing_scalar"));
    let info = api_key_info(agent_id(given)?, code_hash(given), secret.public().as_bytes());
    let plain = hpke::open(&secret, info.as_bytes(), &[], &given.bytes("sealed_api_key")).map_err(agent)?;
    let api_key = ApiKey::parse(std::str::from_utf8(&plain).unwrap()).map_err(agent)?;
    Ok(json!({ "api_key": api_key.expose() }))
}

/// The fields of a request, each in its type.
fn request(given: Given<'_>) -> Result<RegisterRequest, Stop> {
    let name = Name::new(given.text("name")).map_err(|error| Stop::Refused {
        // Names are judged where a message becomes a request, which is where the field is named.
        code: "invalid_argument",
        message: error.to_string(),
    })?;
    let keys = [
        given.array("identity_pubkey")?,
        given.array("miner_signing_pubkey")?,
        given.array("sealing_pubkey")?,
    ];
    let proofs = [signature(given, "identity_proof")?, signature(given, "miner_signing_proof")?];
    Ok(RegisterRequest::new(given.text("enrollment_token").to_owned(), name, keys, proofs))
}

fn enrollment_state(text: &str) -> EnrollmentState {
    match text {
        "PENDING" => EnrollmentState::Pending,
        "AWAITING_CONFIRMATION" => EnrollmentState::AwaitingConfirmation,
        "CONFIRMED" => EnrollmentState::Confirmed,
        "EXPIRED" => EnrollmentState::Expired,
        "CANCELLED" => EnrollmentState::Cancelled,
        other => panic!("no status: {other}"),
    }
}

/// A key that some other agent has, in a role that takes it.
fn owner_of(number: u8, key: &[u8]) -> AgentPublicKeys {
    let stranger = strangers_keys(number);
    let (identity, miner_signing, sealing) =
        (*stranger.identity(), *stranger.miner_signing(), *stranger.sealing());
    match (IdentityPublicKey::parse(key), SealingPublicKey::parse(key)) {
        (Ok(identity), _) => AgentPublicKeys::new(identity, miner_signing, sealing).unwrap(),
        (_, Ok(sealing)) => AgentPublicKeys::new(identity, miner_signing, sealing).unwrap(),
        (Err(_), Err(error)) => panic!("a key that nobody can have: {error}"),
    }
}

/// The server of a `register-request`, on a store that holds what the vector says it knows.
fn server_of(given: Given<'_>) -> Result<(ServerDriver, Arc<MemoryServerStore>), Stop> {
    let store = Arc::new(MemoryServerStore::new());
    let commit = |change| block_on(store.commit(change)).unwrap();
    let manifest = verified(given.object("manifest"))?;
    let (org_id, command) = (manifest.manifest().org_id, *manifest.manifest().command.as_bytes());
    commit(founded(manifest));
    let enrollment = given.object("enrollment");
    let own = enrollment.has("agent").then(|| enrollment.object("agent"));
    let mut record = EnrollmentRecord {
        id: EnrollmentId::new(ENROLLMENT).unwrap(),
        org_id,
        code: SecretHash::from_bytes(enrollment.array("code_sha256")?),
        state: enrollment_state(enrollment.text("status")),
        created_at: millis(0),
        expires_at: millis(enrollment.integer("expires_at")?),
        agent_id: None,
        answered_at: None,
        second_uses: 0,
        second_use_at: None,
    };
    if let Some(own) = own {
        let name = Name::new(own.text("name")).unwrap();
        let keys = agent_keys(own).unwrap();
        let agent = AgentRecord {
            status: agent_status(own.text("status")),
            enrollment_id: Some(record.id),
            ..agent_record(agent_id(own)?, org_id, name, keys)
        };
        record.agent_id = Some(agent.id);
        record.answered_at = Some(millis(own.integer("last_answered_at")?));
        commit(Changeset { agent: put(agent), ..Changeset::default() });
    }
    commit(Changeset { enrollment: put(record), ..Changeset::default() });
    let is_own =
        |field: &[&str], text: &str| own.is_some_and(|own| field.iter().any(|field| own.text(field) == text));
    let others = (1..).zip(given.list("taken_names")).map(|(number, name)| (number, name.as_str().unwrap()));
    for (number, name) in others.filter(|(_, name)| !is_own(&["name"], name)) {
        let id = AgentId::new(number.into()).unwrap();
        let agent = agent_record(id, org_id, Name::new(name).unwrap(), strangers_keys(number));
        commit(Changeset { agent: put(agent), ..Changeset::default() });
    }
    let roles = ["identity_pubkey", "miner_signing_pubkey", "sealing_pubkey"];
    let others = (50..).zip(given.list("taken_keys")).map(|(number, key)| (number, key.as_str().unwrap()));
    for (number, key) in others.filter(|(_, key)| !is_own(&roles, key)) {
        let id = AgentId::new(number.into()).unwrap();
        let name = Name::new(format!("owner of a key {number}")).unwrap();
        // Of another organization: keys are unique among all.
        let org = OrgId::new(org_id.value() + 1).unwrap();
        let agent = agent_record(id, org, name, owner_of(number, &hex::decode(key).unwrap()));
        commit(Changeset { agent: put(agent), ..Changeset::default() });
    }
    let clock = VirtualClock::new(millis(given.integer("now")?));
    let driver = ServerDriver::new(
        store.clone(),
        Arc::new(clock),
        Arc::new(SeededRandom::new(1)),
        ServerKeys::offline(Arc::new(PublicOnly(command))),
        Policy::default(),
    );
    Ok((driver, store))
}

pub(crate) fn register_request(given: Given<'_>) -> Result<Value, Stop> {
    let (driver, store) = server_of(given.object("server"))?;
    let request = request(given.object("request"))?;
    let held = |store: &MemoryServerStore| {
        let query = Query::Enrollment(EnrollmentId::new(ENROLLMENT).unwrap());
        block_on(store.load(query)).unwrap().unwrap()
    };
    let before = held(&store);
    let answer = block_on(driver.register(request.clone()));
    let after = held(&store);
    let state = |snapshot: &Snapshot| {
        let enrollment = &snapshot.enrollment.as_ref().unwrap().record;
        (enrollment.state, enrollment.agent_id)
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            assert_eq!(state(&before), state(&after), "a refusal consumed the code");
            return Err(server(error));
        }
    };
    let agent = after.agent.unwrap().record;
    assert_eq!(answer.agent_id, agent.id);
    assert_eq!(answer.status, agent.status);
    assert_eq!(answer.manifest, (&verified(given.object("server").object("manifest"))?).into());
    let answered_as = match before.agent {
        Some(known) => {
            assert_eq!(known.record, agent);
            "repeat"
        }
        None => {
            assert_eq!(agent.status, AgentStatus::Pending);
            assert_eq!(
                agent.keys.by_role().map(|(_, key)| *key),
                [request.identity, request.miner_signing, request.sealing]
            );
            "first"
        }
    };
    Ok(json!({ "answered_as": answered_as, "identity_fingerprint": answer.fingerprint.to_string() }))
}

fn status_of(number: i64) -> AgentStatus {
    match number {
        1 => AgentStatus::Pending,
        2 => AgentStatus::Confirmed,
        3 => AgentStatus::Revoked,
        4 => AgentStatus::Discarded,
        other => panic!("no status: {other}"),
    }
}

fn response(given: Given<'_>) -> Result<RegisterResponse, Stop> {
    let sealed = given.bytes("sealed_api_key");
    Ok(RegisterResponse {
        agent_id: agent_id(given)?,
        status: status_of(given.integer("enrollment_status")?),
        fingerprint: given.text("identity_fingerprint").parse::<Fingerprint>().map_err(agent)?,
        manifest: unverified(given.message("org_manifest")?)?,
        sealed_api_key: Some(sealed).filter(|sealed| !sealed.is_empty()),
    })
}

pub(crate) fn register_answer(given: Given<'_>) -> Result<Value, Stop> {
    let own = given.object("agent");
    let keys = agent_keys(own).unwrap();
    let code = EnrollmentCode::parse(own.text("code")).unwrap();
    let name = Name::new("rack 7").unwrap();
    let answer = response(given.object("answer"))?;
    let pinned = if own.has("pinned") { Some(verified(own.object("pinned"))?) } else { None };
    // An agent that keeps a manifest was told its id with it.
    let state = pinned.clone().map(|pinned| AgentState {
        code: code.hash(),
        ..agent_state(name.clone(), keys, answer.agent_id, pinned)
    });
    let needs = machine::begin(code, "https://fleet.example", name, keys, state).unwrap().saved();
    let [identity, miner_signing] = needs.to_sign();
    let proofs = [
        IdentitySecretKey::from_seed(&given.draw("identity_seed")).sign(identity.as_bytes()),
        MinerSigningSecretKey::from_seed(&given.draw("miner_signing_seed")).sign(miner_signing.as_bytes()),
    ];
    let step = needs.signed(proofs).unwrap().answer(answer).map_err(agent)?;
    let saved = step.state().and_then(|state| state.manifest.clone());
    Ok(kept(&saved.or(pinned).unwrap()))
}

/// The organization of a whole flow's draws, with its root and command key.
pub(crate) fn organization(given: Given<'_>) -> (SignedManifest, RootSecretKey, CommandSecretKey) {
    let root = RootSecretKey::from_seed(&given.draw("root_seed"));
    let command = CommandSecretKey::from_seed(&given.draw("command_seed"));
    let told = given.object("manifest");
    let recovery = given
        .has_draw("recovery_scalar")
        .then(|| RecoverySecretKey::from_scalar(&given.draw("recovery_scalar")).public());
    let operator = given
        .has_draw("operator_seed")
        .then(|| OperatorSecretKey::from_seed(&given.draw("operator_seed")).public());
    let manifest = OrgManifest {
        org_id: OrgId::new(told.integer("org_id").unwrap()).unwrap(),
        org_name: Name::new(told.text("org_name")).unwrap(),
        epoch: told.integer("epoch").unwrap(),
        root: root.public(),
        command: command.public(),
        recovery,
        operators: operator.into_iter().collect(),
        revoked: revoked(told).unwrap(),
    };
    let signature = root.sign(manifest.transcript().as_bytes());
    (SignedManifest::verify(manifest, signature).unwrap(), root, command)
}

/// A way to the server that keeps what went over it.
#[derive(Debug)]
struct Recorder {
    server: ServerDriver,
    calls: Mutex<Vec<(RegisterRequest, RegisterResponse)>>,
}

impl Transport for Recorder {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.server.register(request.clone()).await.unwrap();
            self.calls.lock().unwrap().push((request, answer.clone()));
            Ok(answer)
        })
    }

    fn begin(&self, _: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        ready(Err(TransportError::Unreachable("not part of it".into())))
    }

    fn complete(&self, _: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        ready(Err(TransportError::Unreachable("not part of it".into())))
    }
}

fn request_json(request: &RegisterRequest) -> Value {
    json!({
        "enrollment_token": request.expose_token(),
        "name": request.name.as_str(),
        "identity_pubkey": hex::encode(request.identity),
        "miner_signing_pubkey": hex::encode(request.miner_signing),
        "sealing_pubkey": hex::encode(request.sealing),
        "identity_proof": hex::encode(request.identity_proof.to_bytes()),
        "miner_signing_proof": hex::encode(request.miner_signing_proof.to_bytes()),
    })
}

/// Both drivers, from the operator's code to the agent's api_key. What they draw is the vector's.
pub(crate) fn register(given: Given<'_>) -> Result<Value, Stop> {
    let (manifest, root, command) = organization(given);
    let certified = given.object("certificate");
    assert_eq!(certified.integer("key_epoch")?, 1, "what an enrollment certifies");
    let id = agent_id(given)?;
    let operator = Operator { org_id: manifest.manifest().org_id, actor: Actor::System };
    let clock = Arc::new(VirtualClock::new(millis(certified.integer("issued_at")? - 1000)));
    let by_server = Arc::new(Script::new([
        given.draws("code_random"),
        ENROLLMENT.to_be_bytes().to_vec(),
        id.value().to_be_bytes().to_vec(),
        given.draws("api_key_digits_random"),
        given.draws("api_key_random"),
        given.draws("hpke_ephemeral"),
    ]));
    let by_agent = Arc::new(Script::new(
        ["identity_seed", "miner_signing_seed", "sealing_scalar"].map(|draw| given.draws(draw)),
    ));
    let store = Arc::new(MemoryServerStore::new());
    let keys = ServerKeys::managed(Arc::new(root), Arc::new(command));
    let server = ServerDriver::new(store.clone(), clock.clone(), by_server.clone(), keys, Policy::default());
    let link = Arc::new(Recorder { server: server.clone(), calls: Mutex::default() });
    let kept = Arc::new(MemoryAgentStore::new());
    let agents_keys = Arc::new(MemoryKeyStore::new());
    let agent = AgentDriver::new(kept.clone(), agents_keys, link.clone(), clock.clone(), by_agent.clone());

    let (code, fingerprint, api_key) = block_on(async {
        store.commit(founded(manifest.clone())).await.unwrap();
        let new = server.create_code(CreateCode::default(), &operator).await.unwrap();
        let code = new.code.unwrap();
        let typed = EnrollmentCode::parse(code.expose()).unwrap();
        let name = Name::new(given.text("name")).unwrap();
        let mut enrolling = agent.enroll(typed, "https://fleet.example", name).await.unwrap();
        let organization = manifest.manifest().org_name.clone();
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::AskToJoin { organization });
        assert_eq!(enrolling.join().await.unwrap(), EnrollmentProgress::Waiting);
        clock.advance(Duration::from_secs(1));
        let fingerprint = *enrolling.fingerprint();
        let confirm = Confirm {
            operator,
            agent_id: id,
            enrollment_id: new.enrollment_id,
            fingerprint,
            certificate: None,
        };
        let api_key = server.confirm(confirm).await.unwrap();
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        (code, fingerprint, api_key)
    });
    by_server.finish();
    by_agent.finish();
    let state = block_on(kept.load()).unwrap().unwrap().record;
    assert_eq!(state.api_key.unwrap().expose(), api_key.expose());
    let found = block_on(store.load(Query::Agent(id))).unwrap().unwrap();
    let certificate = found.agent.unwrap().record.certificate.unwrap();
    let calls = link.calls.lock().unwrap();
    let [(request, first), (again, repeat)] = &calls[..] else { panic!("{} calls", calls.len()) };
    assert_eq!(request_json(request), request_json(again));
    assert_eq!((first.status, first.sealed_api_key.as_ref()), (AgentStatus::Pending, None));
    assert_eq!(repeat.status, AgentStatus::Confirmed);
    for answer in [first, repeat] {
        assert_eq!((answer.agent_id, answer.fingerprint), (id, fingerprint));
        assert_eq!(answer.manifest, (&manifest).into());
    }
    let [identity, miner_signing] = request.transcripts();
    Ok(json!({
        "manifest": manifest_json(&first.manifest),
        "manifest_transcript_sha256": hex::encode(manifest.hash()),
        "pin_sha256": hex::encode(pin_transcript(manifest.manifest()).sha256()),
        "code": code.expose(),
        "code_sha256": hex::encode(code.hash().as_bytes()),
        "identity_fingerprint": fingerprint.to_string(),
        "identity_proof": signed(&identity, &request.identity_proof),
        "miner_signing_proof": signed(&miner_signing, &request.miner_signing_proof),
        "request": request_json(request),
        "certificate": certificate_json(certificate.certificate(), certificate.signature()),
        "api_key": api_key.expose(),
        "api_key_sha256": hex::encode(api_key.hash().as_bytes()),
        "sealed_api_key": repeat.sealed_api_key.as_ref().map(hex::encode),
    }))
}
