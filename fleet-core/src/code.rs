//! The strings that people and programs handle: enrollment code, api_key, session token
//! (protocol section 3).
//!
//! All three are secrets: erased from memory when dropped, never printed by `Debug`, and not
//! comparable. A server stores the SHA-256 of each and nothing else of it. What is and what is
//! not promised of their memory is written in [`crate::keys`].

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::manifest::Pin;
use crate::random::{RandomError, SecureRandom};
use crate::stack::cleared_after;
use crate::transcript::sha256;

const PREFIX: &str = "fenr";
const SECRET_LEN: usize = 32;
const TOKEN_CHARS: usize = 43;

/// The SHA-256 of an enrollment code, api_key or session token: what a server stores and looks up.
///
/// Two of them are compared in constant time. Looking one up, in a database's index or in a map, is
/// not constant in time and need not be: each secret has 256 random bits. What a caller can measure
/// is how far the hash of a guess agrees with a stored one, and a hash is not accepted in the place
/// of its secret. Whoever knew the whole of it would be no nearer to the secret.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret as it stands on the wire.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        cleared_after(|| Self(sha256(secret.as_bytes())))
    }

    /// Takes a hash from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl core::hash::Hash for SecretHash {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SecretHash({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// An enrollment code: 88 characters, bech32m with the prefix `fenr` (BIP 350), of 32 random
/// bytes and the [`Pin`] of the manifest in force when it was made.
#[derive(Clone, ZeroizeOnDrop)]
pub struct EnrollmentCode {
    text: String,
    #[zeroize(skip)]
    pin: Pin,
}

/// The text is no enrollment code. Found before any packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// Not 88 characters.
    #[error("an enrollment code has {} characters, got {got}", EnrollmentCode::CHARS)]
    Length {
        /// How many there are, blanks around them left out.
        got: usize,
    },
    /// Does not begin with `fenr1`.
    #[error("an enrollment code begins with fenr1")]
    Prefix,
    /// Upper and lower case in one code.
    #[error("an enrollment code is all lower or all upper case")]
    MixedCase,
    /// The checksum does not fit, or a character is none of the alphabet: a typo.
    #[error("the enrollment code has a typing error; compare it with the one that was shown")]
    Checksum,
    /// The padding bit is not zero, which no maker of codes does.
    #[error("the enrollment code is malformed")]
    Padding,
}

impl EnrollmentCode {
    /// The length of a code, characters.
    pub const CHARS: usize = 88;

    /// Makes a new code.
    ///
    /// # Errors
    /// [`RandomError`] if the random source fails.
    pub fn generate(pin: Pin, random: &dyn SecureRandom) -> Result<Self, RandomError> {
        cleared_after(|| {
            let mut payload = Zeroizing::new([0; SECRET_LEN + Pin::LEN]);
            let (secret, pinned) = payload.split_at_mut(SECRET_LEN);
            random.fill(secret)?;
            pinned.copy_from_slice(pin.as_bytes());
            let hrp = Hrp::parse_unchecked(PREFIX);
            // A string that grows leaves what it held behind.
            let mut code = Self { text: String::with_capacity(Self::CHARS), pin };
            // 48 bytes are far below the longest string that the checksum covers.
            bech32::encode_lower_to_fmt::<Bech32m, String>(&mut code.text, hrp, payload.as_ref())
                .map_err(|_| RandomError)?;
            Ok(code)
        })
    }

