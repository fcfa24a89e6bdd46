//! No key ever serves two roles or two agents (protocol section 2): every pair of roles, within an agent, within a
//! manifest, and of one with the other.
//!
//! The bytes of an Ed25519 key whose top bit is clear are those of an X25519 key as well, so the kinds keep no two roles
//! apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{Founding, ServerDriver, ServerError, ServerKeys};
use fleet_core::enrollment::RegisterRequest;
use fleet_core::enrollment::server::{CreateCode, Operator, RegisterError};
use fleet_core::id::OrgId;
use fleet_core::keys::{
    AgentPublicKeys, CommandSecretKey, IdentitySecretKey, KeyError, KeyRole, MinerSigningSecretKey,
    OperatorPublicKey, RecoveryPublicKey, RootSecretKey, SealingPublicKey, Signature,
};
use fleet_core::manifest::{ManifestError, OrgManifest, SignedManifest};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    Actor, Changeset, MemoryServerStore, OrganizationRecord, Put, Query, ServerStore as _,
};
use fleet_core::testing::{SeededRandom, VirtualClock, block_on};
use fleet_core::time::UnixMillis;

/// The nth seed whose Ed25519 public key is, byte for byte, an X25519 public key too.
fn seed(nth: usize) -> [u8; 32] {
    let both = |seed: &[u8; 32]| SealingPublicKey::parse(&public(seed)).is_ok();
    (1..=u8::MAX).map(|byte| [byte; 32]).filter(both).nth(nth).unwrap()
}

fn public(seed: &[u8; 32]) -> [u8; 32] {
    *IdentitySecretKey::from_seed(seed).public().as_bytes()
}

/// The roles of an organization's keys, in the order of their seeds.
const ORGANIZATION: [KeyRole; 4] = [KeyRole::Root, KeyRole::Command, KeyRole::Recovery, KeyRole::Operator];

fn manifest(seeds: [[u8; 32]; 4]) -> OrgManifest {
    let [root, command, recovery, operator] = seeds;
    OrgManifest {
        org_id: OrgId::new(1).unwrap(),
        org_name: Name::new("Acme").unwrap(),
        epoch: 1,
        root: RootSecretKey::from_seed(&root).public(),
        command: CommandSecretKey::from_seed(&command).public(),
        recovery: Some(RecoveryPublicKey::parse(&public(&recovery)).unwrap()),
        operators: vec![OperatorPublicKey::parse(&public(&operator)).unwrap()],
        revoked: Vec::new(),
    }
}

#[test]
fn a_manifest_has_no_key_twice() {
    let seeds = [seed(0), seed(1), seed(2), seed(3)];
    assert_eq!(manifest(seeds).validate(), Ok(()));
    for (one, first) in ORGANIZATION.into_iter().enumerate() {
        for (other, second) in ORGANIZATION.into_iter().enumerate().skip(one + 1) {
            let mut seeds = seeds;
            seeds[other] = seeds[one];
            let error = KeyError::TwoRoles { first, second };
            assert_eq!(manifest(seeds).validate(), Err(ManifestError::Key(error)));
            // Also with its root's signature it is none.
            let manifest = manifest(seeds);
            let signature = RootSecretKey::from_seed(&seeds[0]).sign(manifest.transcript().as_bytes());
            assert_eq!(SignedManifest::verify(manifest, signature), Err(ManifestError::Key(error)));
        }
    }
}

/// A server whose organization has the keys of these seeds, and a code of it.
struct Office {
    store: Arc<MemoryServerStore>,
    driver: ServerDriver,
    token: String,
}

impl Office {
    fn new(seeds: [[u8; 32]; 4]) -> Self {
        let store = Arc::new(MemoryServerStore::new());
        let (root, command) = (RootSecretKey::from_seed(&seeds[0]), CommandSecretKey::from_seed(&seeds[1]));
        let manifest = manifest(seeds);
        let signature = root.sign(manifest.transcript().as_bytes());
        let record = OrganizationRecord {
            id: manifest.org_id,
            manifest: SignedManifest::verify(manifest, signature).unwrap(),
            created_at: UnixMillis::EPOCH,
        };
        let operator = Operator { org_id: record.id, actor: Actor::System };
        let put = Put { record, expected: None };
        block_on(store.commit(Changeset { organization: Some(put), ..Changeset::default() })).unwrap();
        let driver = ServerDriver::new(
            store.clone(),
            Arc::new(VirtualClock::default()),
            Arc::new(SeededRandom::new(1)),
            ServerKeys::managed(Arc::new(root), Arc::new(command)),
            Policy::default(),
        );
        let new = block_on(driver.create_code(CreateCode::default(), &operator)).unwrap();
        let token = new.code.unwrap().expose().to_owned();
        Self { store, driver, token }
    }

