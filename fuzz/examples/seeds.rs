//! Writes the seeds of the corpora: real inputs, from an enrollment and a handshake that follow from a seed.
//!
//!     cargo run --manifest-path fuzz/Cargo.toml --example seeds
//!
//! What a fuzzer found is kept beside them, under the hash of its content.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fleet_agent::miner::credentials::{CredentialFile, CredentialKey, Credentials};
use fleet_agent::state::{Access, StateDir};
use fleet_core::certificate::{AgentCertificate, SignedCertificate};
use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, EnrollmentProgress};
use fleet_core::endpoint::Endpoint;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::id::{AgentId, OrgId};
use fleet_core::keys::{
    AgentPublicKeys, CommandSecretKey, OperatorSecretKey, RecoverySecretKey, RootSecretKey,
};
use fleet_core::manifest::{OrgManifest, RevokedKeyId, SignedManifest};
use fleet_core::name::Name;
use fleet_core::random::SecureRandom as _;
use fleet_core::telemetry::{BoardSample, Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::testing::{FaultyLink, SeededRandom, World, block_on};
use fleet_core::time::UnixMillis;
use fleet_core::transport::{Transport, TransportError};
use fleet_proto::agentgateway::v1;
use fleet_proto::convert::{encode_events, encode_samples, timestamp};
use fleet_proto::{agentadmin::v1 as admin, fleet::v1 as fleet};
use prost::Message;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, OneofDescriptor, ReflectMessage as _,
    Value,
};

type Seeds = Vec<(String, Vec<u8>)>;

fn main() {
    let (strings, messages) = enrollment();
    write("code", [strings, broken_strings()].concat());
    write("proto_messages", [messages, other_messages(), filled_messages()].concat());
    write("payloads", payloads());
    write("server", server_scripts());
    write("agent", agent_scripts());
    write("state", state_files());
    write("operations", schedules());
}

fn write(target: &str, seeds: Seeds) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory).unwrap();
    for (name, bytes) in seeds {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

fn seed(name: &str, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.into())
}

/// The first byte says what follows.
fn tagged(name: &str, tag: u8, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), [&[tag], bytes].concat())
}

fn text(name: &str, tag: u8, text: &str) -> (String, Vec<u8>) {
    tagged(name, tag, text.as_bytes())
}

/// A link that keeps every message, as it stands on the wire.
#[derive(Debug)]
struct Recorder {
    link: Arc<FaultyLink>,
    messages: Arc<Mutex<Seeds>>,
}

impl Recorder {
    fn keep(&self, name: &str, tag: u8, message: &impl Message) {
        let mut messages = self.messages.lock().unwrap();
        // A Register that is asked again is a seed of its own.
        let nth = messages.iter().filter(|(_, bytes)| bytes[0] == tag).count() + 1;
        messages.push(tagged(&format!("valid-{name}-{nth}"), tag, &message.encode_to_vec()));
    }
}

impl Transport for Recorder {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async move {
            self.keep("register-request", 0, &v1::RegisterRequest::from(&request));
            let response = self.link.register(request).await?;
            self.keep("register-response", 1, &v1::RegisterResponse::from(&response));
            Ok(response)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async move {
            self.keep("begin-request", 2, &v1::BeginAuthHandshakeRequest::from(&request));
            let response = self.link.begin(request).await?;
            self.keep("begin-response", 3, &v1::BeginAuthHandshakeResponse::from(&response));
            // The same with a kit's recovery key, operators and a revoked agent, signed anew.
            let mut richer = response.clone();
            let root = RootSecretKey::from_seed(&[1; 32]);
            let manifest = &mut richer.manifest.manifest;
            manifest.root = root.public();
            manifest.recovery = Some(RecoverySecretKey::from_scalar(&[2; 32]).public());
            manifest.operators = [3, 4].map(|n| OperatorSecretKey::from_seed(&[n; 32]).public()).to_vec();
            manifest.operators.sort_unstable_by_key(|key| *key.as_bytes());
            manifest.revoked = vec![RevokedKeyId::of(response.certificate.0.keys.identity())];
            richer.manifest.signature = root.sign(manifest.transcript().as_bytes());
            richer.certificate.1 = root.sign(richer.certificate.0.transcript().as_bytes());
            self.keep("begin-response-with-kit", 3, &v1::BeginAuthHandshakeResponse::from(&richer));
            Ok(response)
        })
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        Box::pin(async move {
            self.keep("complete-request", 4, &v1::CompleteAuthHandshakeRequest::from(&request));
            let response = self.link.complete(request).await?;
            self.keep("complete-response", 5, &v1::CompleteAuthHandshakeResponse::from(&response));
            Ok(response)
        })
    }
}

