//! Messages as values, and the fields that an attacker may change.

use std::sync::{Mutex, PoisonError};

use super::Change;
use crate::code::SessionToken;
use crate::enrollment::{RegisterRequest, RegisterResponse};
use crate::future::BoxFuture;
use crate::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use crate::id::AgentId;
use crate::keys::Signature;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::store::AgentStatus;
use crate::time::UnixMillis;
use crate::transport::{Transport, TransportError};

/// What a message says.
#[derive(Debug, Clone)]
#[allow(clippy::exhaustive_enums, reason = "the three calls and their replies")]
pub enum Body {
    /// Register's request.
    Register(RegisterRequest),
    /// BeginAuthHandshake's request.
    Begin(BeginRequest),
    /// CompleteAuthHandshake's request.
    Complete(CompleteRequest),
    /// Register's reply.
    Registered(Result<RegisterResponse, Refusal>),
    /// BeginAuthHandshake's reply.
    Begun(Result<BeginResponse, Refusal>),
    /// CompleteAuthHandshake's reply.
    Completed(Result<CompleteResponse, Refusal>),
}

/// Which of the six a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "as Body")]
#[allow(missing_docs, reason = "as Body")]
pub enum Kind {
    Register,
    Begin,
    Complete,
    Registered,
    Begun,
    Completed,
}

impl Kind {
    /// The request that such a reply answers; a request is its own.
    #[must_use]
    pub const fn request(self) -> Self {
        match self {
            Self::Register | Self::Registered => Self::Register,
            Self::Begin | Self::Begun => Self::Begin,
            Self::Complete | Self::Completed => Self::Complete,
        }
    }
}

impl Body {
    /// Which it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Register(_) => Kind::Register,
            Self::Begin(_) => Kind::Begin,
            Self::Complete(_) => Kind::Complete,
            Self::Registered(_) => Kind::Registered,
            Self::Begun(_) => Kind::Begun,
            Self::Completed(_) => Kind::Completed,
        }
    }
}

/// A message that was sent. It stays, so that it can be delivered at any time, any number of times.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// The agent that sent it, or that it answers; `None` for an attacker.
    pub(super) agent: Option<usize>,
    /// The request that it answers.
    pub(super) answers: Option<usize>,
    /// Whether an attacker made it.
    pub(super) is_forged: bool,
    /// How often it was delivered.
    pub(super) delivered: u32,
    pub(super) body: Body,
}

/// An agent's end of the network: what it sends is kept until it is delivered, if ever.
#[derive(Debug, Default)]
pub(super) struct Line {
    state: Mutex<LineState>,
}

#[derive(Debug, Default)]
struct LineState {
    sent: Option<Body>,
    received: Option<Result<Body, TransportError>>,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no answer")]
struct NoAnswer;

impl Line {
    /// What was sent and not taken yet.
    pub(super) fn take_sent(&self) -> Option<Body> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).sent.take()
    }

    /// Answers the call that waits; `None` for no answer.
    pub(super) fn answer(&self, body: Option<Body>) {
        let answer = body.ok_or_else(|| TransportError::Unreachable(Box::new(NoAnswer)));
        self.state.lock().unwrap_or_else(PoisonError::into_inner).received = Some(answer);
    }

    async fn ask(&self, body: Body) -> Result<Body, TransportError> {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            LineState { sent: Some(body), received: None };
        core::future::poll_fn(|_| {
            let received = self.state.lock().unwrap_or_else(PoisonError::into_inner).received.take();
            received.map_or(core::task::Poll::Pending, core::task::Poll::Ready)
        })
        .await
    }
}

fn other() -> TransportError {
    TransportError::Malformed(Box::new(NoAnswer))
}

impl Transport for Line {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async {
            let Body::Registered(reply) = self.ask(Body::Register(request)).await? else {
                return Err(other());
            };
            Ok(reply?)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async {
            let Body::Begun(reply) = self.ask(Body::Begin(request)).await? else { return Err(other()) };
            Ok(reply?)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async {
            let Body::Completed(reply) = self.ask(Body::Complete(request)).await? else {
                return Err(other());
            };
            Ok(reply?)
        })
    }
}

macro_rules! fields {
    ($($name:ident $kind:ident $text:literal)*) => {
        /// A field of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the names are those of the messages and their fields")]
        pub enum Field { $($name),* }

        impl Field {
            /// Every field.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            /// Its name, as in [`super::Action::Forge`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The messages that have it.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }
        }
    };
}

