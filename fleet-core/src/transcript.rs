//! The bytes that are signed or hashed (protocol section 2).
//!
//! `0x00 || LP(domain) || LP(field 1) || LP(field 2) || ...`, where `LP(x)` is the length of x in
//! 4 bytes, big-endian, then x. Transcripts are rebuilt from parsed values; an encoded message is
//! never signed. The leading zero byte can never begin the signing input of a JSON Web Signature,
//! so nothing signed here passes for a miner's JWT, nor the reverse.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::time::UnixMillis;

/// What a transcript is for. No two uses of a key share a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// Proof of the identity key at enrollment.
    EnrollIdentity,
    /// Proof of the miner-signing key at enrollment.
    EnrollMinerSigning,
    /// The server's half of the handshake.
    AuthServer,
    /// The agent's half of the handshake.
    AuthAgent,
    /// The organization's manifest.
    OrgManifest,
    /// What an enrollment code pins of the manifest; hashed only.
    Pin,
    /// An agent's certificate.
    AgentCertificate,
    /// An agent's three public keys; hashed only: the fingerprint.
    Keyset,
    /// The sealed delivery of an api_key; HPKE `info` only.
    ApiKey,
    /// A control command.
    Command,
}

impl Domain {
    /// The domain as it stands in the transcript.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnrollIdentity => "fleet/v1/enroll/identity",
            Self::EnrollMinerSigning => "fleet/v1/enroll/miner-signing",
            Self::AuthServer => "fleet/v1/auth/server",
            Self::AuthAgent => "fleet/v1/auth/agent",
            Self::OrgManifest => "fleet/v1/org-manifest",
            Self::Pin => "fleet/v1/pin",
            Self::AgentCertificate => "fleet/v1/agent-certificate",
            Self::Keyset => "fleet/v1/keyset",
            Self::ApiKey => "fleet/v1/api-key",
            Self::Command => "fleet/v1/command",
        }
    }
}

/// No transcript is longer but for manifests with lists, and certificates with long names.
const USUAL_LEN: usize = 384;

/// A finished transcript: the bytes to sign, verify or hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Transcript {
    domain: Domain,
    bytes: Vec<u8>,
}

impl Transcript {
    /// Starts a transcript. Every field of the domain follows, in the protocol's order, absent
    /// ones as [`Transcript::absent`].
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        let mut bytes = Vec::with_capacity(USUAL_LEN);
        bytes.push(0);
        Self { domain, bytes }.field(domain.as_str().as_bytes())
    }

    /// Adds bytes: a key, hash, nonce, challenge, or the UTF-8 of a string as it stands.
    #[must_use]
    pub fn field(mut self, bytes: &[u8]) -> Self {
        // No field that this crate accepts comes near 2^32 bytes; one that did must not be
        // signed under a wrong length, so the length saturates and no verifier agrees.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds an integer, 8 bytes big-endian.
    #[must_use]
    pub fn integer(self, value: i64) -> Self {
        self.field(&value.to_be_bytes())
    }

    /// Adds a time, whole Unix milliseconds as an integer.
    #[must_use]
    pub fn time(self, time: UnixMillis) -> Self {
        self.integer(time.value())
    }

    /// Adds a field that has no value.
    #[must_use]
    pub fn absent(self) -> Self {
        self.field(&[])
    }

    /// Adds a list of fixed-size values as one field.
    #[must_use]
    pub fn list<'a>(self, items: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut joined = Vec::new();
        for item in items {
            joined.extend_from_slice(item);
        }
        self.field(&joined)
    }

    /// What the transcript is for.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// The bytes to sign or hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.bytes)
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Handshake bytes are never printed, public as they are.
        f.debug_struct("Transcript").field("domain", &self.domain).field("len", &self.bytes.len()).finish()
    }
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_written_in_the_protocol() {
        let transcript =
            Transcript::new(Domain::Pin).integer(1).field(b"ab").absent().list([&b"c"[..], b"d"]);
        let mut expected = vec![0, 0, 0, 0, 12];
        expected.extend_from_slice(b"fleet/v1/pin");
        expected.extend_from_slice(&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend_from_slice(&[0, 0, 0, 2, b'a', b'b']);
        expected.extend_from_slice(&[0, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 2, b'c', b'd']);
        assert_eq!(transcript.as_bytes(), expected);
    }

    #[test]
    fn moving_a_byte_across_a_field_boundary_changes_the_bytes() {
        let a = Transcript::new(Domain::Keyset).field(b"ab").field(b"c");
        let b = Transcript::new(Domain::Keyset).field(b"a").field(b"bc");
        assert_ne!(a.as_bytes(), b.as_bytes());
    }
}
