//! Enrolling, from the code to the first session (protocol section 4), whoever the person at the
//! agent is: [`Attendant`] is a terminal, a test, or another program's dialog.

use std::{sync::Arc, time::Duration};

use fleet_core::{
    code::{ApiKey, EnrollmentCode},
    driver::{AgentDriver, AgentError, Enrolling, EnrollmentProgress},
    enrollment::agent::EnrollError,
    fingerprint::Fingerprint,
    future::BoxFuture,
    handshake::agent::Online,
    name::Name,
    random::SecureRandom,
    refusal::Code,
    store::AgentStore,
    transport::TransportError,
};
use tokio::time::sleep;

use crate::{backoff::Backoff, prompt::PromptError, server_url::ServerUrl};

/// From one question to the server to the next.
pub const POLL: Duration = Duration::from_secs(2);
/// How often a server that was never reached is tried before that is a failure.
const FIRST_TRIES: u32 = 6;
/// How often the first handshake is tried.
const HANDSHAKE_TRIES: u32 = 6;
/// How often a person may paste a wrong api_key.
const PASTES: u32 = 3;

/// The person at the agent.
pub trait Attendant: Send {
    /// Whether this agent may join the organization of this name, which its root has signed.
    ///
    /// # Cancel safety
    /// Dropped, the question is not asked any more. The future is `Send`; it must not panic.
    fn may_join<'a>(&'a mut self, organization: &'a Name) -> BoxFuture<'a, Result<bool, PromptError>>;

    /// Shows the fingerprint that an operator is to type. Called once, after the server has proved
    /// that it made the code.
    fn show_fingerprint(&mut self, fingerprint: &Fingerprint);

    /// Asks for the api_key that the operator was shown: the server does not deliver it any more.
    ///
    /// # Cancel safety
    /// Dropped, the question is not asked any more. The future is `Send`; it must not panic.
    fn api_key(&mut self) -> BoxFuture<'_, Result<ApiKey, PromptError>>;

    /// Waits for an api_key that the person pastes meanwhile, unasked. To be dropped and called again as the server is
    /// asked: what was pasted in between must not be lost. Never ready if nothing can be pasted.
    ///
    /// # Cancel safety
    /// It is dropped and called again, as said above. The future is `Send`; it must not panic.
    fn pasted(&mut self) -> BoxFuture<'_, ApiKey> {
        Box::pin(std::future::pending())
    }

    /// Something takes longer; for people.
    fn notice(&mut self, text: &str);
}