    /// Reads a code as a person pastes it: trims blanks, takes all upper case for lower.
    ///
    /// # Errors
    /// [`CodeError`] says what to look at.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        cleared_after(|| Self::read(text.trim()))
    }

    fn read(text: &str) -> Result<Self, CodeError> {
        let got = text.chars().count();
        if got != Self::CHARS {
            return Err(CodeError::Length { got });
        }
        let has = |class: fn(&char) -> bool| text.chars().any(|c| class(&c));
        if has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) {
            return Err(CodeError::MixedCase);
        }
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        if !lower.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('1')) {
            return Err(CodeError::Prefix);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(&lower).map_err(|_| CodeError::Checksum)?;
        // The data may itself hold no '1', so this is the prefix found above.
        if checked.hrp() != Hrp::parse_unchecked(PREFIX) {
            return Err(CodeError::Prefix);
        }
        checked.validate_segwit_padding().map_err(|_| CodeError::Padding)?;
        let mut pin = [0; Pin::LEN];
        let mut length = 0usize;
        for (at, byte) in checked.byte_iter().enumerate() {
            if let Some(place) = at.checked_sub(SECRET_LEN).and_then(|at| pin.get_mut(at)) {
                *place = byte;
            }
            length = at.saturating_add(1);
        }
        if length != SECRET_LEN + Pin::LEN {
            return Err(CodeError::Padding);
        }
        Ok(Self { text: lower.to_string(), pin: Pin::from_bytes(pin) })
    }

    /// What a server stores: the SHA-256 of the 88 lower-case characters.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.text)
    }

    /// The pin of the manifest that the maker of the code had in force.
    #[must_use]
    pub const fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The 88 characters, to be shown once or sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for EnrollmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrollmentCode(..)")
    }
}

/// An api_key: `fleet_`, 8 hex digits, `_`, 43 base64url characters; 58 in all.
///
/// The digits stand in listings, so that people can tell keys apart; the rest is the secret.
#[derive(Clone, ZeroizeOnDrop)]
pub struct ApiKey(String);

/// The text is no api_key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an api_key is fleet_, 8 hex digits, _ and 43 base64url characters")]
pub struct ApiKeyError;

impl ApiKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`RandomError`] if the random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let [a, b, c, d] = random.array::<4>()?;
        let secret = random_token(random)?;
        Ok(Self(format!("fleet_{a:02x}{b:02x}{c:02x}{d:02x}_{}", secret.as_str())))
    }

    /// Reads a key; blanks around it are trimmed.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let text = text.trim();
        let rest = text.strip_prefix("fleet_").ok_or(ApiKeyError)?;
        let (digits, secret) = rest.split_once('_').ok_or(ApiKeyError)?;
        let hex = digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !is_token(secret) {
            return Err(ApiKeyError);
        }
        Ok(Self(text.to_owned()))
    }

    /// What a server stores: the SHA-256 of the whole string.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// The 8 hex digits that stand in listings.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.get(6..14).unwrap_or_default()
    }

    /// The whole key, to be shown once or sent.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey(fleet_{}_..)", self.digits())
    }
}

/// A session token: 43 base64url characters of 32 random bytes.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SessionToken(String);

/// The text is no session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session token is 43 base64url characters")]
pub struct SessionTokenError;

impl SessionToken {
    /// Makes a new token.
    ///
    /// # Errors
    /// [`RandomError`] if the random source fails.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        Ok(Self(random_token(random)?.to_string()))
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`SessionTokenError`].
    pub fn parse(text: &str) -> Result<Self, SessionTokenError> {
        if !is_token(text) {
            return Err(SessionTokenError);
        }
        Ok(Self(text.to_owned()))
    }

    /// What a server stores: the SHA-256 of the characters.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// The hash of a token that somebody else holds, for example the header of a request: as
    /// [`SessionToken::parse`] and [`SessionToken::hash`], without a copy of the secret.
    ///
    /// # Errors
    /// [`SessionTokenError`].
    pub fn hash_of(text: &str) -> Result<SecretHash, SessionTokenError> {
        is_token(text).then(|| SecretHash::of(text)).ok_or(SessionTokenError)
    }

    /// The token, to be sent in `Authorization: Bearer`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

fn random_token(random: &dyn SecureRandom) -> Result<Zeroizing<String>, RandomError> {
    cleared_after(|| {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        random.fill(secret.as_mut())?;
        Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_ref())))
    })
}

