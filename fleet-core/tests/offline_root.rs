//! A server whose organization's root is offline (protocol sections 3 and 4): the operator's tool makes the code and
//! signs the certificate, and the server takes neither on trust.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;
use std::sync::Arc;

use fleet_core::certificate::{AgentCertificate, CertificateError};
use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{Founding, ServerDriver, ServerError, ServerKeys};
use fleet_core::enrollment::server::{Confirm, ConfirmError, CreateCode, CreateCodeError, Operator};
use fleet_core::enrollment::{NewCode, RegisterRequest};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{
    AgentPublicKeys, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey,
    RootSecretKey, SealingSecretKey, Signature,
};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    Actor, AgentStatus, EnrollmentState, MemoryServerStore, Query, ServerStore as _, Snapshot,
};
use fleet_core::testing::{SeededRandom, VirtualClock, block_on};
use fleet_core::time::Clock as _;

/// The server, and beside it what the operator's tool holds: the root.
struct Site {
    driver: ServerDriver,
    store: Arc<MemoryServerStore>,
    clock: Arc<VirtualClock>,
    root: RootSecretKey,
    operator: Operator,
}

/// An agent that has registered with a code of the tool's.
struct Waiting {
    id: AgentId,
    new: NewCode,
    keys: AgentPublicKeys,
    name: Name,
}

