use core::time::Duration;
use std::sync::Arc;

use super::{CrashAt, Crashed, FaultyLink, SeededRandom, VirtualClock, catch_crash};
use crate::code::{ApiKey, EnrollmentCode};
use crate::driver::{
    AgentDriver, AgentError, EnrollmentProgress, Founding, ServerDriver, ServerError, ServerKeys,
};
use crate::enrollment::NewCode;
use crate::enrollment::server::{Confirm, CreateCode, Operator, Revoke};
use crate::fingerprint::Fingerprint;
use crate::handshake::agent::Online;
use crate::id::{AgentId, OrgId};
use crate::keys::{CommandSecretKey, RootSecretKey};
use crate::name::Name;
use crate::policy::Policy;
use crate::store::{
    Actor, AgentStore, MemoryAgentStore, MemoryKeyStore, MemoryServerStore, Query, ServerStore,
};
use crate::time::Clock;

/// A server and its operator, in memory, on virtual time.
#[derive(Debug)]
pub struct ServerPeer {
    /// The server.
    pub driver: ServerDriver,
    /// What it keeps.
    pub store: Arc<dyn ServerStore>,
    /// Where it crashes.
    pub crash: Arc<CrashAt>,
    /// The operator of its one organization.
    pub operator: Operator,
}

/// An agent in memory.
#[derive(Debug)]
pub struct AgentPeer {
    /// The agent.
    pub driver: AgentDriver,
    /// What it keeps.
    pub store: Arc<MemoryAgentStore>,
    /// Its keys.
    pub keys: Arc<MemoryKeyStore>,
    /// Where it crashes.
    pub crash: Arc<CrashAt>,
    /// Its way to the server.
    pub link: Arc<FaultyLink>,
}

/// Two peers and the time between them: everything that happens follows from the seed and the
/// calls made.
#[derive(Debug)]
pub struct World {
    /// The one clock of all peers.
    pub clock: Arc<VirtualClock>,
    /// The server.
    pub server: ServerPeer,
    seed: u64,
}