/// Why enrolling stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollFailure {
    /// The server does not accept the code, or not any more: exit code 77.
    #[error(
        "the server does not accept this enrollment code: it is unknown, expired, cancelled, or was used by another agent; ask for a new one"
    )]
    CodeRefused,
    /// The server does not accept the api_key.
    #[error("the server does not accept the api_key")]
    ApiKeyRefused,
    /// The person did not agree.
    #[error("this agent did not join the organization; nothing was shown or confirmed")]
    Declined,
    /// The server cannot be reached, or cannot answer now.
    #[error("the server cannot be reached; run the same command again with the same code")]
    Unreachable(#[source] AgentError),
    /// The enrollment went through, but there is no session yet.
    #[error("this agent is enrolled but not online yet; `fleet-agent run` tries on")]
    NotOnline(#[source] AgentError),
    /// Nothing was entered.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Anything else.
    #[error(transparent)]
    Agent(AgentError),
}

/// How far enrolling came.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every case")]
pub enum Enrolled {
    /// The agent has a session.
    Online(Box<Online>),
    /// It waits for the operator, and nobody wanted to wait for that.
    Waiting,
}

/// Everything that enrolling takes.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "whoever builds one must give everything")]
pub struct Enrollment {
    /// The agent.
    pub driver: AgentDriver,
    /// Its state.
    pub store: Arc<dyn AgentStore>,
    /// Where randomness comes from.
    pub random: Arc<dyn SecureRandom>,
    /// Whether to wait for the operator.
    pub wait: bool,
}

impl Enrollment {
    /// Enrolls, or takes up what was begun with the same code.
    ///
    /// # Errors
    /// [`EnrollFailure`].
    ///
    /// # Cancel safety
    /// Dropped, it is as if the process had ended: calling again with the same code goes on. The future is
    /// `Send`; it panics only outside of a tokio runtime.
    pub async fn run(
        &self,
        code: EnrollmentCode,
        server: &ServerUrl,
        name: Name,
        attendant: &mut dyn Attendant,
    ) -> Result<Enrolled, EnrollFailure> {
        let held = self.store.load().await.map_err(|error| EnrollFailure::Agent(error.into()))?;
        let held = held.map(|held| held.record).filter(|held| held.code == code.hash());
        // The process died between the api_key and the session, or this is the same command again.
        if let Some(held) = held.filter(|held| held.api_key.is_some()) {
            match self.handshake(None).await {
                // It has never worked, and whoever was in between may have made it: the server is asked for its own.
                Err(EnrollFailure::ApiKeyRefused) if held.session.is_none() => {
                    attendant.notice("the server does not accept the api_key that came; asking again");
                }
                outcome => return outcome.map(Box::new).map(Enrolled::Online),
            }
        }
        let mut enrolling =
            self.driver.enroll(code, server.as_str(), name).await.map_err(EnrollFailure::of)?;
        match self.confirmed(&mut enrolling, attendant).await? {
            Confirmed::HasApiKey => self.handshake(None).await.map(Box::new).map(Enrolled::Online),
            Confirmed::Online(online) => Ok(Enrolled::Online(online)),
            Confirmed::NeedsApiKey => self.paste(attendant).await.map(Box::new).map(Enrolled::Online),
            Confirmed::NotYet => Ok(Enrolled::Waiting),
        }
    }

    async fn confirmed(
        &self,
        enrolling: &mut Enrolling,
        attendant: &mut dyn Attendant,
    ) -> Result<Confirmed, EnrollFailure> {
        let mut backoff = Backoff::new(Arc::clone(&self.random));
        let (mut was_answered, mut was_shown, mut tries) = (false, false, 0_u32);
        loop {
            let mut pause = POLL;
            match enrolling.poll().await {
                Ok(mut progress) => {
                    if let EnrollmentProgress::AskToJoin { organization } = &progress {
                        if !attendant.may_join(organization).await? {
                            return Err(EnrollFailure::Declined);
                        }
                        progress = enrolling.join().await.map_err(EnrollFailure::of)?;
                    }
                    was_answered = true;
                    backoff.reset();
                    match progress {
                        EnrollmentProgress::Waiting if !std::mem::replace(&mut was_shown, true) => {
                            attendant.show_fingerprint(enrolling.fingerprint());
                            if !self.wait {
                                return Ok(Confirmed::NotYet);
                            }
                        }
                        EnrollmentProgress::Waiting | EnrollmentProgress::AskToJoin { .. } => {}
                        EnrollmentProgress::NeedsApiKey => return Ok(Confirmed::NeedsApiKey),
                        EnrollmentProgress::Enrolled => return Ok(Confirmed::HasApiKey),
                    }
                }
                Err(error) => {
                    let Some(asked) = passing(&error) else { return Err(EnrollFailure::of(error)) };
                    tries = tries.saturating_add(1);
                    if !was_answered && tries >= FIRST_TRIES {
                        return Err(EnrollFailure::Unreachable(error));
                    }
                    // A server that only wants to be asked later is nothing to tell a person.
                    if tries == 1 && asked.is_none() {
                        attendant.notice(&format!("{}; trying on", crate::keeper::chain(&error)));
                    }
                    pause = backoff.pause_after(asked).max(POLL);
                }
            }
            if !was_shown {
                sleep(pause).await;
                continue;
            }
            let pasted = tokio::select! {
                () = sleep(pause) => continue,
                pasted = attendant.pasted() => pasted,
            };
            match self.handshake(Some(pasted)).await {
                Ok(online) => return Ok(Confirmed::Online(Box::new(online))),
                Err(EnrollFailure::ApiKeyRefused) => {
                    attendant.notice("the server does not accept this api_key")
                }
                Err(other) => return Err(other),
            }
        }
    }

    async fn paste(&self, attendant: &mut dyn Attendant) -> Result<Online, EnrollFailure> {
        for _ in 0..PASTES {
            let api_key = attendant.api_key().await?;
            match self.handshake(Some(api_key)).await {
                Err(EnrollFailure::ApiKeyRefused) => {
                    attendant.notice("the server does not accept this api_key");
                }
                other => return other,
            }
        }
        Err(EnrollFailure::ApiKeyRefused)
    }

    async fn handshake(&self, pasted: Option<ApiKey>) -> Result<Online, EnrollFailure> {
        let mut backoff = Backoff::new(Arc::clone(&self.random));
        let mut tries = 0_u32;
        loop {
            let outcome = match &pasted {
                Some(api_key) => self.driver.handshake_with(api_key.clone()).await,
                None => self.driver.handshake().await,
            };
            let error = match outcome {
                Ok(online) => return Ok(online),
                Err(error) => error,
            };
            if is_unauthenticated(&error) {
                return Err(EnrollFailure::ApiKeyRefused);
            }
            tries = tries.saturating_add(1);
            match passing(&error) {
                Some(asked) if tries < HANDSHAKE_TRIES => sleep(backoff.pause_after(asked)).await,
                Some(_) => return Err(EnrollFailure::NotOnline(error)),
                None => return Err(EnrollFailure::of(error)),
            }
        }
    }
}

enum Confirmed {
    HasApiKey,
    Online(Box<Online>),
    NeedsApiKey,
    NotYet,
}

impl EnrollFailure {
    fn of(error: AgentError) -> Self {
        if is_unauthenticated(&error) {
            return Self::CodeRefused;
        }
        if matches!(error, AgentError::Enroll(EnrollError::Declined)) {
            return Self::Declined;
        }
        Self::Agent(error)
    }

    /// Whether asking again with the same code cannot help, whatever the person does.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::CodeRefused
                | Self::ApiKeyRefused
                | Self::Agent(AgentError::Enroll(EnrollError::Revoked | EnrollError::Discarded))
        )
    }
}

/// Whether the server refused what the agent proved itself with.
pub(crate) fn is_unauthenticated(error: &AgentError) -> bool {
    matches!(
        error,
        AgentError::Transport(TransportError::Refused(refusal)) if refusal.code == Code::Unauthenticated
    )
}

/// Whether it may be another time, and when the server wants to be asked.
pub(crate) fn passing(error: &AgentError) -> Option<Option<Duration>> {
    let AgentError::Transport(error) = error else { return None };
    if let TransportError::Refused(refusal) = error {
        let passes = matches!(refusal.code, Code::ResourceExhausted | Code::Unavailable | Code::Internal);
        return passes.then_some(refusal.retry_after);
    }
    matches!(error, TransportError::Unreachable(_)).then_some(None)
}
