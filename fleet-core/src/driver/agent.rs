use std::sync::Arc;

use super::{NoProbe, Point, Probe};
use crate::code::{ApiKey, EnrollmentCode};
use crate::commit::NeedsSave;
use crate::enrollment::agent::{
    AskToJoin, EnrollError, ExpectAnswer, Plan, Progress, begin as begin_enrollment, plan,
};
use crate::fingerprint::Fingerprint;
use crate::handshake::agent::{HandshakeError, Online, begin as begin_handshake};
use crate::keys::{AgentKeyring, AgentSecretKeys, KeyError, OpenError, SignerError};
use crate::manifest::SignedManifest;
use crate::name::Name;
use crate::random::{RandomError, SecureRandom};
use crate::store::{AgentKeyStore, AgentState, AgentStore, CommitError, Counters, StoreError};
use crate::time::Clock;
use crate::transport::{Transport, TransportError};

/// How often a state is written anew because its counters changed meanwhile.
const ATTEMPTS: usize = 16;

/// Enrolling or a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Enrollment stops.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// The handshake ends.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The call brought no answer, or a refusal.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There are no keys, though there is a state.
    #[error("the agent's key files are missing")]
    KeysMissing,
    /// A key is not acceptable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The api_key does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Enrolls an agent and makes its sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentDriver {
    store: Arc<dyn AgentStore>,
    keys: Arc<dyn AgentKeyStore>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom>,
    probe: Arc<dyn Probe>,
}

/// An enrollment under way.
#[derive(Debug)]
pub struct Enrolling {
    driver: AgentDriver,
    keyring: AgentKeyring,
    fingerprint: Fingerprint,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Asking(Box<ExpectAnswer>),
    Joining(Box<AskToJoin>),
    Over,
}

/// Where an enrollment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every case")]
pub enum EnrollmentProgress {
    /// A person must say whether this agent joins: [`Enrolling::join`].
    AskToJoin {
        /// The organization's name, as its root signed it.
        organization: Name,
    },
    /// Not confirmed yet: call [`Enrolling::poll`] in 2 s.
    Waiting,
    /// Confirmed, but the server no longer delivers the api_key: paste it into
    /// [`AgentDriver::handshake_with`].
    NeedsApiKey,
    /// Confirmed, and the api_key is saved: [`AgentDriver::handshake`].
    Enrolled,
}

impl AgentDriver {
    /// A driver.
    #[must_use]
    pub fn new(
        store: Arc<dyn AgentStore>,
        keys: Arc<dyn AgentKeyStore>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        Self { store, keys, transport, clock, random, probe: Arc::new(NoProbe) }
    }

    /// With a probe, for tests that crash the driver.
    #[must_use]
    pub fn with_probe(self, probe: Arc<dyn Probe>) -> Self {
        Self { probe, ..self }
    }

    /// Starts enrolling with a code, or takes up an enrollment with the same code after a crash.
    /// Nothing is sent yet; call [`Enrolling::poll`].
    ///
    /// # Errors
    /// [`AgentError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point: new keys may be kept by then, and what was begun with them. Calling again
    /// with the same code goes on. The future is `Send`; it does not panic.
    pub async fn enroll(
        &self,
        code: EnrollmentCode,
        server: &str,
        name: Name,
    ) -> Result<Enrolling, AgentError> {
        let state = self.state().await?;
        let planned = plan(state.as_ref(), &code)?;
        self.probe.reached(Point::AgentPlanned);
        let keyring = match planned {
            Plan::MakeKeys => {
                let keys = AgentSecretKeys::generate(self.random.as_ref())?;
                keys.public()?;
                self.keys.replace(keys).await?
            }
            Plan::ReuseKeys => self.keys.open().await?.ok_or(AgentError::KeysMissing)?,
        };
        self.probe.reached(Point::AgentKeysSaved);
        let public = keyring.public()?;
        let proofs = self.save(begin_enrollment(code, server, name, public, state)?).await?;
        self.probe.reached(Point::AgentStateSaved);
        let [identity, miner_signing] = proofs.to_sign();
        let signatures = [
            keyring.identity.sign(identity.as_bytes()).await?,
            keyring.miner_signing.sign(miner_signing.as_bytes()).await?,
        ];
        let expect = proofs.signed(signatures)?;
        self.probe.reached(Point::AgentProofsMade);
        Ok(Enrolling {
            driver: self.clone(),
            keyring,
            fingerprint: public.fingerprint(),
            phase: Phase::Asking(Box::new(expect)),
        })
    }

