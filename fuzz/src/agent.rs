//! The agent's machines and its handling of answers, fed what an attacker answers.
//!
//! An agent enrolls and makes sessions, and for each of its calls the script says what comes back: the server's own
//! answer, that answer changed, an earlier one, bytes of the attacker's, a refusal, or nothing.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, EnrollmentProgress};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::manifest::SignedManifest;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{AgentState, AgentStore as _, Query};
use fleet_core::testing::{AgentPeer, FaultyLink, SeededRandom, World, block_on};
use fleet_core::time::Clock as _;
use fleet_core::transport::{Transport, TransportError};
use fleet_proto::agentgateway::v1;
use fleet_proto::validate::Validate;
use prost::Message;

use crate::Outcome;
use crate::script::Script;

/// Calls that an agent makes of one kind before the harness gives up.
const CALLS: usize = 6;
const CODES: [Code; 8] = [
    Code::InvalidArgument,
    Code::Unauthenticated,
    Code::PermissionDenied,
    Code::NotFound,
    Code::FailedPrecondition,
    Code::ResourceExhausted,
    Code::Unavailable,
    Code::Internal,
];

pub(crate) fn run(data: &[u8]) -> Outcome {
    block_on(enroll_and_handshake(data))
}

async fn enroll_and_handshake(data: &[u8]) -> Outcome {
    let world = World::new(1);
    let peer = world.agent(0);
    let answers = Arc::new(Answers {
        link: peer.link.clone(),
        script: Mutex::new(data.to_vec()),
        earlier: Mutex::default(),
        world_clock: world.clock.clone(),
    });
    let driver = AgentDriver::new(
        peer.store.clone(),
        peer.keys.clone(),
        answers,
        world.clock.clone(),
        Arc::new(SeededRandom::new(100)),
    );
    let new = world.server.create_code().await;
    let genuine = world.server.store.load(Query::Organization(world.server.operator.org_id)).await;
    let genuine = genuine.expect("memory").expect("founded").organization.record.manifest;
    let text = new.code.as_ref().expect("a managed root").expose();
    let mut last = None;
    // An enrollment that fails for good is taken up again by the same code, as a person would.
    for _ in 0..2 {
        let code = EnrollmentCode::parse(text).expect("a code");
        let name = Name::new("site-1").expect("a name");
        let Ok(mut enrolling) = driver.enroll(code, "https://fleet.example", name).await else { break };
        for _ in 0..CALLS {
            let progress = enrolling.poll().await;
            last = state(&peer, &genuine, last).await;
            match progress {
                Ok(EnrollmentProgress::AskToJoin { .. }) => drop(enrolling.join().await),
                Ok(EnrollmentProgress::Waiting) => {
                    if let Some(id) = world.server.agent_of(&new).await {
                        drop(world.server.confirm(&new, id, *enrolling.fingerprint()).await);
                    }
                }
                Ok(EnrollmentProgress::NeedsApiKey | EnrollmentProgress::Enrolled) => break,
                Err(_) => {}
            }
            world.advance(Duration::from_secs(2));
        }
    }
    let mut outcome = Outcome::Refused;
    for _ in 0..CALLS {
        if let Ok(online) = driver.handshake().await {
            let now = online.server_time.at(world.clock.monotonic());
            assert!(online.session.expires_at > now, "a session that is over");
            assert!(online.session.expires_at <= now.saturating_add(Policy::MAX_SESSION_TTL));
            assert!(online.renew_at <= online.session.expires_at);
            outcome = Outcome::Taken;
        }
        last = state(&peer, &genuine, last).await;
        world.advance(Duration::from_secs(2));
    }
    outcome
}

