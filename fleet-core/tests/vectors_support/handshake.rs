//! The handshake: one step of one side, and the whole of it.

use std::time::Duration;

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::code::{ApiKey, SecretHash};
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::handshake::agent as agents;
use fleet_core::handshake::server as servers;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::*;
use fleet_core::manifest::SignedManifest;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::*;
use fleet_core::testing::{SeededRandom, VirtualClock, block_on};
use fleet_core::time::{Clock, Monotonic};
use fleet_core::transcript::{Domain, Transcript};
use serde_json::{Value, json};

use super::blocks::signature;
use super::enrollment::organization;
use super::roots::*;
use super::world::{
    self, Script, agent_record, agent_state, agent_status, api_key_record, founded, millis, put,
};
use super::{Given, Stop, agent, server};

fn some_api_key() -> ApiKey {
    ApiKey::generate(&SeededRandom::new(7)).unwrap()
}

fn signed_certificate(given: Given<'_>) -> Result<(AgentCertificate, Signature), Stop> {
    Ok((certificate(given)?, signature(given, "signature")?))
}

/// An agent judges an answer to its Begin. What it is then to sign, and the manifest that it keeps.
fn judge(
    state: AgentState,
    client_nonce: Vec<u8>,
    answer: BeginResponse,
    elapsed: Duration,
) -> Result<(agents::NeedsSignature, SignedManifest), Stop> {
    let random = Script::new([client_nonce]);
    let pinned = state.manifest.clone().unwrap();
    let expect = agents::begin(state, some_api_key(), Monotonic::default(), &random).unwrap();
    random.finish();
    let step = expect.challenge(answer, Monotonic::new(elapsed)).map_err(agent)?;
    let saved = step.state().and_then(|state| state.manifest.clone());
    Ok((step.saved().verify().map_err(agent)?, saved.unwrap_or(pinned)))
}

/// An agent's own certificate is judged in a handshake that is otherwise as it should be.
pub(crate) fn certificate_verify(given: Given<'_>) -> Result<Value, Stop> {
    let own = given.object("expected");
    let root = RootSecretKey::from_seed(&given.draw("root_seed"));
    assert_eq!(root.public().as_bytes()[..], own.bytes("root_pubkey"), "the root that is pinned");
    let certificate = signed_certificate(given.object("certificate"))?;
    let transcript = certificate.0.transcript();
    let keys = agent_keys(own).unwrap();
    let agent_id = AgentId::new(own.integer("agent_id")?).unwrap();
    let command = CommandSecretKey::from_seed(&[1; 32]);
    let manifest = world::organization(OrgId::new(own.integer("org_id")?).unwrap(), &root, &command);
    // An agent whose name is the certificate's: what its own one is the vector does not tell.
    let state = agent_state(certificate.0.name.clone(), keys, agent_id, manifest.clone());
    let server_signs = Transcript::new(Domain::AuthServer)
        .field(command.public().as_bytes())
        .integer(agent_id.value())
        .field(keys.identity().as_bytes())
        .field(&[3; 32])
        .field(&[4; 32])
        .integer(1000)
        .integer(31_000)
        .integer(0)
        .field(&manifest.hash());
    let answer = BeginResponse {
        challenge: [4; 32],
        expires_at: millis(31_000),
        server_time: millis(1000),
        last_sequence: 0,
        manifest: (&manifest).into(),
        certificate,
        signature: command.sign(server_signs.as_bytes()),
    };
    judge(state, vec![3; 32], answer, Duration::ZERO)?;
    Ok(json!({ "transcript_sha256": hex::encode(transcript.sha256()) }))
}

