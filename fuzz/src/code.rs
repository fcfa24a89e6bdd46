//! Enrollment codes, api_keys, session tokens, fingerprints, endpoints and names.

use fleet_core::code::{ApiKey, EnrollmentCode, SecretHash, SessionToken};
use fleet_core::endpoint::Endpoint;
use fleet_core::fingerprint::Fingerprint;
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::random::{RandomError, SecureRandom};

use crate::Outcome;

pub(crate) fn run(data: &[u8]) -> Outcome {
    let Some((which, rest)) = data.split_first() else { return Outcome::Refused };
    let text = || core::str::from_utf8(rest).ok();
    let taken = match which {
        0 => text().is_some_and(enrollment_code),
        1 => text().is_some_and(api_key),
        2 => text().is_some_and(session_token),
        3 => text().is_some_and(fingerprint),
        4 => text().is_some_and(endpoint),
        5 => text().is_some_and(name),
        6 => wrong_characters(rest),
        _ => false,
    };
    if taken { Outcome::Taken } else { Outcome::Refused }
}

fn enrollment_code(text: &str) -> bool {
    let Ok(code) = EnrollmentCode::parse(text) else { return false };
    let shown = code.expose();
    assert_eq!(shown, text.trim().to_ascii_lowercase());
    assert_eq!(shown.len(), EnrollmentCode::CHARS);
    for again in [shown.to_owned(), shown.to_ascii_uppercase(), format!("\n {shown}\t")] {
        let again = EnrollmentCode::parse(&again).expect("the same code");
        assert_eq!(again.expose(), shown);
        assert_eq!(again.pin(), code.pin());
        assert_eq!(again.hash(), code.hash());
    }
    assert_eq!(code.hash(), SecretHash::of(shown));
    assert!(!format!("{code:?}").contains(shown));
    true
}

fn api_key(text: &str) -> bool {
    let Ok(key) = ApiKey::parse(text) else { return false };
    assert_eq!(key.expose(), text.trim());
    assert_eq!(key.digits().len(), 8);
    // `fleet_`, the digits, `_`: the secret may hold the digits again.
    assert!(!format!("{key:?}").contains(&key.expose()[15..]));
    assert_eq!(ApiKey::parse(key.expose()).expect("the same key").hash(), key.hash());
    true
}

fn session_token(text: &str) -> bool {
    let Ok(token) = SessionToken::parse(text) else { return false };
    assert_eq!(token.expose(), text);
    assert!(!format!("{token:?}").contains(text));
    true
}

fn fingerprint(text: &str) -> bool {
    let Ok(fingerprint) = text.parse::<Fingerprint>() else { return false };
    let shown = fingerprint.to_string();
    assert_eq!(shown.len(), 29);
    for again in [shown.clone(), shown.to_ascii_lowercase(), shown.replace('-', " "), shown.replace('0', "o")]
    {
        let again = again.parse::<Fingerprint>().expect("the same fingerprint");
        assert!(again.matches(&fingerprint) && again == fingerprint);
    }
    true
}

fn endpoint(text: &str) -> bool {
    let Ok(endpoint) = text.parse::<Endpoint>() else { return false };
    assert_eq!(endpoint.to_string(), text);
    true
}

fn name(text: &str) -> bool {
    let Ok(name) = Name::new(text) else { return false };
    assert_eq!(name.as_str(), text);
    assert!(!text.chars().any(char::is_control));
    true
}

/// Bytes as a random source, once.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl SecureRandom for Bytes<'_> {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        out.copy_from_slice(self.0.get(..out.len()).ok_or(RandomError)?);
        Ok(())
    }
}

/// 32 bytes of secret, 16 of pin, then up to four pairs of place and character: the code made of the former with
/// the latter put in its place. The checksum finds every such typo (BIP 350: up to four in 90 characters).
fn wrong_characters(data: &[u8]) -> bool {
    let Some((secret, rest)) = data.split_at_checked(32) else { return false };
    let Some((pin, typos)) = rest.split_first_chunk::<{ Pin::LEN }>() else { return false };
    let code = EnrollmentCode::generate(Pin::from_bytes(*pin), &Bytes(secret)).expect("32 bytes are there");
    assert_eq!(code.pin().as_bytes(), pin);
    assert!(enrollment_code(code.expose()), "a code that was made is refused");
    let mut typed = code.expose().as_bytes().to_vec();
    for typo in typos.chunks_exact(2).take(4) {
        if let Some(place) = typed.get_mut(usize::from(typo[0])) {
            *place = typo[1] & 0x7f;
        }
    }
    if typed != code.expose().as_bytes() {
        let typed = String::from_utf8(typed).expect("ASCII");
        assert!(EnrollmentCode::parse(&typed).is_err(), "a typo passes: {typed:?}");
    }
    true
}
