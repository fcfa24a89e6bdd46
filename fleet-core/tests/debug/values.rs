//! What holds no secret, or only what was checked in `main.rs`.
//!
//! To write the snapshots again: `INSTA_UPDATE=always cargo test -p fleet-core --all-features --test debug`.

use core::fmt::{Debug, Write as _};
use core::time::Duration;
use std::sync::Arc;

use fleet_core::certificate::{AgentCertificate, CertificateError};
use fleet_core::code::{ApiKeyError, CodeError, SessionTokenError};
use fleet_core::driver::{
    AgentError, EnrollmentProgress, Founding, NoProbe, OfflineRoots, OneRoot, OpenGate, Point, RootError,
    ServerError,
};
use fleet_core::endpoint::{Endpoint, EndpointError, Serial};
use fleet_core::enrollment::UnverifiedManifest;
use fleet_core::enrollment::agent::{EnrollError, Plan, Progress};
use fleet_core::enrollment::server::{
    Confirm, ConfirmError, CreateCode, CreateCodeError, EndError, Operator, RegisterError, ReissueError,
    Revoke, RevokeError, reissue,
};
use fleet_core::fingerprint::{Fingerprint, FingerprintError};
use fleet_core::handshake::agent::HandshakeError;
use fleet_core::handshake::server::{AuthError, check_session};
use fleet_core::hpke::SealError;
use fleet_core::id::{AgentId, DeviceId, EnrollmentId, IdError, OrgId, UserId};
use fleet_core::keys::{
    AgentPublicKeys, BadSignature, CommandSecretKey, IdentitySecretKey, KeyError, KeyRole,
    MinerSigningSecretKey, OpenError, OperatorSecretKey, RecoverySecretKey, RootSecretKey, SealingSecretKey,
    SignerError,
};
use fleet_core::manifest::{ManifestError, Pin, RevokedKeyId, SignedManifest, SuccessionError};
use fleet_core::name::{Name, NameError};
use fleet_core::policy::Policy;
use fleet_core::random::{OsRandom, RandomError};
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{
    Activity, ActivityKind, Actor, AgentApiKeyRecord, AgentKind, AgentStatus, AgentStore as _, CommitError,
    Counters, EnrollmentState, MemoryServerStore, Put, Query, StoreError, Version, Versioned,
};
use fleet_core::telemetry::{BoardSample, Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::testing::{CrashAt, Crashed, Fault, SeededRandom, VirtualClock, block_on};
use fleet_core::time::{Clock as _, Monotonic, TimeError, UnixMillis};
use fleet_core::transcript::{Domain, Transcript};
use fleet_core::transport::TransportError;
use insta::assert_snapshot;

use super::{Peers, every};

/// One line for each value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn pin<T: Debug>(&mut self, value: T) {
        every::pinned::<T>();
        writeln!(self.0, "{value:?}").unwrap();
    }
}

macro_rules! lines {
    ($($value:expr),* $(,)?) => {{
        let mut lines = Lines::default();
        $(lines.pin($value);)*
        lines.0
    }};
}

macro_rules! pin {
    ($name:literal, [$($value:expr),* $(,)?]) => {
        let text = lines![$($value),*];
        assert_snapshot!($name, text);
    };
}

/// Everything that is pinned here.
pub(crate) fn all() {
    plain_values();
    keys_and_what_they_sign();
    errors_of_values();
    errors_of_machines();
    errors_of_drivers();
    records();
    steps();
    telemetry();
    for_tests();
}

fn cause() -> Box<dyn core::error::Error + Send + Sync> {
    "the cause".into()
}

fn name() -> Name {
    Name::new("site-1").unwrap()
}

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

const ROLE: KeyRole = KeyRole::Identity;

