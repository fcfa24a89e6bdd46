//! The peers of a simulation, and what reaches them.

use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::agent::Agent;
use super::event::{Event, What};
use super::meter::Meter;
use super::wire::Message;
use super::{Body, Call, Parts, Peer, Reply, Secrets, Service, StoreDump};
use crate::code::{ApiKey, SecretHash};
use crate::driver::{Founding, Point, RootError, RootKeys, ServerDriver, ServerError, ServerKeys};
use crate::enrollment::NewCode;
use crate::enrollment::server::{ConfirmError, Operator, reissue};
use crate::future::{BoxFuture, ready};
use crate::id::{EnrollmentId, OrgId, UserId};
use crate::keys::{CommandSecretKey, RootPublicKey, RootSecretKey, Signer};
use crate::name::Name;
use crate::policy::Policy;
use crate::refusal::{Code, Refusal};
use crate::store::{Actor, Query, ServerStore as _};
use crate::testing::{CrashAt, Crashed, SeededRandom, VirtualClock, block_on, catch_crash};
use crate::time::{Clock as _, UnixMillis};

/// How many organizations there are.
pub(super) const ORGS: usize = 2;
/// How many agents there are.
pub(super) const AGENTS: usize = 2;

/// Two organizations on one server, two agents, the network between them, and an attacker on it.
///
/// The server and each agent have clocks of their own. Every message that was ever sent is kept, and delivered when
/// [`Simulation::apply`] is told so. A call of the server can be stopped before any operation of its store, so that
/// calls run into each other.
pub struct Simulation<'a> {
    parts: &'a dyn Parts,
    pub(super) meter: Arc<Meter>,
    service: Arc<dyn Service>,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) crash: Arc<CrashAt>,
    random: Arc<SeededRandom>,
    keys: ServerKeys,
    pub(super) orgs: Vec<Org>,
    pub(super) agents: Vec<Agent>,
    pub(super) messages: Vec<Message>,
    /// The attacker's own randomness.
    pub(super) attacker: SeededRandom,
    /// Calls that are stopped, oldest first.
    pub(super) calls: Vec<Running>,
    next_call: usize,
    /// Codes that operators made, oldest first.
    pub(super) codes: Vec<IssuedCode>,
    /// What operators were shown at confirmations.
    pub(super) pasted: BTreeMap<EnrollmentId, ApiKey>,
    /// Sessions that were made and told to somebody, oldest first.
    pub(super) tokens: Vec<SecretHash>,
    secrets: Secrets,
    events: VecDeque<Event>,
}

impl core::fmt::Debug for Simulation<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Simulation").field("messages", &self.messages.len()).finish_non_exhaustive()
    }
}

/// An organization.
#[derive(Debug)]
pub(super) struct Org {
    pub(super) operator: Operator,
    pub(super) root: RootPublicKey,
}

/// A code as its operator holds it.
#[derive(Debug)]
pub(super) struct IssuedCode {
    pub(super) org: OrgId,
    pub(super) new: NewCode,
    /// Whether it was carried to an agent.
    pub(super) is_given: bool,
}

type Served = Result<Result<Reply, ServerError>, Crashed>;

/// A call under way.
pub(super) struct Running {
    id: usize,
    call: Call,
    /// The request that made it.
    pub(super) request: Option<usize>,
    was_stopped: bool,
    future: BoxFuture<'static, Served>,
}

#[derive(Debug)]
struct Roots(BTreeMap<OrgId, Arc<dyn Signer>>);

impl RootKeys for Roots {
    fn root(&self, org: OrgId) -> BoxFuture<'_, Result<Option<Arc<dyn Signer>>, RootError>> {
        ready(Ok(self.0.get(&org).cloned()))
    }
}

impl<'a> Simulation<'a> {
    /// The world of a seed, made of these parts.
    #[must_use]
    pub fn new(seed: u64, parts: &'a dyn Parts) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let clock = Arc::new(VirtualClock::default());
        let crash = Arc::new(CrashAt::new());
        let mut secrets = Secrets::new();
        let command = CommandSecretKey::generate(random.as_ref()).unwrap();
        secrets.add_bytes("the command key", &command.danger_seed());
        let mut roots: BTreeMap<_, Arc<dyn Signer>> = BTreeMap::new();
        let mut orgs = Vec::new();
        for id in (1..).take(ORGS) {
            let org_id = OrgId::new(id).unwrap();
            let root = RootSecretKey::generate(random.as_ref()).unwrap();
            secrets.add_bytes("a root key", &root.danger_seed());
            let operator = Operator { org_id, actor: Actor::User(UserId::new(id).unwrap()) };
            orgs.push(Org { operator, root: root.public() });
            roots.insert(org_id, Arc::new(root));
        }
        let keys = ServerKeys { roots: Arc::new(Roots(roots)), command: Arc::new(command) };
        let meter = Arc::new(Meter::new(parts.server_store()));
        let driver =
            ServerDriver::new(meter.clone(), clock.clone(), random.clone(), keys.clone(), Policy::default());
        for org in &orgs {
            let org_id = org.operator.org_id;
            let name = Name::new(format!("Organization {org_id}")).unwrap();
            let founding = Founding { org_id, name, recovery: None, actor: org.operator.actor.clone() };
            let step = block_on(driver.found_organization(founding)).unwrap();
            block_on(meter.commit(step.change().clone())).unwrap();
        }
        meter.take_writes();
        let agents = (1u64..).take(AGENTS).map(|number| Agent::new(seed, number, parts)).collect();
        let mut new = Self {
            parts,
            service: Arc::new(driver),
            meter,
            clock,
            crash,
            random,
            keys,
            orgs,
            agents,
            messages: Vec::new(),
            attacker: SeededRandom::new(!seed),
            calls: Vec::new(),
            next_call: 0,
            codes: Vec::new(),
            pasted: BTreeMap::new(),
            tokens: Vec::new(),
            secrets,
            events: VecDeque::new(),
        };
        new.start_server();
        new
    }

