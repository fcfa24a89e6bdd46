//! An agent of a simulation: its driver, what it keeps, and what it is in the middle of.

use core::task::{Context, Poll, Waker};
use std::sync::Arc;

use super::event::{Outcome, What};
use super::secrets::RecordedKeys;
use super::wire::{Line, Message};
use super::{AgentDump, Body, Parts, Simulation};
use crate::code::{ApiKey, EnrollmentCode, SecretHash};
use crate::driver::{AgentDriver, AgentError, Enrolling, EnrollmentProgress};
use crate::enrollment::agent::EnrollError;
use crate::fingerprint::Fingerprint;
use crate::future::BoxFuture;
use crate::handshake::agent::Online;
use crate::name::Name;
use crate::refusal::Code;
use crate::store::{AgentKeyStore as _, AgentState, AgentStore};
use crate::testing::{CrashAt, Crashed, SeededRandom, VirtualClock, block_on, catch_crash};
use crate::transport::TransportError;

/// What an agent that got nowhere needs from people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server does not take it: a new code, and a new beginning.
    TurnedAway,
    /// Another agent has its name.
    NameTaken,
    /// Its api_key must be pasted.
    NeedsApiKey,
}

enum Done {
    Enrollment(Option<Enrolling>, Result<EnrollmentProgress, AgentError>),
    Handshake(Result<Online, AgentError>),
}

pub(super) struct Agent {
    driver: AgentDriver,
    store: Arc<dyn AgentStore>,
    keys: Arc<RecordedKeys>,
    line: Arc<Line>,
    random: Arc<SeededRandom>,
    pub(super) crash: Arc<CrashAt>,
    pub(super) clock: Arc<VirtualClock>,
    /// The code that it was given.
    pub(super) code: Option<SecretHash>,
    /// The name it registers under.
    pub(super) name: String,
    pub(super) trouble: Option<Trouble>,
    /// How often it began anew.
    pub(super) beginnings: usize,
    // What follows is in memory: a crash takes it.
    pub(super) enrolling: Option<Enrolling>,
    pub(super) online: Option<Online>,
    /// Whether a call under that session was accepted.
    pub(super) is_used: bool,
    task: Option<BoxFuture<'static, Result<Done, Crashed>>>,
    /// The request that it waits for an answer to.
    pub(super) waits_for: Option<usize>,
}

impl Agent {
    pub(super) fn new(seed: u64, number: u64, parts: &dyn Parts) -> Self {
        let random = Arc::new(SeededRandom::new(seed.wrapping_mul(1000).wrapping_add(number)));
        let (crash, clock) = (Arc::new(CrashAt::new()), Arc::new(VirtualClock::default()));
        let (store, keys, line) =
            (parts.agent_store(), Arc::<RecordedKeys>::default(), Arc::<Line>::default());
        let driver =
            AgentDriver::new(store.clone(), keys.clone(), line.clone(), clock.clone(), random.clone())
                .with_probe(crash.clone());
        Self {
            driver,
            store,
            keys,
            line,
            random,
            crash,
            clock,
            code: None,
            name: format!("site-{number}"),
            trouble: None,
            beginnings: 0,
            enrolling: None,
            online: None,
            is_used: false,
            task: None,
            waits_for: None,
        }
    }

    /// A new state directory on the same host.
    pub(super) fn wipe(&mut self, parts: &dyn Parts) {
        self.forget();
        // The first code finds it empty: that is no new beginning.
        self.beginnings += usize::from(self.code.is_some());
        self.store = parts.agent_store();
        self.keys = Arc::default();
        self.driver = AgentDriver::new(
            self.store.clone(),
            self.keys.clone(),
            self.line.clone(),
            self.clock.clone(),
            self.random.clone(),
        )
        .with_probe(self.crash.clone());
        self.code = None;
        self.trouble = None;
    }

    /// What was in memory is gone.
    pub(super) fn forget(&mut self) {
        self.enrolling = None;
        self.online = None;
        self.is_used = false;
        self.task = None;
        self.waits_for = None;
        self.line.take_sent();
    }

    pub(super) fn state(&self) -> Option<AgentState> {
        block_on(self.store.load()).unwrap().map(|held| held.record)
    }

    fn dump(&self) -> Option<Box<AgentDump>> {
        self.state().as_ref().map(|state| Box::new(AgentDump::from(state)))
    }

    /// What it shows to whoever stands before it.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        Some(block_on(self.keys.open()).unwrap()?.public().unwrap().fingerprint())
    }

    pub(super) const fn is_turned_away(&mut self) {
        self.trouble = Some(Trouble::TurnedAway);
    }
}