/// 43 characters that are the one encoding of 32 bytes (RFC 4648 section 5, no padding).
fn is_token(text: &str) -> bool {
    // As many bytes as any 43 characters may stand for.
    cleared_after(|| {
        let mut bytes = Zeroizing::new([0; SECRET_LEN + 1]);
        text.len() == TOKEN_CHARS
            && URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut()).is_ok_and(|length| length == SECRET_LEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);
    impl SecureRandom for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
            out.fill(self.0);
            Ok(())
        }
    }

    fn code() -> EnrollmentCode {
        EnrollmentCode::generate(Pin::from_bytes([9; 16]), &Fixed(5)).unwrap()
    }

    #[test]
    fn a_code_round_trips_and_carries_its_pin() {
        let code = code();
        assert_eq!(code.expose().len(), EnrollmentCode::CHARS);
        for text in [code.expose().to_owned(), format!("  {}\n", code.expose()), code.expose().to_uppercase()]
        {
            let parsed = EnrollmentCode::parse(&text).unwrap();
            assert_eq!(parsed.expose(), code.expose());
            assert_eq!(parsed.pin().as_bytes(), &[9; 16]);
            assert_eq!(parsed.hash(), code.hash());
        }
    }

    #[test]
    fn every_single_typo_is_found() {
        let good = code().expose().to_owned();
        for at in 0..good.len() {
            for c in ['q', 'p', 'b', '0'] {
                let mut bad = good.clone().into_bytes();
                if bad[at] == c as u8 {
                    continue;
                }
                bad[at] = c as u8;
                let bad = String::from_utf8(bad).unwrap();
                assert!(EnrollmentCode::parse(&bad).is_err(), "{at} {c}");
            }
        }
    }

    #[test]
    fn what_is_no_code_says_why() {
        let good = code().expose().to_owned();
        let parse = |text: &str| EnrollmentCode::parse(text).unwrap_err();
        assert_eq!(parse(""), CodeError::Length { got: 0 });
        assert_eq!(parse(&good[1..]), CodeError::Length { got: 87 });
        assert_eq!(parse(&good.replacen('f', "F", 1)), CodeError::MixedCase);
        assert_eq!(parse(&good.replacen("fenr", "fenx", 1)), CodeError::Prefix);
        // A valid checksum over a padding bit of one.
        let mut bits: Vec<bech32::Fe32> =
            CheckedHrpstring::new::<Bech32m>(&good).unwrap().fe32_iter().collect();
        let last = bits.pop().unwrap();
        bits.push(bech32::Fe32::try_from(last.to_u8() | 1).unwrap());
        use bech32::primitives::iter::Fe32IterExt;
        let hrp = Hrp::parse_unchecked(PREFIX);
        let padded: String = bits.into_iter().with_checksum::<Bech32m>(&hrp).chars().collect();
        assert_eq!(parse(&padded), CodeError::Padding);
        // The other checksum constant, bech32 of BIP 173.
        let bech32: String = CheckedHrpstring::new::<Bech32m>(&good)
            .unwrap()
            .fe32_iter()
            .with_checksum::<bech32::Bech32>(&hrp)
            .chars()
            .collect();
        assert_eq!(parse(&bech32), CodeError::Checksum);
    }

    #[test]
    fn an_api_key_has_its_form_and_shows_its_digits_only() {
        let key = ApiKey::generate(&Fixed(0xab)).unwrap();
        assert_eq!(key.expose().len(), 58);
        assert_eq!(key.digits(), "abababab");
        assert_eq!(format!("{key:?}"), "ApiKey(fleet_abababab_..)");
        assert_eq!(ApiKey::parse(key.expose()).unwrap().hash(), key.hash());
        for bad in ["", "fleet_", "fleet_abababab", "fleet_ABABABAB_x", &key.expose()[..57]] {
            assert!(ApiKey::parse(bad).is_err(), "{bad:?}");
        }
        // The last character has two bits that must be zero.
        let mut bad = key.expose().to_owned();
        bad.pop();
        bad.push('t');
        assert!(ApiKey::parse(&bad).is_err());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", code()), "EnrollmentCode(..)");
        let token = SessionToken::generate(&Fixed(1)).unwrap();
        assert_eq!(format!("{token:?}"), "SessionToken(..)");
        assert_eq!(token.expose().len(), 43);
        assert!(SessionToken::parse("x").is_err());
        assert_eq!(SessionToken::hash_of(token.expose()), Ok(token.hash()));
        assert_eq!(SessionToken::hash_of("x"), Err(SessionTokenError));
    }
}
