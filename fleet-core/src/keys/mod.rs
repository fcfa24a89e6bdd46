//! Keys, one type for each role, so that none is used in the place of another (protocol
//! section 1), and the checks of protocol section 2 on every key that comes from outside.
//!
//! A value of a public key type has passed those checks: Ed25519 keys decompress, are canonical
//! and not of small order; X25519 keys are below 2^255 - 19 and not of low order.
//!
//! # Secrets in memory
//! Secret keys, and the strings of [`crate::code`], can be neither compared nor printed; secret
//! keys cannot be cloned either. Each lies on the heap behind a pointer, so that moving one moves
//! no secret bytes, and is overwritten before that memory is given back. This holds for whatever
//! contains them too: requests, the states of the machines, what a store in memory keeps.
//!
//! The stack is not promised. What this crate's own work with secrets leaves there it overwrites
//! when the work is done, as far as that can be done without `unsafe`; what a caller passes in by
//! value, and what a compiler spills or moves, it cannot reach. Registers, swap space and debuggers
//! are for the operating system to keep from others.

mod ed25519;
mod signer;
mod x25519;

pub use ed25519::{
    BadSignature, CommandPublicKey, CommandSecretKey, IdentityPublicKey, IdentitySecretKey,
    MinerSigningPublicKey, MinerSigningSecretKey, OperatorPublicKey, OperatorSecretKey, RootPublicKey,
    RootSecretKey, Signature, SignatureVerified,
};
pub use signer::{AgentKeyring, OpenError, Opener, Signer, SignerError};
pub use x25519::{RecoveryPublicKey, RecoverySecretKey, SealingPublicKey, SealingSecretKey};
pub(crate) use x25519::{X25519Public, agree};

use crate::fingerprint::Fingerprint;
use crate::transcript::{Domain, Transcript};

/// What is wrong with a key from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("{role} must be 32 bytes, got {got}")]
    Length {
        /// Which key.
        role: KeyRole,
        /// How many bytes there are.
        got: usize,
    },
    /// Not the canonical encoding of a point (RFC 8032 section 5.1.3, RFC 7748 section 5).
    #[error("{role} is not a canonically encoded public key")]
    NotCanonical {
        /// Which key.
        role: KeyRole,
    },
    /// A point of small order, under which anybody can sign or agree.
    #[error("{role} is a point of small order")]
    SmallOrder {
        /// Which key.
        role: KeyRole,
    },
    /// The same bytes in two roles.
    #[error("{first} and {second} must differ")]
    TwoRoles {
        /// One of the roles.
        first: KeyRole,
        /// The other.
        second: KeyRole,
    },
}

impl KeyError {
    /// The role whose key is refused; of two, the latter.
    #[must_use]
    pub const fn role(&self) -> KeyRole {
        match self {
            Self::Length { role, .. } | Self::NotCanonical { role } | Self::SmallOrder { role } => *role,
            Self::TwoRoles { second, .. } => *second,
        }
    }
}

/// What a key is for. Displayed as the field that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyRole {
    /// Signs manifests and certificates.
    Root,
    /// Signs the server's half of handshakes, and commands.
    Command,
    /// Opens escrowed secrets after a loss.
    Recovery,
    /// Signs secrets that an operator authors.
    Operator,
    /// Signs the agent's half of enrollment and handshakes.
    Identity,
    /// Signs Proto miner JWTs, and its own proof at enrollment.
    MinerSigning,
    /// Opens what is sealed to the agent.
    Sealing,
}

impl KeyRole {
    /// The name of the wire field that carries such a key.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Root => "root_pubkey",
            Self::Command => "command_pubkey",
            Self::Recovery => "recovery_pubkey",
            Self::Operator => "operator_pubkeys",
            Self::Identity => "identity_pubkey",
            Self::MinerSigning => "miner_signing_pubkey",
            Self::Sealing => "sealing_pubkey",
        }
    }
}

impl core::fmt::Display for KeyRole {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.field())
    }
}

/// An agent's three public keys, pairwise different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AgentPublicKeys {
    identity: IdentityPublicKey,
    miner_signing: MinerSigningPublicKey,
    sealing: SealingPublicKey,
}

