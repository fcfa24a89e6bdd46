//! The handshake: both sides prove themselves, and the agent gets a session (protocol section 5).
//!
//! # Order of messages
//! ```text
//! agent                                     server
//!   |-- BeginAuthHandshake: api_key, identity, nonce -->|  one challenge an agent, 30 s
//!   |<- challenge, times, manifest, certificate, sig ---|  signed with the command key
//!   |  manifest under the pinned root, kept at once     |
//!   |  certificate, then the server's signature         |
//!   |-- CompleteAuthHandshake: challenge, sig --------->|  the challenge is taken, once
//!   |<- session token, expiry --------------------------|
//! ```
//!
//! Both sign the same fields under different domains, so that neither signature passes for the
//! other. The agent signs nothing before it has verified everything: an impostor without a live
//! path to the server gets no signature. A relay with such a path, where TLS fails, can hold the
//! api_key and the session token; it cannot make a command or open a secret.

pub mod agent;
pub mod server;

use core::fmt;

use zeroize::Zeroizing;

use crate::certificate::AgentCertificate;
use crate::code::{ApiKey, SecretHash, SessionToken};
use crate::enrollment::UnverifiedManifest;
use crate::id::AgentId;
use crate::keys::{CommandPublicKey, IdentityPublicKey, Signature};
use crate::time::UnixMillis;
use crate::transcript::{Domain, Transcript};

/// BeginAuthHandshake's request.
#[derive(Clone)]
pub struct BeginRequest {
    api_key: Zeroizing<String>,
    /// The agent's identity key.
    pub identity: [u8; 32],
    /// 32 random bytes.
    pub client_nonce: [u8; 32],
}

impl BeginRequest {
    /// Puts together what came over the wire.
    #[must_use]
    pub fn new(api_key: String, identity: [u8; 32], client_nonce: [u8; 32]) -> Self {
        Self { api_key: Zeroizing::new(api_key), identity, client_nonce }
    }

    /// The api_key, to be sent.
    #[must_use]
    pub fn expose_api_key(&self) -> &str {
        &self.api_key
    }

    fn api_key_hash(&self) -> SecretHash {
        SecretHash::of(&self.api_key)
    }
}

impl fmt::Debug for BeginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginRequest").finish_non_exhaustive()
    }
}

/// BeginAuthHandshake's answer, not verified yet.
#[derive(Clone)]
pub struct BeginResponse {
    /// 32 random bytes.
    pub challenge: [u8; 32],
    /// When the challenge expires.
    pub expires_at: UnixMillis,
    /// The server's time.
    pub server_time: UnixMillis,
    /// The highest command sequence issued to the agent.
    pub last_sequence: i64,
    /// The manifest in force.
    pub manifest: UnverifiedManifest,
    /// The agent's certificate and what claims to be the root's signature.
    pub certificate: (AgentCertificate, Signature),
    /// The command key's signature over `fleet/v1/auth/server`.
    pub signature: Signature,
}

impl fmt::Debug for BeginResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginResponse").field("server_time", &self.server_time).finish_non_exhaustive()
    }
}

/// CompleteAuthHandshake's request.
#[derive(Clone)]
pub struct CompleteRequest {
    /// The challenge that is answered.
    pub challenge: [u8; 32],
    /// The identity key's signature over `fleet/v1/auth/agent`.
    pub signature: Signature,
}

impl fmt::Debug for CompleteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteRequest").finish_non_exhaustive()
    }
}

/// CompleteAuthHandshake's answer.
#[derive(Debug, Clone)]
pub struct CompleteResponse {
    /// The session's bearer token.
    pub token: SessionToken,
    /// When it ends, server time.
    pub expires_at: UnixMillis,
}

/// The fields that both sides sign.
struct Auth<'a> {
    command: &'a CommandPublicKey,
    agent_id: AgentId,
    identity: &'a IdentityPublicKey,
    client_nonce: &'a [u8; 32],
    challenge: &'a [u8; 32],
    server_time: UnixMillis,
    expires_at: UnixMillis,
    last_sequence: i64,
    manifest_hash: &'a [u8; 32],
}

impl Auth<'_> {
    fn transcript(&self, domain: Domain) -> Transcript {
        Transcript::new(domain)
            .field(self.command.as_bytes())
            .integer(self.agent_id.value())
            .field(self.identity.as_bytes())
            .field(self.client_nonce)
            .field(self.challenge)
            .time(self.server_time)
            .time(self.expires_at)
            .integer(self.last_sequence)
            .field(self.manifest_hash)
    }
}

fn begin_request(api_key: &ApiKey, identity: &IdentityPublicKey, client_nonce: [u8; 32]) -> BeginRequest {
    BeginRequest::new(api_key.expose().to_owned(), *identity.as_bytes(), client_nonce)
}