    /// Makes a session with the saved api_key.
    ///
    /// # Errors
    /// [`AgentError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again. The server may have made a session that nobody has the
    /// token of; one that there was before then ends within 60 s. The future is `Send`; it does not panic.
    pub async fn handshake(&self) -> Result<Online, AgentError> {
        let state = self.state().await?.ok_or(HandshakeError::NotEnrolled)?;
        let api_key = state.api_key.clone().ok_or(HandshakeError::NotEnrolled)?;
        self.handshake_as(state, api_key).await
    }

    /// Makes a session with a pasted api_key, which is saved if that works.
    ///
    /// # Errors
    /// [`AgentError`].
    ///
    /// # Cancel safety
    /// As [`AgentDriver::handshake`]. The pasted key is kept with the session or not at all. The future is
    /// `Send`; it does not panic.
    pub async fn handshake_with(&self, api_key: ApiKey) -> Result<Online, AgentError> {
        let state = self.state().await?.ok_or(HandshakeError::NotEnrolled)?;
        self.handshake_as(state, api_key).await
    }

    async fn handshake_as(&self, state: AgentState, api_key: ApiKey) -> Result<Online, AgentError> {
        let keyring = self.keys.open().await?.ok_or(AgentError::KeysMissing)?;
        if !keyring.holds(&state.keys) {
            return Err(EnrollError::OtherKeys.into());
        }
        let expect = begin_handshake(state, api_key, self.clock.monotonic(), self.random.as_ref())?;
        let response = self.transport.begin(expect.request()).await?;
        self.probe.reached(Point::AgentBeginAnswered);
        let expect = self.save(expect.challenge(response, self.clock.monotonic())?).await?;
        let needs = expect.verify()?;
        let signature = keyring.identity.sign(needs.to_sign().as_bytes()).await?;
        let expect = needs.signed(signature, self.clock.monotonic())?;
        self.probe.reached(Point::AgentChallengeSigned);
        let response = self.transport.complete(expect.request().clone()).await?;
        self.probe.reached(Point::AgentCompleteAnswered);
        let online = self.save(expect.session(response, self.clock.monotonic())?).await?;
        self.probe.reached(Point::AgentSessionSaved);
        Ok(online)
    }

    async fn state(&self) -> Result<Option<AgentState>, StoreError> {
        Ok(self.store.load().await?.map(|versioned| versioned.record))
    }

    /// Saves a machine's state. Meanwhile uploads may have moved the counters on, and another call of this driver may
    /// have stored a newer manifest, an api_key or a session: none of that is taken back.
    async fn save<T>(&self, step: NeedsSave<T>) -> Result<T, AgentError> {
        let Some(state) = step.state() else { return Ok(step.saved()) };
        let mut outcome = Err(CommitError::Stale);
        for _ in 0..ATTEMPTS {
            let held = self.store.load().await?;
            let state = match &held {
                Some(held) if held.record.keys == state.keys && held.record.code == state.code => {
                    state.clone().merge(&held.record)
                }
                Some(_) | None => state.clone(),
            };
            outcome = self.store.commit(state, held.map(|held| held.version)).await;
            if !matches!(outcome, Err(CommitError::Stale)) {
                break;
            }
        }
        outcome?;
        Ok(step.saved())
    }
}

impl AgentState {
    /// This state, later than `held`, which it was not made from.
    fn merge(self, held: &Self) -> Self {
        let newer = |held: &SignedManifest| {
            self.manifest.as_ref().is_none_or(|own| held.manifest().epoch > own.manifest().epoch)
        };
        Self {
            manifest: held.manifest.clone().filter(newer).or(self.manifest),
            joined: self.joined || held.joined,
            agent_id: self.agent_id.or(held.agent_id),
            api_key: self.api_key.or_else(|| held.api_key.clone()),
            session: self.session.or_else(|| held.session.clone()),
            counters: self.counters.max(held.counters),
            ..self
        }
    }
}

