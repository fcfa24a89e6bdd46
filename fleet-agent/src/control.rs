//! The control stream: open for as long as there is a session (protocol section 8).
//!
//! This version verifies no commands, so it carries none out and acks none: the server delivers
//! them again to a version that can, or they expire.

use std::{sync::Arc, time::Duration};

use fleet_core::{random::SecureRandom, refusal::Code, transport::TransportError};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    backoff::Backoff,
    gateway::{ControlMessage, Gateway},
    keeper::{Session, SessionHandle, chain},
};

/// How long the server may take to open and accept the stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// There is another session, which wants a stream of its own.
    Renewed,
    /// The server refuses the session.
    Refused,
    /// The server wants another stream.
    Goaway,
    /// It closed, or broke.
    Lost(String),
}

/// Keeps a control stream open for ever. `connected` shows whether the server has accepted one.
///
/// # Cancel safety
/// Dropping it is how it ends; the stream ends with it. The future is `Send`; it panics only outside of a
/// tokio runtime.
pub async fn run(
    gateway: Arc<dyn Gateway>,
    mut sessions: SessionHandle,
    random: Arc<dyn SecureRandom>,
    connected: watch::Sender<bool>,
) {
    let mut backoff = Backoff::new(random);
    let mut failing = false;
    loop {
        let session = sessions.online().await;
        let end = follow(gateway.as_ref(), &mut sessions, &session, &connected).await;
        if connected.send_replace(false) {
            backoff.reset();
            failing = false;
        }
        match end {
            End::Renewed => {}
            End::Refused => {
                sessions.refused(&session);
                sessions.replaced(&session).await;
            }
            End::Goaway => sleep(backoff.pause()).await,
            End::Lost(problem) => {
                if std::mem::replace(&mut failing, true) {
                    tracing::debug!(problem, "still no control stream");
                } else {
                    tracing::warn!(problem, "no control stream; trying on");
                }
                sleep(backoff.pause()).await;
            }
        }
    }
}

async fn follow(
    gateway: &dyn Gateway,
    sessions: &mut SessionHandle,
    session: &Session,
    connected: &watch::Sender<bool>,
) -> End {
    let opening = async {
        let mut stream = gateway.control(&session.token).await?;
        let first = stream.next().await?;
        Ok((stream, first))
    };
    let (mut stream, first) = match timeout(PATIENCE, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return ended(&error),
        Err(_) => return End::Lost("the server did not accept the stream in time".to_owned()),
    };
    match first {
        Some(ControlMessage::Accepted) => {}
        Some(ControlMessage::Goaway { reason }) => return goaway(&reason),
        Some(ControlMessage::Command { .. } | ControlMessage::Unknown) => {
            return End::Lost("the server did not begin with accepted".to_owned());
        }
        None => return End::Lost("the server closed the stream".to_owned()),
    }
    tracing::info!(session = session.number, "the control stream is open");
    connected.send_replace(true);
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            () = sessions.replaced(session) => return End::Renewed,
        };
        match message {
            Ok(Some(ControlMessage::Command { command_id, sequence })) => {
                tracing::warn!(command_id, sequence, "this version carries out no commands");
            }
            Ok(Some(ControlMessage::Goaway { reason })) => return goaway(&reason),
            Ok(Some(ControlMessage::Accepted | ControlMessage::Unknown)) => {}
            Ok(None) => return End::Lost("the server closed the stream".to_owned()),
            Err(error) => return ended(&error),
        }
    }
}

fn goaway(reason: &str) -> End {
    tracing::info!(reason, "the server asks for another control stream");
    End::Goaway
}

fn ended(error: &TransportError) -> End {
    if let TransportError::Refused(refusal) = error
        && refusal.code == Code::Unauthenticated
    {
        return End::Refused;
    }
    End::Lost(chain(error))
}