/// What the agent keeps, which follows from what it kept before whatever was answered.
async fn state(peer: &AgentPeer, genuine: &SignedManifest, before: Option<AgentState>) -> Option<AgentState> {
    let state = peer.store.load().await.expect("memory")?.record;
    let epoch = |state: &AgentState| state.manifest.as_ref().map_or(0, |held| held.manifest().epoch);
    if let Some(held) = &state.manifest {
        let (held, genuine) = (held.manifest(), genuine.manifest());
        // What the code pins is what it pins, whoever can make signatures.
        assert_eq!((held.org_id, &held.root), (genuine.org_id, &genuine.root));
    }
    if let Some(before) = &before {
        assert_eq!(state.keys, before.keys, "keys are reused with the same code");
        assert!(epoch(&state) >= epoch(before), "an older manifest");
        assert!(before.agent_id.is_none() || state.agent_id == before.agent_id);
        assert!(!before.joined || state.joined);
        assert!(before.api_key.is_none() || state.api_key.is_some());
    }
    Some(state)
}

/// The answers that the script says. After its end they are the server's own.
#[derive(Debug)]
struct Answers {
    link: Arc<FaultyLink>,
    script: Mutex<Vec<u8>>,
    earlier: Mutex<[Vec<Vec<u8>>; 3]>,
    world_clock: Arc<fleet_core::testing::VirtualClock>,
}

impl Answers {
    /// What becomes of an answer to a call of the `nth` kind.
    fn answer<M, D>(&self, nth: usize, genuine: Result<D, TransportError>) -> Result<D, TransportError>
    where
        M: Message + Default + Validate + for<'a> From<&'a D>,
        D: TryFrom<M, Error: std::error::Error + Send + Sync + 'static>,
    {
        let wire = genuine.as_ref().ok().map(|answer| M::from(answer).encode_to_vec());
        let mut rest = self.script.lock().expect("one thread");
        let script = rest.clone();
        let mut script = Script::new(&script);
        let mut earlier = self.earlier.lock().expect("one thread");
        let earlier = earlier.get_mut(nth).expect("three kinds");
        earlier.extend(wire.clone());
        let said = match script.byte() {
            None | Some(0) => None,
            Some(1) => wire.as_deref().and_then(|wire| script.changed(wire)).map(Ok),
            Some(2) => script.lengthy().map(|bytes| Ok(bytes.to_vec())),
            Some(3) => {
                let code = CODES[usize::from(script.byte().unwrap_or(0)) % CODES.len()];
                let retry_after = script.byte().map(|seconds| Duration::from_secs(u64::from(seconds)));
                let message = "as the script says".to_owned();
                Some(Err(TransportError::Refused(Refusal { code, message, retry_after })))
            }
            Some(4) => Some(Err(TransportError::Unreachable("lost".into()))),
            Some(5) => {
                let nth = usize::from(script.byte().unwrap_or(0));
                let old = earlier.len().checked_sub(1).and_then(|last| earlier.get(nth.min(last))).cloned();
                old.and_then(|old| script.changed(&old)).map(Ok)
            }
            // An answer that takes its time.
            Some(_) => {
                let seconds = u64::from(script.byte().unwrap_or(0));
                self.world_clock.advance(Duration::from_secs(seconds));
                None
            }
        };
        *rest = script.rest().to_vec();
        match said {
            None => genuine,
            Some(Err(error)) => Err(error),
            Some(Ok(bytes)) => read::<M, D>(&bytes).map_err(TransportError::Malformed),
        }
    }
}

/// What every client of `fleet-proto` does with an answer.
fn read<M, D>(bytes: &[u8]) -> Result<D, Box<dyn std::error::Error + Send + Sync>>
where
    M: Message + Default + Validate,
    D: TryFrom<M, Error: std::error::Error + Send + Sync + 'static>,
{
    let message = M::decode(bytes)?;
    message.validate()?;
    Ok(D::try_from(message)?)
}

impl Transport for Answers {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async {
            let genuine = self.link.register(request).await;
            self.answer::<v1::RegisterResponse, _>(0, genuine)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async {
            let genuine = self.link.begin(request).await;
            self.answer::<v1::BeginAuthHandshakeResponse, _>(1, genuine)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async {
            let genuine = self.link.complete(request).await;
            self.answer::<v1::CompleteAuthHandshakeResponse, _>(2, genuine)
        })
    }
}