/// An agent that enrolls and gets a session: the strings that it handles and the messages that it sends and gets.
fn enrollment() -> (Seeds, Seeds) {
    let world = World::new(1);
    let peer = world.agent(0);
    let messages = Arc::new(Mutex::new(Seeds::new()));
    let recorder = Recorder { link: peer.link.clone(), messages: messages.clone() };
    let agent = AgentDriver::new(
        peer.store.clone(),
        peer.keys.clone(),
        Arc::new(recorder),
        world.clock.clone(),
        Arc::new(SeededRandom::new(2)),
    );
    let strings = block_on(async {
        let new = world.server.create_code().await;
        let code = new.code.as_ref().unwrap().expose();
        let name = Name::new("Reykjavík 2, hall B").unwrap();
        let mut enrolling = agent
            .enroll(EnrollmentCode::parse(code).unwrap(), "https://fleet.example", name.clone())
            .await
            .unwrap();
        assert!(matches!(enrolling.poll().await.unwrap(), EnrollmentProgress::AskToJoin { .. }));
        assert_eq!(enrolling.join().await.unwrap(), EnrollmentProgress::Waiting);
        let fingerprint = *enrolling.fingerprint();
        let agent_id = world.server.agent_of(&new).await.unwrap();
        let api_key = world.server.confirm(&new, agent_id, fingerprint).await.unwrap();
        world.advance(Duration::from_secs(2));
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        let online = agent.handshake().await.unwrap();
        vec![
            text("valid-enrollment-code", 0, code),
            text("valid-enrollment-code-upper-case", 0, &format!("  {}\n", code.to_ascii_uppercase())),
            text("valid-api-key", 1, api_key.expose()),
            text(
                "valid-api-key-with-its-digits-again",
                1,
                "fleet_adf21c03_SfydnkqHaLAWP_adfr1c03_SfyWvuO05t_adf21c03A",
            ),
            text("valid-session-token", 2, online.session.token.expose()),
            text("valid-fingerprint", 3, &fingerprint.to_string()),
            text("valid-fingerprint-as-typed", 3, &fingerprint.to_string().to_lowercase().replace('-', " ")),
            text("valid-endpoint-mac", 4, "mac:02005e10c0de"),
            text("valid-endpoint-serial", 4, "sn:PM-0001 x"),
            text("valid-name", 5, name.as_str()),
            tagged("valid-made-code", 6, &(0..48).collect::<Vec<u8>>()),
            tagged(
                "valid-made-code-four-typos",
                6,
                &(0..48).chain(*b"\x05q\x06p\x20z\x57l").collect::<Vec<u8>>(),
            ),
        ]
    });
    let messages = messages.lock().unwrap().clone();
    (strings, messages)
}

fn broken_strings() -> Seeds {
    vec![
        seed("empty", ""),
        tagged("name-not-utf8", 5, &[0xff; 4]),
        text("name-with-reordering", 5, "site\u{202e}1"),
        text("name-with-line-end", 5, "site-1\n"),
        text("endpoint-upper-case", 4, "mac:02005E10C0DE"),
        text("enrollment-code-of-another-kind", 0, "fenx1qqqqqqqqqqqqqqqq"),
    ]
}

