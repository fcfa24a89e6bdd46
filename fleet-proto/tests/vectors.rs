//! The messages of the test vectors in `fleet-core/tests/vectors`: both implementations write the same bytes, and what
//! breaks a rule of the wire is refused here, before `fleet-core` sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_core::certificate::AgentCertificate;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, UnverifiedManifest};
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::keys::Signature;
use fleet_proto::DESCRIPTORS;
use fleet_proto::agentgateway::v1 as gateway;
use fleet_proto::convert::{ConvertError, millis, timestamp};
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::validate::Validate;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value as Dynamic};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

/// A message of the protocol: its name, and the way of its bytes through the domain and back.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    through: fn(&[u8]) -> Result<Vec<u8>, ConvertError>,
}

/// Decodes, checks every rule, converts to the domain and back, and encodes.
fn through<M: Message + Default + Validate, D>(
    bytes: &[u8],
    to: fn(M) -> Result<D, ConvertError>,
    back: fn(&D) -> M,
) -> Result<Vec<u8>, ConvertError> {
    let message = M::decode(bytes).unwrap();
    assert_eq!(message.encode_to_vec(), bytes, "decoded and encoded");
    message.validate()?;
    Ok(back(&to(message)?).encode_to_vec())
}

const MANIFEST: Form = Form {
    name: "fleet.v1.OrgManifest",
    through: |bytes| {
        through::<fleet::OrgManifest, UnverifiedManifest>(bytes, |m| (&m).try_into(), |d| d.into())
    },
};
const CERTIFICATE: Form = Form {
    name: "fleet.v1.AgentCertificate",
    through: |bytes| {
        through::<fleet::AgentCertificate, (AgentCertificate, Signature)>(
            bytes,
            |m| (&m).try_into(),
            |d| d.into(),
        )
    },
};
const REGISTER: Form = Form {
    name: "agentgateway.v1.RegisterRequest",
    through: |b| through::<gateway::RegisterRequest, RegisterRequest>(b, |m| m.try_into(), |d| d.into()),
};
const REGISTERED: Form = Form {
    name: "agentgateway.v1.RegisterResponse",
    through: |b| through::<gateway::RegisterResponse, RegisterResponse>(b, |m| m.try_into(), |d| d.into()),
};
const BEGIN: Form = Form {
    name: "agentgateway.v1.BeginAuthHandshakeRequest",
    through: |b| {
        through::<gateway::BeginAuthHandshakeRequest, BeginRequest>(b, |m| m.try_into(), |d| d.into())
    },
};
const BEGUN: Form = Form {
    name: "agentgateway.v1.BeginAuthHandshakeResponse",
    through: |b| {
        through::<gateway::BeginAuthHandshakeResponse, BeginResponse>(b, |m| m.try_into(), |d| d.into())
    },
};
const COMPLETE: Form = Form {
    name: "agentgateway.v1.CompleteAuthHandshakeRequest",
    through: |b| {
        through::<gateway::CompleteAuthHandshakeRequest, CompleteRequest>(b, |m| m.try_into(), |d| d.into())
    },
};
const COMPLETED: Form = Form {
    name: "agentgateway.v1.CompleteAuthHandshakeResponse",
    through: |b| {
        through::<gateway::CompleteAuthHandshakeResponse, CompleteResponse>(b, |m| m.try_into(), |d| d.into())
    },
};
const COMMAND: Form = Form {
    name: "agentgateway.v1.ControlCommand",
    // There is no type of the domain for it.
    through: |b| through::<gateway::ControlCommand, gateway::ControlCommand>(b, Ok, Clone::clone),
};

/// A vector's object as a message, whether or not its rules hold.
fn encode(form: Form, object: &Value) -> Vec<u8> {
    let message = DESCRIPTORS.get_message_by_name(form.name).unwrap();
    fill(DynamicMessage::new(message), object).encode_to_vec()
}

fn fill(mut message: DynamicMessage, object: &Value) -> DynamicMessage {
    for (name, value) in object.as_object().unwrap() {
        let field = message.descriptor().get_field_by_name(name).unwrap_or_else(|| panic!("no field {name}"));
        // The vectors write "" for bytes that are absent.
        if field.supports_presence() && *value == json!("") {
            continue;
        }
        let value = match value.as_array() {
            Some(items) => Dynamic::List(items.iter().map(|item| dynamic(&field, item)).collect()),
            None => dynamic(&field, value),
        };
        message.set_field(&field, value);
    }
    message
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the vectors have these kinds, and a new one must say so")]
fn dynamic(field: &FieldDescriptor, value: &Value) -> Dynamic {
    match field.kind() {
        Kind::Int64 => Dynamic::I64(integer(value)),
        Kind::Enum(_) => Dynamic::EnumNumber(integer(value).try_into().unwrap()),
        Kind::String => Dynamic::String(value.as_str().unwrap().to_owned()),
        Kind::Bytes => Dynamic::Bytes(hex::decode(value.as_str().unwrap()).unwrap().into()),
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            let millis = integer(value);
            let (seconds, nanos) = (millis.div_euclid(1000), millis.rem_euclid(1000) * 1_000_000);
            let nanos = i32::try_from(nanos).unwrap();
            let mut time = DynamicMessage::new(message);
            time.transcode_from(&Timestamp { seconds, nanos }).unwrap();
            Dynamic::Message(time)
        }
        Kind::Message(message) => Dynamic::Message(fill(DynamicMessage::new(message), value)),
        other => panic!("no vector has a field of {other:?}"),
    }
}

