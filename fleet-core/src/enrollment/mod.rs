//! Enrollment: how an agent's keys become an organization's agent (protocol section 4).
//!
//! # Roles
//! * The **operator** makes a code on the server and later types the fingerprint that the *agent*
//!   shows. The operator's eyes are the only channel that an attacker in between does not have.
//! * The **agent** makes three key pairs, proves two of them, and learns from the code which
//!   organization it may join: the code pins the manifest's keys.
//! * The **server** binds a code to one set of keys, once, and makes the agent's certificate when
//!   the fingerprint is confirmed.
//!
//! # Order of messages
//! ```text
//! operator          server                          agent
//!    |-- CreateEnrollmentCode ->|                      |
//!    |<-- code (shown once) ----|                      |
//!    |-------------------- code, by hand ------------->|  typo? stops here
//!    |                          |                      |  keys to disk
//!    |                          |<-- Register ---------|  code, name, 3 keys, 2 proofs
//!    |                          |--- status, manifest->|  pin = code's? own fingerprint?
//!    |<------------------- fingerprint, by eye --------|
//!    |-- ConfirmAgent --------->|                      |
//!    |                          |<-- Register again ---|  every 2 s
//!    |                          |--- CONFIRMED, key -->|  api_key sealed to the agent
//! ```
//!
//! # What each side knows, and what can go wrong
//! The server never learns a code before it is used (it stores a hash), and shows the fingerprint
//! of an unconfirmed agent to nobody. Somebody who steals a code and registers first is found by
//! the fingerprint; somebody who registers after is refused and seen as a second use. A server
//! that is not the code's maker fails the pin, and the agent stops before it shows anything. The
//! fingerprint covers all three public keys, so the miner-signing key is as authentic as the
//! identity key. A lost reply costs nothing: the same Register again is answered again.
//!
//! The machines of the server are in [`server`], those of the agent in [`agent`]. They do no I/O:
//! [`crate::driver`] runs them over a store and a transport, and so can you.

pub mod agent;
pub mod server;

use core::fmt;

use zeroize::Zeroizing;

use crate::code::{EnrollmentCode, SecretHash};
use crate::fingerprint::Fingerprint;
use crate::id::AgentId;
use crate::keys::Signature;
use crate::manifest::OrgManifest;
use crate::name::Name;
use crate::store::AgentStatus;
use crate::transcript::{Domain, Transcript};

/// Register's request. Keys are not parsed yet: the server checks the code first.
#[derive(Clone)]
pub struct RegisterRequest {
    token: Zeroizing<String>,
    /// The name the agent asks for.
    pub name: Name,
    /// Its identity key.
    pub identity: [u8; 32],
    /// Its miner-signing key.
    pub miner_signing: [u8; 32],
    /// Its sealing key.
    pub sealing: [u8; 32],
    /// The identity key's signature over `fleet/v1/enroll/identity`.
    pub identity_proof: Signature,
    /// The miner-signing key's signature over `fleet/v1/enroll/miner-signing`.
    pub miner_signing_proof: Signature,
}

impl RegisterRequest {
    /// Puts together what came over the wire. `token` is the enrollment code as sent.
    #[must_use]
    pub fn new(
        token: String,
        name: Name,
        [identity, miner_signing, sealing]: [[u8; 32]; 3],
        [identity_proof, miner_signing_proof]: [Signature; 2],
    ) -> Self {
        let token = Zeroizing::new(token);
        Self { token, name, identity, miner_signing, sealing, identity_proof, miner_signing_proof }
    }

    /// The enrollment code, to be sent.
    #[must_use]
    pub fn expose_token(&self) -> &str {
        &self.token
    }

    /// What the server looks the code up by.
    #[must_use]
    pub fn code(&self) -> SecretHash {
        SecretHash::of(&self.token)
    }

    /// The transcripts of the two proofs: identity, then miner-signing.
    #[must_use]
    pub fn transcripts(&self) -> [Transcript; 2] {
        transcripts(self.code(), &self.name, [&self.identity, &self.miner_signing, &self.sealing])
    }
}

impl fmt::Debug for RegisterRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The two transcripts of enrollment (protocol section 2).
fn transcripts(
    code: SecretHash,
    name: &Name,
    [identity, miner_signing, sealing]: [&[u8; 32]; 3],
) -> [Transcript; 2] {
    [Domain::EnrollIdentity, Domain::EnrollMinerSigning].map(|domain| {
        Transcript::new(domain)
            .field(code.as_bytes())
            .field(name.as_str().as_bytes())
            .field(identity)
            .field(miner_signing)
            .field(sealing)
    })
}

/// The `info` under which an api_key is sealed to an agent (protocol section 2,
/// `fleet/v1/api-key`).
#[must_use]
pub fn api_key_info(agent: AgentId, code: SecretHash, sealing: &[u8; 32]) -> Transcript {
    Transcript::new(Domain::ApiKey).integer(agent.value()).field(code.as_bytes()).field(sealing)
}

/// Register's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct RegisterResponse {
    /// The agent's id.
    pub agent_id: AgentId,
    /// Where the agent stands.
    pub status: AgentStatus,
    /// The fingerprint that the server computed; the agent requires its own.
    pub fingerprint: Fingerprint,
    /// The manifest in force, not verified yet.
    pub manifest: UnverifiedManifest,
    /// The api_key sealed to the agent, once it is confirmed and until its first call under a
    /// session: `enc || ct`.
    pub sealed_api_key: Option<Vec<u8>>,
}

impl fmt::Debug for RegisterResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterResponse")
            .field("agent_id", &self.agent_id)
            .field("status", &self.status)
            .field("fingerprint", &self.fingerprint)
            .field("manifest", &self.manifest)
            .field("sealed_api_key", &self.sealed_api_key.as_ref().map(|_| format_args!("..")))
            .finish()
    }
}

/// A manifest as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedManifest {
    /// What it says.
    pub manifest: OrgManifest,
    /// What claims to be its root's signature.
    pub signature: Signature,
}

impl From<&crate::manifest::SignedManifest> for UnverifiedManifest {
    fn from(signed: &crate::manifest::SignedManifest) -> Self {
        Self { manifest: signed.manifest().clone(), signature: *signed.signature() }
    }
}

/// What an operator's client shows of a new code.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// The enrollment's id.
    pub enrollment_id: crate::id::EnrollmentId,
    /// The code, shown once; `None` if the operator's tool made it and gave its hash.
    pub code: Option<EnrollmentCode>,
    /// When it expires.
    pub expires_at: crate::time::UnixMillis,
}
