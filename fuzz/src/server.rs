//! The server's machines, fed what an attacker sends.
//!
//! There are an agent that is online, one that is registered and not confirmed, and a code that nobody has used. The
//! attacker has the two agents' messages, changes them, sends bytes of its own, and may do all of that while time
//! passes and the operator acts.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_core::code::{EnrollmentCode, SecretHash};
use fleet_core::driver::{AgentDriver, EnrollmentProgress, ServerError};
use fleet_core::enrollment::{NewCode, RegisterRequest, RegisterResponse};
use fleet_core::fingerprint::Fingerprint;
use fleet_core::future::BoxFuture;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::id::AgentId;
use fleet_core::keys::Signature;
use fleet_core::name::Name;
use fleet_core::refusal::Refusal;
use fleet_core::store::{AgentStatus, Query};
use fleet_core::testing::{FaultyLink, SeededRandom, World, block_on};
use fleet_core::time::Clock as _;
use fleet_core::transport::{Transport, TransportError};
use fleet_proto::agentgateway::v1;
use fleet_proto::validate::Validate;
use prost::Message;

use crate::Outcome;
use crate::script::Script;

/// Steps of one script, so that none takes for ever.
const STEPS: usize = 24;

pub(crate) fn run(data: &[u8]) -> Outcome {
    block_on(async {
        let mut site = Site::new().await;
        let mut script = Script::new(data);
        let mut taken = Outcome::Refused;
        for _ in 0..STEPS {
            let Some(step) = site.step(&mut script).await else { break };
            if step == Outcome::Taken {
                taken = Outcome::Taken;
            }
            site.check().await;
        }
        taken
    })
}

/// A message as it stands on the wire, and which it is.
type Wire = (Kind, Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Register,
    Begin,
    Complete,
}

/// A link that keeps the requests.
#[derive(Debug)]
struct Recorder {
    link: Arc<FaultyLink>,
    sent: Arc<Mutex<Vec<Wire>>>,
}

impl Recorder {
    fn keep(&self, kind: Kind, message: &impl Message) {
        self.sent.lock().expect("one thread").push((kind, message.encode_to_vec()));
    }
}

impl Transport for Recorder {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        self.keep(Kind::Register, &v1::RegisterRequest::from(&request));
        self.link.register(request)
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        self.keep(Kind::Begin, &v1::BeginAuthHandshakeRequest::from(&request));
        self.link.begin(request)
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        self.keep(Kind::Complete, &v1::CompleteAuthHandshakeRequest::from(&request));
        self.link.complete(request)
    }
}

struct Site {
    world: World,
    online: AgentDriver,
    online_id: AgentId,
    waiting: (NewCode, AgentId, Fingerprint),
    unused: NewCode,
    /// What the attacker has.
    sent: Arc<Mutex<Vec<Wire>>>,
    /// The last challenge that anybody was given.
    challenge: Option<[u8; 32]>,
    /// Whom the operator confirmed, and as what.
    confirmed: BTreeMap<AgentId, Fingerprint>,
    revoked: Vec<AgentId>,
}

impl Site {
    async fn new() -> Self {
        let world = World::new(1);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut drivers = Vec::new();
        for number in 0..2 {
            let peer = world.agent(number);
            let recorder = Recorder { link: peer.link.clone(), sent: sent.clone() };
            drivers.push(AgentDriver::new(
                peer.store.clone(),
                peer.keys.clone(),
                Arc::new(recorder),
                world.clock.clone(),
                Arc::new(SeededRandom::new(100 + number)),
            ));
        }
        let [online, waiting] = <[AgentDriver; 2]>::try_from(drivers).expect("two");
        let mut confirmed = BTreeMap::new();
        let (code, id, shown) = registered(&world, &online, "online").await;
        world.server.confirm(&code, id, shown).await.expect("the operator confirms what it sees");
        confirmed.insert(id, shown);
        world.advance(Duration::from_secs(2));
        let text = code.code.as_ref().expect("a managed root").expose();
        let parsed = EnrollmentCode::parse(text).expect("a code");
        let name = Name::new("online").expect("a name");
        let mut enrolling = online.enroll(parsed, "https://fleet.example", name).await.expect("goes on");
        assert_eq!(enrolling.poll().await.expect("confirmed"), EnrollmentProgress::Enrolled);
        online.handshake().await.expect("the first session");
        let waiting = registered(&world, &waiting, "waiting").await;
        let unused = world.server.create_code().await;
        world.advance(Duration::from_secs(2));
        Self {
            world,
            online,
            online_id: id,
            waiting,
            unused,
            sent,
            challenge: None,
            confirmed,
            revoked: Vec::new(),
        }
    }