fn plain_values() {
    pin!(
        "plain_values",
        [
            OrgId::new(1).unwrap(),
            AgentId::new(2).unwrap(),
            EnrollmentId::new(3).unwrap(),
            DeviceId::new(4).unwrap(),
            UserId::new(5).unwrap(),
            name(),
            Endpoint::mac([1, 2, 3, 4, 5, 6]).unwrap(),
            Serial::new("PM-0001").unwrap(),
            at(1000),
            Monotonic::new(Duration::from_secs(1)),
            "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R".parse::<Fingerprint>().unwrap(),
            Policy::default(),
            Code::NotFound,
            Refusal { code: Code::NotFound, message: "no agent 2".to_owned(), retry_after: None },
            Domain::AuthAgent,
            Transcript::new(Domain::Pin).field(b"never shown"),
            OsRandom,
            KeyRole::MinerSigning,
            Version::FIRST,
            Counters { command: 1, telemetry: 2, event: 3 },
        ]
    );
}

fn keys_and_what_they_sign() {
    let root = RootSecretKey::from_seed(&[1; 32]);
    let identity = IdentitySecretKey::from_seed(&[2; 32]);
    let miner_signing = MinerSigningSecretKey::from_seed(&[3; 32]).public();
    let sealing = SealingSecretKey::from_scalar(&[4; 32]).public();
    let keys = AgentPublicKeys::new(identity.public(), miner_signing, sealing).unwrap();
    let transcript = Transcript::new(Domain::Pin);
    let signature = root.sign(transcript.as_bytes());
    let certificate = AgentCertificate {
        org_id: OrgId::new(1).unwrap(),
        agent_id: AgentId::new(2).unwrap(),
        name: name(),
        keys,
        key_epoch: 1,
        issued_at: at(1000),
    };
    let peers = Peers::new();
    let organization =
        peers.load(Query::Organization(peers.world.server.operator.org_id)).organization.record;
    let manifest: SignedManifest = organization.manifest;
    pin!(
        "keys_and_what_they_sign",
        [
            root.public(),
            CommandSecretKey::from_seed(&[5; 32]).public(),
            OperatorSecretKey::from_seed(&[6; 32]).public(),
            RecoverySecretKey::from_scalar(&[7; 32]).public(),
            identity.public(),
            miner_signing,
            sealing,
            keys,
            signature,
            root.public().verify(&transcript, &signature).unwrap(),
            certificate,
            manifest.manifest().clone(),
            UnverifiedManifest::from(&manifest),
            manifest.clone(),
            Pin::from_bytes([1; Pin::LEN]),
            RevokedKeyId::of(&identity.public()),
        ]
    );
}

fn errors_of_values() {
    pin!(
        "errors_of_values",
        [
            IdError { kind: "org_id", got: 0, max: 9 },
            NameError::TooLong { got: 256 },
            NameError::Forbidden { character: '\u{202e}' },
            EndpointError::Mac,
            TimeError { got: -1 },
            FingerprintError::Length { got: 3 },
            FingerprintError::Character { character: 'U' },
            CodeError::Length { got: 3 },
            CodeError::Checksum,
            ApiKeyError,
            SessionTokenError,
            KeyError::Length { role: ROLE, got: 31 },
            KeyError::TwoRoles { first: ROLE, second: KeyRole::Sealing },
            BadSignature,
            OpenError,
            RandomError,
            SealError::Random(RandomError),
            ManifestError::Epoch { got: 0 },
            ManifestError::TooMany { field: "revoked", max: 1, got: 2 },
            ManifestError::Key(KeyError::SmallOrder { role: ROLE }),
            SuccessionError::Organization { expected: OrgId::new(1).unwrap(), got: OrgId::new(2).unwrap() },
            SuccessionError::Rollback { expected: 2, got: 1 },
            SuccessionError::Fork { epoch: 2 },
            CertificateError::KeyEpoch { got: 0 },
        ]
    );
}

