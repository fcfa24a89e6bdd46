//! Every secret that came up in a run, in every form in which somebody might store it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::code::{ApiKey, EnrollmentCode, SessionToken};
use crate::future::BoxFuture;
use crate::keys::{AgentKeyring, AgentSecretKeys};
use crate::store::{AgentKeyStore, MemoryKeyStore, StoreError};

/// The first bytes by which a form of a secret is found.
const HEAD: usize = 4;

/// Secrets, and a search for them.
#[derive(Default)]
pub struct Secrets {
    /// By their first bytes: what it is, and the rest.
    forms: BTreeMap<[u8; HEAD], Vec<(&'static str, Vec<u8>)>>,
    /// Whether a form begins with these two bytes.
    heads: Vec<bool>,
    count: usize,
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Secrets").field("forms", &self.count).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Nothing is secret yet.
    #[must_use]
    pub fn new() -> Self {
        Self { heads: vec![false; 1 << 16], ..Self::default() }
    }

    /// How many forms there are. It grows when a secret comes up for the first time.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// 32 secret bytes: raw, in hex, in base64 of either alphabet.
    pub fn add_bytes(&mut self, what: &'static str, bytes: &[u8; 32]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(what, bytes.to_vec());
        self.add(what, hex.to_ascii_uppercase().into_bytes());
        self.add(what, hex.into_bytes());
        self.add(what, STANDARD_NO_PAD.encode(bytes).into_bytes());
        self.add(what, URL_SAFE_NO_PAD.encode(bytes).into_bytes());
    }

    /// A code: its characters, and the 32 bytes that they hold besides the pin.
    pub fn add_code(&mut self, code: &EnrollmentCode) {
        let what = "an enrollment code";
        self.add(what, code.expose().as_bytes().to_vec());
        self.add(what, code.expose().to_ascii_uppercase().into_bytes());
        let payload = bech32::decode(code.expose()).map(|(_, payload)| payload).unwrap_or_default();
        self.add_bytes(what, payload.first_chunk().expect("a code holds 48 bytes"));
    }

    /// An api_key: its secret part as it stands, and the 32 bytes of it.
    pub fn add_api_key(&mut self, api_key: &ApiKey) {
        self.add_token(
            "an api_key",
            api_key.expose().rsplit_once(api_key.digits()).map_or("", |(_, s)| &s[1..]),
        );
    }

    /// A session token: its characters, and the 32 bytes that they stand for.
    pub fn add_session(&mut self, token: &SessionToken) {
        self.add_token("a session token", token.expose());
    }

    /// The three secret keys of an agent.
    pub fn add_keys(&mut self, keys: &AgentSecretKeys) {
        self.add_bytes("an identity key", &keys.identity.danger_seed());
        self.add_bytes("a miner-signing key", &keys.miner_signing.danger_seed());
        self.add_bytes("a sealing key", &keys.sealing.danger_scalar());
    }

    fn add_token(&mut self, what: &'static str, text: &str) {
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        self.add_bytes(what, bytes.first_chunk().expect("32 bytes"));
    }

    fn add(&mut self, what: &'static str, form: Vec<u8>) {
        let Some((head, rest)) = form.split_first_chunk::<HEAD>() else { return };
        let same_head = self.forms.entry(*head).or_default();
        if same_head.iter().any(|(_, held)| held == rest) {
            return;
        }
        same_head.push((what, rest.to_vec()));
        self.heads[two(form[0], form[1])] = true;
        self.count += 1;
    }

    /// What of the secrets stands somewhere in these bytes, if anything.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        let mut last = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0
                && self.heads[two(last, *byte)]
                && let Some((head, rest)) = bytes[at - 1..].split_first_chunk::<HEAD>()
                && let Some(forms) = self.forms.get(head)
                && let Some((what, _)) = forms.iter().find(|(_, form)| rest.starts_with(form))
            {
                return Some(what);
            }
            last = *byte;
        }
        None
    }
}

const fn two(first: u8, second: u8) -> usize {
    ((first as usize) << 8) | second as usize
}

/// Keeps an agent's keys, and what they are.
#[derive(Debug, Default)]
pub(super) struct RecordedKeys {
    inner: MemoryKeyStore,
    made: Mutex<Vec<AgentSecretKeys>>,
}

impl RecordedKeys {
    /// The keys that were made since this was last called.
    pub(super) fn take_made(&self) -> Vec<AgentSecretKeys> {
        core::mem::take(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AgentKeyStore for RecordedKeys {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        self.inner.open()
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        use crate::keys::{IdentitySecretKey, MinerSigningSecretKey, SealingSecretKey};
        let same = AgentSecretKeys {
            identity: IdentitySecretKey::from_seed(&keys.identity.danger_seed()),
            miner_signing: MinerSigningSecretKey::from_seed(&keys.miner_signing.danger_seed()),
            sealing: SealingSecretKey::from_scalar(&keys.sealing.danger_scalar()),
        };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(same);
        self.inner.replace(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Pin;
    use crate::testing::SeededRandom;

    #[test]
    fn a_secret_is_found_in_each_of_its_forms_and_nothing_else_is() {
        let random = SeededRandom::new(1);
        let (code, key) = (
            EnrollmentCode::generate(Pin::from_bytes([1; 16]), &random).unwrap(),
            ApiKey::generate(&random).unwrap(),
        );
        let (token, keys) =
            (SessionToken::generate(&random).unwrap(), AgentSecretKeys::generate(&random).unwrap());
        let mut secrets = Secrets::new();
        secrets.add_code(&code);
        secrets.add_api_key(&key);
        secrets.add_session(&token);
        secrets.add_keys(&keys);
        let seed = keys.miner_signing.danger_seed();
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        for (stored, what) in [
            (code.expose().as_bytes().to_vec(), "an enrollment code"),
            (bech32::decode(code.expose()).unwrap().1[..32].to_vec(), "an enrollment code"),
            (key.expose().as_bytes().to_vec(), "an api_key"),
            (URL_SAFE_NO_PAD.decode(&key.expose()[15..]).unwrap(), "an api_key"),
            (token.expose().as_bytes().to_vec(), "a session token"),
            (seed.to_vec(), "a miner-signing key"),
            (hex.clone().into_bytes(), "a miner-signing key"),
            (hex.to_ascii_uppercase().into_bytes(), "a miner-signing key"),
            (STANDARD_NO_PAD.encode(seed.as_ref()).into_bytes(), "a miner-signing key"),
        ] {
            let among = [b"abc".as_slice(), &stored, b"\0xyz"].concat();
            assert_eq!(secrets.find(&among), Some(what));
            assert_eq!(secrets.find(&among[..among.len() - 5]), None, "cut short, it is no secret");
        }
        for public in [key.digits().as_bytes(), key.hash().as_bytes(), code.hash().as_bytes(), b""] {
            assert_eq!(secrets.find(public), None);
        }
        let before = secrets.count();
        secrets.add_session(&token);
        assert_eq!(secrets.count(), before, "it is counted once");
    }
}
