//! Rotation and commands, of which there are only the parts that have no machine of their own yet.

use fleet_core::id::AgentId;
use fleet_core::keys::*;
use fleet_core::transcript::{Domain, Transcript, sha256};
use serde_json::{Value, json};

use super::blocks::signature;
use super::roots::{join, signed};
use super::world::millis;
use super::{Given, Stop, agent};

/// The new keys and their fingerprint.
pub(crate) fn rotate(given: Given<'_>) -> Result<Value, Stop> {
    let old = IdentitySecretKey::from_seed(&given.draw("old_identity_seed"));
    let keys = AgentSecretKeys {
        identity: IdentitySecretKey::from_seed(&given.draw("identity_seed")),
        miner_signing: MinerSigningSecretKey::from_seed(&given.draw("miner_signing_seed")),
        sealing: SealingSecretKey::from_scalar(&given.draw("sealing_scalar")),
    };
    let keys = keys.public().unwrap();
    Ok(json!({
        "old_identity_pubkey": hex::encode(old.public().as_bytes()),
        "identity_pubkey": hex::encode(keys.identity().as_bytes()),
        "miner_signing_pubkey": hex::encode(keys.miner_signing().as_bytes()),
        "sealing_pubkey": hex::encode(keys.sealing().as_bytes()),
        "identity_fingerprint": keys.fingerprint().to_string(),
    }))
}

/// What the command key signs.
fn transcript(
    command: Given<'_>,
    agent_id: AgentId,
    identity: &IdentityPublicKey,
) -> Result<Transcript, Stop> {
    Ok(Transcript::new(Domain::Command)
        .integer(agent_id.value())
        .field(identity.as_bytes())
        .integer(command.integer("sequence")?)
        .field(command.text("command_id").as_bytes())
        .field(command.text("actor").as_bytes())
        .field(&sha256(&command.bytes("payload")))
        .time(millis(command.integer("expires_at")?)))
}

pub(crate) fn command(given: Given<'_>) -> Result<Value, Stop> {
    let key = CommandSecretKey::from_seed(&given.draw("command_seed"));
    let identity = IdentitySecretKey::from_seed(&given.draw("identity_seed")).public();
    let agent_id = AgentId::new(given.integer("agent_id")?).unwrap();
    let transcript = transcript(given.object("command"), agent_id, &identity)?;
    let out = json!({
        "command_pubkey": hex::encode(key.public().as_bytes()),
        "identity_pubkey": hex::encode(identity.as_bytes()),
    });
    Ok(join(out, signed(&transcript, &key.sign(transcript.as_bytes()))))
}

/// The signature, which is what an agent checks first.
pub(crate) fn command_verify(given: Given<'_>) -> Result<Value, Stop> {
    let (command, own) = (given.object("command"), given.object("agent"));
    let identity = IdentityPublicKey::parse(&own.bytes("identity_pubkey")).unwrap();
    let transcript = transcript(command, AgentId::new(own.integer("agent_id")?).unwrap(), &identity)?;
    let key = CommandPublicKey::parse(&own.bytes("command_pubkey")).unwrap();
    key.verify(&transcript, &signature(command, "signature")?).map_err(agent)?;
    Ok(json!({}))
}