fn errors_of_machines() {
    let (agent_id, other) = (AgentId::new(2).unwrap(), AgentId::new(3).unwrap());
    let (org_id, enrollment_id) = (OrgId::new(1).unwrap(), EnrollmentId::new(4).unwrap());
    let retry_after = Duration::from_secs(1);
    pin!(
        "errors_of_machines",
        [
            EnrollError::WrongAgent { expected: agent_id, got: other },
            EnrollError::Signer { role: ROLE },
            EnrollError::Manifest(ManifestError::Signature),
            EnrollError::Succession(SuccessionError::Root),
            CreateCodeError::Ttl { got: retry_after },
            RegisterError::Proof { role: ROLE },
            RegisterError::KeyTaken { role: ROLE },
            RegisterError::TooSoon { retry_after },
            RegisterError::Key(KeyError::NotCanonical { role: ROLE }),
            ConfirmError::NotFound { agent_id, enrollment_id },
            ConfirmError::Certificate(CertificateError::Signature),
            EndError::NotFound { enrollment_id },
            RevokeError::NotFound { agent_id },
            RevokeError::Manifest(ManifestError::Signature),
            ReissueError::NotFound { org_id },
            AuthError::Status { status: AgentStatus::Revoked },
            AuthError::TooSoon { retry_after },
            AuthError::Busy { retry_after },
            AuthError::Key(KeyError::NotCanonical { role: ROLE }),
            HandshakeError::Stale { took: retry_after },
            HandshakeError::Certificate(CertificateError::Signature),
        ]
    );
}

fn errors_of_drivers() {
    let refusal = || Refusal { code: Code::Unavailable, message: "try again".to_owned(), retry_after: None };
    pin!(
        "errors_of_drivers",
        [
            SignerError(cause()),
            StoreError(cause()),
            CommitError::KeyTaken { role: ROLE },
            CommitError::Store(StoreError(cause())),
            RootError { org_id: OrgId::new(1).unwrap(), source: cause() },
            TransportError::Refused(refusal()),
            TransportError::Malformed(cause()),
            TransportError::Unreachable(cause()),
            AgentError::Enroll(EnrollError::WrongPin),
            AgentError::Transport(TransportError::Refused(refusal())),
            AgentError::Signer(SignerError(cause())),
            AgentError::Commit(CommitError::Stale),
            ServerError::Auth(AuthError::Session),
            ServerError::Register(RegisterError::SecondUse),
        ]
    );
}

fn records() {
    let mut peers = Peers::new();
    let new = peers.online();
    let enrollment = peers.load(Query::Enrollment(new.enrollment_id));
    let held = block_on(peers.agent.store.load()).unwrap().unwrap();
    let agent = enrollment.agent.clone().unwrap().record;
    let found = peers.load(Query::Agent(agent.id));
    let session = found.sessions[0].clone();
    let caller = check_session(&session.token, Some(&found), peers.world.clock.now()).unwrap();
    let api_key = AgentApiKeyRecord {
        hash: session.api_key,
        digits: "12b92294".to_owned(),
        agent_id: agent.id,
        created_at: at(1000),
    };
    let activity = Activity {
        at: at(1000),
        org_id: agent.org_id,
        actor: Actor::User(UserId::new(5).unwrap()),
        kind: ActivityKind::CodeCreated,
        agent_id: Some(agent.id),
        enrollment_id: None,
    };
    let put = Put { record: name(), expected: Some(Version::FIRST) };
    let certificate = agent.certificate.clone().unwrap();
    let text = lines![
        enrollment.organization.record.clone(),
        enrollment.enrollment.clone().unwrap().record,
        EnrollmentState::AwaitingConfirmation,
        agent,
        AgentKind::Remote,
        AgentStatus::Confirmed,
        certificate,
        api_key,
        session,
        caller,
        activity,
        Actor::Key("12b92294".to_owned()),
        ActivityKind::AgentRevoked,
        put,
        Versioned { record: name(), version: Version::FIRST },
        Query::Agent(AgentId::new(2).unwrap()),
        Query::AgentByApiKey(session_hash(&peers)),
        enrollment,
        held.record.session.clone().unwrap(),
        held.record,
    ];
    assert_eq!(peers.secrets.in_text(&text), None, "{text}");
    assert_snapshot!("records", text);
}