    /// What happened since this was last called, oldest first.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Everything secret that came up so far.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The organizations, each with its root.
    pub fn organizations(&self) -> impl Iterator<Item = (OrgId, RootPublicKey)> + '_ {
        self.orgs.iter().map(|org| (org.operator.org_id, org.root))
    }

    /// The server's wall clock.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// What the server's store holds.
    #[must_use]
    pub fn store(&self) -> Arc<StoreDump> {
        self.meter.dump()
    }

    pub(super) fn saw(&mut self, what: What) {
        let event = Event { what, now: self.clock.now(), store: self.meter.dump() };
        self.events.push_back(event);
    }

    pub(super) const fn parts(&self) -> &'a dyn Parts {
        self.parts
    }

    pub(super) const fn secrets_mut(&mut self) -> &mut Secrets {
        &mut self.secrets
    }

    /// Time passes for everybody.
    pub(super) fn pass(&self, by: Duration) {
        self.clock.advance(by);
        self.agents.iter().for_each(|agent| agent.clock.advance(by));
    }

    /// Somebody sets a wall clock.
    pub(super) fn jump(&self, peer: Peer, seconds: i32) {
        let clock = match peer {
            Peer::Server => &self.clock,
            Peer::Agent(agent) => &self.agents[usize::from(agent) % AGENTS].clock,
        };
        let by = Duration::from_secs(seconds.unsigned_abs().into());
        let now = clock.now();
        clock.set_wall(if seconds < 0 { now.saturating_sub(by) } else { now.saturating_add(by) });
    }

    /// The operator of an organization issues its manifest anew. That is between the operator's tool and the store: no
    /// call of the server does it.
    pub(super) fn reissue(&mut self, org: usize) {
        let operator = self.operator(org);
        let org = operator.org_id;
        let (meter, roots, now) = (self.meter.clone(), self.keys.roots.clone(), self.clock.now());
        block_on(async {
            let found = meter.load(Query::Organization(org)).await.unwrap();
            let needs = reissue(operator, found, now).unwrap();
            let root = roots.root(org).await.unwrap().unwrap();
            let signature = root.sign(needs.to_sign().as_bytes()).await.unwrap();
            meter.commit(needs.signed(signature, now).unwrap().change().clone()).await.unwrap();
        });
        self.meter.take_writes();
        self.saw(What::Reissued { org });
    }

    fn start_server(&mut self) {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let driver =
            ServerDriver::new(self.meter.clone(), clock, random, self.keys.clone(), Policy::default())
                .with_probe(self.crash.clone());
        self.service = self.parts.service(driver, self.meter.clone());
    }

    /// The server crashes: calls under way are lost, and it starts again from its store.
    pub(super) fn crash_server(&mut self, at: Option<Point>) {
        for Running { id, call, .. } in core::mem::take(&mut self.calls) {
            self.saw(What::Lost { id, call });
        }
        self.meter.crashed();
        self.start_server();
        self.saw(What::ServerCrashed { at });
    }

    /// Somebody calls the server. The call runs to its end, or stops before an operation of the store.
    pub(super) fn call(&mut self, call: Call, request: Option<usize>, pause: Option<u8>) {
        let id = self.next_call;
        self.next_call += 1;
        self.saw(What::Called { id, call: call.clone() });
        let future = Box::pin(catch_crash(self.service.serve(call.clone())));
        self.run(Running { id, call, request, was_stopped: false, future }, pause);
    }

    /// A stopped call goes on.
    pub(super) fn resume(&mut self, at: usize, pause: Option<u8>) {
        let running = self.calls.remove(at);
        self.run(running, pause);
    }

    fn run(&mut self, mut running: Running, pause: Option<u8>) {
        self.meter.allow(pause);
        let outcome = running.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.meter.allow(None);
        let Running { id, was_stopped, .. } = running;
        let call = running.call.clone();
        for write in self.meter.take_writes() {
            let store = Arc::clone(&write.after);
            let what = What::Wrote { id, call: call.clone(), write, was_stopped };
            self.events.push_back(Event { what, now: self.clock.now(), store });
        }
        match outcome {
            Poll::Pending => {
                self.saw(What::Stopped { id, call });
                self.calls.push(Running { was_stopped: true, ..running });
            }
            Poll::Ready(Err(Crashed(point))) => {
                self.saw(What::Lost { id, call });
                self.crash_server(Some(point));
            }
            Poll::Ready(Ok(result)) => self.answer(running, result),
        }
    }

    fn answer(&mut self, running: Running, result: Result<Reply, ServerError>) {
        let Running { id, call, request, was_stopped, .. } = running;
        match (&call, &result) {
            (Call::CreateCode(operator), Ok(Reply::Code(new))) => {
                self.secrets.add_code(new.code.as_ref().expect("the roots are managed"));
                let org = operator.org_id;
                self.codes.push(IssuedCode { org, new: new.clone(), is_given: false });
            }
            (Call::Confirm(confirm), Ok(Reply::Confirmed(api_key))) => {
                self.secrets.add_api_key(api_key);
                self.pasted.insert(confirm.enrollment_id, api_key.clone());
            }
            (Call::Confirm(confirm), Err(ServerError::Confirm(error))) => {
                // Whoever stands before the agent knows now that somebody else used its code, or that it is too late.
                if matches!(error, ConfirmError::WrongFingerprint | ConfirmError::Expired) {
                    let id = confirm.enrollment_id;
                    let code = self.codes.iter().find(|code| code.new.enrollment_id == id);
                    let (code, shown) = (code.and_then(IssuedCode::hash), Some(confirm.fingerprint));
                    let is_it = |agent: &&mut Agent| agent.code == code && agent.fingerprint() == shown;
                    self.agents.iter_mut().filter(is_it).for_each(Agent::is_turned_away);
                }
            }
            (Call::Complete(_), Ok(Reply::Completed(reply))) => {
                self.secrets.add_session(&reply.token);
                self.tokens.push(reply.token.hash());
            }
            (Call::Authenticate(token) | Call::TakeOver(token), result) => {
                self.called(*token, result.as_ref().map(drop));
            }
            _ => {}
        }
        if let Some(request) = request
            && let Some(body) = reply(&call, &result)
        {
            let agent = self.messages[request].agent;
            let answers = Some(request);
            self.messages.push(Message { agent, answers, is_forged: false, delivered: 0, body });
        }
        self.saw(What::Answered { id, call, result, was_stopped });
    }

    /// Delivers a message: to the server, or to `to`, or to the agent that it was made for.
    pub(super) fn deliver(&mut self, at: usize, to: Option<usize>, pause: Option<u8>) {
        let message = &mut self.messages[at];
        message.delivered += 1;
        let Message { agent, is_forged, delivered: times, body, .. } = message.clone();
        let agent = to.or(agent);
        self.saw(What::Delivered { message: at, kind: body.kind(), agent, is_forged, times });
        let call = match body {
            Body::Register(request) => Call::Register(request),
            Body::Begin(request) => Call::Begin(request),
            Body::Complete(request) => Call::Complete(request),
            Body::Registered(_) | Body::Begun(_) | Body::Completed(_) => {
                if let Some(agent) = agent {
                    self.receive(agent, body);
                }
                return;
            }
        };
        self.call(call, Some(at), pause);
    }

    /// Sends a message in an attacker's name, and delivers it.
    pub(super) fn inject(&mut self, body: Body, agent: Option<usize>) {
        self.messages.push(Message { agent: None, answers: None, is_forged: true, delivered: 0, body });
        self.deliver(self.messages.len() - 1, agent, None);
    }
}

impl IssuedCode {
    pub(super) fn hash(&self) -> Option<SecretHash> {
        self.new.code.as_ref().map(crate::code::EnrollmentCode::hash)
    }
}

/// The message that carries an answer; `None` for a call that comes by no message.
fn reply(call: &Call, result: &Result<Reply, ServerError>) -> Option<Body> {
    // The errors of the three calls are data; what else there is comes from the backend.
    let refusal = |error: &ServerError| match error {
        ServerError::Register(error) => Refusal::from(*error),
        ServerError::Auth(error) => Refusal::from(*error),
        error => Refusal::new(Code::Unavailable, error),
    };
    Some(match (call, result) {
        (_, Ok(Reply::Registered(reply))) => Body::Registered(Ok(reply.clone())),
        (_, Ok(Reply::Begun(reply))) => Body::Begun(Ok(reply.clone())),
        (_, Ok(Reply::Completed(reply))) => Body::Completed(Ok(reply.clone())),
        (Call::Register(_), Err(error)) => Body::Registered(Err(refusal(error))),
        (Call::Begin(_), Err(error)) => Body::Begun(Err(refusal(error))),
        (Call::Complete(_), Err(error)) => Body::Completed(Err(refusal(error))),
        _ => return None,
    })
}