impl Simulation<'_> {
    /// An agent enrolls. What it waited for is given up.
    pub(super) fn enroll(&mut self, agent: usize, code: EnrollmentCode, name: &str) {
        self.give_up(agent);
        let it = &mut self.agents[agent];
        name.clone_into(&mut it.name);
        let (driver, name) = (it.driver.clone(), Name::new(name).unwrap());
        it.code = Some(code.hash());
        it.enrolling = None;
        self.start(agent, async move {
            match driver.enroll(code, "https://fleet.example", name).await {
                Ok(mut enrolling) => {
                    let progress = ask(&mut enrolling).await;
                    Done::Enrollment(Some(enrolling), progress)
                }
                Err(error) => Done::Enrollment(None, Err(error)),
            }
        });
    }

    /// An agent that enrolls asks again; it does not, if it is not enrolling.
    pub(super) fn poll(&mut self, agent: usize) {
        self.give_up(agent);
        let Some(mut enrolling) = self.agents[agent].enrolling.take() else { return };
        self.start(agent, async move {
            let progress = ask(&mut enrolling).await;
            Done::Enrollment(Some(enrolling), progress)
        });
    }

    /// An agent makes a session, with a pasted api_key or its own.
    pub(super) fn handshake(&mut self, agent: usize, api_key: Option<ApiKey>) {
        self.give_up(agent);
        let driver = self.agents[agent].driver.clone();
        self.start(agent, async move {
            Done::Handshake(match api_key {
                Some(api_key) => driver.handshake_with(api_key).await,
                None => driver.handshake().await,
            })
        });
    }

    /// The call that an agent waits for brings no answer.
    pub(super) fn give_up(&mut self, agent: usize) {
        if self.agents[agent].waits_for.is_some() {
            self.agents[agent].line.answer(None);
            self.step(agent);
        }
    }

    /// A reply reaches an agent. One that does not wait for such a reply does not notice.
    pub(super) fn receive(&mut self, agent: usize, body: Body) {
        let it = &self.agents[agent];
        let waits = it.waits_for.map(|request| self.messages[request].body.kind());
        let answers = |kind| kind == Some(body.kind().request());
        if answers(waits) {
            it.line.answer(Some(body));
            self.step(agent);
        }
    }

    /// An agent crashes and starts again from what it keeps.
    pub(super) fn crash_agent(&mut self, agent: usize, at: Option<crate::driver::Point>) {
        let before = self.agents[agent].dump();
        self.agents[agent].forget();
        self.stepped(agent, Outcome::Crashed(at), before, false);
    }

    /// An agent begins anew with an empty state directory.
    pub(super) fn wipe(&mut self, agent: usize) {
        let parts = self.parts();
        self.agents[agent].wipe(parts);
        self.saw(What::Wiped { agent });
    }

    fn start(&mut self, agent: usize, run: impl Future<Output = Done> + Send + 'static) {
        self.agents[agent].task = Some(Box::pin(catch_crash(run)));
        self.step(agent);
    }

    /// An agent runs until it waits for an answer, or is done.
    fn step(&mut self, agent: usize) {
        let it = &mut self.agents[agent];
        let Some(mut task) = it.task.take() else { return };
        let before = it.dump();
        let asked = it.waits_for.take().map(|request| self.messages[request].body.kind());
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for keys in it.keys.take_made() {
            self.secrets_mut().add_keys(&keys);
        }
        let it = &mut self.agents[agent];
        let had_session = it.online.is_some();
        let outcome = match polled {
            Poll::Pending => {
                let body = it.line.take_sent().expect("an agent waits for nothing but an answer");
                let kind = body.kind();
                it.task = Some(task);
                it.waits_for = Some(self.messages.len());
                let agent = Some(agent);
                self.messages.push(Message { agent, answers: None, is_forged: false, delivered: 0, body });
                Outcome::Waiting(kind)
            }
            Poll::Ready(Err(Crashed(point))) => {
                it.forget();
                Outcome::Crashed(Some(point))
            }
            Poll::Ready(Ok(Done::Enrollment(enrolling, result))) => {
                // After anything but a call that brought nothing, an enrollment that failed is over.
                let goes_on = matches!(&result, Ok(_) | Err(AgentError::Transport(_)));
                it.enrolling = enrolling.filter(|_| goes_on);
                match result {
                    Ok(progress) => {
                        if progress == EnrollmentProgress::NeedsApiKey {
                            it.trouble = Some(Trouble::NeedsApiKey);
                        }
                        Outcome::Enrollment(progress)
                    }
                    Err(error) => {
                        it.trouble = trouble(&error, asked).or(it.trouble);
                        Outcome::Failed(error)
                    }
                }
            }
            Poll::Ready(Ok(Done::Handshake(Ok(online)))) => {
                (it.online, it.is_used, it.trouble) = (Some(online), false, None);
                Outcome::Online
            }
            Poll::Ready(Ok(Done::Handshake(Err(error)))) => {
                it.trouble = trouble(&error, asked).or(it.trouble);
                Outcome::Failed(error)
            }
        };
        let is_renewal = had_session && matches!(outcome, Outcome::Online);
        if let Some(api_key) = self.agents[agent].state().and_then(|state| state.api_key) {
            self.secrets_mut().add_api_key(&api_key);
        }
        self.stepped(agent, outcome, before, is_renewal);
    }

    fn stepped(&mut self, agent: usize, outcome: Outcome, before: Option<Box<AgentDump>>, is_renewal: bool) {
        let after = self.agents[agent].dump();
        let code = after.as_ref().map(|state| state.code);
        let org = self.codes.iter().find(|issued| issued.hash() == code).map(|issued| issued.org);
        self.saw(What::Stepped { agent, outcome, before, after, org, is_renewal });
    }
}

/// Asks once, and joins whatever organization the code is of.
async fn ask(enrolling: &mut Enrolling) -> Result<EnrollmentProgress, AgentError> {
    match enrolling.poll().await? {
        EnrollmentProgress::AskToJoin { .. } => enrolling.join().await,
        progress => Ok(progress),
    }
}

/// What people must do about an error; nothing, if asking again may help.
fn trouble(error: &AgentError, asked: Option<super::Kind>) -> Option<Trouble> {
    match error {
        AgentError::Enroll(
            EnrollError::Revoked | EnrollError::Discarded | EnrollError::WrongAgent { .. },
        ) => Some(Trouble::TurnedAway),
        AgentError::Transport(TransportError::Refused(refusal)) => match (refusal.code, asked) {
            // A refused Complete may be a challenge that somebody used up: the next handshake makes another.
            (Code::Unauthenticated, Some(super::Kind::Register | super::Kind::Begin)) => {
                Some(Trouble::TurnedAway)
            }
            (Code::FailedPrecondition, _) => Some(Trouble::NameTaken),
            _ => None,
        },
        _ => None,
    }
}
