//! An enrolled agent and its server in memory, on tokio's clock, which tests pause.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use fleet_agent::{keeper::Keeper, refusals::CountingTransport};
use fleet_core::{
    code::EnrollmentCode,
    driver::{AgentDriver, Founding, Gate, ServerDriver, ServerKeys},
    enrollment::{
        RegisterRequest, RegisterResponse,
        server::{Confirm, CreateCode, Operator, Revoke},
    },
    future::BoxFuture,
    handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse},
    id::{AgentId, OrgId},
    keys::{CommandSecretKey, RootSecretKey},
    name::Name,
    policy::Policy,
    refusal::Refusal,
    store::{Actor, MemoryAgentStore, MemoryKeyStore, MemoryServerStore, Query, ServerStore},
    testing::SeededRandom,
    time::{Clock, Monotonic, UnixMillis},
    transport::{Transport, TransportError},
};
use tokio::time::{Instant, advance};

/// Both hands follow tokio's clock, which the tests have paused.
#[derive(Debug)]
pub struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(1_767_225_600_000).unwrap().saturating_add(self.0.elapsed())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::new(self.0.elapsed())
    }
}

/// A link that can be cut, and that counts Begins.
#[derive(Debug)]
pub struct Link {
    server: ServerDriver,
    is_cut: AtomicBool,
    begins: AtomicU32,
}

impl Link {
    fn check(&self) -> Result<(), TransportError> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Err(TransportError::Unreachable("cut".into()));
        }
        Ok(())
    }
}

fn refused(error: fleet_core::driver::ServerError) -> TransportError {
    TransportError::Refused(Refusal::from(error))
}

impl Transport for Link {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async {
            self.check()?;
            self.server.register(request).await.map_err(refused)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        self.begins.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            self.check()?;
            self.server.begin(request).await.map_err(refused)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async {
            self.check()?;
            self.server.complete(request).await.map_err(refused)
        })
    }
}

/// A gate that can be shut, and then says when to come back.
#[derive(Debug, Default)]
pub struct Door(Mutex<Option<Duration>>);

impl Gate for Door {
    fn admit(&self, _: AgentId, _: Monotonic) -> Result<(), Duration> {
        self.0.lock().unwrap().map_or(Ok(()), Err)
    }
}

impl Door {
    pub fn shut(&self, wait: Option<Duration>) {
        *self.0.lock().unwrap() = wait;
    }
}

pub struct Bench {
    pub door: Arc<Door>,
    pub server: ServerDriver,
    operator: Operator,
    agent_id: AgentId,
    link: Arc<Link>,
    pub store: Arc<MemoryAgentStore>,
    pub driver: AgentDriver,
    pub transport: Arc<CountingTransport>,
    pub clock: Arc<TokioClock>,
}

impl Bench {
    /// An enrolled agent and its server, in memory.
    pub async fn new() -> Self {
        let clock = Arc::new(TokioClock(Instant::now()));
        let random = Arc::new(SeededRandom::new(1));
        let store = Arc::new(MemoryServerStore::new());
        let keys = ServerKeys::managed(
            Arc::new(RootSecretKey::generate(random.as_ref()).unwrap()),
            Arc::new(CommandSecretKey::generate(random.as_ref()).unwrap()),
        );
        let door = Arc::new(Door::default());
        let server = ServerDriver::new(store.clone(), clock.clone(), random, keys, Policy::default())
            .with_gate(door.clone());
        let org_id = OrgId::new(1).unwrap();
        let founding =
            Founding { org_id, name: Name::new("Acme").unwrap(), recovery: None, actor: Actor::System };
        let step = server.found_organization(founding).await.unwrap();
        store.commit(step.change().clone()).await.unwrap();
        let operator = Operator { org_id, actor: Actor::System };

        let link = Arc::new(Link {
            server: server.clone(),
            is_cut: AtomicBool::new(false),
            begins: AtomicU32::new(0),
        });
        let transport = Arc::new(CountingTransport::new(link.clone(), clock.clone()));
        let store_of_agent = Arc::new(MemoryAgentStore::new());
        let driver = AgentDriver::new(
            store_of_agent.clone(),
            Arc::new(MemoryKeyStore::new()),
            transport.clone(),
            clock.clone(),
            Arc::new(SeededRandom::new(2)),
        );
        let new = server.create_code(CreateCode::default(), &operator).await.unwrap();
        let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
        let mut enrolling =
            driver.enroll(code, "https://fleet.example", Name::new("site-1").unwrap()).await.unwrap();
        enrolling.poll().await.unwrap();
        enrolling.join().await.unwrap();
        let found = store.load(Query::Enrollment(new.enrollment_id)).await.unwrap().unwrap();
        let agent_id = found.enrollment.unwrap().record.agent_id.unwrap();
        let confirm = Confirm {
            operator: operator.clone(),
            agent_id,
            enrollment_id: new.enrollment_id,
            fingerprint: *enrolling.fingerprint(),
            certificate: None,
        };
        server.confirm(confirm).await.unwrap();
        advance(Duration::from_secs(2)).await;
        enrolling.poll().await.unwrap();
        Self { door, server, operator, agent_id, link, store: store_of_agent, driver, transport, clock }
    }

    pub fn keeper(&self) -> Keeper {
        let random = Arc::new(SeededRandom::new(3));
        Keeper::new(self.driver.clone(), self.transport.clone(), self.clock.clone(), random)
    }

    pub fn cut(&self, is_cut: bool) {
        self.link.is_cut.store(is_cut, Ordering::Relaxed);
    }

    pub fn begins(&self) -> u32 {
        self.link.begins.load(Ordering::Relaxed)
    }

    pub async fn revoke(&self) {
        let revoke = Revoke { operator: self.operator.clone(), agent_id: self.agent_id };
        self.server.revoke(revoke).await.unwrap();
    }
}