impl Site {
    fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryServerStore::new()), Arc::new(VirtualClock::default()));
        let command = Arc::new(CommandSecretKey::from_seed(&[2; 32]));
        let driver = |keys| {
            let random = Arc::new(SeededRandom::new(1));
            ServerDriver::new(store.clone(), clock.clone(), random, keys, Policy::default())
        };
        let operator = Operator { org_id: OrgId::new(1).unwrap(), actor: Actor::System };
        let (name, actor) = (Name::new("Acme").unwrap(), Actor::System);
        let founding = Founding { org_id: operator.org_id, name, recovery: None, actor };
        let root = || RootSecretKey::from_seed(&[1; 32]);
        let founder = driver(ServerKeys::managed(Arc::new(root()), command.clone()));
        let step = block_on(founder.found_organization(founding)).unwrap();
        block_on(store.commit(step.change().clone())).unwrap();
        let driver = driver(ServerKeys::offline(command));
        Self { driver, store, clock, root: root(), operator }
    }

    fn load(&self, query: Query) -> Snapshot {
        block_on(self.store.load(query)).unwrap().unwrap()
    }

    /// As the tool makes it, from the manifest that it last signed.
    fn code(&self) -> EnrollmentCode {
        let organization = self.load(Query::Organization(self.operator.org_id)).organization;
        let pin = organization.record.manifest.manifest().pin();
        EnrollmentCode::generate(pin, &SeededRandom::new(7)).unwrap()
    }

    fn create_code(&self, code: &EnrollmentCode) -> Result<NewCode, ServerError> {
        let request = CreateCode { ttl: None, code_sha256: Some(*code.hash().as_bytes()) };
        block_on(self.driver.create_code(request, &self.operator))
    }

    fn waiting(&self) -> Waiting {
        let (code, secret) = (self.code(), AgentSecretKeys::generate(&SeededRandom::new(8)).unwrap());
        let (new, keys, name) =
            (self.create_code(&code).unwrap(), secret.public().unwrap(), Name::new("site-1").unwrap());
        let make = |proofs| {
            let public = keys.by_role().map(|(_, key)| *key);
            RegisterRequest::new(code.expose().to_owned(), name.clone(), public, proofs)
        };
        let [identity, miner_signing] = make([Signature::from_bytes([0; 64]); 2]).transcripts();
        let proofs =
            [secret.identity.sign(identity.as_bytes()), secret.miner_signing.sign(miner_signing.as_bytes())];
        let id = block_on(self.driver.register(make(proofs))).unwrap().agent_id;
        Waiting { id, new, keys, name }
    }

    /// What the tool certifies, by a clock of its own.
    fn certificate(&self, agent: &Waiting) -> AgentCertificate {
        AgentCertificate {
            org_id: self.operator.org_id,
            agent_id: agent.id,
            name: agent.name.clone(),
            keys: agent.keys,
            key_epoch: 1,
            issued_at: self.clock.now().saturating_add(Duration::from_secs(90)),
        }
    }

    fn confirm(
        &self,
        agent: &Waiting,
        shown: &AgentPublicKeys,
        certificate: Option<(AgentCertificate, Signature)>,
    ) -> Result<(), ConfirmError> {
        let confirm = Confirm {
            operator: self.operator.clone(),
            agent_id: agent.id,
            enrollment_id: agent.new.enrollment_id,
            fingerprint: shown.fingerprint(),
            certificate,
        };
        match block_on(self.driver.confirm(confirm)) {
            Ok(_) => Ok(()),
            Err(ServerError::Confirm(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }
}

fn signed(root: &RootSecretKey, certificate: AgentCertificate) -> Option<(AgentCertificate, Signature)> {
    let signature = root.sign(certificate.transcript().as_bytes());
    Some((certificate, signature))
}

#[test]
fn the_tool_makes_the_code_and_the_server_holds_its_hash() {
    let site = Site::new();
    let made = block_on(site.driver.create_code(CreateCode::default(), &site.operator));
    assert!(matches!(made, Err(ServerError::CreateCode(CreateCodeError::HashRequired))), "{made:?}");
    let code = site.code();
    assert!(site.create_code(&code).unwrap().code.is_none(), "the server has no code to show");
    let again = site.create_code(&code);
    assert!(matches!(again, Err(ServerError::CreateCode(CreateCodeError::CodeTaken))), "{again:?}");
}

#[test]
fn only_a_certificate_that_says_what_the_server_knows_and_is_signed_by_the_root_confirms() {
    let site = Site::new();
    let agent = site.waiting();
    let other = AgentSecretKeys {
        identity: IdentitySecretKey::from_seed(&[21; 32]),
        miner_signing: MinerSigningSecretKey::from_seed(&[22; 32]),
        sealing: SealingSecretKey::from_scalar(&[23; 32]),
    };
    let other = other.public().unwrap();
    let with = |identity: &AgentPublicKeys, miner_signing: &AgentPublicKeys, sealing: &AgentPublicKeys| {
        AgentPublicKeys::new(*identity.identity(), *miner_signing.miner_signing(), *sealing.sealing())
            .unwrap()
    };
    let (good, own) = (site.certificate(&agent), &agent.keys);
    let changed = |change: &dyn Fn(&mut AgentCertificate)| {
        let mut certificate = good.clone();
        change(&mut certificate);
        signed(&site.root, certificate)
    };
    let before = site.load(Query::Agent(agent.id));
    let by_another_root = signed(&RootSecretKey::from_seed(&[3; 32]), good.clone());
    for (certificate, expected) in [
        (None, ConfirmError::CertificateMissing),
        (by_another_root, ConfirmError::Certificate(CertificateError::Signature)),
        (changed(&|c| c.org_id = OrgId::new(2).unwrap()), ConfirmError::CertificateMismatch),
        (changed(&|c| c.agent_id = AgentId::new(5).unwrap()), ConfirmError::CertificateMismatch),
        (changed(&|c| c.name = Name::new("site-2").unwrap()), ConfirmError::CertificateMismatch),
        (changed(&|c| c.keys = with(&other, own, own)), ConfirmError::CertificateMismatch),
        (changed(&|c| c.keys = with(own, &other, own)), ConfirmError::CertificateMismatch),
        (changed(&|c| c.keys = with(own, own, &other)), ConfirmError::CertificateMismatch),
        (changed(&|c| c.key_epoch = 2), ConfirmError::CertificateMismatch),
    ] {
        let error = site.confirm(&agent, own, certificate).unwrap_err();
        assert_eq!(error, expected);
        let refusal = Refusal::from(error);
        assert_eq!(refusal.code, Code::InvalidArgument);
        assert!(refusal.message.contains("agent_certificate"), "{}", refusal.message);
        assert_eq!(site.load(Query::Agent(agent.id)), before, "a refusal changed something");
    }
    // The root's word on the keys does not stand in for the eyes of the operator.
    let unseen = site.confirm(&agent, &other, signed(&site.root, good.clone()));
    assert_eq!(unseen, Err(ConfirmError::WrongFingerprint));
    assert_eq!(site.load(Query::Agent(agent.id)), before, "a wrong fingerprint changed something");

    assert_eq!(site.confirm(&agent, own, signed(&site.root, good.clone())), Ok(()));
    let after = site.load(Query::Agent(agent.id));
    assert_eq!(after.enrollment.unwrap().record.state, EnrollmentState::Confirmed);
    let record = after.agent.unwrap().record;
    assert_eq!(record.status, AgentStatus::Confirmed);
    assert_eq!(*record.certificate.unwrap().certificate(), good, "as the tool signed it, time included");
    assert!(record.sealed_api_key.is_some());
}