fn other_messages() -> Seeds {
    let at = Some(timestamp(UnixMillis::new(1_764_000_000_123).unwrap()));
    let payload = encode_samples(&[sample()]);
    let hello = v1::ControlHello { agent_version: "0.1.0".to_owned() };
    let ack = v1::ControlAck {
        command_id: "c-1".to_owned(),
        error_message: "the miner refused".to_owned(),
        code: v1::AckCode::Unauthenticated.into(),
        ..Default::default()
    };
    let command = v1::ControlCommand {
        command_id: "c-1".to_owned(),
        payload: Bytes::from_static(b"\x0a\x00"),
        actor: "user:1".to_owned(),
        sequence: 1_764_000_000_123,
        expires_at: at,
        signature: Bytes::from_static(&[7; 64]),
    };
    let goaway = v1::ControlGoaway { reason: "revoked".to_owned() };
    let request = |kind| v1::ControlStreamRequest { kind: Some(kind) }.encode_to_vec();
    let response = |kind| v1::ControlStreamResponse { kind: Some(kind) }.encode_to_vec();
    use v1::control_stream_request::Kind as Request;
    use v1::control_stream_response::Kind as Response;
    let telemetry = v1::UploadTelemetryRequest { payload, captured_at: at, sequence: 1 };
    let events = v1::UploadEventsRequest { payload: encode_events(&events()), captured_at: at, sequence: 2 };
    let counted = v1::UploadTelemetryResponse {
        accepted_count: 2,
        durable_sequence: 1_764_000_000_125,
        rejected_count: 1,
    };
    let no_events = v1::UploadEventsResponse { accepted_count: 0, durable_sequence: 0, rejected_count: 0 };
    let beat = v1::UploadHeartbeatRequest { sent_at: at, agent_version: "0.1.0".to_owned() };
    let mut late = beat.clone();
    late.sent_at.as_mut().unwrap().nanos += 1;
    vec![
        tagged("valid-upload-telemetry-request", 6, &telemetry.encode_to_vec()),
        tagged("valid-upload-telemetry-response", 7, &counted.encode_to_vec()),
        tagged("valid-upload-events-request", 8, &events.encode_to_vec()),
        tagged("valid-upload-events-response", 9, &no_events.encode_to_vec()),
        tagged("valid-heartbeat-request", 10, &beat.encode_to_vec()),
        tagged(
            "valid-heartbeat-response",
            11,
            &v1::UploadHeartbeatResponse { received_at: at }.encode_to_vec(),
        ),
        tagged("valid-control-hello", 12, &request(Request::Hello(hello))),
        tagged("valid-control-ack", 12, &request(Request::Ack(ack))),
        tagged(
            "valid-control-accepted",
            13,
            &response(Response::Accepted(v1::ControlAccepted { server_time: at })),
        ),
        tagged("valid-control-command", 13, &response(Response::Command(command))),
        tagged("valid-control-goaway", 13, &response(Response::Goaway(goaway))),
        tagged("heartbeat-with-fraction-of-a-millisecond", 10, &late.encode_to_vec()),
        tagged("control-without-kind", 13, &[]),
        tagged("no-such-message", 255, &[]),
    ]
}