    /// Registers keys of these seeds: identity and miner-signing with good proofs, sealing by its bytes alone.
    fn register(&self, [identity, miner_signing, sealing]: [[u8; 32]; 3]) -> Result<(), RegisterError> {
        let keys = [identity, miner_signing, sealing].map(|seed| public(&seed));
        let request =
            |proofs| RegisterRequest::new(self.token.clone(), Name::new("site-1").unwrap(), keys, proofs);
        let [to_identity, to_miner_signing] = request([Signature::from_bytes([0; 64]); 2]).transcripts();
        let proofs = [
            IdentitySecretKey::from_seed(&identity).sign(to_identity.as_bytes()),
            MinerSigningSecretKey::from_seed(&miner_signing).sign(to_miner_signing.as_bytes()),
        ];
        match block_on(self.driver.register(request(proofs))) {
            Ok(_) => Ok(()),
            Err(ServerError::Register(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn has_an_agent(&self) -> bool {
        let code = EnrollmentCode::parse(&self.token).unwrap().hash();
        let found = block_on(self.store.load(Query::EnrollmentByCode(code))).unwrap().unwrap();
        found.agent.is_some()
    }
}

#[test]
fn no_organization_is_made_whose_recovery_key_is_its_root_or_command_key() {
    let seeds = [seed(0), seed(1), seed(2), seed(3)];
    let office = Office::new(seeds);
    for (theirs, first) in [(seeds[0], KeyRole::Root), (seeds[1], KeyRole::Command)] {
        let founding = Founding {
            org_id: OrgId::new(2).unwrap(),
            name: Name::new("Other").unwrap(),
            recovery: Some(RecoveryPublicKey::parse(&public(&theirs)).unwrap()),
            actor: Actor::System,
        };
        match block_on(office.driver.found_organization(founding)) {
            Err(ServerError::Manifest(error)) => {
                let second = KeyRole::Recovery;
                assert_eq!(error, ManifestError::Key(KeyError::TwoRoles { first, second }));
            }
            other => panic!("{other:?}"),
        }
    }
}

const AGENT: [KeyRole; 3] = [KeyRole::Identity, KeyRole::MinerSigning, KeyRole::Sealing];

#[test]
fn an_agent_has_no_key_twice() {
    let office = Office::new([seed(0), seed(1), seed(2), seed(3)]);
    let seeds = [seed(4), seed(5), seed(6)];
    for (one, first) in AGENT.into_iter().enumerate() {
        for (other, second) in AGENT.into_iter().enumerate().skip(one + 1) {
            let mut seeds = seeds;
            seeds[other] = seeds[one];
            let error = KeyError::TwoRoles { first, second };
            let [identity, miner_signing, sealing] = seeds.map(|seed| public(&seed));
            assert_eq!(AgentPublicKeys::parse(&identity, &miner_signing, &sealing), Err(error));
            assert_eq!(office.register(seeds), Err(RegisterError::Key(error)));
            assert_eq!(Refusal::from(RegisterError::Key(error)).code, Code::InvalidArgument);
        }
    }
    assert!(!office.has_an_agent(), "a refusal made an agent");
    assert_eq!(office.register(seeds), Ok(()), "and the code is as good as before");
}

#[test]
fn an_agent_has_no_key_of_its_organization() {
    let theirs = [seed(0), seed(1), seed(2), seed(3)];
    let office = Office::new(theirs);
    let own = [seed(4), seed(5), seed(6)];
    for (their_seed, their_role) in theirs.into_iter().zip(ORGANIZATION) {
        for (at, role) in AGENT.into_iter().enumerate() {
            let mut seeds = own;
            seeds[at] = their_seed;
            let error = RegisterError::KeyTaken { role };
            assert_eq!(office.register(seeds), Err(error), "{role} is their {their_role}");
            assert_eq!(Refusal::from(error).code, Code::FailedPrecondition);
        }
    }
    assert!(!office.has_an_agent(), "a refusal made an agent");
    assert_eq!(office.register(own), Ok(()), "and the code is as good as before");
}