impl Counters {
    /// The higher of each counter.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            command: self.command.max(other.command),
            telemetry: self.telemetry.max(other.telemetry),
            event: self.event.max(other.event),
        }
    }
}

impl Enrolling {
    /// This agent's fingerprint, for the operator to type. To be shown once the first answer was
    /// verified, that is with or after [`EnrollmentProgress::AskToJoin`].
    #[must_use]
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Sends Register and judges the answer. A refusal or a lost answer changes nothing: poll
    /// again.
    ///
    /// # Errors
    /// [`AgentError`]. After [`AgentError::Enroll`] the enrollment is over.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: what was not saved is asked for once more. The future is
    /// `Send`; it does not panic.
    pub async fn poll(&mut self) -> Result<EnrollmentProgress, AgentError> {
        let request = match &self.phase {
            Phase::Asking(expect) => expect.request().clone(),
            Phase::Joining(ask) => return Ok(ask_to_join(ask)),
            Phase::Over => return Err(EnrollError::Over.into()),
        };
        let answer = self.driver.transport.register(request).await?;
        self.driver.probe.reached(Point::AgentRegisterAnswered);
        let Phase::Asking(expect) = &self.phase else { return Err(EnrollError::Over.into()) };
        // The phase stays until everything is saved: if that fails, or this future is dropped, asking again goes on.
        let step = self.judged(expect.duplicate().answer(answer))?;
        let progress = self.driver.save(step).await?;
        self.driver.probe.reached(Point::AgentManifestSaved);
        self.go_on(progress).await
    }

    /// An error of enrollment ends it.
    fn judged<T>(&mut self, outcome: Result<T, EnrollError>) -> Result<T, AgentError> {
        if outcome.is_err() {
            self.phase = Phase::Over;
        }
        Ok(outcome?)
    }

    /// The agent joins the organization. If saving that fails it can be called again. Once the question was answered
    /// it changes nothing.
    ///
    /// # Errors
    /// [`AgentError`].
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again: the agent has joined or not. The future is `Send`; it
    /// does not panic.
    pub async fn join(&mut self) -> Result<EnrollmentProgress, AgentError> {
        let ask = match &self.phase {
            Phase::Joining(ask) => ask.duplicate(),
            Phase::Asking(_) => return Ok(EnrollmentProgress::Waiting),
            Phase::Over => return Err(EnrollError::Over.into()),
        };
        let step = self.judged(ask.join())?;
        let progress = self.driver.save(step).await?;
        self.driver.probe.reached(Point::AgentJoined);
        self.go_on(progress).await
    }

    async fn go_on(&mut self, progress: Progress) -> Result<EnrollmentProgress, AgentError> {
        match progress {
            Progress::AskToJoin(ask) => {
                let question = ask_to_join(&ask);
                self.phase = Phase::Joining(ask);
                Ok(question)
            }
            Progress::Wait(expect) => {
                self.phase = Phase::Asking(expect);
                Ok(EnrollmentProgress::Waiting)
            }
            Progress::NeedsApiKey => {
                self.phase = Phase::Over;
                Ok(EnrollmentProgress::NeedsApiKey)
            }
            Progress::Open(needs) => {
                let info = needs.info();
                let opened = self.keyring.sealing.open(info.as_bytes(), needs.sealed()).await?;
                self.driver.probe.reached(Point::AgentApiKeyOpened);
                let step = self.judged(needs.opened(&opened))?;
                self.driver.save(step).await?;
                self.driver.probe.reached(Point::AgentApiKeySaved);
                self.phase = Phase::Over;
                Ok(EnrollmentProgress::Enrolled)
            }
        }
    }
}

fn ask_to_join(ask: &AskToJoin) -> EnrollmentProgress {
    EnrollmentProgress::AskToJoin { organization: ask.organization().clone() }
}