impl World {
    /// A world with an organization "Acme" on a store in memory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        super::block_on(Self::with_store(seed, Arc::new(MemoryServerStore::new())))
    }

    /// A world with an organization "Acme" on a store of your own, which must be empty.
    ///
    /// # Cancel safety
    /// Dropped, the organization is stored or not. The future is `Send`; it panics if the store fails.
    pub async fn with_store(seed: u64, store: Arc<dyn ServerStore>) -> Self {
        let clock = Arc::new(VirtualClock::default());
        let random = Arc::new(SeededRandom::new(seed));
        let crash = Arc::new(CrashAt::new());
        let keys = ServerKeys::managed(
            Arc::new(RootSecretKey::generate(random.as_ref()).unwrap()),
            Arc::new(CommandSecretKey::generate(random.as_ref()).unwrap()),
        );
        let driver = ServerDriver::new(store.clone(), clock.clone(), random, keys, Policy::default())
            .with_probe(crash.clone());
        let org_id = OrgId::new(i64::try_from(seed % 1_000_000).unwrap_or(0).saturating_add(1)).unwrap();
        let name = Name::new("Acme").unwrap();
        let founding = Founding { org_id, name, recovery: None, actor: Actor::System };
        let step = driver.found_organization(founding).await.unwrap();
        store.commit(step.change().clone()).await.unwrap();
        let operator = Operator { org_id, actor: Actor::System };
        Self { clock, server: ServerPeer { driver, store, crash, operator }, seed }
    }

    /// An agent whose link leads to this world's server. `number` tells agents apart.
    #[must_use]
    pub fn agent(&self, number: u64) -> AgentPeer {
        let random = SeededRandom::new(self.seed.wrapping_mul(1000).wrapping_add(number).wrapping_add(1));
        let store = Arc::new(MemoryAgentStore::new());
        let keys = Arc::new(MemoryKeyStore::new());
        let crash = Arc::new(CrashAt::new());
        let link = Arc::new(FaultyLink::new(self.server.driver.clone(), self.clock.clone()));
        let driver =
            AgentDriver::new(store.clone(), keys.clone(), link.clone(), self.clock.clone(), Arc::new(random))
                .with_probe(crash.clone());
        AgentPeer { driver, store, keys, crash, link }
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

impl ServerPeer {
    /// The operator makes a code.
    ///
    /// # Cancel safety
    /// As [`ServerDriver::create_code`]. The future is `Send`; it panics if the server refuses.
    pub async fn create_code(&self) -> NewCode {
        self.driver.create_code(CreateCode::default(), &self.operator).await.unwrap()
    }

    /// The operator types what the agent shows.
    ///
    /// # Errors
    /// [`ServerError`] as the server refuses.
    ///
    /// # Cancel safety
    /// As [`ServerDriver::confirm`]. The future is `Send`; it does not panic.
    pub async fn confirm(
        &self,
        code: &NewCode,
        agent_id: AgentId,
        fingerprint: Fingerprint,
    ) -> Result<ApiKey, ServerError> {
        let confirm = Confirm {
            operator: self.operator.clone(),
            agent_id,
            enrollment_id: code.enrollment_id,
            fingerprint,
            certificate: None,
        };
        self.driver.confirm(confirm).await
    }

    /// The operator revokes an agent.
    ///
    /// # Errors
    /// [`ServerError`] as the server refuses.
    ///
    /// # Cancel safety
    /// As [`ServerDriver::revoke`]. The future is `Send`; it does not panic.
    pub async fn revoke(&self, agent_id: AgentId) -> Result<(), ServerError> {
        self.driver.revoke(Revoke { operator: self.operator.clone(), agent_id }).await
    }

    /// The agent that registered with a code.
    ///
    /// # Cancel safety
    /// It only reads. The future is `Send`; it panics if the store fails.
    pub async fn agent_of(&self, code: &NewCode) -> Option<AgentId> {
        let found = self.store.load(Query::Enrollment(code.enrollment_id)).await.unwrap();
        found.and_then(|snapshot| snapshot.enrollment).and_then(|e| e.record.agent_id)
    }
}

impl AgentPeer {
    /// Enrolls to the end as a person would: runs the agent, confirms what it shows, and starts it
    /// again whenever it crashed, a call was lost, or it was told to come back later.
    ///
    /// # Errors
    /// [`AgentError`] when the agent stops for good.
    ///
    /// # Cancel safety
    /// Dropped, the agent is as after a crash, and calling again goes on. The future is `Send`; it panics if
    /// the world does what no test expects.
    pub async fn enroll(&self, world: &World, name: &str, code: &NewCode) -> Result<Online, AgentError> {
        let mut last = None;
        for _ in 0..64 {
            world.advance(Duration::from_secs(2));
            match catch_crash(self.enroll_once(world, name, code)).await {
                Ok(Ok(online)) => return Ok(online),
                Ok(Err(error)) if is_final(&error) => return Err(error),
                Ok(Err(error)) => last = Some(error),
                Err(Crashed(_)) => {}
            }
        }
        Err(last.expect("an agent that crashes 64 times"))
    }

    async fn enroll_once(&self, world: &World, name: &str, code: &NewCode) -> Result<Online, AgentError> {
        let held = self.store.load().await?.map(|held| held.record);
        if held.is_none_or(|state| state.api_key.is_none()) {
            let text = code.code.as_ref().map(EnrollmentCode::expose).unwrap_or_default();
            let code_text = EnrollmentCode::parse(text).unwrap();
            let name = Name::new(name).unwrap();
            let mut enrolling = self.driver.enroll(code_text, "https://fleet.example", name).await?;
            let mut progress = enrolling.poll().await?;
            loop {
                match progress {
                    EnrollmentProgress::AskToJoin { .. } => progress = enrolling.join().await?,
                    EnrollmentProgress::Waiting => {
                        let agent_id = world.server.agent_of(code).await.unwrap();
                        let fingerprint = *enrolling.fingerprint();
                        // A server that crashed in the middle is asked again.
                        let _ = catch_crash(world.server.confirm(code, agent_id, fingerprint)).await;
                        world.advance(Duration::from_secs(2));
                        progress = enrolling.poll().await?;
                    }
                    EnrollmentProgress::NeedsApiKey => panic!("the first handshake has not been made"),
                    EnrollmentProgress::Enrolled => break,
                }
            }
            world.advance(Duration::from_secs(1));
        }
        let online = self.driver.handshake().await?;
        let token = online.session.token.hash();
        match catch_crash(world.server.driver.authenticate(&token)).await {
            Ok(identity) => assert!(identity.is_ok(), "a new session is refused: {identity:?}"),
            Err(Crashed(_)) => {
                let identity = world.server.driver.authenticate(&token).await;
                assert!(identity.is_ok(), "a new session is refused: {identity:?}");
            }
        }
        assert!(online.server_time.at(world.clock.monotonic()) <= world.clock.now());
        Ok(online)
    }
}

/// Whether asking again cannot help.
fn is_final(error: &AgentError) -> bool {
    use crate::refusal::Code;
    use crate::transport::TransportError;
    match error {
        AgentError::Transport(TransportError::Unreachable(_)) => false,
        AgentError::Transport(TransportError::Refused(refusal)) => match refusal.code {
            Code::ResourceExhausted | Code::Unavailable | Code::Internal => false,
            // A challenge that a crash consumed: the next handshake makes a new one.
            Code::Unauthenticated => false,
            Code::InvalidArgument | Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition => {
                true
            }
        },
        AgentError::Handshake(error) => {
            !matches!(error, crate::handshake::agent::HandshakeError::Stale { .. })
        }
        AgentError::Enroll(_)
        | AgentError::Transport(TransportError::Malformed(_))
        | AgentError::KeysMissing
        | AgentError::Key(_)
        | AgentError::Random(_)
        | AgentError::Signer(_)
        | AgentError::Open(_)
        | AgentError::Store(_)
        | AgentError::Commit(_) => true,
    }
}