/// One of each message that the list has had since operators' were added, with every field set.
fn filled_messages() -> Seeds {
    let names = fleet_fuzz::message_names();
    let filled = |name: &str| {
        let message = fleet_proto::DESCRIPTORS.get_message_by_name(name).unwrap();
        filled(message).encode_to_vec()
    };
    let tag = |name: &str| u8::try_from(names.iter().position(|listed| listed == name).unwrap()).unwrap();
    let mut seeds: Seeds = names
        .iter()
        .skip(14)
        .map(|name| tagged(&format!("valid-{name}"), tag(name), &filled(name)))
        .collect();
    let mut late = timestamp(UnixMillis::new(1_764_000_000_123).unwrap());
    late.nanos += 1;
    let spread = fleet::Spread { average: f64::NAN, min: -0.0, max: f64::INFINITY };
    // Of the last, a reader of JSON that is quick makes its neighbor.
    let exact = fleet::Spread { average: 0.1, min: f64::MIN_POSITIVE, max: 102_000_000_000_003.25 };
    let agent = admin::Agent { created_at: Some(late), ..Default::default() };
    let confirm = admin::ConfirmAgentRequest {
        agent_id: 1,
        pending_enrollment_id: 1,
        fingerprint: "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5U".to_owned(),
        agent_certificate: None,
    };
    let unknown = admin::Agent { kind: 77, ..Default::default() };
    seeds.extend([
        tagged("valid-numbers-that-are-none", tag("fleet.v1.Spread"), &spread.encode_to_vec()),
        tagged("valid-numbers-to-the-last-bit", tag("fleet.v1.Spread"), &exact.encode_to_vec()),
        tagged("valid-agent-of-an-unknown-kind", tag("agentadmin.v1.Agent"), &unknown.encode_to_vec()),
        tagged("agent-with-a-fraction", tag("agentadmin.v1.Agent"), &agent.encode_to_vec()),
        tagged(
            "confirm-without-a-fingerprint",
            tag("agentadmin.v1.ConfirmAgentRequest"),
            &confirm.encode_to_vec(),
        ),
        tagged("sample-without-fields", tag("fleet.v1.Sample"), &[]),
    ]);
    seeds
}

/// A message in which every field has a value that its rules take.
fn filled(message: MessageDescriptor) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    match message.full_name() {
        // These two hold keys in their order, and are what an organization's root signs.
        "fleet.v1.OrgManifest" | "fleet.v1.AgentCertificate" => {
            let (manifest, certificate) = organization();
            let whole = if message.name() == "OrgManifest" {
                manifest.transcode_to_dynamic()
            } else {
                certificate.transcode_to_dynamic()
            };
            return whole;
        }
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
            let seconds = if message.name() == "Timestamp" { 1_764_000_000 } else { 3600 };
            filled.set_field_by_name("seconds", Value::I64(seconds));
            filled.set_field_by_name("nanos", Value::I32(123_000_000));
            return filled;
        }
        _ => {}
    }
    for field in message.fields() {
        let is_first = |oneof: OneofDescriptor| oneof.fields().next().as_ref() == Some(&field);
        if !field.containing_oneof().is_none_or(is_first) {
            continue;
        }
        let one = value(&field);
        let all = if field.is_map() {
            let kind = field.kind();
            let held = kind.as_message().unwrap().map_entry_value_field();
            Value::Map([(MapKey::String("fleet".to_owned()), value(&held))].into())
        } else if field.is_list() {
            Value::List(vec![one.clone(), one])
        } else {
            one
        };
        filled.set_field(&field, all);
    }
    filled
}

fn value(field: &FieldDescriptor) -> Value {
    let text = |text: &str| Value::String(text.to_owned());
    match (field.kind(), field.name()) {
        (Kind::String, "endpoint") => text("mac:02005e10c0de"),
        (Kind::String, "fingerprint" | "identity_fingerprint") => text("QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R"),
        (Kind::String, "digits") => text("0badc0de"),
        (Kind::String, _) => text("Reykjavík 2, hall B, rack 7"),
        (Kind::Bytes, "mac") => Value::Bytes(Bytes::from_static(&[2, 0, 0x5e, 0x10, 0xc0, 0xde])),
        (Kind::Bytes, "signature") => Value::Bytes(Bytes::from_static(&[7; 64])),
        (Kind::Bytes, _) => Value::Bytes(Bytes::from_static(&[7; 32])),
        (Kind::Bool, _) => Value::Bool(true),
        (Kind::Double, _) => Value::F64(1.02e14),
        (Kind::Uint32, _) => Value::U32(7),
        (Kind::Int32, _) => Value::I32(7),
        (Kind::Int64, _) => Value::I64(1_764_000_000_123),
        (Kind::Enum(_), _) => Value::EnumNumber(1),
        (Kind::Message(message), _) => Value::Message(filled(message)),
        (kind, name) => panic!("{name} is of a kind that no message had: {kind:?}"),
    }
}