fn integer(value: &Value) -> i64 {
    value.as_str().map_or_else(|| value.as_i64().unwrap(), |digits| digits.parse().unwrap())
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-core/tests/vectors")
}

/// Every vector by its path.
fn vectors() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for subject in std::fs::read_dir(directory()).unwrap().map(Result::unwrap) {
        if !subject.file_type().unwrap().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(subject.path()).unwrap().map(Result::unwrap) {
            let [subject, name] = [&subject, &file].map(|entry| entry.file_name().into_string().unwrap());
            let vector = serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            found.insert(format!("{subject}/{name}"), vector);
        }
    }
    found
}

/// Fields of both objects.
fn with(object: &Value, more: &[(&str, &Value)]) -> Value {
    let mut fields: Map<String, Value> = object.as_object().unwrap().clone();
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())));
    Value::Object(fields)
}

/// Each field of an accepted vector's `out` that holds protobuf, with the message that it is.
fn encodings(vector: &Value) -> Vec<(&'static str, Form, Value)> {
    let (given, out) = (&vector["in"], &vector["out"]);
    match vector["op"].as_str().unwrap() {
        "manifest" => {
            let signed = [("root_pubkey", &out["root_pubkey"]), ("signature", &out["signature"])];
            vec![("protobuf", MANIFEST, with(&given["manifest"], &signed))]
        }
        "certificate" => {
            vec![("protobuf", CERTIFICATE, with(&given["certificate"], &[("signature", &out["signature"])]))]
        }
        "register" => {
            let answer = json!({
                "agent_id": given["agent_id"],
                "enrollment_status": 1,
                "identity_fingerprint": out["identity_fingerprint"],
                "org_manifest": out["manifest"],
            });
            let confirmed = [("enrollment_status", &json!(2)), ("sealed_api_key", &out["sealed_api_key"])];
            vec![
                ("request_protobuf", REGISTER, out["request"].clone()),
                ("certificate_protobuf", CERTIFICATE, out["certificate"].clone()),
                ("repeat_answer_protobuf", REGISTERED, with(&answer, &confirmed)),
                ("answer_protobuf", REGISTERED, answer),
            ]
        }
        "begin-request" => vec![("protobuf", BEGIN, given["request"].clone())],
        "complete-request" => {
            let answer = json!({ "session_token": out["session_token"], "expires_at": out["expires_at"] });
            vec![("protobuf", COMPLETED, answer)]
        }
        "handshake" => vec![
            ("begin_request_protobuf", BEGIN, out["begin_request"].clone()),
            ("begin_answer_protobuf", BEGUN, out["begin_answer"].clone()),
            ("complete_request_protobuf", COMPLETE, out["complete_request"].clone()),
            ("complete_answer_protobuf", COMPLETED, out["complete_answer"].clone()),
        ],
        "command" => {
            vec![("protobuf", COMMAND, with(&given["command"], &[("signature", &out["signature"])]))]
        }
        _ => Vec::new(),
    }
}

#[test]
fn both_implementations_write_the_same_messages() {
    let (mut messages, mut wrong) = (BTreeMap::<_, usize>::new(), Vec::new());
    for (path, vector) in vectors() {
        let Some(out) = vector["out"].as_object() else { continue };
        if vector["op"] == "timestamp" {
            continue;
        }
        let found = encodings(&vector);
        for name in out.keys().filter(|name| *name == "protobuf" || name.ends_with("_protobuf")) {
            let Some((_, form, object)) = found.iter().find(|(field, ..)| field == name) else {
                wrong.push(format!("{path}: nothing compares {name}"));
                continue;
            };
            *messages.entry(form.name).or_default() += 1;
            let expected = out[name].as_str().unwrap();
            let bytes = hex::decode(expected).unwrap();
            if hex::encode(encode(*form, object)) != expected {
                wrong.push(format!("{path}: {name} is not what the fields say"));
            }
            match (form.through)(&bytes) {
                Ok(again) if again == bytes => {}
                Ok(again) => wrong.push(format!("{path}: {name} became {}", hex::encode(again))),
                Err(error) => wrong.push(format!("{path}: {name}: {error}")),
            }
        }
    }
    for (name, count) in &messages {
        println!("{count:4} of {name}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        messages.len() == 9 && messages.values().sum::<usize>() >= 44,
        "fewer than there were: {messages:?}"
    );
}

/// The messages that are judged in a vector, by their path in `in`.
fn judged(op: &str) -> &'static [(&'static str, Form)] {
    match op {
        "manifest-verify" | "enrollment-code" => &[("/manifest", MANIFEST)],
        "manifest-update" => &[("/pinned", MANIFEST), ("/received", MANIFEST)],
        "certificate-verify" => &[("/certificate", CERTIFICATE)],
        "register-request" => &[("/server/manifest", MANIFEST), ("/request", REGISTER)],
        "register-answer" => &[("/answer", REGISTERED)],
        "begin-request" => &[("/request", BEGIN)],
        "begin-answer" => &[("/agent/pinned", MANIFEST), ("/answer", BEGUN)],
        "complete-request" => &[("/server/manifest", MANIFEST), ("/request", COMPLETE)],
        "command-verify" => &[("/command", COMMAND)],
        _ => &[],
    }
}