fields! {
    RegisterToken Register "register.token"
    RegisterName Register "register.name"
    RegisterIdentity Register "register.identity"
    RegisterMinerSigning Register "register.miner-signing"
    RegisterSealing Register "register.sealing"
    RegisterIdentityProof Register "register.identity-proof"
    RegisterMinerSigningProof Register "register.miner-signing-proof"
    BeginApiKey Begin "begin.api-key"
    BeginIdentity Begin "begin.identity"
    BeginNonce Begin "begin.nonce"
    CompleteChallenge Complete "complete.challenge"
    CompleteSignature Complete "complete.signature"
    RegisteredAgentId Registered "registered.agent-id"
    RegisteredStatus Registered "registered.status"
    RegisteredFingerprint Registered "registered.fingerprint"
    RegisteredEpoch Registered "registered.manifest-epoch"
    RegisteredManifestSignature Registered "registered.manifest-signature"
    RegisteredSealedApiKey Registered "registered.sealed-api-key"
    BegunChallenge Begun "begun.challenge"
    BegunServerTime Begun "begun.server-time"
    BegunExpiresAt Begun "begun.expires-at"
    BegunLastSequence Begun "begun.last-sequence"
    BegunEpoch Begun "begun.manifest-epoch"
    BegunCertificateAgentId Begun "begun.certificate-agent-id"
    BegunCertificateSignature Begun "begun.certificate-signature"
    BegunSignature Begun "begun.signature"
    CompletedToken Completed "completed.token"
    CompletedExpiresAt Completed "completed.expires-at"
}

/// Whether a message has a field: a refusal has none.
pub(super) fn has(body: &Body, field: Field) -> bool {
    read(body, field).is_some()
}

/// The message with `field` changed; `None` where that makes nothing that could be sent, or nothing else.
pub(super) fn forge(body: &Body, field: Field, change: Change, other: Option<&Body>) -> Option<Body> {
    let held = read(body, field)?;
    let value = match change {
        Change::Flip(bit) => {
            let mut value = held.clone();
            // Text stays text: the lowest three bits of a letter or digit make another.
            let (places, bits) = if is_text(field) { (value.len(), 3) } else { (value.len(), 8) };
            let place = usize::from(bit) % places.max(1);
            *value.get_mut(place)? ^= 1 << (usize::from(bit) % bits);
            value
        }
        Change::From(_) => read(other?, field)?,
    };
    if value == held {
        return None;
    }
    let mut forged = body.clone();
    write(&mut forged, field, &value)?;
    Some(forged)
}

const fn is_text(field: Field) -> bool {
    matches!(
        field,
        Field::RegisterToken
            | Field::RegisterName
            | Field::BeginApiKey
            | Field::RegisteredFingerprint
            | Field::CompletedToken
    )
}

const STATUSES: [AgentStatus; 4] =
    [AgentStatus::Pending, AgentStatus::Confirmed, AgentStatus::Revoked, AgentStatus::Discarded];

/// The field's value as bytes.
fn read(body: &Body, field: Field) -> Option<Vec<u8>> {
    let number = |value: i64| value.to_be_bytes().to_vec();
    Some(match body {
        Body::Register(request) => match field {
            Field::RegisterToken => request.expose_token().as_bytes().to_vec(),
            Field::RegisterName => request.name.as_str().as_bytes().to_vec(),
            Field::RegisterIdentity => request.identity.to_vec(),
            Field::RegisterMinerSigning => request.miner_signing.to_vec(),
            Field::RegisterSealing => request.sealing.to_vec(),
            Field::RegisterIdentityProof => request.identity_proof.to_bytes().to_vec(),
            Field::RegisterMinerSigningProof => request.miner_signing_proof.to_bytes().to_vec(),
            _ => return None,
        },
        Body::Begin(request) => match field {
            Field::BeginApiKey => request.expose_api_key().as_bytes().to_vec(),
            Field::BeginIdentity => request.identity.to_vec(),
            Field::BeginNonce => request.client_nonce.to_vec(),
            _ => return None,
        },
        Body::Complete(request) => match field {
            Field::CompleteChallenge => request.challenge.to_vec(),
            Field::CompleteSignature => request.signature.to_bytes().to_vec(),
            _ => return None,
        },
        Body::Registered(Ok(reply)) => match field {
            Field::RegisteredAgentId => number(reply.agent_id.value()),
            Field::RegisteredStatus => {
                vec![u8::try_from(STATUSES.iter().position(|status| *status == reply.status)?).ok()?]
            }
            Field::RegisteredFingerprint => reply.fingerprint.to_string().into_bytes(),
            Field::RegisteredEpoch => number(reply.manifest.manifest.epoch),
            Field::RegisteredManifestSignature => reply.manifest.signature.to_bytes().to_vec(),
            Field::RegisteredSealedApiKey => reply.sealed_api_key.clone()?,
            _ => return None,
        },
        Body::Begun(Ok(reply)) => match field {
            Field::BegunChallenge => reply.challenge.to_vec(),
            Field::BegunServerTime => number(reply.server_time.value()),
            Field::BegunExpiresAt => number(reply.expires_at.value()),
            Field::BegunLastSequence => number(reply.last_sequence),
            Field::BegunEpoch => number(reply.manifest.manifest.epoch),
            Field::BegunCertificateAgentId => number(reply.certificate.0.agent_id.value()),
            Field::BegunCertificateSignature => reply.certificate.1.to_bytes().to_vec(),
            Field::BegunSignature => reply.signature.to_bytes().to_vec(),
            _ => return None,
        },
        Body::Completed(Ok(reply)) => match field {
            Field::CompletedToken => reply.token.expose().as_bytes().to_vec(),
            Field::CompletedExpiresAt => number(reply.expires_at.value()),
            _ => return None,
        },
        Body::Registered(Err(_)) | Body::Begun(Err(_)) | Body::Completed(Err(_)) => return None,
    })
}

