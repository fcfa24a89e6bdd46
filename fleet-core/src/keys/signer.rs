use core::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    AgentPublicKeys, AgentSecretKeys, IdentitySecretKey, KeyError, MinerSigningSecretKey, SealingSecretKey,
    Signature,
};
use super::{CommandSecretKey, RootSecretKey};
use crate::future::{BoxFuture, ready};
use crate::hpke;

/// A signer could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the signer failed")]
pub struct SignerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Something that holds one Ed25519 secret key and signs with it: the key in memory, or in
/// another process, or in a device.
///
/// An implementation signs exactly the bytes it is given. One that signs for whoever asks lets
/// them enroll and handshake in its owner's name. What it returns is verified before it is sent.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public key, 32 bytes. The same for as long as the signer lives.
    fn public_key(&self) -> [u8; 32];
    /// Signs `message` (RFC 8032, pure Ed25519).
    ///
    /// # Cancel safety
    /// The driver drops it at any point. A signature that nobody takes does no harm; the answer to this call
    /// must not become that to the next. The future is `Send`; it must not panic.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>>;
}

/// A sealed message could not be opened, for whichever reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message cannot be opened")]
pub struct OpenError;

/// Something that holds an agent's X25519 sealing key and opens what is sealed to it.
pub trait Opener: fmt::Debug + Send + Sync {
    /// The public key, 32 bytes.
    fn public_key(&self) -> [u8; 32];
    /// Opens `enc || ct` under `info` with no aad (HPKE, protocol section 6, suite 1).
    ///
    /// # Cancel safety
    /// The driver drops it at any point; the answer to this call must not become that to the next. The future
    /// is `Send`; it must not panic.
    fn open<'a>(
        &'a self,
        info: &'a [u8],
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, OpenError>>;
}

macro_rules! signer {
    ($($secret:ty),*) => {$(
        impl Signer for $secret {
            fn public_key(&self) -> [u8; 32] {
                *self.public().as_bytes()
            }

            fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
                ready(Ok(Self::sign(self, message)))
            }
        }
    )*};
}

signer!(IdentitySecretKey, MinerSigningSecretKey, RootSecretKey, CommandSecretKey);

impl Opener for SealingSecretKey {
    fn public_key(&self) -> [u8; 32] {
        *self.public().as_bytes()
    }

    fn open<'a>(
        &'a self,
        info: &'a [u8],
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, OpenError>> {
        ready(hpke::open(self, info, &[], sealed))
    }
}

/// An agent's keys as the driver uses them, wherever the secrets are.
#[derive(Debug, Clone)]
pub struct AgentKeyring {
    /// Signs enrollment and handshakes.
    pub identity: Arc<dyn Signer>,
    /// Signs its own proof at enrollment, and miners' JWTs.
    pub miner_signing: Arc<dyn Signer>,
    /// Opens the api_key at enrollment, and secrets.
    pub sealing: Arc<dyn Opener>,
}

impl AgentKeyring {
    /// The public keys.
    ///
    /// # Errors
    /// [`KeyError`] if one of the holders names a key that protocol section 2 refuses.
    pub fn public(&self) -> Result<AgentPublicKeys, KeyError> {
        AgentPublicKeys::parse(
            &self.identity.public_key(),
            &self.miner_signing.public_key(),
            &self.sealing.public_key(),
        )
    }

    /// Whether these are the public halves: the same bytes, which are then the same keys.
    #[must_use]
    pub fn holds(&self, keys: &AgentPublicKeys) -> bool {
        let own = [self.identity.public_key(), self.miner_signing.public_key(), self.sealing.public_key()];
        keys.by_role().map(|(_, key)| *key) == own
    }
}

impl From<AgentSecretKeys> for AgentKeyring {
    fn from(keys: AgentSecretKeys) -> Self {
        Self {
            identity: Arc::new(keys.identity),
            miner_signing: Arc::new(keys.miner_signing),
            sealing: Arc::new(keys.sealing),
        }
    }
}
