//! Uploads what the spools hold (protocol section 9): for each kind one stream at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fleet_core::{random::SecureRandom, refusal::Code, time::Clock, transport::TransportError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    counters::UploadKind,
    gateway::{Gateway, Upload},
    keeper::{Session, SessionHandle, SessionState, chain},
    spool::{Message, Settled, Spool, Spooled},
};

/// From the end of one upload to the next, unless there is a backlog.
pub const RHYTHM: Duration = Duration::from_secs(1);
/// The most messages on one stream: what is sent is acknowledged before the call's time is up.
const MESSAGES: usize = 16;

/// No agent gets there in a hundred million years. Whoever forges an answer must not be able to use
/// up the sequences that are left.
const MAX_SEQUENCE: i64 = i64::MAX / 2;

/// Uploads one spool.
#[derive(Debug)]
pub struct Uploader<T> {
    spool: Arc<Spool<T>>,
    kind: UploadKind,
    encode: fn(&[T]) -> Bytes,
    gateway: Arc<dyn Gateway>,
    sessions: SessionHandle,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    /// A message up to this sequence was refused: until it is found they go one by one.
    suspect: i64,
    failing: bool,
}

/// What is next after an upload.
enum Next {
    AfterRhythm,
    AtOnce,
    AfterPause(Duration),
    WithAnotherSession(Arc<Session>),
}

impl<T: Spooled> Uploader<T> {
    /// An uploader of `spool`.
    #[must_use]
    pub fn new(
        spool: Arc<Spool<T>>,
        (kind, encode): (UploadKind, fn(&[T]) -> Bytes),
        gateway: Arc<dyn Gateway>,
        sessions: SessionHandle,
        clock: Arc<dyn Clock>,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        let backoff = Backoff::new(random);
        Self { spool, kind, encode, gateway, sessions, clock, backoff, suspect: 0, failing: false }
    }

    /// Uploads until told to stop; then, if there is a session, once more what there is.
    ///
    /// # Cancel safety
    /// Dropped, what was not acknowledged stays in the spool and is sent again under the same sequences. The
    /// future is `Send`; it panics only outside of a tokio runtime.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(self.step()).await.is_some() {}
        // An upload that was cut off is sent again under the same sequences.
        let SessionState::Online(session) = self.sessions.state() else { return };
        while !self.spool.is_empty() {
            if !matches!(self.upload(&session).await, Next::AtOnce | Next::AfterRhythm) {
                return;
            }
        }
    }

    async fn step(&mut self) {
        self.spool.wait().await;
        let session = self.sessions.online().await;
        match self.upload(&session).await {
            Next::AtOnce => {}
            Next::AfterRhythm => sleep(RHYTHM).await,
            Next::AfterPause(pause) => sleep(pause).await,
            Next::WithAnotherSession(session) => self.sessions.replaced(&session).await,
        }
    }

    async fn upload(&mut self, session: &Arc<Session>) -> Next {
        let limit = if self.suspect > 0 { 1 } else { MESSAGES };
        let messages = match self.spool.oldest(limit, self.clock.now()).await {
            Ok(messages) => messages,
            Err(error) => return self.failed(&chain(&error), None),
        };
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Next::AtOnce };
        let (first, last) = (first.sequence, last.sequence);
        let uploads = messages.iter().map(|message| self.encode(message)).collect();
        match self.gateway.upload(&session.token, self.kind, uploads).await {
            Ok(answer) if answer.durable > MAX_SEQUENCE => {
                self.failed("the server's durable_sequence is out of range", None)
            }
            Ok(answer) => {
                self.recovered();
                match self.spool.settle(answer.durable) {
                    Settled::Renumbered => {
                        tracing::warn!(
                            kind = %self.kind, durable_sequence = answer.durable,
                            "the server has later uploads of this agent, which was restored from a backup: numbering anew"
                        );
                        self.suspect = 0;
                        return Next::AtOnce;
                    }
                    Settled::Deleted(deleted) => tracing::trace!(
                        kind = %self.kind, deleted, accepted = answer.accepted, rejected = answer.rejected, "uploaded"
                    ),
                }
                if answer.rejected > 0 {
                    tracing::debug!(kind = %self.kind, rejected = answer.rejected, "the server rejected some");
                }
                if answer.durable >= self.suspect {
                    self.suspect = 0;
                }
                if answer.durable < last {
                    return self.failed("the server did not make everything durable", None);
                }
                if messages.len() >= limit && !self.spool.is_empty() {
                    Next::AtOnce
                } else {
                    Next::AfterRhythm
                }
            }
            Err(TransportError::Refused(refusal)) if refusal.code == Code::Unauthenticated => {
                self.sessions.refused(session);
                Next::WithAnotherSession(Arc::clone(session))
            }
            Err(TransportError::Refused(refusal)) if refusal.code == Code::InvalidArgument => {
                if first == last {
                    tracing::warn!(
                        kind = %self.kind, sequence = first, problem = %refusal,
                        "the server refuses a message; it is thrown away so that the rest gets through"
                    );
                    self.spool.discard(first);
                } else {
                    // The answer does not say which one it was.
                    self.suspect = last;
                }
                Next::AtOnce
            }
            Err(TransportError::Refused(refusal)) => {
                let asked = refusal.retry_after;
                self.failed(&refusal.to_string(), asked)
            }
            Err(error) => self.failed(&chain(&error), None),
        }
    }

    fn encode(&self, message: &Message<T>) -> Upload {
        Upload {
            payload: (self.encode)(&message.items),
            captured_at: message.captured_at,
            sequence: message.sequence,
        }
    }

    fn failed(&mut self, problem: &str, asked: Option<Duration>) -> Next {
        let pause = self.backoff.pause_after(asked);
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(kind = %self.kind, problem, "still not uploaded");
        } else {
            tracing::warn!(kind = %self.kind, problem, "not uploaded; trying on");
        }
        Next::AfterPause(pause)
    }

    fn recovered(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            tracing::info!(kind = %self.kind, "uploading again");
        }
    }
}
