//! Who takes part, what they hold, and what they say: all of it follows from fixed seeds.

use core::hash::{Hash, Hasher};
use core::time::Duration;

use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::code::EnrollmentCode;
use fleet_core::enrollment::server::Operator;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest};
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::id::{AgentId, EnrollmentId, OrgId};
use fleet_core::keys::{AgentPublicKeys, AgentSecretKeys, CommandSecretKey, RootSecretKey, Signature};
use fleet_core::manifest::{OrgManifest, SignedManifest};
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::random::SecureRandom;
use fleet_core::store::{Actor, ChallengeRecord};
use fleet_core::testing::SeededRandom;
use fleet_core::time::UnixMillis;
use fleet_core::transcript::{Domain, Transcript, sha256};

/// 2026-01-01 00:00:00 UTC: when the model begins.
pub(crate) const START: i64 = 1_767_225_600_000;
pub(crate) const URL: &str = "https://fleet.example";
/// The name that the honest agent asks for, with whichever keys.
pub(crate) const SITE: &str = "site-1";
/// The name that the attacker asks for.
pub(crate) const EVIL: &str = "evil";

/// A set of three keys, and the enrollment code that an operator made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The attacker's agent, enrolled and confirmed before the model begins.
    Insider,
    /// The honest agent.
    First,
    /// The honest agent again, enrolled anew with new keys.
    Second,
    /// Keys that the attacker has besides. No operator made a code for them.
    Spare,
}

impl Holder {
    pub(crate) const ALL: [Self; 4] = [Self::Insider, Self::First, Self::Second, Self::Spare];
    /// Those for whom an operator makes a code.
    pub(crate) const INVITED: [Self; 3] = [Self::Insider, Self::First, Self::Second];

    pub(crate) const fn is_honest(self) -> bool {
        matches!(self, Self::First | Self::Second)
    }

    pub(crate) const fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

pub(crate) struct Cast {
    pub(crate) root: RootSecretKey,
    pub(crate) command: CommandSecretKey,
    /// The attacker's own server.
    pub(crate) other_root: RootSecretKey,
    pub(crate) other_command: CommandSecretKey,
    pub(crate) org_id: OrgId,
    pub(crate) operator: Operator,
    pub(crate) policy: Policy,
    /// The manifest that is in force at the beginning.
    pub(crate) manifest: SignedManifest,
    /// What the attacker's server can sign for the honest agent's organization: all of it its own; the victim's command
    /// key under its own root; the victim's root, with a signature that is not its.
    pub(crate) forged_manifests: [UnverifiedManifest; 3],
    keys: [(AgentSecretKeys, AgentPublicKeys); 4],
    codes: [(EnrollmentCode, EnrollmentId); 3],
}

impl Cast {
    pub(crate) fn new() -> Self {
        let root = RootSecretKey::generate(&random("root", &[])).unwrap();
        let command = CommandSecretKey::generate(&random("command", &[])).unwrap();
        let org_id = OrgId::new(7).unwrap();
        let manifest = OrgManifest {
            org_id,
            org_name: Name::new("Acme").unwrap(),
            epoch: START,
            root: root.public(),
            command: command.public(),
            recovery: None,
            operators: Vec::new(),
            revoked: Vec::new(),
        };
        let signature = root.sign(manifest.transcript().as_bytes());
        let manifest = SignedManifest::verify(manifest, signature).unwrap();
        let mut policy = Policy::default();
        // Rates are no secret's guard: an attacker who waits is not to be told from one who does not.
        policy.register_interval = Duration::ZERO;
        policy.begin_interval = Duration::ZERO;
        // As long as codes and sessions, so that one step of time ends all of them.
        policy.confirmation_ttl = policy.code_ttl;
        let keys = Holder::ALL.map(|holder| {
            let secret = AgentSecretKeys::generate(&random("keys", &[&[holder as u8]])).unwrap();
            let public = secret.public().unwrap();
            (secret, public)
        });
        let codes = Holder::INVITED.map(|holder| {
            // As `create_code` draws them.
            let random = code_random(holder);
            let code = EnrollmentCode::generate(manifest.manifest().pin(), &random).unwrap();
            (code, EnrollmentId::random(&random).unwrap())
        });
        let other_root = RootSecretKey::generate(&random("other root", &[])).unwrap();
        let other_command = CommandSecretKey::generate(&random("other command", &[])).unwrap();
        let own = OrgManifest {
            epoch: START + 1_000_000_000,
            root: other_root.public(),
            command: other_command.public(),
            ..manifest.manifest().clone()
        };
        let borrowed = OrgManifest { command: command.public(), ..own.clone() };
        let stolen = OrgManifest { root: root.public(), ..own.clone() };
        let forged_manifests = [own, borrowed, stolen].map(|manifest| {
            let signature = other_root.sign(manifest.transcript().as_bytes());
            UnverifiedManifest { manifest, signature }
        });
        Self {
            other_root,
            other_command,
            forged_manifests,
            operator: Operator { org_id, actor: Actor::System },
            root,
            command,
            org_id,
            policy,
            manifest,
            keys,
            codes,
        }
    }

    pub(crate) fn secret(&self, holder: Holder) -> &AgentSecretKeys {
        &self.keys[holder as usize].0
    }

    pub(crate) fn public(&self, holder: Holder) -> &AgentPublicKeys {
        &self.keys[holder as usize].1
    }

    pub(crate) fn code(&self, holder: Holder) -> &EnrollmentCode {
        &self.codes[holder as usize].0
    }

    pub(crate) fn enrollment(&self, holder: Holder) -> EnrollmentId {
        self.codes[holder as usize].1
    }

