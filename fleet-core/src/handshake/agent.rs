//! The agent's half of the handshake.
//!
//! ```text
//! begin ─► ExpectChallenge ─► (save manifest) ExpectVerification ─► NeedsSignature
//!                                   ─► ExpectSession ─► (save session) Online
//! ```

use core::time::Duration;

use super::{Auth, BeginRequest, BeginResponse, CompleteRequest, CompleteResponse, begin_request};
use crate::certificate::{CertificateError, SignedCertificate};
use crate::code::ApiKey;
use crate::commit::NeedsSave;
use crate::id::AgentId;
use crate::keys::{Signature, SignatureVerified};
use crate::manifest::{ManifestError, SignedManifest, SuccessionError};
use crate::policy::Policy;
use crate::random::{RandomError, SecureRandom};
use crate::store::{AgentSession, AgentState};
use crate::time::{Monotonic, ServerTime, UnixMillis};
use crate::transcript::{Domain, Transcript};

/// A reply older than this is dropped: 30 s (protocol section 5 step 4).
pub const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// Why an agent ends a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The agent is not enrolled.
    #[error("this agent is not enrolled")]
    NotEnrolled,
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The reply took longer than 30 s.
    #[error("the server's reply took {} s, more than 30", took.as_secs())]
    Stale {
        /// How long it took.
        took: Duration,
    },
    /// The manifest is malformed or not signed by its root.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest does not follow the one that the agent holds.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The certificate is malformed or not signed by the root.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate is of another agent, organization, name or keys.
    #[error("the server sent the certificate of another agent")]
    OtherCertificate,
    /// The agent's own key is in the manifest's list of revoked ones.
    #[error("the organization's manifest lists this agent as revoked")]
    Revoked,
    /// The server's signature does not verify under the manifest's command key.
    #[error("the server did not prove that it holds the organization's command key")]
    ServerSignature,
    /// The server's fields contradict each other: a time or sequence out of order.
    #[error("the server's challenge is malformed")]
    Malformed,
    /// The signer made a signature that does not verify.
    #[error("the signature made with identity_pubkey does not verify")]
    Signer,
}

/// Starts a handshake. `api_key` is the state's, or a pasted one that is kept once it has worked.
///
/// # Errors
/// [`HandshakeError::NotEnrolled`] without a pinned manifest and an id.
pub fn begin(
    state: AgentState,
    api_key: ApiKey,
    sent: Monotonic,
    random: &dyn SecureRandom,
) -> Result<ExpectChallenge, HandshakeError> {
    let (Some(held), Some(agent_id), true) = (state.manifest.clone(), state.agent_id, state.joined) else {
        return Err(HandshakeError::NotEnrolled);
    };
    let client_nonce = random.array::<32>()?;
    Ok(ExpectChallenge { state, api_key, held, agent_id, client_nonce, sent })
}

/// Waits for the server's challenge. Send [`ExpectChallenge::request`].
pub struct ExpectChallenge {
    state: AgentState,
    api_key: ApiKey,
    held: SignedManifest,
    agent_id: AgentId,
    client_nonce: [u8; 32],
    sent: Monotonic,
}

impl core::fmt::Debug for ExpectChallenge {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ExpectChallenge").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}

impl ExpectChallenge {
    /// What to send.
    #[must_use]
    pub fn request(&self) -> BeginRequest {
        begin_request(&self.api_key, self.state.keys.identity(), self.client_nonce)
    }

    /// Judges the manifest of the answer, which is kept at once; the rest is judged after that.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing was signed.
    pub fn challenge(
        self,
        response: BeginResponse,
        received: Monotonic,
    ) -> Result<NeedsSave<ExpectVerification>, HandshakeError> {
        let took = received.since(self.sent);
        if took > REPLY_LIMIT {
            return Err(HandshakeError::Stale { took });
        }
        let manifest =
            SignedManifest::verify(response.manifest.manifest.clone(), response.manifest.signature)?;
        manifest.succeeds(self.held.manifest())?;
        let changed = manifest != self.held;
        let state = AgentState { manifest: Some(manifest.clone()), ..self.state.clone() };
        let next = ExpectVerification { expect: Self { state: state.clone(), ..self }, manifest, response };
        Ok(if changed { NeedsSave::new(state, next) } else { NeedsSave::unchanged(next) })
    }
}

/// Holds an answer whose manifest is verified and kept.
#[derive(Debug)]
pub struct ExpectVerification {
    expect: ExpectChallenge,
    manifest: SignedManifest,
    response: BeginResponse,
}

/// Evidence that manifest, certificate and server signature were verified: without it nothing is
/// signed.
#[derive(Debug)]
struct ServerVerified(SignatureVerified);

impl ExpectVerification {
    /// Verifies the agent's own certificate, then the server's signature.
    ///
    /// # Errors
    /// [`HandshakeError`]; nothing was signed.
    pub fn verify(self) -> Result<NeedsSignature, HandshakeError> {
        let Self { expect, manifest, response } = self;
        let org = manifest.manifest();
        let (certificate, signature) = response.certificate.clone();
        let certificate = SignedCertificate::verify(certificate, signature, &org.root)?;
        let says = certificate.certificate();
        if says.org_id != org.org_id
            || says.agent_id != expect.agent_id
            || says.name != expect.state.name
            || says.keys != expect.state.keys
        {
            return Err(HandshakeError::OtherCertificate);
        }
        if org.revokes(expect.state.keys.identity()) {
            return Err(HandshakeError::Revoked);
        }
        if response.expires_at <= response.server_time || response.last_sequence < 0 {
            return Err(HandshakeError::Malformed);
        }
        let manifest_hash = manifest.hash();
        let transcript = auth(&expect, &manifest, &manifest_hash, &response).transcript(Domain::AuthServer);
        let verified = org
            .command
            .verify(&transcript, &response.signature)
            .map_err(|_| HandshakeError::ServerSignature)?;
        Ok(NeedsSignature { expect, manifest, manifest_hash, response, verified: ServerVerified(verified) })
    }
}

fn auth<'a>(
    expect: &'a ExpectChallenge,
    manifest: &'a SignedManifest,
    manifest_hash: &'a [u8; 32],
    response: &'a BeginResponse,
) -> Auth<'a> {
    Auth {
        command: &manifest.manifest().command,
        agent_id: expect.agent_id,
        identity: expect.state.keys.identity(),
        client_nonce: &expect.client_nonce,
        challenge: &response.challenge,
        server_time: response.server_time,
        expires_at: response.expires_at,
        last_sequence: response.last_sequence,
        manifest_hash,
    }
}