pub(crate) fn begin_request(given: Given<'_>) -> Result<Value, Stop> {
    let told = given.object("request");
    let (root, command) = (RootSecretKey::from_seed(&[1; 32]), CommandSecretKey::from_seed(&[2; 32]));
    let manifest = world::organization(OrgId::new(7).unwrap(), &root, &command);
    let (agent_id, org_id) = (AgentId::new(8).unwrap(), manifest.manifest().org_id);
    let knows = given.object("server").object("agent");
    let stranger = world::strangers_keys(9);
    let identity = IdentityPublicKey::parse(&knows.bytes("identity_pubkey")).unwrap();
    let keys = AgentPublicKeys::new(identity, *stranger.miner_signing(), *stranger.sealing()).unwrap();
    let certified = AgentCertificate {
        org_id,
        agent_id,
        name: Name::new("rack 7").unwrap(),
        keys,
        key_epoch: 1,
        issued_at: millis(0),
    };
    let signature = root.sign(certified.transcript().as_bytes());
    let certificate = SignedCertificate::verify(certified.clone(), signature, &root.public()).unwrap();
    let agent = AgentRecord {
        status: agent_status(knows.text("status")),
        certificate: Some(certificate),
        ..agent_record(agent_id, org_id, certified.name, keys)
    };
    let store = MemoryServerStore::new();
    block_on(store.commit(founded(manifest))).unwrap();
    let api_key = given.object("server").object("api_key");
    let hash = SecretHash::from_bytes(api_key.array("sha256")?);
    // A user's api_key is no agent's: a store finds nothing by it.
    let is_agents = api_key.text("subject") == "agent";
    let change = Changeset {
        agent: put(agent),
        api_key: is_agents.then(|| api_key_record(hash, agent_id)),
        ..Changeset::default()
    };
    block_on(store.commit(change)).unwrap();

    let request = BeginRequest::new(
        told.text("api_key").to_owned(),
        told.array("identity_pubkey")?,
        told.array("client_nonce")?,
    );
    let begin = servers::Begin::new(request);
    let found = block_on(store.load(begin.query())).unwrap();
    let challenge = Script::new([vec![5; 32]]);
    let needs = begin.resolve(found, millis(1000), &Policy::default(), &challenge).map_err(server)?;
    let by_server = command.sign(needs.to_sign().as_bytes());
    let answer = needs.signed(by_server).map_err(server)?.committed();
    assert_eq!(answer.challenge, [5; 32]);
    Ok(json!({}))
}

fn begin_response(given: Given<'_>) -> Result<BeginResponse, Stop> {
    Ok(BeginResponse {
        challenge: given.array("challenge")?,
        expires_at: millis(given.integer("expires_at")?),
        server_time: millis(given.integer("server_time")?),
        last_sequence: given.integer("last_sequence")?,
        manifest: unverified(given.message("org_manifest")?)?,
        certificate: signed_certificate(given.message("agent_certificate")?)?,
        signature: signature(given, "server_signature")?,
    })
}

pub(crate) fn begin_answer(given: Given<'_>) -> Result<Value, Stop> {
    let own = given.object("agent");
    let answer = begin_response(given.object("answer"))?;
    let state = agent_state(
        // What its own name is the vector does not tell.
        answer.certificate.0.name.clone(),
        agent_keys(own).unwrap(),
        AgentId::new(own.integer("agent_id")?).unwrap(),
        verified(own.object("pinned"))?,
    );
    let elapsed = Duration::from_millis(given.integer("elapsed")?.try_into().unwrap());
    let (needs, kept) = judge(state, own.bytes("client_nonce"), answer, elapsed)?;
    let transcript = needs.to_sign();
    let identity = IdentitySecretKey::from_seed(&given.draw("identity_seed"));
    let expect = needs.signed(identity.sign(transcript.as_bytes()), Monotonic::default()).unwrap();
    let out = json!({ "kept_epoch": kept.manifest().epoch });
    Ok(join(out, signed(&transcript, &expect.request().signature)))
}

