use core::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{KeyError, KeyRole, key_bytes};
use crate::random::{RandomError, SecureRandom};

/// A checked X25519 public key, whichever its role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct X25519Public(PublicKey);

impl X25519Public {
    pub(crate) fn parse(role: KeyRole, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = key_bytes(role, bytes)?;
        if !is_below_the_prime(&bytes) {
            return Err(KeyError::NotCanonical { role });
        }
        let key = PublicKey::from(bytes);
        // Any scalar, clamped to a multiple of 8, takes a point of low order to zero and no other.
        if !StaticSecret::from([1; 32]).diffie_hellman(&key).was_contributory() {
            return Err(KeyError::SmallOrder { role });
        }
        Ok(Self(key))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

/// The shared secret of a key agreement, `None` if it is all zero (RFC 7748 section 6.1).
pub(crate) fn agree(secret: &StaticSecret, public: &X25519Public) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(&public.0);
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// Whether the bytes, as a little-endian integer, are below 2^255 - 19.
fn is_below_the_prime(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7f || (*high == 0x7f && (*low < 0xed || middle.iter().any(|b| *b != 0xff)))
}

macro_rules! x25519_role {
    ($public:ident, $secret:ident, $role:expr, $what:literal) => {
        #[doc = concat!($what, " public key: X25519, 32 bytes, below 2^255 - 19 and not of low order.")]
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $public(X25519Public);

        impl $public {
            /// Checks a key from outside.
            ///
            /// # Errors
            /// [`KeyError`] names the role and what is wrong (protocol section 2).
            pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
                X25519Public::parse($role, bytes).map(Self)
            }

            /// The 32 bytes (RFC 7748 section 5).
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            pub(crate) const fn inner(&self) -> &X25519Public {
                &self.0
            }
        }

        impl core::hash::Hash for $public {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
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

        #[doc = concat!($what, " secret key: a raw 32-byte X25519 scalar, erased from memory when dropped.")]
        pub struct $secret(StaticSecret);

        impl $secret {
            /// Makes a new key.
            ///
            /// # Errors
            /// [`RandomError`] if the random source fails.
            pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
                let mut scalar = Zeroizing::new([0; 32]);
                random.fill(scalar.as_mut())?;
                Ok(Self::from_scalar(&scalar))
            }

            /// The key of a raw scalar; clamped when used (RFC 7748 section 5).
            #[must_use]
            pub fn from_scalar(scalar: &[u8; 32]) -> Self {
                Self(StaticSecret::from(*scalar))
            }

            /// The scalar, to be written where the key is kept and nowhere else.
            #[must_use]
            pub fn danger_scalar(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public half.
            #[must_use]
            pub fn public(&self) -> $public {
                $public(X25519Public(PublicKey::from(&self.0)))
            }

            pub(crate) const fn inner(&self) -> &StaticSecret {
                &self.0
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

x25519_role!(SealingPublicKey, SealingSecretKey, KeyRole::Sealing, "An agent's sealing");
x25519_role!(RecoveryPublicKey, RecoverySecretKey, KeyRole::Recovery, "An organization's recovery");

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748 section 6.1.
    #[test]
    fn rfc7748_agreement() {
        let bytes = |hex: &str| <[u8; 32]>::try_from(hex::decode(hex).unwrap()).unwrap();
        let alice = SealingSecretKey::from_scalar(&bytes(
            "77076d0a7318a57d3c16c17251b26645df4c2f92ebc099b2b7d1b7d7b7d1b7d7",
        ));
        let bob = SealingSecretKey::from_scalar(&bytes(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        assert_eq!(
            hex::encode(bob.public().as_bytes()),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
        );
        assert_eq!(
            agree(alice.inner(), bob.public().inner()).unwrap(),
            agree(bob.inner(), alice.public().inner()).unwrap()
        );
    }

    #[test]
    fn low_order_and_non_canonical_keys_are_refused() {
        let role = KeyRole::Sealing;
        let low = KeyError::SmallOrder { role };
        let non_canonical = KeyError::NotCanonical { role };
        for (hex, error) in [
            ("0000000000000000000000000000000000000000000000000000000000000000", low),
            ("0100000000000000000000000000000000000000000000000000000000000000", low),
            ("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", low),
            ("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", low),
            ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", low),
            ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", non_canonical),
            ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", non_canonical),
            ("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", non_canonical),
            ("0900000000000000000000000000000000000000000000000000000000000080", non_canonical),
        ] {
            assert_eq!(SealingPublicKey::parse(&hex::decode(hex).unwrap()), Err(error), "{hex}");
        }
        let mut nine = [0; 32];
        nine[0] = 9;
        assert!(SealingPublicKey::parse(&nine).is_ok());
    }

    #[test]
    fn debug_shows_the_public_part_only() {
        let key = SealingSecretKey::from_scalar(&[7; 32]);
        assert_eq!(format!("{key:?}"), "SealingSecretKey(SealingPublicKey(13be4fea..))");
    }
}