    /// `None` at the end of the script.
    async fn step(&mut self, script: &mut Script<'_>) -> Option<Outcome> {
        match script.byte()? {
            0 => {
                let nth = usize::from(script.byte()?);
                let (kind, wire) = {
                    let sent = self.sent.lock().expect("one thread");
                    sent.get(nth % sent.len())?.clone()
                };
                let wire = script.changed(&wire)?;
                Some(self.send(kind, &wire).await)
            }
            1 => {
                let kind = match script.byte()? % 3 {
                    0 => Kind::Register,
                    1 => Kind::Begin,
                    _ => Kind::Complete,
                };
                Some(self.send(kind, script.lengthy()?).await)
            }
            2 => {
                // Up to 255 s, or as many of some larger unit.
                let (unit, count) = (script.byte()?, u64::from(script.byte()?));
                let seconds = [1, 60, 3600, 86_400][usize::from(unit) % 4] * count;
                self.world.advance(Duration::from_secs(seconds));
                Some(Outcome::Refused)
            }
            3 => Some(self.operate(script.byte()?).await),
            4 => {
                let online = self.online.handshake().await;
                let token = online.as_ref().ok().map(|online| online.session.token.hash());
                if let Some(token) = token {
                    let caller = self.world.server.driver.authenticate(&token).await.expect("a new session");
                    assert_eq!(caller.agent_id, self.online_id);
                }
                Some(Outcome::Refused)
            }
            // The challenge that is open, and a signature that is one byte 64 times.
            5 => {
                let challenge = self.challenge?;
                let signature = Signature::from_bytes([script.byte()?; 64]);
                let request = CompleteRequest { challenge, signature };
                let wire = v1::CompleteAuthHandshakeRequest::from(&request).encode_to_vec();
                Some(self.send(Kind::Complete, &wire).await)
            }
            // The code that nobody used, with somebody's keys and proofs.
            6 => {
                let nth = usize::from(script.byte()?);
                let sent = self.sent.lock().expect("one thread").clone();
                let registers: Vec<_> = sent.iter().filter(|(kind, _)| *kind == Kind::Register).collect();
                let (_, wire) = registers.get(nth % registers.len())?;
                let mut message = v1::RegisterRequest::decode(wire.as_slice()).expect("it was sent");
                message.enrollment_token = self.unused.code.as_ref()?.expose().to_owned();
                message.identity_proof = vec![script.byte()?; 64].into();
                message.miner_signing_proof = vec![script.byte()?; 64].into();
                let wire = script.changed(&message.encode_to_vec())?;
                Some(self.send(Kind::Register, &wire).await)
            }
            _ => {
                let token: [u8; 32] = script.lengthy()?.try_into().unwrap_or([0; 32]);
                let found = self.world.server.driver.authenticate(&SecretHash::from_bytes(token)).await;
                refused(found.map(|_| ()));
                Some(Outcome::Refused)
            }
        }
    }

    /// What the service does with a call.
    async fn send(&mut self, kind: Kind, wire: &[u8]) -> Outcome {
        let server = &self.world.server.driver;
        match kind {
            Kind::Register => {
                let Some(request) = accepted::<v1::RegisterRequest, RegisterRequest>(wire) else {
                    return Outcome::Refused;
                };
                let answer = server.register(request).await;
                answered::<v1::RegisterResponse, _>(answer.as_ref().ok());
                refused(answer.map(|_| ()))
            }
            Kind::Begin => {
                let Some(request) = accepted::<v1::BeginAuthHandshakeRequest, BeginRequest>(wire) else {
                    return Outcome::Refused;
                };
                let answer = server.begin(request).await;
                answered::<v1::BeginAuthHandshakeResponse, _>(answer.as_ref().ok());
                self.challenge = answer.as_ref().map_or(self.challenge, |answer| Some(answer.challenge));
                refused(answer.map(|_| ()))
            }
            Kind::Complete => {
                let Some(request) = accepted::<v1::CompleteAuthHandshakeRequest, CompleteRequest>(wire)
                else {
                    return Outcome::Refused;
                };
                let again = request.clone();
                let answer = server.complete(request).await;
                answered::<v1::CompleteAuthHandshakeResponse, _>(answer.as_ref().ok());
                let second = server.complete(again).await;
                assert!(second.is_err(), "a challenge works once");
                refused(answer.map(|_| ()))
            }
        }
    }

