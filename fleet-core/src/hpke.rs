//! Hybrid public key encryption (RFC 9180), base mode, single shot, in the one suite of protocol
//! section 6: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
//!
//! A sealed message is `enc || ct`: the ephemeral public key (32 bytes), then the ciphertext with
//! its tag (16 bytes more than the plaintext). Checked against the CFRG's vectors.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::{Hkdf, HkdfExtract};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::keys::{
    KeyRole, OpenError, RecoveryPublicKey, RecoverySecretKey, SealingPublicKey, SealingSecretKey,
    X25519Public, agree,
};
use crate::random::{RandomError, SecureRandom};
use crate::stack::cleared_after;

/// Length of `enc`, the ephemeral public key, bytes.
pub const ENC_LEN: usize = 32;
/// Length of the tag, bytes.
pub const TAG_LEN: usize = 16;

const KEM_ID: u16 = 0x0020;
const KDF_ID: u16 = 0x0001;
const AEAD_ID: u16 = 0x0002;
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0x00;

/// A message could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The cipher refused, as it does for plaintexts of more than 2^36 bytes.
    #[error("the message cannot be sealed")]
    Cipher,
}

mod sealed {
    pub trait PublicHalf {
        fn raw(&self) -> [u8; 32];
    }
    pub trait SecretHalf {
        fn scalar(&self) -> zeroize::Zeroizing<[u8; 32]>;
    }
}

/// A public key that messages can be sealed to: an agent's sealing key, or a recovery key.
pub trait Recipient: sealed::PublicHalf {}

/// The secret half of a [`Recipient`].
pub trait RecipientSecret: sealed::SecretHalf {}

macro_rules! recipient {
    ($public:ty, $secret:ty) => {
        impl sealed::PublicHalf for $public {
            fn raw(&self) -> [u8; 32] {
                *self.inner().as_bytes()
            }
        }
        impl Recipient for $public {}
        impl sealed::SecretHalf for $secret {
            fn scalar(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.inner().to_bytes())
            }
        }
        impl RecipientSecret for $secret {}
    };
}

recipient!(SealingPublicKey, SealingSecretKey);
recipient!(RecoveryPublicKey, RecoverySecretKey);

