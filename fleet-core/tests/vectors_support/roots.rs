//! What the root signs. How an agent judges its own certificate is in `handshake.rs`: it is a step of that.

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::*;
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SignedManifest};
use fleet_core::name::Name;
use fleet_core::time::UnixMillis;
use fleet_core::transcript::{Domain, Transcript};
use serde_json::{Value, json};

use super::{Given, Stop, agent, array};

pub(crate) fn signed(transcript: &Transcript, signature: &Signature) -> Value {
    json!({
        "transcript": hex::encode(transcript.as_bytes()),
        "transcript_sha256": hex::encode(transcript.sha256()),
        "signature": hex::encode(signature.to_bytes()),
    })
}

/// The fields of both objects in one.
pub(crate) fn join(mut one: Value, other: Value) -> Value {
    let Value::Object(other) = other else { panic!("no object") };
    one.as_object_mut().unwrap().extend(other);
    one
}

/// A manifest as an agent reads it. The root may be given apart, as the one that is to sign it.
fn manifest(given: Given<'_>, root: Option<RootPublicKey>) -> Result<OrgManifest, Stop> {
    let key = |name: &str| hex::decode(name).unwrap();
    let recovery = given.has("recovery_pubkey").then(|| given.bytes("recovery_pubkey"));
    let recovery = recovery.filter(|key| !key.is_empty());
    Ok(OrgManifest {
        org_id: OrgId::new(given.integer("org_id")?).map_err(agent)?,
        org_name: Name::new(given.text("org_name")).map_err(agent)?,
        epoch: given.integer("epoch")?,
        root: match root {
            Some(root) => root,
            None => RootPublicKey::parse(&given.bytes("root_pubkey")).map_err(agent)?,
        },
        command: CommandPublicKey::parse(&given.bytes("command_pubkey")).map_err(agent)?,
        recovery: recovery.map(|key| RecoveryPublicKey::parse(&key)).transpose().map_err(agent)?,
        operators: given
            .list("operator_pubkeys")
            .iter()
            .map(|text| OperatorPublicKey::parse(&key(text.as_str().unwrap())).map_err(agent))
            .collect::<Result<_, _>>()?,
        revoked: revoked(given)?,
    })
}

pub(crate) fn revoked(given: Given<'_>) -> Result<Vec<RevokedKeyId>, Stop> {
    given
        .list("revoked")
        .iter()
        .map(|text| array("revoked", text.as_str().unwrap()).map(RevokedKeyId::from_bytes))
        .collect()
}

/// A manifest with what claims to be its signature.
pub(crate) fn unverified(given: Given<'_>) -> Result<UnverifiedManifest, Stop> {
    let manifest = manifest(given, None)?;
    Ok(UnverifiedManifest { manifest, signature: Signature::from_bytes(given.array("signature")?) })
}

/// A manifest that verifies under the root that it names.
pub(crate) fn verified(given: Given<'_>) -> Result<SignedManifest, Stop> {
    let UnverifiedManifest { manifest, signature } = unverified(given)?;
    SignedManifest::verify(manifest, signature).map_err(agent)
}

pub(crate) fn manifest_json(signed: &UnverifiedManifest) -> Value {
    let manifest = &signed.manifest;
    let all = |keys: Vec<&[u8]>| keys.into_iter().map(hex::encode).collect::<Vec<_>>();
    json!({
        "org_id": manifest.org_id.value(),
        "org_name": manifest.org_name.as_str(),
        "epoch": manifest.epoch,
        "root_pubkey": hex::encode(manifest.root.as_bytes()),
        "command_pubkey": hex::encode(manifest.command.as_bytes()),
        "recovery_pubkey": manifest.recovery.map(|key| hex::encode(key.as_bytes())).unwrap_or_default(),
        "operator_pubkeys": all(manifest.operators.iter().map(|key| &key.as_bytes()[..]).collect()),
        "revoked": all(manifest.revoked.iter().map(|id| &id.as_bytes()[..]).collect()),
        "signature": hex::encode(signed.signature.to_bytes()),
    })
}

/// The whole transcript of the pin, of which `fleet_core` hands out the first 16 bytes of the hash.
pub(crate) fn pin_transcript(manifest: &OrgManifest) -> Transcript {
    let pin = Transcript::new(Domain::Pin)
        .integer(manifest.org_id.value())
        .field(manifest.root.as_bytes())
        .field(manifest.command.as_bytes())
        .field(manifest.recovery.as_ref().map_or(&[], |key| &key.as_bytes()[..]))
        .list(manifest.operators.iter().map(|key| &key.as_bytes()[..]));
    assert_eq!(pin.sha256()[..16], manifest.pin().as_bytes()[..]);
    pin
}

