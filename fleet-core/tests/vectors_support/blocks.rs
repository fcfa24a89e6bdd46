//! Building blocks: transcripts, keys, and the strings that people handle.

use fleet_core::code::{ApiKey, EnrollmentCode};
use fleet_core::enrollment::server::RegisterError;
use fleet_core::fingerprint::Fingerprint;
use fleet_core::handshake::BeginRequest;
use fleet_core::handshake::server::Begin;
use fleet_core::keys::*;
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::Refusal;
use fleet_core::testing::SeededRandom;
use fleet_core::time::UnixMillis;
use fleet_core::transcript::{Domain, Transcript, sha256};
use serde_json::{Value, json};

use super::roots::{agent_keys, pin_transcript, verified};
use super::world::Script;
use super::{Given, Stop, agent, array, block, server};

const DOMAINS: [Domain; 10] = [
    Domain::EnrollIdentity,
    Domain::EnrollMinerSigning,
    Domain::AuthServer,
    Domain::AuthAgent,
    Domain::OrgManifest,
    Domain::Pin,
    Domain::AgentCertificate,
    Domain::Keyset,
    Domain::ApiKey,
    Domain::Command,
];

pub(crate) fn transcript(given: Given<'_>) -> Result<Value, Stop> {
    let domain = DOMAINS.into_iter().find(|domain| domain.as_str() == given.text("domain"));
    let mut transcript = Transcript::new(domain.expect("a domain of fleet-core"));
    for field in given.list("fields").iter().map(Given) {
        transcript = match field.text("kind") {
            "integer" => transcript.integer(
                field.integer("value").map_err(|_| Stop::NoRoom { field: field.text("name").into() })?,
            ),
            "bytes" => transcript.field(&field.bytes("value")),
            "text" => transcript.field(field.text("value").as_bytes()),
            "list" => {
                let items: Vec<_> = field
                    .list("value")
                    .iter()
                    .map(|item| hex::decode(item.as_str().unwrap()).unwrap())
                    .collect();
                transcript.list(items.iter().map(Vec::as_slice))
            }
            "absent" => transcript.absent(),
            other => panic!("no kind of field: {other}"),
        };
    }
    Ok(json!({ "bytes": hex::encode(transcript.as_bytes()), "sha256": hex::encode(transcript.sha256()) }))
}

/// In the place of each role's own field, the vectors say `public_key`.
fn any_role(error: KeyError) -> Stop {
    let mut refusal = Refusal::from(RegisterError::Key(error));
    assert!(refusal.message.contains(error.role().field()), "{}", refusal.message);
    refusal.message = refusal.message.replace(error.role().field(), "public_key");
    server(refusal)
}

pub(crate) fn ed25519_public_key(given: Given<'_>) -> Result<Value, Stop> {
    let bytes = given.bytes("public_key");
    let results = [
        RootPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
        CommandPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
        OperatorPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
        IdentityPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
        MinerSigningPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
    ];
    same_in_every_role(results)
}

pub(crate) fn x25519_public_key(given: Given<'_>) -> Result<Value, Stop> {
    let bytes = given.bytes("public_key");
    let results = [
        SealingPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
        RecoveryPublicKey::parse(&bytes).map(|key| *key.as_bytes()),
    ];
    same_in_every_role(results)
}

fn same_in_every_role<const N: usize>(results: [Result<[u8; 32], KeyError>; N]) -> Result<Value, Stop> {
    assert!(results.iter().all(|result| result.is_ok() == results[0].is_ok()), "{results:?}");
    let mut key = None;
    for result in results {
        key = Some(result.map_err(any_role)?);
    }
    Ok(json!({ "public_key": key.map(hex::encode) }))
}

pub(crate) fn fingerprint(given: Given<'_>) -> Result<Value, Stop> {
    let keys = agent_keys(given).map_err(block)?;
    Ok(json!({ "fingerprint": keys.fingerprint().to_string() }))
}

pub(crate) fn fingerprint_parse(given: Given<'_>) -> Result<Value, Stop> {
    let typed: Fingerprint = given.text("text").parse().map_err(block)?;
    let shown = typed.to_string();
    assert!(shown.parse::<Fingerprint>().unwrap().matches(&typed));
    Ok(json!({ "fingerprint": shown }))
}

/// The name is refused where a request is read, which names the field: `fleet-proto`'s code for that is
/// `invalid_argument`, and its own test sees it.
pub(crate) fn name(given: Given<'_>) -> Result<Value, Stop> {
    let name = Name::new(given.text("name"))
        .map_err(|error| Stop::Refused { code: "invalid_argument", message: error.to_string() })?;
    Ok(json!({ "characters": name.as_str().chars().count(), "utf8": hex::encode(name.as_str()) }))
}

pub(crate) fn api_key(given: Given<'_>) -> Result<Value, Stop> {
    let random = Script::new([given.draws("api_key_digits_random"), given.draws("api_key_random")]);
    let key = ApiKey::generate(&random).unwrap();
    random.finish();
    Ok(json!({
        "api_key": key.expose(),
        "digits": key.digits(),
        "sha256": hex::encode(key.hash().as_bytes()),
    }))
}

/// A server looks an api_key up and judges it by nothing else, so what is none is one that it does not know.
pub(crate) fn api_key_parse(given: Given<'_>) -> Result<Value, Stop> {
    let Ok(key) = ApiKey::parse(given.text("text")) else {
        let begin = Begin::new(BeginRequest::new(given.text("text").into(), [1; 32], [2; 32]));
        let error = begin.resolve(None, UnixMillis::EPOCH, &Policy::default(), &SeededRandom::new(0));
        return Err(server(error.unwrap_err()));
    };
    Ok(json!({ "digits": key.digits(), "sha256": hex::encode(key.hash().as_bytes()) }))
}

pub(crate) fn enrollment_code(given: Given<'_>) -> Result<Value, Stop> {
    let manifest = verified(given.object("manifest"))?;
    let random = Script::new([given.draws("code_random")]);
    let code = EnrollmentCode::generate(manifest.manifest().pin(), &random).unwrap();
    random.finish();
    Ok(json!({
        "code": code.expose(),
        "code_sha256": hex::encode(code.hash().as_bytes()),
        "pin_sha256": hex::encode(pin_transcript(manifest.manifest()).sha256()),
    }))
}

pub(crate) fn enrollment_code_parse(given: Given<'_>) -> Result<Value, Stop> {
    let code = EnrollmentCode::parse(given.text("text")).map_err(agent)?;
    // The random part stays in the code: it is known by the one code that it and the pin make.
    let (_, payload) = bech32::decode(code.expose()).unwrap();
    let again = Script::new([payload[..32].to_vec()]);
    let again = EnrollmentCode::generate(Pin::from_bytes(*code.pin().as_bytes()), &again).unwrap();
    assert_eq!(again.expose(), code.expose());
    assert_eq!(sha256(code.expose().as_bytes()), *code.hash().as_bytes());
    Ok(json!({
        "code": code.expose(),
        "code_sha256": hex::encode(code.hash().as_bytes()),
        "random": hex::encode(&payload[..32]),
        "pin": hex::encode(code.pin().as_bytes()),
    }))
}

/// A signature in a vector.
pub(crate) fn signature(given: Given<'_>, name: &str) -> Result<Signature, Stop> {
    array(name, given.text(name)).map(Signature::from_bytes)
}
