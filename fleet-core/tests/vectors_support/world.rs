//! Who else there is in a vector's world: stand-ins for what it does not tell.

use std::collections::VecDeque;
use std::sync::Mutex;

use fleet_core::code::SecretHash;
use fleet_core::future::{BoxFuture, ready};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::*;
use fleet_core::manifest::{OrgManifest, SignedManifest};
use fleet_core::name::Name;
use fleet_core::random::{RandomError, SecureRandom};
use fleet_core::store::*;
use fleet_core::time::UnixMillis;

/// A random source that yields a vector's draws, in the order in which the machine must ask for them.
#[derive(Debug)]
pub(crate) struct Script(Mutex<VecDeque<Vec<u8>>>);

impl Script {
    pub(crate) fn new(draws: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(Mutex::new(draws.into_iter().collect()))
    }

    /// All of it was asked for.
    pub(crate) fn finish(&self) {
        let left = self.0.lock().unwrap().len();
        assert_eq!(left, 0, "draws that nothing asked for");
    }
}

impl SecureRandom for Script {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        let draw = self.0.lock().unwrap().pop_front().expect("more is drawn than the vector tells");
        assert_eq!(draw.len(), out.len(), "the machine draws another length");
        out.copy_from_slice(&draw);
        Ok(())
    }
}

/// A key of which nothing but the public half is known, and which has nothing to sign.
#[derive(Debug)]
pub(crate) struct PublicOnly(pub(crate) [u8; 32]);

impl Signer for PublicOnly {
    fn public_key(&self) -> [u8; 32] {
        self.0
    }

    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        ready(Err(SignerError("nothing is signed here".into())))
    }
}

pub(crate) fn millis(value: i64) -> UnixMillis {
    UnixMillis::new(value).unwrap()
}

/// Keys that are nobody's in any vector.
pub(crate) fn strangers_keys(number: u8) -> AgentPublicKeys {
    AgentPublicKeys::new(
        IdentitySecretKey::from_seed(&[number; 32]).public(),
        MinerSigningSecretKey::from_seed(&[number ^ 0x80; 32]).public(),
        SealingSecretKey::from_scalar(&[number; 32]).public(),
    )
    .unwrap()
}

/// An organization of this root, where the vector tells of none.
pub(crate) fn organization(
    org_id: OrgId,
    root: &RootSecretKey,
    command: &CommandSecretKey,
) -> SignedManifest {
    let manifest = OrgManifest {
        org_id,
        org_name: Name::new("Stand-in").unwrap(),
        epoch: 1,
        root: root.public(),
        command: command.public(),
        recovery: None,
        operators: Vec::new(),
        revoked: Vec::new(),
    };
    let signature = root.sign(manifest.transcript().as_bytes());
    SignedManifest::verify(manifest, signature).unwrap()
}

pub(crate) fn put<T>(record: T) -> Option<Put<T>> {
    Some(Put { record, expected: None })
}

pub(crate) fn founded(manifest: SignedManifest) -> Changeset {
    let record =
        OrganizationRecord { id: manifest.manifest().org_id, manifest, created_at: UnixMillis::EPOCH };
    Changeset { organization: put(record), ..Changeset::default() }
}

/// An agent, confirmed unless it is changed.
pub(crate) fn agent_record(id: AgentId, org_id: OrgId, name: Name, keys: AgentPublicKeys) -> AgentRecord {
    AgentRecord {
        id,
        org_id,
        name,
        kind: AgentKind::Remote,
        keys,
        status: AgentStatus::Confirmed,
        enrollment_id: None,
        certificate: None,
        sealed_api_key: None,
        created_at: UnixMillis::EPOCH,
        confirmed_at: None,
        revoked_at: None,
        last_sequence: 0,
        last_begin_at: None,
    }
}

pub(crate) fn api_key_record(hash: SecretHash, agent_id: AgentId) -> AgentApiKeyRecord {
    AgentApiKeyRecord { hash, digits: "00000000".into(), agent_id, created_at: UnixMillis::EPOCH }
}

pub(crate) fn agent_status(text: &str) -> AgentStatus {
    match text {
        "PENDING" => AgentStatus::Pending,
        "CONFIRMED" => AgentStatus::Confirmed,
        "REVOKED" => AgentStatus::Revoked,
        "DISCARDED" => AgentStatus::Discarded,
        other => panic!("no status: {other}"),
    }
}

/// What an agent keeps that enrolled and joined.
pub(crate) fn agent_state(
    name: Name,
    keys: AgentPublicKeys,
    agent_id: AgentId,
    manifest: SignedManifest,
) -> AgentState {
    AgentState {
        server: "https://fleet.example".into(),
        name,
        code: SecretHash::of("some code"),
        keys,
        manifest: Some(manifest),
        joined: true,
        agent_id: Some(agent_id),
        api_key: None,
        session: None,
        counters: Counters::default(),
    }
}