/// The manifest and a certificate of an organization with a kit, an operator and a revoked agent.
fn organization() -> (fleet::OrgManifest, fleet::AgentCertificate) {
    let root = RootSecretKey::from_seed(&[1; 32]);
    let [identity, miner_signing] = [5, 6].map(|n| OperatorSecretKey::from_seed(&[n; 32]).public());
    let sealing = RecoverySecretKey::from_scalar(&[7; 32]).public();
    let keys =
        AgentPublicKeys::parse(identity.as_bytes(), miner_signing.as_bytes(), sealing.as_bytes()).unwrap();
    let manifest = OrgManifest {
        org_id: OrgId::new(1).unwrap(),
        org_name: Name::new("Acme").unwrap(),
        epoch: 1_764_000_000_123,
        root: root.public(),
        command: CommandSecretKey::from_seed(&[2; 32]).public(),
        recovery: Some(RecoverySecretKey::from_scalar(&[3; 32]).public()),
        operators: vec![OperatorSecretKey::from_seed(&[4; 32]).public()],
        revoked: vec![RevokedKeyId::of(keys.identity())],
    };
    let signature = root.sign(manifest.transcript().as_bytes());
    let manifest = SignedManifest::verify(manifest, signature).unwrap();
    let certificate = AgentCertificate {
        org_id: OrgId::new(1).unwrap(),
        agent_id: AgentId::new(7).unwrap(),
        name: Name::new("Reykjavík 2").unwrap(),
        keys,
        key_epoch: 1,
        issued_at: UnixMillis::new(1_764_000_000_123).unwrap(),
    };
    let signature = root.sign(certificate.transcript().as_bytes());
    let certificate = SignedCertificate::verify(certificate, signature, &root.public()).unwrap();
    ((&manifest).into(), (&certificate).into())
}

fn sample() -> Sample {
    Sample {
        endpoint: Endpoint::mac([2, 0, 0x5e, 0x10, 0xc0, 0xde]).unwrap(),
        taken_at: UnixMillis::new(1_764_000_000_000).unwrap(),
        status: MinerStatus::Mining,
        hashrate_hs: Some(1.02e14),
        power_w: Some(3276.5),
        efficiency_j_per_th: Some(32.1),
        temperature_c: Some(-4.5),
        fan_rpm: vec![4800, 0, 4920],
        boards: (0..3)
            .map(|index| BoardSample {
                index,
                hashrate_hs: Some(3.4e13),
                temperature_c: None,
                working_chips: Some(126 * index),
            })
            .collect(),
        uptime_s: Some(86_400),
    }
}

fn events() -> Vec<Event> {
    let at = UnixMillis::new(1_764_000_000_000).unwrap();
    let endpoint = Endpoint::serial("PM-0001").unwrap();
    let discovery = Discovery {
        endpoint: endpoint.clone(),
        address: "192.0.2.7:80".to_owned(),
        make: "Proto".to_owned(),
        model: "Rig".to_owned(),
        firmware: "1.0.0".to_owned(),
        serial: Some("CB-0002".to_owned()),
        mac: Some([2, 0, 0x5e, 0x10, 0xc0, 0xde]),
        driver: "proto".to_owned(),
    };
    let changed = |from, to| EventKind::StatusChanged { endpoint: endpoint.clone(), from, to };
    vec![
        Event { at, kind: EventKind::Discovered(discovery) },
        Event { at, kind: changed(None, MinerStatus::AuthNeeded) },
        Event { at, kind: changed(Some(MinerStatus::AuthNeeded), MinerStatus::Mining) },
    ]
}