/// Seals `plaintext` to `recipient`: `enc || ct`.
///
/// # Errors
/// [`SealError`] if the random source fails, or the plaintext is longer than the cipher takes.
pub fn seal(
    recipient: &dyn Recipient,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, SealError> {
    cleared_after(|| {
        let mut ephemeral = Zeroizing::new([0; 32]);
        random.fill(ephemeral.as_mut())?;
        seal_with_ephemeral(&recipient.raw(), info, aad, plaintext, &StaticSecret::from(*ephemeral))
            .ok_or(SealError::Cipher)
    })
}

/// Opens `enc || ct`.
///
/// # Errors
/// [`OpenError`], the same for every cause.
pub fn open(
    secret: &dyn RecipientSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (enc, ciphertext) = sealed.split_first_chunk::<ENC_LEN>().ok_or(OpenError)?;
    cleared_after(|| {
        let secret = StaticSecret::from(*secret.scalar());
        let sender = X25519Public::parse(KeyRole::Sealing, enc).map_err(|_| OpenError)?;
        let dh = agree(&secret, &sender).ok_or(OpenError)?;
        let context = Context::new(&dh, enc, PublicKey::from(&secret).as_bytes(), info).ok_or(OpenError)?;
        context
            .cipher
            .decrypt(&context.nonce, Payload { msg: ciphertext, aad })
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    })
}

fn seal_with_ephemeral(
    recipient: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    ephemeral: &StaticSecret,
) -> Option<Vec<u8>> {
    let to = X25519Public::parse(KeyRole::Sealing, recipient).ok()?;
    let enc = PublicKey::from(ephemeral).to_bytes();
    let dh = agree(ephemeral, &to)?;
    let context = Context::new(&dh, &enc, recipient, info)?;
    let ciphertext = context.cipher.encrypt(&context.nonce, Payload { msg: plaintext, aad }).ok()?;
    let mut out = enc.to_vec();
    out.extend_from_slice(&ciphertext);
    Some(out)
}

/// The key schedule's result for sequence number 0 (RFC 9180 section 5.1).
struct Context {
    cipher: Aes256Gcm,
    nonce: Nonce<aes_gcm::aead::consts::U12>,
}

impl Context {
    fn new(dh: &[u8; 32], enc: &[u8; 32], recipient: &[u8; 32], info: &[u8]) -> Option<Self> {
        let shared_secret = extract_and_expand(dh, enc, recipient)?;
        let suite = Suite::hpke();
        let mut context = vec![MODE_BASE];
        context.extend_from_slice(suite.extract(&[], b"psk_id_hash", &[]).0.as_ref());
        context.extend_from_slice(suite.extract(&[], b"info_hash", info).0.as_ref());
        let (_, secret) = suite.extract(shared_secret.as_ref(), b"secret", &[]);
        let key = suite.expand::<32>(&secret, b"key", &context)?;
        let nonce = suite.expand::<12>(&secret, b"base_nonce", &context)?;
        Some(Self { cipher: Aes256Gcm::new(&(*key).into()), nonce: (*nonce).into() })
    }
}

/// ExtractAndExpand of the KEM (RFC 9180 section 4.1).
fn extract_and_expand(dh: &[u8; 32], enc: &[u8; 32], recipient: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let suite = Suite::kem();
    let mut kem_context = enc.to_vec();
    kem_context.extend_from_slice(recipient);
    let (_, prk) = suite.extract(&[], b"eae_prk", dh);
    suite.expand::<32>(&prk, b"shared_secret", &kem_context)
}

/// LabeledExtract and LabeledExpand under one suite_id (RFC 9180 section 4).
struct Suite(Vec<u8>);

impl Suite {
    fn kem() -> Self {
        Self([&b"KEM"[..], &KEM_ID.to_be_bytes()].concat())
    }

    fn hpke() -> Self {
        Self([&b"HPKE"[..], &KEM_ID.to_be_bytes(), &KDF_ID.to_be_bytes(), &AEAD_ID.to_be_bytes()].concat())
    }

    fn extract(&self, salt: &[u8], label: &[u8], ikm: &[u8]) -> (Zeroizing<[u8; 32]>, Hkdf<Sha256>) {
        let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
        for part in [VERSION, &self.0, label, ikm] {
            extract.input_ikm(part);
        }
        let (prk, hkdf) = extract.finalize();
        (Zeroizing::new(prk.into()), hkdf)
    }

    fn expand<const N: usize>(
        &self,
        prk: &Hkdf<Sha256>,
        label: &[u8],
        info: &[u8],
    ) -> Option<Zeroizing<[u8; N]>> {
        let length = u16::try_from(N).ok()?.to_be_bytes();
        let mut out = Zeroizing::new([0; N]);
        prk.expand_multi_info(&[&length, VERSION, &self.0, label, info], out.as_mut()).ok()?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(vector: &serde_json::Value, name: &str) -> Vec<u8> {
        hex::decode(vector[name].as_str().unwrap()).unwrap()
    }

    fn array(vector: &serde_json::Value, name: &str) -> [u8; 32] {
        field(vector, name).try_into().unwrap()
    }

    #[test]
    fn cfrg_vectors() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/hpke-rfc9180.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(!vectors.is_empty());
        for vector in vectors {
            let ephemeral = StaticSecret::from(array(vector, "skEm"));
            let secret = SealingSecretKey::from_scalar(&array(vector, "skRm"));
            let recipient = SealingPublicKey::parse(&field(vector, "pkRm")).unwrap();
            assert_eq!(secret.public(), recipient);
            let dh = agree(&ephemeral, recipient.inner()).unwrap();
            let enc = array(vector, "enc");
            assert_eq!(
                extract_and_expand(&dh, &enc, recipient.as_bytes()).unwrap().as_slice(),
                field(vector, "shared_secret")
            );
            let message = &vector["encryptions"][0];
            let (info, aad, plaintext) = (field(vector, "info"), field(message, "aad"), field(message, "pt"));
            let sealed =
                seal_with_ephemeral(recipient.as_bytes(), &info, &aad, &plaintext, &ephemeral).unwrap();
            assert_eq!(&sealed[..ENC_LEN], enc);
            assert_eq!(&sealed[ENC_LEN..], field(message, "ct"));
            assert_eq!(open(&secret, &info, &aad, &sealed).unwrap().as_slice(), plaintext);
        }
    }

    #[test]
    fn any_changed_bit_and_any_cut_is_refused() {
        let secret = SealingSecretKey::from_scalar(&[3; 32]);
        let ephemeral = StaticSecret::from([4; 32]);
        let sealed = seal_with_ephemeral(secret.public().as_bytes(), b"i", b"a", b"key", &ephemeral).unwrap();
        assert_eq!(open(&secret, b"i", b"a", &sealed).unwrap().as_slice(), b"key");
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(open(&secret, b"i", b"a", &changed), Err(OpenError), "bit {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&secret, b"i", b"a", &sealed[..length]), Err(OpenError));
        }
        assert_eq!(open(&secret, b"j", b"a", &sealed), Err(OpenError));
        assert_eq!(open(&secret, b"i", b"b", &sealed), Err(OpenError));
    }
}
