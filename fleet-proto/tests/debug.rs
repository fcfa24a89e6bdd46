//! `Debug` of generated messages shows no secret: what is a secret is decided field by field, with `debug_redact` in the
//! .proto files, and each message that has one is pinned here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test: other kinds hold no text")]

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::{
    DESCRIPTORS, agentadmin::v1 as agentadmin, agentgateway::v1 as agentgateway, fleet::v1 as fleet,
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

const PACKAGES: [&str; 3] = ["agentadmin.v1", "agentgateway.v1", "fleet.v1"];
const MARKER: &str = "MARKER-of-a-secret-that-nobody-may-see";

/// Parts of names that call for a decision.
const TELLING: [&str; 16] = [
    "token",
    "code",
    "key",
    "password",
    "secret",
    "signature",
    "proof",
    "challenge",
    "nonce",
    "payload",
    "result",
    "seed",
    "sha256",
    "hash",
    "wrap",
    "body",
];

/// Fields with such a name that may be seen, each with the reason.
const PUBLIC: [(&str, &str); 14] = [
    ("next_page_token", "a place in a list"),
    ("page_token", "a place in a list"),
    ("identity_pubkey", "public"),
    ("miner_signing_pubkey", "public"),
    ("sealing_pubkey", "public"),
    ("root_pubkey", "public"),
    ("command_pubkey", "public"),
    ("recovery_pubkey", "public"),
    ("operator_pubkeys", "public"),
    ("api_key_digits", "in listings, to tell api_keys apart"),
    ("fleet.v1.OrgManifest.signature", "everybody in the organization has it"),
    ("fleet.v1.AgentCertificate.signature", "everybody in the organization has it"),
    ("api_keys", "what is known of them, not they themselves"),
    ("samples", "what a payload holds"),
];

fn messages() -> impl Iterator<Item = MessageDescriptor> {
    DESCRIPTORS.all_messages().filter(|message| PACKAGES.contains(&message.package_name()))
}

fn redacted(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

#[test]
fn whether_a_field_may_be_seen_is_decided() {
    let mut redactions = 0;
    for message in messages() {
        for field in message.fields() {
            redactions += usize::from(redacted(&field));
            let holds_bytes = matches!(field.kind(), Kind::String | Kind::Bytes);
            let tells = TELLING.iter().any(|part| field.name().split('_').any(|word| word.contains(part)));
            if !holds_bytes || !tells || redacted(&field) {
                continue;
            }
            let is_public = PUBLIC.iter().any(|(name, _)| [field.name(), field.full_name()].contains(name));
            assert!(is_public, "{}: a secret takes debug_redact; if it is none, say why", field.full_name());
        }
    }
    assert!(redactions > 20, "{redactions}");
}

type Shown = fn(&[u8]) -> [String; 2];

fn shown<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> [String; 2] {
    let message = M::decode(bytes).unwrap();
    [format!("{message:?}"), format!("{message:#?}")]
}

macro_rules! pinned {
    ($($message:path => $pin:expr,)*) => {
        [$((<$message>::default().descriptor(), shown::<$message> as Shown, $pin),)*]
    };
}

/// The message with every field that can hold it set to the marker.
fn marked(descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match field.kind() {
            Kind::String => Value::String(MARKER.to_owned()),
            Kind::Bytes => Value::Bytes(MARKER.as_bytes().to_vec().into()),
            _ => continue,
        };
        message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
    }
    message
}

#[test]
fn a_message_with_a_secret_shows_the_rest_of_itself() {
    let pinned = pinned! {
        agentadmin::CreateEnrollmentCodeRequest => "ttl",
        agentadmin::CreateEnrollmentCodeResponse => "expires_at, pending_enrollment_id",
        agentadmin::ConfirmAgentResponse => "",
        agentgateway::RegisterRequest => "name, identity_pubkey, miner_signing_pubkey, sealing_pubkey",
        agentgateway::RegisterResponse => "agent_id, enrollment_status, identity_fingerprint, org_manifest",
        agentgateway::BeginAuthHandshakeRequest => "identity_pubkey",
        agentgateway::BeginAuthHandshakeResponse =>
            "expires_at, server_time, org_manifest, agent_certificate, last_sequence",
        agentgateway::CompleteAuthHandshakeRequest => "",
        agentgateway::CompleteAuthHandshakeResponse => "expires_at",
        agentgateway::UploadTelemetryRequest => "captured_at, sequence",
        agentgateway::UploadEventsRequest => "captured_at, sequence",
        agentgateway::ControlCommand => "command_id, actor, sequence, expires_at",
        agentgateway::ControlAck => "command_id, succeeded, error_message, code",
        fleet::SetUpRequest => "organization, user_name",
        fleet::LoginRequest => "user_name, organization",
        fleet::LoginResponse => "expires_at, organization",
        fleet::CreateApiKeyResponse => "info",
        fleet::SelectOrganizationResponse => "expires_at, organization",
        fleet::ChangePasswordRequest => "",
    };
    let all: BTreeMap<_, _> =
        pinned.iter().map(|(descriptor, shown, pin)| (descriptor.full_name(), (shown, pin))).collect();
    let with_secrets: BTreeSet<_> = messages()
        .filter(|message| message.fields().any(|field| redacted(&field)))
        .map(|message| message.full_name().to_owned())
        .collect();
    let names: BTreeSet<_> = all.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(names, with_secrets, "each message with a secret is pinned here, and no other");

    for (descriptor, shown, pin) in &pinned {
        let name = descriptor.full_name();
        let bytes = marked(descriptor).encode_to_vec();
        let visible: Vec<_> =
            descriptor.fields().filter(|field| !redacted(field)).map(|f| f.name().to_owned()).collect();
        assert_eq!(visible.join(", "), *pin, "{name}");
        for text in shown(&bytes) {
            for field in descriptor.fields() {
                let has = text.contains(&format!("{}: ", field.name()));
                assert_eq!(has, !redacted(&field), "{name}.{}: {text}", field.name());
            }
            let holds = |field: &FieldDescriptor| matches!(field.kind(), Kind::String | Kind::Bytes);
            let seen = descriptor.fields().filter(|field| holds(field) && !redacted(field)).count();
            assert_eq!(text.matches(MARKER).count(), seen, "{name}: {text}");
        }
    }
    // Messages around them show them as they show themselves.
    let result = MARKER.as_bytes().to_vec().into();
    let ack = agentgateway::ControlAck { result, ..agentgateway::ControlAck::default() };
    let kind = Some(agentgateway::control_stream_request::Kind::Ack(ack));
    let text = format!("{:?}", agentgateway::ControlStreamRequest { kind });
    assert!(text.contains("ControlAck") && !text.contains(MARKER), "{text}");
}