fn payloads() -> Seeds {
    let down =
        Sample::status_only(Endpoint::serial("A").unwrap(), UnixMillis::EPOCH, MinerStatus::Unreachable);
    let mut not_a_number = sample();
    not_a_number.power_w = Some(f64::NAN);
    vec![
        tagged("valid-sample", 0, &encode_samples(&[sample()])),
        tagged("valid-samples", 0, &encode_samples(&[sample(), down.clone()])),
        tagged("valid-sample-status-only", 0, &encode_samples(&[down])),
        tagged("valid-events", 1, &encode_events(&events())),
        tagged("valid-discovery", 1, &encode_events(&events()[..1])),
        tagged("valid-status-change", 1, &encode_events(&events()[1..2])),
        tagged("sample-not-a-number", 0, &encode_samples(&[not_a_number])),
        tagged("no-sample", 0, &[]),
        tagged("no-event", 1, &[]),
        seed("empty", ""),
    ]
}

/// See the grammar in `src/server.rs`; the requests that the attacker has are, by number: 0 and 1 Register of the agent
/// that is online, 2 its Begin, 3 its Complete, 4 Register of the one that waits.
fn server_scripts() -> Seeds {
    vec![
        seed("valid-begin-again", [0, 2, 0]),
        seed("valid-begin-and-every-signature-of-one-byte", {
            let mut script = vec![0, 2, 0];
            script.extend((0..10).flat_map(|byte| [5, byte]));
            script
        }),
        seed("valid-register-of-the-waiting-again", [0, 4, 0]),
        seed("valid-confirm-what-waits-and-ask-again", [3, 0, 0, 4, 0]),
        seed(
            "valid-handshakes-until-there-are-three-sessions",
            [2, 0, 30, 4, 2, 0, 30, 4, 2, 0, 30, 4, 2, 0, 30, 0, 2, 0],
        ),
        seed("complete-replayed", [0, 3, 0]),
        seed("complete-with-another-signature", [0, 2, 0, 0, 3, 1, 0, 40, 1]),
        seed("revoke-then-begin", [3, 2, 0, 2, 0, 4]),
        seed("begin-revoke-then-complete", [0, 2, 0, 3, 2, 5, 7, 0, 3, 0]),
        seed("wrong-fingerprint", [3, 1, 3, 0, 0, 4, 0]),
        seed("cancel-then-ask-again", [3, 4, 0, 4, 0, 3, 0]),
        seed("expire-and-sweep", [2, 3, 2, 3, 5, 0, 4, 0]),
        seed("unused-code-with-the-keys-of-the-waiting", [6, 2, 0, 0, 0]),
        seed("unused-code-with-keys-of-an-expired-enrollment", [2, 3, 2, 3, 5, 6, 2, 9, 9, 0]),
        seed("register-with-another-name", [0, 4, 1, 0, 100, 1]),
        seed("name-with-reordering", [0, 4, 2, 0, 93, 0xe2, 0, 94, 0x80]),
        seed("time-passes-in-the-handshake", [0, 2, 0, 2, 0, 31, 5, 1]),
        seed("nobodys-session", [7, 0, 32]),
        seed("bytes", [1, 0, 0, 3, 0xff, 0xff, 0xff, 1, 1, 0, 0, 1, 2, 0, 2, 10, 0]),
        seed("empty", ""),
    ]
}

/// See the grammar in `src/agent.rs`.
fn agent_scripts() -> Seeds {
    vec![
        seed("valid-genuine", ""),
        seed("valid-replies-lost", [4, 0, 4, 0, 4, 0, 4]),
        seed("valid-refused-and-asked-again", [3, 6, 1, 0, 3, 5, 2, 0, 3, 7, 0]),
        seed("valid-slow", [6, 29, 6, 29, 6, 29, 6, 31]),
        seed("valid-earlier-answers", [0, 5, 0, 0, 0, 0, 5, 0, 0]),
        seed("valid-epoch-changed", [0, 0, 1, 2, 0, 120, 1, 0, 160, 1]),
        seed("valid-bytes", [2, 0, 3, 10, 1, 0, 0, 0, 2, 0, 0]),
        seed("another-fingerprint", [1, 1, 0, 20, 1, 1, 1, 0, 20, 1]),
        seed("every-code", (0..8).flat_map(|code| [3, code, 0]).collect::<Vec<_>>()),
        seed("never-an-answer", [4; 64]),
    ]
}

