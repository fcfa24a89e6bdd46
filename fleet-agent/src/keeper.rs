//! Keeps the agent in a session (protocol section 5).
//!
//! The keeper handshakes at every start: a saved session's expiry is the server's time, which is
//! adopted from a handshake and from nothing else, so that no saved session can be judged. It
//! renews at two thirds of a session's life, and at once when the server refuses the session. What
//! it has is in a [`SessionHandle`], which the other loops hold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fleet_core::{
    code::SessionToken,
    driver::{AgentDriver, AgentError},
    handshake::agent::{HandshakeError, Online},
    random::SecureRandom,
    time::{Clock, ServerTime, UnixMillis},
    transport::TransportError,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{backoff::Backoff, refusals::CountingTransport};

/// How often the clock is looked at while waiting: a host that slept finds out within this time.
const LOOK: Duration = Duration::from_secs(30);
/// A session that is refused sooner than this after it began counts as a failure to get one.
const SHORT_LIVED: Duration = Duration::from_secs(60);

/// A session that the agent has.
#[derive(Debug)]
#[non_exhaustive]
pub struct Session {
    /// Counts the sessions of this process, from 1.
    pub number: u64,
    /// The bearer token.
    pub token: SessionToken,
    /// When it ends, server time.
    pub expires_at: UnixMillis,
    /// The server's time, as of the handshake.
    pub server_time: ServerTime,
    /// The highest command sequence ever issued to this agent.
    pub last_sequence: i64,
}

/// Whether there is a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SessionState {
    /// There is none.
    Offline {
        /// Why, as far as is known; for people.
        problem: Option<Arc<str>>,
    },
    /// There is one.
    Online(Arc<Session>),
}

/// What other loops have of the keeper.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    state: watch::Receiver<SessionState>,
    refused: Arc<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    number: AtomicU64,
    told: Notify,
}