fn session_hash(peers: &Peers) -> fleet_core::code::SecretHash {
    let held = block_on(peers.agent.store.load()).unwrap().unwrap();
    held.record.session.unwrap().token.hash()
}

fn steps() {
    let mut peers = Peers::new();
    let new = peers.online();
    let world = &peers.world;
    let (operator, now) = (world.server.operator.clone(), world.clock.now());
    let organization = peers.load(Query::Organization(operator.org_id));
    let agent_id = block_on(world.server.agent_of(&new)).unwrap();
    let revoke = Revoke { operator: operator.clone(), agent_id };
    let found = peers.load(revoke.query());
    let revoking = revoke.clone().resolve(Some(found), now).unwrap();
    let reissuing = reissue(operator.clone(), Some(organization), now).unwrap();
    let founding =
        Founding { org_id: operator.org_id, name: name(), recovery: None, actor: operator.actor.clone() };
    let online = block_on(peers.agent.driver.handshake()).unwrap();
    peers.secrets.add("the newest session", online.session.token.expose());
    let confirm = Confirm {
        operator: operator.clone(),
        agent_id,
        enrollment_id: new.enrollment_id,
        fingerprint: "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R".parse().unwrap(),
        certificate: None,
    };
    let text = lines![
        Operator { ..operator },
        CreateCode { ttl: Some(Duration::from_secs(60)), code_sha256: Some([7; 32]) },
        confirm,
        revoke,
        revoking,
        reissuing,
        founding,
        Plan::ReuseKeys,
        Progress::NeedsApiKey,
        EnrollmentProgress::AskToJoin { organization: name() },
        online.server_time,
        OpenGate,
        NoProbe,
        Point::AgentJoined,
        OfflineRoots::default(),
        OneRoot(Arc::new(RootSecretKey::from_seed(&[1; 32]))),
    ];
    assert_eq!(peers.secrets.in_text(&text), None, "{text}");
    assert_snapshot!("steps", text);
}

fn telemetry() {
    let endpoint = Endpoint::serial("PM-0001").unwrap();
    let board = BoardSample {
        index: 0,
        hashrate_hs: Some(1e12),
        temperature_c: Some(60.5),
        working_chips: Some(108),
    };
    let discovery = Discovery {
        endpoint: endpoint.clone(),
        address: "192.0.2.1:80".to_owned(),
        make: "Proto".to_owned(),
        model: "Rig".to_owned(),
        firmware: "1.0".to_owned(),
        serial: None,
        mac: Some([1, 2, 3, 4, 5, 6]),
        driver: "proto".to_owned(),
    };
    let discovered = EventKind::Discovered(discovery.clone());
    pin!(
        "telemetry",
        [
            MinerStatus::Mining,
            board.clone(),
            Sample {
                boards: vec![board],
                ..Sample::status_only(endpoint, at(1000), MinerStatus::AuthNeeded)
            },
            discovery,
            discovered.clone(),
            Event { at: at(1000), kind: discovered },
        ]
    );
}

fn for_tests() {
    let peers = Peers::new();
    let text = lines![
        SeededRandom::new(1),
        VirtualClock::new(at(1000)),
        CrashAt::new(),
        MemoryServerStore::new(),
        Crashed(Point::AgentJoined),
        Fault::Delay(Duration::from_secs(1)),
    ];
    assert_snapshot!("for_tests", text);
    let text =
        lines![&*peers.agent.link, &*peers.agent.store, &peers.world, &peers.world.server, &peers.agent];
    assert_eq!(peers.secrets.in_text(&text), None, "{text}");
    assert_snapshot!("worlds", text);
}