/// Faults that the rules of the wire must find.
const WIRE: &[&str] = &[
    "agent-id-not-positive",
    "api-key-length",
    "certificate-missing",
    "challenge-length",
    "epoch-not-positive",
    "fingerprint-length",
    "integer-negative",
    "key-epoch-not-positive",
    "key-length",
    "manifest-missing",
    "name-character",
    "name-length",
    "nonce-length",
    "org-id-not-positive",
    "revoked-length",
    "signature-length",
    "token-length",
];

fn read(given: &Value, op: &str) -> Result<(), ConvertError> {
    for (at, form) in judged(op) {
        let bytes = encode(*form, given.pointer(at).unwrap());
        assert_eq!((form.through)(&bytes)?, bytes, "{at}");
    }
    Ok(())
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, change) in patch {
        if change.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// The innermost field, as the vectors name it.
fn innermost(error: &ConvertError) -> &str {
    let last = error.field.rsplit('.').next().unwrap();
    last.split('[').next().unwrap()
}

#[test]
fn what_breaks_a_rule_of_the_wire_is_refused_by_its_field_and_nothing_else_is() {
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    for (path, vector) in vectors() {
        let op = vector["op"].as_str().unwrap();
        if judged(op).is_empty() {
            continue;
        }
        let [code, reason, field] =
            ["code", "reason", "field"].map(|name| vector["refused"][name].as_str().unwrap_or_default());
        match read(&vector["in"], op) {
            Ok(()) if WIRE.contains(&reason) => wrong.push(format!("{path}: taken, though {reason}")),
            Ok(()) => taken += 1,
            Err(error) if vector["out"].is_object() => wrong.push(format!("{path}: {error}")),
            Err(error) => {
                refused += 1;
                if innermost(&error) != field || !["invalid_argument", "agent-refuses"].contains(&code) {
                    wrong.push(format!("{path}: {error}; expected {field} ({reason}), {code}"));
                }
                #[cfg(any(feature = "client", feature = "server"))]
                assert_eq!(
                    fleet_proto::rpc::Status::from(error).code,
                    fleet_proto::rpc::Code::InvalidArgument
                );
            }
        }
        if vector["out"].is_object() {
            continue;
        }
        let mut mended = vector["in"].clone();
        merge(&mut mended, &vector["mended"]);
        if let Err(error) = read(&mended, op) {
            wrong.push(format!("{path}, mended: {error}"));
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(taken >= 227 && refused >= 83, "fewer than there were: {taken} taken, {refused} refused");
}

/// A name is refused where a message becomes a request.
#[test]
fn names() {
    let vectors = vectors();
    let request = &vectors["register/first.accept.json"]["in"]["request"];
    let (mut accepted, mut refused) = (0, 0);
    for (path, vector) in vectors.iter().filter(|(_, vector)| vector["op"] == "name") {
        let bytes = encode(REGISTER, &with(request, &[("name", &vector["in"]["name"])]));
        match (REGISTER.through)(&bytes) {
            Ok(again) => {
                assert!(vector["out"].is_object() && again == bytes, "{path}");
                accepted += 1;
            }
            Err(error) => {
                assert_eq!(
                    (&error.field[..], &vector["refused"]["field"]),
                    ("name", &json!("name")),
                    "{path}"
                );
                refused += 1;
            }
        }
    }
    assert!(accepted >= 25 && refused >= 22, "fewer than there were: {accepted} accepted, {refused} refused");
}

#[test]
fn timestamps() {
    let (mut accepted, mut refused) = (0, 0);
    for (path, vector) in vectors().into_iter().filter(|(_, vector)| vector["op"] == "timestamp") {
        let read = |given: &Value| {
            let nanos = integer(&given["nanos"]).try_into().unwrap();
            let message = Timestamp { seconds: integer(&given["seconds"]), nanos };
            millis(&message).map(|time| (message, time))
        };
        let Some(out) = vector["out"].as_object() else {
            assert!(read(&vector["in"]).is_err(), "{path}");
            let mut mended = vector["in"].clone();
            merge(&mut mended, &vector["mended"]);
            assert!(read(&mended).is_ok(), "{path}, mended");
            refused += 1;
            continue;
        };
        let (message, time) = read(&vector["in"]).unwrap();
        assert_eq!(out["milliseconds"], time.value(), "{path}");
        assert_eq!(timestamp(time), message, "{path}");
        assert_eq!(out["protobuf"], hex::encode(message.encode_to_vec()), "{path}");
        accepted += 1;
    }
    assert!(accepted >= 5 && refused >= 8, "fewer than there were: {accepted} accepted, {refused} refused");
}