impl SessionHandle {
    /// The state at this moment.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state.borrow().clone()
    }

    /// Waits for a session. It stays pending when the keeper is gone.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again. The future is `Send`; it does not panic.
    pub async fn online(&mut self) -> Arc<Session> {
        loop {
            if let SessionState::Online(session) = &*self.state.borrow_and_update() {
                return Arc::clone(session);
            }
            if self.state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until `session` is not the current one any more.
    ///
    /// # Cancel safety
    /// May be dropped at any point and called again. The future is `Send`; it does not panic.
    pub async fn replaced(&mut self, session: &Session) {
        let is_other = |state: &SessionState| match state {
            SessionState::Online(current) => current.number != session.number,
            SessionState::Offline { .. } => true,
        };
        if self.state.wait_for(is_other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells the keeper that the server answered `unauthenticated` under this session.
    pub fn refused(&self, session: &Session) {
        self.refused.number.fetch_max(session.number, Ordering::Relaxed);
        self.refused.told.notify_one();
    }
}

/// Why a keeper stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperEnd {
    /// The server refuses this agent, and has for a while: exit code 77.
    #[error(
        "the server no longer accepts this agent; if it was revoked, enroll it anew in an empty state directory"
    )]
    Refused,
    /// What is on disk is no agent that could have a session.
    #[error("this agent cannot go online")]
    Broken(#[source] AgentError),
}

/// Makes sessions, one after the other.
#[derive(Debug)]
pub struct Keeper {
    driver: AgentDriver,
    transport: Arc<CountingTransport>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    state: watch::Sender<SessionState>,
    refused: Arc<Refused>,
    made: u64,
    /// The last handshake failed, and that was said.
    failing: bool,
    /// The problem that was logged last.
    said: Option<String>,
    /// The last session was refused soon after it was made.
    short_lived: bool,
}

impl Keeper {
    /// A keeper. `driver` sends through `transport`.
    #[must_use]
    pub fn new(
        driver: AgentDriver,
        transport: Arc<CountingTransport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        Self {
            driver,
            transport,
            clock,
            backoff: Backoff::new(random),
            state: watch::Sender::new(SessionState::Offline { problem: None }),
            refused: Arc::default(),
            made: 0,
            failing: false,
            said: None,
            short_lived: false,
        }
    }

    /// A handle to it.
    #[must_use]
    pub fn handle(&self) -> SessionHandle {
        SessionHandle { state: self.state.subscribe(), refused: Arc::clone(&self.refused) }
    }

    /// Keeps the agent in a session until that is hopeless.
    ///
    /// # Cancel safety
    /// Dropped, whoever waits for a session waits for ever; the last one is on disk. The future is `Send`; it
    /// panics only outside of a tokio runtime.
    pub async fn run(mut self) -> KeeperEnd {
        loop {
            match self.driver.handshake().await {
                Ok(online) => {
                    if let Some(pause) = self.hold(online).await {
                        sleep(pause).await;
                    }
                }
                Err(error) => {
                    if self.transport.is_refused_for_good() {
                        return self.end(KeeperEnd::Refused);
                    }
                    let asked = match Verdict::of(&error) {
                        Verdict::Retry { asked } => asked,
                        Verdict::Refused => return self.end(KeeperEnd::Refused),
                        Verdict::Broken => return self.end(KeeperEnd::Broken(error)),
                    };
                    let pause = self.backoff.pause_after(asked);
                    self.failed(&error, pause);
                    self.wait(pause).await;
                }
            }
        }
    }

    /// Publishes a session and waits until another is needed. The pause before it, if this one was
    /// refused so soon that there is something wrong.
    async fn hold(&mut self, online: Online) -> Option<Duration> {
        self.made = self.made.saturating_add(1);
        let session = Arc::new(Session {
            number: self.made,
            token: online.session.token,
            expires_at: online.session.expires_at,
            server_time: online.server_time,
            last_sequence: online.last_sequence,
        });
        let was_failing = std::mem::take(&mut self.failing);
        self.said = None;
        let was_short_lived = std::mem::take(&mut self.short_lived);
        if self.made == 1 || was_failing || was_short_lived {
            tracing::info!(session = self.made, "online");
        } else {
            tracing::debug!(session = self.made, "the session was renewed");
        }
        self.state.send_replace(SessionState::Online(Arc::clone(&session)));
        let began = self.clock.monotonic();
        loop {
            if self.refused.number.load(Ordering::Relaxed) >= session.number {
                tracing::info!("the server refused the session; making another");
                self.offline(Some("the server refused the session"));
                let lasted = self.clock.monotonic().since(began);
                if lasted >= SHORT_LIVED {
                    self.backoff.reset();
                    return None;
                }
                self.short_lived = true;
                return Some(self.backoff.pause());
            }
            let now = session.server_time.at(self.clock.monotonic());
            if now >= online.renew_at {
                self.backoff.reset();
                return None;
            }
            self.look_in(online.renew_at.since(now)).await;
        }
    }

    /// Waits out a pause between two tries. A session that there still is ends when its time is up.
    async fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let current = self.current();
            let is_over = current.as_ref().is_some_and(|session| {
                session.server_time.at(self.clock.monotonic()) >= session.expires_at
                    || self.refused.number.load(Ordering::Relaxed) >= session.number
            });
            if is_over {
                self.offline(Some("the session ended before it could be renewed"));
            }
            sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
        }
    }

    async fn look_in(&self, time: Duration) {
        tokio::select! {
            () = sleep(time.clamp(Duration::from_millis(1), LOOK)) => {}
            () = self.refused.told.notified() => {}
        }
    }

    fn current(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            SessionState::Online(session) => Some(Arc::clone(session)),
            SessionState::Offline { .. } => None,
        }
    }

    fn offline(&self, problem: Option<&str>) {
        self.state.send_replace(SessionState::Offline { problem: problem.map(Arc::from) });
    }

    fn failed(&mut self, error: &AgentError, pause: Duration) {
        let problem = chain(error);
        let retry_s = pause.as_secs_f64();
        self.failing = true;
        // Another problem is news: a server that is up again may be one that was restored.
        if self.said.as_ref() == Some(&problem) {
            tracing::debug!(%problem, retry_s, "still no session");
        } else {
            tracing::warn!(%problem, retry_s, "no session; trying on");
            self.said = Some(problem.clone());
        }
        if self.current().is_none() {
            self.offline(Some(&problem));
        }
    }

    fn end(&self, end: KeeperEnd) -> KeeperEnd {
        self.offline(Some(&chain(&end)));
        end
    }
}

/// What a failed handshake means.
enum Verdict {
    /// Try again, not before this pause.
    Retry { asked: Option<Duration> },
    /// The organization has said that this agent is not to come back.
    Refused,
    /// It cannot work with what is on disk.
    Broken,
}

impl Verdict {
    fn of(error: &AgentError) -> Self {
        if let AgentError::Transport(TransportError::Refused(refusal)) = error {
            return Self::Retry { asked: refusal.retry_after };
        }
        if matches!(error, AgentError::Handshake(HandshakeError::Revoked)) {
            return Self::Refused;
        }
        let is_broken = matches!(
            error,
            AgentError::Handshake(HandshakeError::NotEnrolled)
                | AgentError::KeysMissing
                | AgentError::Key(_)
                | AgentError::Enroll(_)
                | AgentError::Open(_)
        );
        // The rest may be another time: a server that is being repaired, a disk that is full, a
        // network that is down.
        if is_broken { Self::Broken } else { Self::Retry { asked: None } }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat their cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