/// The state directory of an agent that is enrolled and has a session, and of one that has begun.
fn state_files() -> Seeds {
    let world = World::new(1);
    let peer = world.agent(0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let state = StateDir::open(&path, Access::Exclusive).unwrap();
    let agent = AgentDriver::new(
        Arc::new(state.store()),
        Arc::new(state.keys()),
        peer.link.clone(),
        world.clock.clone(),
        Arc::new(SeededRandom::new(3)),
    );
    let files = || -> Vec<(usize, Vec<u8>)> {
        let read = |name: &&str| fs::read(path.join(name)).unwrap_or_default();
        fleet_fuzz::STATE_FILES.iter().map(read).enumerate().collect()
    };
    let script = |files: &[(usize, Vec<u8>)]| -> Vec<u8> {
        let one = |(number, content): &(usize, Vec<u8>)| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[u8::try_from(*number).unwrap()], &length[..], content].concat()
        };
        files.iter().filter(|(_, content)| !content.is_empty()).flat_map(one).collect()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (begun, enrolled) = runtime.block_on(async {
        let new = world.server.create_code().await;
        let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
        let name = Name::new("Reykjavík 2").unwrap();
        let mut enrolling = agent.enroll(code, "https://fleet.example", name).await.unwrap();
        let begun = files();
        assert!(matches!(enrolling.poll().await.unwrap(), EnrollmentProgress::AskToJoin { .. }));
        enrolling.join().await.unwrap();
        let agent_id = world.server.agent_of(&new).await.unwrap();
        world.server.confirm(&new, agent_id, *enrolling.fingerprint()).await.unwrap();
        world.advance(Duration::from_secs(2));
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        agent.handshake().await.unwrap();
        CredentialFile::in_directory(&path)
            .put(
                CredentialKey::Device(Endpoint::serial("PM-1").unwrap()),
                Credentials::new("root", "a seed's password").unwrap(),
            )
            .unwrap();
        (begun, files())
    });
    let without = |file: usize| script(&enrolled.iter().filter(|f| f.0 != file).cloned().collect::<Vec<_>>());
    let with = |file: usize, content: &[u8]| {
        let mut files = enrolled.clone();
        files[file].1 = content.to_vec();
        script(&files)
    };
    let text = String::from_utf8(enrolled[0].1.clone()).unwrap();
    vec![
        seed("valid-begun", script(&begun)),
        seed("valid-enrolled", script(&enrolled)),
        seed("valid-without-a-session", without(2)),
        seed("valid-damaged-credentials", with(7, b"{\"format\":1,")),
        seed("without-state", without(0)),
        seed("without-identity-key", without(4)),
        seed("old-keys", script(&[&begun[..1], &enrolled[4..]].concat())),
        seed("another-format", with(0, text.replace("format: 1", "format: 2").as_bytes())),
        seed("another-epoch", with(0, text.replace("epoch: 1", "epoch: 2").as_bytes())),
        seed("an-alias-bomb", with(0, b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\nformat: 1\n")),
        seed("empty-files", (0..8).flat_map(|file| [file, 0, 0]).collect::<Vec<_>>()),
        seed("empty", ""),
    ]
}

/// The schedules that fleet-core's tests replay, and input that is taken for randomness.
fn schedules() -> Seeds {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-core/tests/schedules");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut seeds: Seeds = files
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .map(|(name, text)| {
            let text = String::from_utf8(text).unwrap();
            let lines = text.lines().skip_while(|line| !line.starts_with("seed "));
            (format!("valid-{name}"), lines.collect::<Vec<_>>().join("\n").into_bytes())
        })
        .collect();
    seeds.push(seed("empty", ""));
    seeds.push(seed("no-such-action", "seed 1\nfly agent=0\n"));
    for number in 0..8_u64 {
        let mut bytes = vec![0; 512];
        SeededRandom::new(number).fill(&mut bytes).unwrap();
        seeds.push(seed(&format!("random-{number}"), bytes));
    }
    seeds
}
