//! A server's driver over a store, and agents that call it without a wire between.

use std::sync::Arc;

use fleet_core::code::{ApiKey, EnrollmentCode};
use fleet_core::driver::{Founding, ServerDriver, ServerError, ServerKeys};
use fleet_core::enrollment::server::{Confirm, CreateCode, Operator, Revoke};
use fleet_core::enrollment::{NewCode, RegisterRequest};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{AgentSecretKeys, CommandSecretKey, RootSecretKey, Signature};
use fleet_core::manifest::SignedManifest;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{Actor, ServerStore};
use fleet_core::testing::{SeededRandom, VirtualClock};
use fleet_core::transcript::{Domain, Transcript};
use fleet_store::Store;

use super::{Databases, Empty};

/// A server on a store, with one organization.
#[derive(Clone)]
pub struct Server {
    pub store: Store,
    pub driver: ServerDriver,
    pub clock: Arc<VirtualClock>,
    pub random: Arc<SeededRandom>,
    pub operator: Operator,
    keys: ServerKeys,
}

/// An agent's keys, and the calls it makes with them.
#[derive(Clone)]
pub struct Caller {
    pub keys: Arc<AgentSecretKeys>,
    pub name: Name,
}

/// An agent that is confirmed.
pub struct Enrolled {
    pub caller: Caller,
    pub id: AgentId,
    pub api_key: ApiKey,
}

/// An agent that waits for its confirmation.
pub struct Waiting {
    pub caller: Caller,
    pub id: AgentId,
    pub code: NewCode,
}

/// The class of a refusal.
pub fn code_of(error: ServerError) -> Code {
    Refusal::from(error).code
}

/// A policy under which an agent may begin handshakes as often as it likes.
pub fn unhurried() -> Policy {
    let mut policy = Policy::default();
    policy.begin_interval = core::time::Duration::ZERO;
    policy
}

impl Server {
    pub async fn new(on: &Databases) -> (Self, Empty) {
        let empty = on.empty().await;
        let store = Store::open(&empty.url).await.unwrap();
        (Self::on(store).await, empty)
    }

    pub async fn on(store: Store) -> Self {
        let random = Arc::new(SeededRandom::new(11));
        let keys = ServerKeys::managed(
            Arc::new(RootSecretKey::generate(random.as_ref()).unwrap()),
            Arc::new(CommandSecretKey::generate(random.as_ref()).unwrap()),
        );
        let clock = Arc::new(VirtualClock::default());
        let operator = Operator { org_id: OrgId::new(4).unwrap(), actor: Actor::System };
        let driver = ServerDriver::new(
            Arc::new(store.clone()),
            clock.clone(),
            random.clone(),
            keys.clone(),
            unhurried(),
        );
        let founding = Founding {
            org_id: operator.org_id,
            name: Name::new("Acme").unwrap(),
            recovery: None,
            actor: Actor::System,
        };
        let founded = driver.found_organization(founding).await.unwrap();
        store.commit(founded.change().clone()).await.unwrap();
        Self { store, driver, clock, random, operator, keys }
    }

    /// The same server, on another handle of its database.
    pub fn through(&self, store: Store) -> Self {
        let driver = self.driver_over(Arc::new(store.clone()));
        Self { store, driver, ..self.clone() }
    }

    /// A driver of this server over something that is not its store.
    pub fn driver_over(&self, store: Arc<dyn ServerStore>) -> ServerDriver {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        ServerDriver::new(store, clock, random, self.keys.clone(), unhurried())
    }

    pub fn caller(&self, name: &str) -> Caller {
        let keys = AgentSecretKeys::generate(self.random.as_ref()).unwrap();
        Caller { keys: Arc::new(keys), name: Name::new(name).unwrap() }
    }

    pub async fn code(&self) -> NewCode {
        self.driver.create_code(CreateCode::default(), &self.operator).await.unwrap()
    }

    /// An agent that has registered.
    pub async fn waiting(&self, name: &str) -> Waiting {
        let (caller, code) = (self.caller(name), self.code().await);
        let id = self.driver.register(caller.register(&code)).await.unwrap().agent_id;
        Waiting { caller, id, code }
    }

    pub async fn confirm(&self, waiting: &Waiting) -> Result<ApiKey, ServerError> {
        self.driver.confirm(self.confirmation(waiting)).await
    }

    pub fn confirmation(&self, waiting: &Waiting) -> Confirm {
        Confirm {
            operator: self.operator.clone(),
            agent_id: waiting.id,
            enrollment_id: waiting.code.enrollment_id,
            fingerprint: waiting.caller.fingerprint(),
            certificate: None,
        }
    }

    pub fn revocation(&self, agent_id: AgentId) -> Revoke {
        Revoke { operator: self.operator.clone(), agent_id }
    }

    /// An agent that has registered and is confirmed.
    pub async fn enrolled(&self, name: &str) -> Enrolled {
        let waiting = self.waiting(name).await;
        let api_key = self.confirm(&waiting).await.unwrap();
        Enrolled { caller: waiting.caller, id: waiting.id, api_key }
    }
}

impl Caller {
    pub fn fingerprint(&self) -> Fingerprint {
        self.keys.public().unwrap().fingerprint()
    }

    /// Register, with both proofs.
    pub fn register(&self, code: &NewCode) -> RegisterRequest {
        let token = code.code.as_ref().map(EnrollmentCode::expose).unwrap().to_owned();
        let public = self.keys.public().unwrap();
        let keys = public.by_role().map(|(_, key)| *key);
        let unsigned = [Signature::from_bytes([0; 64]), Signature::from_bytes([0; 64])];
        let request = RegisterRequest::new(token.clone(), self.name.clone(), keys, unsigned);
        let [identity, miner_signing] = request.transcripts();
        let proofs = [
            self.keys.identity.sign(identity.as_bytes()),
            self.keys.miner_signing.sign(miner_signing.as_bytes()),
        ];
        RegisterRequest::new(token, self.name.clone(), keys, proofs)
    }

    pub fn begin(&self, api_key: &ApiKey, nonce: u8) -> BeginRequest {
        let identity = *self.keys.public().unwrap().identity().as_bytes();
        BeginRequest::new(api_key.expose().to_owned(), identity, [nonce; 32])
    }

    /// The answer to a challenge (protocol section 5), without the agent's checks.
    pub fn complete(&self, id: AgentId, nonce: u8, begun: &BeginResponse) -> CompleteRequest {
        let manifest = &begun.manifest;
        let signed = SignedManifest::verify(manifest.manifest.clone(), manifest.signature).unwrap();
        let transcript = Transcript::new(Domain::AuthAgent)
            .field(manifest.manifest.command.as_bytes())
            .integer(id.value())
            .field(self.keys.public().unwrap().identity().as_bytes())
            .field(&[nonce; 32])
            .field(&begun.challenge)
            .time(begun.server_time)
            .time(begun.expires_at)
            .integer(begun.last_sequence)
            .field(&signed.hash());
        let signature = self.keys.identity.sign(transcript.as_bytes());
        CompleteRequest { challenge: begun.challenge, signature }
    }
}