    /// Whose keys these are, all three of them.
    pub(crate) fn holder(&self, keys: &AgentPublicKeys) -> Option<Holder> {
        Holder::ALL.into_iter().find(|holder| self.public(*holder) == keys)
    }

    /// Whose identity key this is.
    pub(crate) fn holder_of(&self, identity: &[u8; 32]) -> Option<Holder> {
        Holder::ALL.into_iter().find(|holder| self.public(*holder).identity().as_bytes() == identity)
    }

    /// A certificate by the attacker's root for the honest agent.
    pub(crate) fn forged_certificate(&self, id: AgentId, holder: Holder) -> (AgentCertificate, Signature) {
        let certificate = AgentCertificate {
            org_id: self.org_id,
            agent_id: id,
            name: Name::new(SITE).unwrap(),
            keys: *self.public(holder),
            key_epoch: 1,
            issued_at: at(0),
        };
        let signature = self.other_root.sign(certificate.transcript().as_bytes());
        let root = self.other_root.public();
        let signed = SignedCertificate::verify(certificate, signature, &root).unwrap();
        (signed.certificate().clone(), signature)
    }
}

/// So many seconds after the beginning.
pub(crate) fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new(START).unwrap().saturating_add(Duration::from_secs(seconds))
}

/// Randomness of one step. It depends on what is drawn and for whom, not on how the model got there, so that equal
/// states stay equal.
pub(crate) fn random(what: &str, whose: &[&[u8]]) -> SeededRandom {
    let mut label = Label::new(what);
    for part in whose {
        label = label.field(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = label.sha256();
    SeededRandom::new(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The honest agent's randomness in one of its handshakes.
pub(crate) fn nonce_random(holder: Holder, nonce: u8) -> SeededRandom {
    random("nonce", &[&[holder as u8, nonce]])
}

/// What it draws of it: its nonce.
pub(crate) fn nonce_bytes(holder: Holder, nonce: u8) -> [u8; 32] {
    let random: &dyn SecureRandom = &nonce_random(holder, nonce);
    random.array().unwrap()
}

pub(crate) fn code_random(holder: Holder) -> SeededRandom {
    random("code", &[&[holder as u8]])
}

/// Fields with their lengths: different lists of fields are different bytes.
struct Label(Vec<u8>);

impl Label {
    fn new(what: &str) -> Self {
        Self(Vec::new()).field(what.as_bytes())
    }

    fn field(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn integer(self, value: i64) -> Self {
        self.field(&value.to_be_bytes())
    }

    fn sha256(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

/// A message, told from others by all of its content.
#[derive(Debug)]
pub(crate) struct Message {
    digest: [u8; 32],
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Register(RegisterRequest),
    Registered(Box<RegisterResponse>),
    Begin(BeginRequest),
    Challenge(Box<BeginResponse>),
    Complete(CompleteRequest),
    Session(CompleteResponse),
}

macro_rules! bodies {
    ($($name:ident: $variant:ident($of:ty);)*) => {
        impl Body {
            $(pub(crate) fn $name(&self) -> Option<&$of> {
                if let Self::$variant(message) = self { Some(message) } else { None }
            })*
        }
    };
}

bodies! {
    register: Register(RegisterRequest);
    registered: Registered(RegisterResponse);
    begin: Begin(BeginRequest);
    challenge: Challenge(BeginResponse);
    complete: Complete(CompleteRequest);
    session: Session(CompleteResponse);
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}
impl Eq for Message {}
impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl From<Body> for Message {
    fn from(body: Body) -> Self {
        let manifest = |label: Label, said: &UnverifiedManifest| {
            label.field(said.manifest.transcript().as_bytes()).field(&said.signature.to_bytes())
        };
        let label = match &body {
            Body::Register(m) => Label::new("register")
                .field(m.expose_token().as_bytes())
                .field(m.name.as_str().as_bytes())
                .field(&m.identity)
                .field(&m.miner_signing)
                .field(&m.sealing)
                .field(&m.identity_proof.to_bytes())
                .field(&m.miner_signing_proof.to_bytes()),
            Body::Registered(m) => manifest(Label::new("registered"), &m.manifest)
                .integer(m.agent_id.value())
                .field(format!("{:?}", m.status).as_bytes())
                .field(m.fingerprint.to_string().as_bytes())
                .field(m.sealed_api_key.as_deref().unwrap_or_default()),
            Body::Begin(m) => Label::new("begin")
                .field(m.expose_api_key().as_bytes())
                .field(&m.identity)
                .field(&m.client_nonce),
            Body::Challenge(m) => manifest(Label::new("challenge"), &m.manifest)
                .field(&m.challenge)
                .integer(m.expires_at.value())
                .integer(m.server_time.value())
                .integer(m.last_sequence)
                .field(m.certificate.0.transcript().as_bytes())
                .field(&m.certificate.1.to_bytes())
                .field(&m.signature.to_bytes()),
            Body::Complete(m) => Label::new("complete").field(&m.challenge).field(&m.signature.to_bytes()),
            Body::Session(m) => {
                Label::new("session").field(m.token.expose().as_bytes()).integer(m.expires_at.value())
            }
        };
        Self { digest: label.sha256(), body }
    }
}

/// The transcript of a handshake, written here from the protocol and not from the crate's own code.
pub(crate) fn auth(domain: Domain, said: &ChallengeRecord) -> Transcript {
    Transcript::new(domain)
        .field(said.command.as_bytes())
        .integer(said.agent_id.value())
        .field(said.identity.as_bytes())
        .field(&said.client_nonce)
        .field(&said.challenge)
        .time(said.server_time)
        .time(said.expires_at)
        .integer(said.last_sequence)
        .field(&said.manifest_hash)
}