    async fn operate(&mut self, what: u8) -> Outcome {
        let (code, id, shown) = &self.waiting;
        let server = &self.world.server;
        match what % 6 {
            0 => {
                if server.confirm(code, *id, *shown).await.is_ok() {
                    self.confirmed.insert(*id, *shown);
                }
            }
            1 => {
                let other = self.confirmed[&self.online_id];
                assert!(server.confirm(code, *id, other).await.is_err(), "a wrong fingerprint");
            }
            2 => {
                if server.revoke(self.online_id).await.is_ok() {
                    self.revoked.push(self.online_id);
                }
            }
            3 => {
                if server.revoke(*id).await.is_ok() {
                    self.revoked.push(*id);
                }
            }
            4 => drop(server.driver.cancel(code.enrollment_id, &server.operator).await),
            _ => drop(server.driver.sweep(8).await),
        }
        Outcome::Refused
    }

    /// What holds whatever was sent.
    async fn check(&self) {
        let store = &self.world.server.store;
        let now = self.world.clock.now();
        let mut ids = vec![self.online_id, self.waiting.1];
        ids.extend(self.world.server.agent_of(&self.unused).await);
        for id in ids {
            let Some(found) = store.load(Query::Agent(id)).await.expect("memory") else { continue };
            let agent = found.agent.expect("asked for").record;
            let confirmed = self.confirmed.get(&id);
            assert!(found.sessions.len() <= 2, "two sessions at most");
            match agent.status {
                AgentStatus::Confirmed => {
                    assert_eq!(confirmed, Some(&agent.keys.fingerprint()), "nobody confirmed these keys");
                }
                AgentStatus::Pending | AgentStatus::Revoked | AgentStatus::Discarded => {
                    assert!(found.sessions.is_empty(), "a session of an agent that is not confirmed");
                }
            }
            assert!(!self.revoked.contains(&id) || agent.status == AgentStatus::Revoked);
            for session in found.sessions {
                assert_eq!(session.identity, *agent.keys.identity(), "a session of other keys");
                let caller = self.world.server.driver.authenticate(&session.token).await;
                assert_eq!(caller.is_ok(), session.expires_at > now, "{caller:?}");
            }
        }
    }
}

async fn registered(world: &World, agent: &AgentDriver, name: &str) -> (NewCode, AgentId, Fingerprint) {
    let new = world.server.create_code().await;
    let code = EnrollmentCode::parse(new.code.as_ref().expect("a managed root").expose()).expect("a code");
    let name = Name::new(name).expect("a name");
    let mut enrolling = agent.enroll(code, "https://fleet.example", name).await.expect("keys and state");
    assert!(matches!(enrolling.poll().await, Ok(EnrollmentProgress::AskToJoin { .. })));
    assert_eq!(enrolling.join().await.expect("joins"), EnrollmentProgress::Waiting);
    let id = world.server.agent_of(&new).await.expect("registered");
    (new, id, *enrolling.fingerprint())
}

/// A request that decodes, keeps the rules and is one of the domain.
fn accepted<M, D>(wire: &[u8]) -> Option<D>
where
    M: Message + Default + Validate,
    D: TryFrom<M>,
{
    let message = M::decode(wire).ok()?;
    message.validate().ok()?;
    D::try_from(message).ok()
}

/// An answer keeps the rules of its message.
fn answered<M, D>(answer: Option<&D>)
where
    M: Validate + for<'a> From<&'a D>,
{
    if let Some(answer) = answer {
        M::from(answer).validate().expect("an answer keeps the rules");
    }
}

/// A refusal says one of few things.
fn refused(outcome: Result<(), ServerError>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::Taken,
        Err(error) => {
            let refusal = Refusal::from(error);
            assert!(!refusal.to_string().is_empty());
            Outcome::Refused
        }
    }
}