pub(crate) fn complete_request(given: Given<'_>) -> Result<Value, Stop> {
    let (told, knows) = (given.object("request"), given.object("server"));
    let now = millis(knows.integer("now")?);
    let stored = knows.object("challenge");
    let agent_id = AgentId::new(stored.integer("agent_id")?).unwrap();
    let challenge = ChallengeRecord {
        challenge: stored.array("challenge")?,
        agent_id,
        api_key: SecretHash::from_bytes(stored.array("api_key_sha256")?),
        identity: IdentityPublicKey::parse(&stored.bytes("identity_pk")).unwrap(),
        client_nonce: stored.array("client_nonce")?,
        command: CommandPublicKey::parse(&stored.bytes("command_pk")).unwrap(),
        server_time: millis(stored.integer("server_time")?),
        expires_at: millis(stored.integer("expires_at")?),
        last_sequence: stored.integer("last_sequence")?,
        manifest_hash: stored.array("org_manifest_sha256")?,
    };
    let manifest = verified(knows.object("manifest"))?;
    assert_eq!(manifest.hash(), challenge.manifest_hash);
    let now_agent = knows.object("agent");
    let stranger = world::strangers_keys(9);
    let identity = IdentityPublicKey::parse(&now_agent.bytes("identity_pubkey")).unwrap();
    let keys = AgentPublicKeys::new(identity, *stranger.miner_signing(), *stranger.sealing()).unwrap();
    let agent = AgentRecord {
        status: agent_status(now_agent.text("status")),
        ..agent_record(agent_id, manifest.manifest().org_id, Name::new("rack 7").unwrap(), keys)
    };
    let store = MemoryServerStore::new();
    block_on(store.commit(founded(manifest))).unwrap();
    let change = Changeset {
        agent: put(agent),
        api_key: Some(api_key_record(SecretHash::from_bytes(now_agent.array("api_key_sha256")?), agent_id)),
        ..Changeset::default()
    };
    block_on(store.commit(change)).unwrap();

    let request =
        CompleteRequest { challenge: told.array("challenge")?, signature: signature(told, "signature")? };
    let complete = servers::Complete::new(request);
    // A store gives the challenge that it is asked for. The machine does not rely on it.
    let needs = complete.taken(Some(challenge), now).map_err(server)?;
    let found = block_on(store.load(needs.query())).unwrap();
    let token = Script::new([given.draws("session_token_random")]);
    let step = needs.resolve(found, now, &Policy::default(), &token).map_err(server)?;
    token.finish();
    block_on(store.commit(step.change().clone())).unwrap();
    let answer = step.committed();
    Ok(json!({
        "session_token": answer.token.expose(),
        "session_token_sha256": hex::encode(answer.token.hash().as_bytes()),
        "expires_at": answer.expires_at.value(),
    }))
}