/// Waits for the identity key's signature.
#[derive(Debug)]
pub struct NeedsSignature {
    expect: ExpectChallenge,
    manifest: SignedManifest,
    manifest_hash: [u8; 32],
    response: BeginResponse,
    verified: ServerVerified,
}

impl NeedsSignature {
    /// What the identity key is to sign.
    #[must_use]
    pub fn to_sign(&self) -> Transcript {
        auth(&self.expect, &self.manifest, &self.manifest_hash, &self.response).transcript(Domain::AuthAgent)
    }

    /// Takes the signature. The request is sent next: `now` is what its answer's age is counted from.
    ///
    /// # Errors
    /// [`HandshakeError::Signer`] if it does not verify.
    pub fn signed(self, signature: Signature, now: Monotonic) -> Result<ExpectSession, HandshakeError> {
        let transcript = self.to_sign();
        let ServerVerified(SignatureVerified { .. }) = self.verified;
        self.expect
            .state
            .keys
            .identity()
            .verify(&transcript, &signature)
            .map_err(|_| HandshakeError::Signer)?;
        let request = CompleteRequest { challenge: self.response.challenge, signature };
        Ok(ExpectSession {
            request,
            server_time: self.response.server_time,
            last_sequence: self.response.last_sequence,
            begin_sent: self.expect.sent,
            sent: now,
            api_key: self.expect.api_key,
            state: self.expect.state,
        })
    }
}

/// Waits for the session. Send [`ExpectSession::request`].
#[derive(Debug)]
pub struct ExpectSession {
    request: CompleteRequest,
    server_time: UnixMillis,
    last_sequence: i64,
    begin_sent: Monotonic,
    sent: Monotonic,
    api_key: ApiKey,
    state: AgentState,
}

/// The agent is online.
#[derive(Debug, Clone)]
pub struct Online {
    /// The session.
    pub session: AgentSession,
    /// The server's time, adopted from this handshake.
    pub server_time: ServerTime,
    /// The highest command sequence ever issued to this agent.
    pub last_sequence: i64,
    /// When the session is to be renewed: at two thirds of its life, server time.
    pub renew_at: UnixMillis,
}

impl ExpectSession {
    /// What to send.
    #[must_use]
    pub const fn request(&self) -> &CompleteRequest {
        &self.request
    }

    /// Takes the session. Session and api_key are saved, a pasted api_key now that it has worked.
    ///
    /// # Errors
    /// [`HandshakeError::Stale`], or [`HandshakeError::Malformed`] if the session is over already or lasts longer than
    /// any may: the answer is not signed.
    pub fn session(
        self,
        response: CompleteResponse,
        received: Monotonic,
    ) -> Result<NeedsSave<Online>, HandshakeError> {
        let took = received.since(self.sent);
        if took > REPLY_LIMIT {
            return Err(HandshakeError::Stale { took });
        }
        let server_time = ServerTime::adopt(self.server_time, self.begin_sent);
        let now = server_time.at(received);
        let life = response.expires_at.since(self.server_time);
        // The server counts a session from when it makes it, which is a little after it told its time.
        if response.expires_at <= now || response.expires_at > now.saturating_add(Policy::MAX_SESSION_TTL) {
            return Err(HandshakeError::Malformed);
        }
        let session = AgentSession {
            token: response.token,
            created_at: self.server_time,
            expires_at: response.expires_at,
        };
        let online = Online {
            session: session.clone(),
            server_time,
            last_sequence: self.last_sequence,
            renew_at: self.server_time.saturating_add(life.saturating_mul(2) / 3),
        };
        let state = AgentState { session: Some(session), api_key: Some(self.api_key), ..self.state };
        Ok(NeedsSave::new(state, online))
    }
}