impl AgentPublicKeys {
    /// Puts three keys together.
    ///
    /// # Errors
    /// [`KeyError::TwoRoles`] if any two have the same bytes.
    pub fn new(
        identity: IdentityPublicKey,
        miner_signing: MinerSigningPublicKey,
        sealing: SealingPublicKey,
    ) -> Result<Self, KeyError> {
        distinct(&[
            (KeyRole::Identity, identity.as_bytes()),
            (KeyRole::MinerSigning, miner_signing.as_bytes()),
            (KeyRole::Sealing, sealing.as_bytes()),
        ])?;
        Ok(Self { identity, miner_signing, sealing })
    }

    /// Checks three keys from the wire, each alone and then against each other.
    ///
    /// # Errors
    /// [`KeyError`] for the first key that fails.
    pub fn parse(identity: &[u8], miner_signing: &[u8], sealing: &[u8]) -> Result<Self, KeyError> {
        Self::new(
            IdentityPublicKey::parse(identity)?,
            MinerSigningPublicKey::parse(miner_signing)?,
            SealingPublicKey::parse(sealing)?,
        )
    }

    /// The identity key.
    #[must_use]
    pub const fn identity(&self) -> &IdentityPublicKey {
        &self.identity
    }

    /// The miner-signing key.
    #[must_use]
    pub const fn miner_signing(&self) -> &MinerSigningPublicKey {
        &self.miner_signing
    }

    /// The sealing key.
    #[must_use]
    pub const fn sealing(&self) -> &SealingPublicKey {
        &self.sealing
    }

    /// The keys with their roles, in the protocol's order.
    #[must_use]
    pub fn by_role(&self) -> [(KeyRole, &[u8; 32]); 3] {
        [
            (KeyRole::Identity, self.identity.as_bytes()),
            (KeyRole::MinerSigning, self.miner_signing.as_bytes()),
            (KeyRole::Sealing, self.sealing.as_bytes()),
        ]
    }

    /// What people compare: it covers all three keys (protocol section 2).
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(
            &Transcript::new(Domain::Keyset)
                .field(self.identity.as_bytes())
                .field(self.miner_signing.as_bytes())
                .field(self.sealing.as_bytes()),
        )
    }
}

/// An agent's three secret keys.
#[derive(Debug)]
pub struct AgentSecretKeys {
    /// The identity key.
    pub identity: IdentitySecretKey,
    /// The miner-signing key.
    pub miner_signing: MinerSigningSecretKey,
    /// The sealing key.
    pub sealing: SealingSecretKey,
}

impl AgentSecretKeys {
    /// Makes three new keys.
    ///
    /// # Errors
    /// [`crate::random::RandomError`] if the random source fails.
    pub fn generate(random: &dyn crate::random::SecureRandom) -> Result<Self, crate::random::RandomError> {
        Ok(Self {
            identity: IdentitySecretKey::generate(random)?,
            miner_signing: MinerSigningSecretKey::generate(random)?,
            sealing: SealingSecretKey::generate(random)?,
        })
    }

    /// The public halves.
    ///
    /// # Errors
    /// [`KeyError::TwoRoles`] if two of the keys are the same, as only a random source that
    /// repeats, or somebody copying key files, brings about.
    pub fn public(&self) -> Result<AgentPublicKeys, KeyError> {
        AgentPublicKeys::new(self.identity.public(), self.miner_signing.public(), self.sealing.public())
    }
}

/// No two of these keys have the same bytes.
pub(crate) fn distinct(keys: &[(KeyRole, &[u8; 32])]) -> Result<(), KeyError> {
    for (i, (first, a)) in keys.iter().enumerate() {
        for (second, b) in keys.iter().skip(i.saturating_add(1)) {
            if a == b {
                return Err(KeyError::TwoRoles { first: *first, second: *second });
            }
        }
    }
    Ok(())
}

fn key_bytes(role: KeyRole, bytes: &[u8]) -> Result<[u8; 32], KeyError> {
    <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Length { role, got: bytes.len() })
}

/// Whether the bytes, as a little-endian integer, are below 2^255 - 19.
fn is_below_the_prime(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7f || (*high == 0x7f && (*low < 0xed || middle.iter().any(|b| *b != 0xff)))
}