/// Both machines, from Begin to the session. What they draw is the vector's.
pub(crate) fn handshake(given: Given<'_>) -> Result<Value, Stop> {
    let (manifest, root, command) = organization(given);
    let identity = IdentitySecretKey::from_seed(&given.draw("identity_seed"));
    let keys = AgentPublicKeys::new(
        identity.public(),
        MinerSigningSecretKey::from_seed(&given.draw("miner_signing_seed")).public(),
        SealingSecretKey::from_scalar(&given.draw("sealing_scalar")).public(),
    )
    .unwrap();
    let (agent_id, org_id) = (AgentId::new(given.integer("agent_id")?).unwrap(), manifest.manifest().org_id);
    let name = Name::new(given.text("name")).unwrap();
    let told = given.object("certificate");
    let certified = AgentCertificate {
        org_id,
        agent_id,
        name: name.clone(),
        keys,
        key_epoch: told.integer("key_epoch")?,
        issued_at: millis(told.integer("issued_at")?),
    };
    let signature = root.sign(certified.transcript().as_bytes());
    let certificate = SignedCertificate::verify(certified, signature, &root.public()).unwrap();
    let drawn = Script::new([given.draws("api_key_digits_random"), given.draws("api_key_random")]);
    let api_key = ApiKey::generate(&drawn).unwrap();
    let agent = AgentRecord {
        certificate: Some(certificate),
        last_sequence: given.integer("last_sequence")?,
        ..agent_record(agent_id, org_id, name.clone(), keys)
    };
    let (store, policy) = (MemoryServerStore::new(), Policy::default());
    let commit = |change: &Changeset| block_on(store.commit(change.clone())).unwrap();
    commit(&founded(manifest.clone()));
    commit(&Changeset {
        agent: put(agent),
        api_key: Some(api_key_record(api_key.hash(), agent_id)),
        ..Changeset::default()
    });
    let draw = |name: &str| Script::new([given.draws(name)]);
    let clock = VirtualClock::new(millis(given.integer("server_time")?));

    // Begin.
    let state = agent_state(name, keys, agent_id, manifest);
    let expect = agents::begin(state, api_key, clock.monotonic(), &draw("client_nonce")).unwrap();
    let begin_request = expect.request();
    let begin = servers::Begin::new(begin_request.clone());
    let found = block_on(store.load(begin.query())).unwrap();
    let needs = begin.resolve(found, clock.now(), &policy, &draw("challenge")).map_err(server)?;
    let by_server = needs.to_sign();
    let step = needs.signed(command.sign(by_server.as_bytes())).map_err(server)?;
    commit(step.change());
    let begin_answer = step.committed();

    // The agent verifies, and signs.
    let step = expect.challenge(begin_answer.clone(), clock.monotonic()).map_err(super::agent)?;
    let needs = step.saved().verify().map_err(super::agent)?;
    let by_agent = needs.to_sign();
    let expect = needs.signed(identity.sign(by_agent.as_bytes()), clock.monotonic()).map_err(super::agent)?;
    let complete_request = expect.request().clone();

    // Complete.
    let took = given.integer("completed_at")? - given.integer("server_time")?;
    clock.advance(Duration::from_millis(took.try_into().unwrap()));
    let complete = servers::Complete::new(complete_request.clone());
    let challenge = block_on(store.take_challenge(complete.challenge())).unwrap();
    let needs = complete.taken(challenge, clock.now()).map_err(server)?;
    let found = block_on(store.load(needs.query())).unwrap();
    let step = needs.resolve(found, clock.now(), &policy, &draw("session_token_random")).map_err(server)?;
    commit(step.change());
    let complete_answer = step.committed();
    let online = expect.session(complete_answer.clone(), clock.monotonic()).map_err(super::agent)?.saved();
    assert_eq!(online.last_sequence, begin_answer.last_sequence);

    let UnverifiedManifest { .. } = begin_answer.manifest;
    let (certificate, by_root) = &begin_answer.certificate;
    Ok(json!({
        "begin_request": {
            "api_key": begin_request.expose_api_key(),
            "identity_pubkey": hex::encode(begin_request.identity),
            "client_nonce": hex::encode(begin_request.client_nonce),
        },
        "begin_answer": {
            "challenge": hex::encode(begin_answer.challenge),
            "expires_at": begin_answer.expires_at.value(),
            "server_time": begin_answer.server_time.value(),
            "server_signature": hex::encode(begin_answer.signature.to_bytes()),
            "org_manifest": manifest_json(&begin_answer.manifest),
            "agent_certificate": certificate_json(certificate, by_root),
            "last_sequence": begin_answer.last_sequence,
        },
        "server": signed(&by_server, &begin_answer.signature),
        "agent": signed(&by_agent, &complete_request.signature),
        "complete_request": {
            "challenge": hex::encode(complete_request.challenge),
            "signature": hex::encode(complete_request.signature.to_bytes()),
        },
        "complete_answer": {
            "session_token": complete_answer.token.expose(),
            "expires_at": complete_answer.expires_at.value(),
        },
        "session_token": online.session.token.expose(),
        "session_token_sha256": hex::encode(online.session.token.hash().as_bytes()),
    }))
}