/// Puts a value in the field's place.
fn write(body: &mut Body, field: Field, value: &[u8]) -> Option<()> {
    let key = || <[u8; 32]>::try_from(value).ok();
    let signature = || <[u8; 64]>::try_from(value).ok().map(Signature::from_bytes);
    let number = || <[u8; 8]>::try_from(value).ok().map(i64::from_be_bytes);
    let time = || UnixMillis::new(number()?).ok();
    let text = || core::str::from_utf8(value).ok();
    match body {
        Body::Register(request) => match field {
            Field::RegisterToken => {
                let keys = [request.identity, request.miner_signing, request.sealing];
                let proofs = [request.identity_proof, request.miner_signing_proof];
                *request = RegisterRequest::new(text()?.to_owned(), request.name.clone(), keys, proofs);
            }
            Field::RegisterName => request.name = Name::new(text()?).ok()?,
            Field::RegisterIdentity => request.identity = key()?,
            Field::RegisterMinerSigning => request.miner_signing = key()?,
            Field::RegisterSealing => request.sealing = key()?,
            Field::RegisterIdentityProof => request.identity_proof = signature()?,
            Field::RegisterMinerSigningProof => request.miner_signing_proof = signature()?,
            _ => return None,
        },
        Body::Begin(request) => match field {
            Field::BeginApiKey => {
                *request = BeginRequest::new(text()?.to_owned(), request.identity, request.client_nonce);
            }
            Field::BeginIdentity => request.identity = key()?,
            Field::BeginNonce => request.client_nonce = key()?,
            _ => return None,
        },
        Body::Complete(request) => match field {
            Field::CompleteChallenge => request.challenge = key()?,
            Field::CompleteSignature => request.signature = signature()?,
            _ => return None,
        },
        Body::Registered(Ok(reply)) => match field {
            Field::RegisteredAgentId => reply.agent_id = AgentId::new(number()?).ok()?,
            Field::RegisteredStatus => {
                let number = usize::from(*value.first()?) % STATUSES.len();
                reply.status = *STATUSES.get(number)?;
            }
            Field::RegisteredFingerprint => reply.fingerprint = text()?.parse().ok()?,
            Field::RegisteredEpoch => reply.manifest.manifest.epoch = number()?,
            Field::RegisteredManifestSignature => reply.manifest.signature = signature()?,
            Field::RegisteredSealedApiKey => reply.sealed_api_key = Some(value.to_vec()),
            _ => return None,
        },
        Body::Begun(Ok(reply)) => match field {
            Field::BegunChallenge => reply.challenge = key()?,
            Field::BegunServerTime => reply.server_time = time()?,
            Field::BegunExpiresAt => reply.expires_at = time()?,
            Field::BegunLastSequence => reply.last_sequence = number()?,
            Field::BegunEpoch => reply.manifest.manifest.epoch = number()?,
            Field::BegunCertificateAgentId => reply.certificate.0.agent_id = AgentId::new(number()?).ok()?,
            Field::BegunCertificateSignature => reply.certificate.1 = signature()?,
            Field::BegunSignature => reply.signature = signature()?,
            _ => return None,
        },
        Body::Completed(Ok(reply)) => match field {
            Field::CompletedToken => reply.token = SessionToken::parse(text()?).ok()?,
            Field::CompletedExpiresAt => reply.expires_at = time()?,
            _ => return None,
        },
        Body::Registered(Err(_)) | Body::Begun(Err(_)) | Body::Completed(Err(_)) => return None,
    }
    Some(())
}
