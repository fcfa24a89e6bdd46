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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::SecretHash;
    use crate::enrollment::api_key_info;
    use crate::id::AgentId;
    use crate::random::{RandomError, SecureRandom};

    #[derive(Debug)]
    struct Fixed;
    impl SecureRandom for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
            out.fill(8);
            Ok(())
        }
    }

    fn keys(seed: u8) -> AgentSecretKeys {
        AgentSecretKeys {
            identity: IdentitySecretKey::from_seed(&[seed; 32]),
            miner_signing: MinerSigningSecretKey::from_seed(&[seed.saturating_add(1); 32]),
            sealing: SealingSecretKey::from_scalar(&[seed.saturating_add(2); 32]),
        }
    }

    #[test]
    fn a_keyring_holds_its_own_three_keys_and_no_others() {
        let (own, other) = (keys(1).public().unwrap(), keys(11).public().unwrap());
        let keyring = AgentKeyring::from(keys(1));
        assert_eq!(keyring.public(), Ok(own));
        assert!(keyring.holds(&own) && !keyring.holds(&other));
        // Any one that is another's.
        for (identity, miner_signing, sealing) in [
            (other.identity(), own.miner_signing(), own.sealing()),
            (own.identity(), other.miner_signing(), own.sealing()),
            (own.identity(), own.miner_signing(), other.sealing()),
        ] {
            let mixed = AgentPublicKeys::new(*identity, *miner_signing, *sealing).unwrap();
            assert!(!keyring.holds(&mixed), "{mixed:?}");
        }
    }

    #[test]
    fn a_keyring_opens_what_is_sealed_to_it() {
        let (keyring, own) = (AgentKeyring::from(keys(1)), keys(1).public().unwrap());
        let info = api_key_info(AgentId::new(1).unwrap(), SecretHash::of("x"), own.sealing().as_bytes());
        let sealed = hpke::seal(own.sealing(), info.as_bytes(), &[], b"message", &Fixed).unwrap();
        let open = |info: &[u8]| {
            let mut opening = keyring.sealing.open(info, &sealed);
            let mut context = core::task::Context::from_waker(core::task::Waker::noop());
            match opening.as_mut().poll(&mut context) {
                core::task::Poll::Ready(opened) => opened,
                core::task::Poll::Pending => panic!("a key in memory waits for nothing"),
            }
        };
        assert_eq!(open(info.as_bytes()).map(|opened| opened.to_vec()), Ok(b"message".to_vec()));
        assert_eq!(open(b"another").map(drop), Err(OpenError));
    }
}