pub(crate) fn manifest_op(given: Given<'_>) -> Result<Value, Stop> {
    let root = RootSecretKey::from_seed(&given.draw("root_seed"));
    let manifest = manifest(given.object("manifest"), Some(root.public()))?;
    let transcript = manifest.transcript();
    let signature = root.sign(transcript.as_bytes());
    let made = SignedManifest::verify(manifest, signature).map_err(agent)?;
    assert_eq!(made.hash(), transcript.sha256());
    let pin = pin_transcript(made.manifest());
    let out = json!({
        "root_pubkey": hex::encode(root.public().as_bytes()),
        "pin_transcript": hex::encode(pin.as_bytes()),
        "pin_sha256": hex::encode(pin.sha256()),
    });
    Ok(join(out, signed(&transcript, &signature)))
}

/// Under the root that is pinned: as the successor of a manifest of that root.
pub(crate) fn manifest_verify(given: Given<'_>) -> Result<Value, Stop> {
    let manifest = verified(given.object("manifest"))?;
    let root = RootPublicKey::parse(&given.bytes("root_pubkey")).unwrap();
    let held = OrgManifest { root, epoch: 0, ..manifest.manifest().clone() };
    manifest.succeeds(&held).map_err(agent)?;
    Ok(json!({
        "transcript_sha256": hex::encode(manifest.hash()),
        "pin_sha256": hex::encode(pin_transcript(manifest.manifest()).sha256()),
    }))
}

pub(crate) fn manifest_update(given: Given<'_>) -> Result<Value, Stop> {
    let pinned = verified(given.object("pinned"))?;
    let received = verified(given.object("received"))?;
    received.succeeds(pinned.manifest()).map_err(agent)?;
    Ok(kept(&received))
}

/// What an agent keeps, as the vectors tell it.
pub(crate) fn kept(manifest: &SignedManifest) -> Value {
    json!({ "epoch": manifest.manifest().epoch, "transcript_sha256": hex::encode(manifest.hash()) })
}

pub(crate) fn agent_keys(given: Given<'_>) -> Result<AgentPublicKeys, KeyError> {
    AgentPublicKeys::parse(
        &given.bytes("identity_pubkey"),
        &given.bytes("miner_signing_pubkey"),
        &given.bytes("sealing_pubkey"),
    )
}

pub(crate) fn certificate(given: Given<'_>) -> Result<AgentCertificate, Stop> {
    Ok(AgentCertificate {
        org_id: OrgId::new(given.integer("org_id")?).map_err(agent)?,
        agent_id: AgentId::new(given.integer("agent_id")?).map_err(agent)?,
        name: Name::new(given.text("name")).map_err(agent)?,
        keys: agent_keys(given).map_err(agent)?,
        key_epoch: given.integer("key_epoch")?,
        issued_at: UnixMillis::new(given.integer("issued_at")?).map_err(agent)?,
    })
}

pub(crate) fn certificate_json(certificate: &AgentCertificate, signature: &Signature) -> Value {
    json!({
        "org_id": certificate.org_id.value(),
        "agent_id": certificate.agent_id.value(),
        "name": certificate.name.as_str(),
        "identity_pubkey": hex::encode(certificate.keys.identity().as_bytes()),
        "miner_signing_pubkey": hex::encode(certificate.keys.miner_signing().as_bytes()),
        "sealing_pubkey": hex::encode(certificate.keys.sealing().as_bytes()),
        "key_epoch": certificate.key_epoch,
        "issued_at": certificate.issued_at.value(),
        "signature": hex::encode(signature.to_bytes()),
    })
}

pub(crate) fn certificate_op(given: Given<'_>) -> Result<Value, Stop> {
    let root = RootSecretKey::from_seed(&given.draw("root_seed"));
    let certificate = certificate(given.object("certificate"))?;
    let transcript = certificate.transcript();
    let signature = root.sign(transcript.as_bytes());
    SignedCertificate::verify(certificate, signature, &root.public()).map_err(agent)?;
    let out = json!({ "root_pubkey": hex::encode(root.public().as_bytes()) });
    Ok(join(out, signed(&transcript, &signature)))
}
