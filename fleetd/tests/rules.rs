//! Every rule that stands in the .proto files, broken once through the real server: in every message of every request,
//! in protobuf and in JSON, with the credentials of its procedure. The refusal names the field and its limit, and
//! nothing is stored. What procedures and rules there are, the walk finds by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test: an unknown kind panics")]

mod rules_support;
mod wire_support;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_core::time::Clock as _;
use fleet_proto::DESCRIPTORS;
use fleet_proto::agentgateway::v1::{self as gateway, control_stream_response as answer};
use fleet_proto::convert::timestamp;
use fleet_proto::rpc::MAX_MESSAGE_BYTES;
use fleetd::config::Mode;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage as _, Value};
use rules_support::{Broken, broken, valid};
use tracing_subscriber::fmt::MakeWriter;
use wire_support::{Answer, Bench, Dump, Online, http1, within};

/// Procedures that authenticate by what they carry.
const OPEN: [&str; 5] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
    "fleet.v1.OperatorService/SetUp",
    "fleet.v1.OperatorService/Login",
];

/// Fields of bytes that hold an encoded message, and which.
const PAYLOADS: [(&str, &str); 3] = [
    ("agentgateway.v1.UploadTelemetryRequest.payload", "fleet.v1.TelemetryBatch"),
    ("agentgateway.v1.UploadEventsRequest.payload", "fleet.v1.EventBatch"),
    ("agentgateway.v1.ControlAck.result", "fleet.v1.CommandResult"),
];

fn procedure(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// All of them; the services of others, `grpc.*`, have no rules.
fn methods() -> Vec<MethodDescriptor> {
    let ours = DESCRIPTORS.services().filter(|service| !service.full_name().starts_with("grpc."));
    let methods: Vec<_> = ours.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    for open in OPEN {
        assert!(methods.iter().any(|method| procedure(method) == open), "{open} is gone");
    }
    methods
}

/// The credentials that a procedure takes.
fn token<'a>(method: &MethodDescriptor, bench: &'a Bench, agent: &'a Online) -> Option<&'a str> {
    if OPEN.contains(&procedure(method).as_str()) {
        return None;
    }
    match method.parent_service().package_name() {
        "agentgateway.v1" => Some(&agent.token),
        "agentadmin.v1" | "fleet.v1" => Some(&bench.token),
        other => panic!("whose credentials do the procedures of {other} take?"),
    }
}

// How they are sent.

#[derive(Debug, Clone, Copy)]
enum Form {
    Proto,
    Json,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Proto => "proto",
            Self::Json => "json",
        }
    }

    /// `None` if there is no such message in this form.
    fn encode(self, message: &DynamicMessage) -> Option<Vec<u8>> {
        match self {
            Self::Proto => Some(message.encode_to_vec()),
            Self::Json => {
                let json = serde_json::to_vec(message).ok()?;
                let mut read = serde_json::Deserializer::from_slice(&json);
                let read = DynamicMessage::deserialize(message.descriptor(), &mut read).ok()?;
                // It may be another one, of a time that has been put right.
                (read.encode_to_vec() == message.encode_to_vec()).then_some(json)
            }
        }
    }
}

fn enveloped(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// The JSON at the end of a stream, in its last envelope.
fn end_of_stream(answer: &Answer) -> serde_json::Value {
    let mut rest = answer.bytes.as_slice();
    while rest.len() > 5 {
        let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
        if rest[0] & 2 != 0 {
            return serde_json::from_slice(&rest[5..5 + length]).unwrap();
        }
        rest = &rest[5 + length..];
    }
    panic!("a stream without an end: {answer:?}");
}

/// Calls a procedure with one message. How it was refused: the code and the message.
async fn call(
    bench: &Bench,
    method: &MethodDescriptor,
    token: Option<&str>,
    form: Form,
    message: &[u8],
) -> Option<(String, String)> {
    let path = format!("/{}", procedure(method));
    let streams = method.is_client_streaming() || method.is_server_streaming();
    let kind = format!("application/{}{}", if streams { "connect+" } else { "" }, form.name());
    let body = if streams { enveloped(message) } else { message.to_vec() };
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", kind.as_str())];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let answer = within(&path, http1(bench.address, "POST", &path, &headers, &body)).await;
    let error = if streams {
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        end_of_stream(&answer).get("error").cloned()?
    } else if answer.status == 200 {
        return None;
    } else {
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{path}: {answer:?}"))
    };
    let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    Some((part("code"), part("message")))
}

fn judge(what: &str, says: &[String], refusal: Option<(String, String)>) {
    let (code, message) = refusal.unwrap_or_else(|| panic!("{what}: not refused"));
    assert_eq!(code, "invalid_argument", "{what}: {message}");
    assert!(message.starts_with(&says[0]), "{what}: {message:?} does not begin with {:?}", says[0]);
    assert!(message.contains(&says[1..].concat()), "{what}: {message:?} does not say {says:?}");
    assert!(message.len() < 300 && !message.contains('\n'), "{what}: {message:?}");
}

/// Requires that nothing was stored since.
async fn unchanged(bench: &Bench, before: &Dump, what: &str) {
    assert_eq!(before.changes(&bench.dump().await), [""; 0], "{what}: the refusal changed the database");
}

/// A bench with an agent of which everything that its first call changes is changed.
async fn bench() -> (Bench, Online) {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let heartbeat = gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    };
    bench.gateway_as(&agent.token).upload_heartbeat(heartbeat).await.unwrap();
    (bench, agent)
}

#[tokio::test]
async fn every_rule_of_every_request_is_enforced_and_names_its_field() {
    let (bench, agent) = bench().await;
    let before = bench.dump().await;
    let (mut broken_rules, mut unsaid) = (0, BTreeSet::new());
    for method in methods() {
        let name = procedure(&method);
        let token = token(&method, &bench, &agent);
        for Broken { what, message, says } in broken(&method.input()) {
            for form in [Form::Proto, Form::Json] {
                let what = format!("{name} in {form:?}: {what}");
                let Some(body) = form.encode(&message) else {
                    unsaid.insert(what.rsplit(": ").next().unwrap().to_owned());
                    continue;
                };
                let refusal = call(&bench, &method, token, form, &body).await;
                if body.len() > MAX_MESSAGE_BYTES {
                    // The limit of a whole message comes first, and base64 takes a third more.
                    let (code, message) = refusal.unwrap_or_else(|| panic!("{what}: not refused"));
                    assert_eq!(code, "resource_exhausted", "{what}: {message}");
                } else {
                    judge(&what, &says, refusal);
                }
                unchanged(&bench, &before, &what).await;
            }
            broken_rules += 1;
        }
    }
    // A rule of a kind that the walk does not know stops it; that it walks at all is seen here.
    assert!(broken_rules > 100, "{broken_rules} rules");
    let is_a_time = |what: &String| ["nanoseconds", "9999"].iter().any(|time| what.contains(time));
    assert!(unsaid.iter().all(is_a_time), "JSON has no word for these: {unsaid:?}");
}

// Messages within messages.

/// Batches as the uploads carry them: the procedure, and the kind of message in its payload.
fn uploads() -> Vec<(MethodDescriptor, MessageDescriptor)> {
    let mut uploads = Vec::new();
    for method in methods() {
        let fields = valid(&method.input()).into_iter().flat_map(|message| bytes_within(&message));
        for field in fields.collect::<BTreeSet<_>>() {
            let last = field.rsplit('.').next().unwrap();
            if !["payload", "result"].contains(&last) {
                continue;
            }
            let (_, holds) = PAYLOADS.iter().find(|(known, _)| *known == field).unwrap_or_else(|| {
                panic!("{field} holds an encoded message: of which kind?");
            });
            let holds = DESCRIPTORS.get_message_by_name(holds).unwrap();
            if broken(&holds).is_empty() {
                continue;
            }
            assert!(method.is_client_streaming() && !method.is_server_streaming(), "{field} is no upload");
            uploads.push((method.clone(), holds));
        }
    }
    uploads
}

/// The full names of the fields of bytes that are set in a message and those within.
fn bytes_within(message: &DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    for (field, value) in message.fields() {
        match value {
            Value::Bytes(_) => found.push(field.full_name().to_owned()),
            Value::Message(inner) => found.extend(bytes_within(inner)),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn every_rule_of_a_payload_is_enforced_and_what_breaks_one_is_counted() {
    let (bench, agent) = bench().await;
    let said = Said::default();
    let _speaking = said.listen();
    let before = bench.dump().await;
    let uploads = uploads();
    assert_eq!(uploads.len(), 2, "telemetry and events");
    let mut sequence = 0;
    for (method, holds) in uploads {
        let name = procedure(&method);
        let all = broken(&holds);
        assert!(all.len() > 20, "{name}: {} rules", all.len());
        for Broken { what, message, says } in all {
            let what = format!("{name}: payload: {what}");
            sequence += 1;
            // A field that is not known makes an empty batch more than an empty payload, which has a rule of its own.
            let payload = [message.encode_to_vec(), vec![0xc0, 0x3e, 1]].concat();
            let upload = serde_json::json!({
                "payload": STANDARD.encode(payload),
                "capturedAt": "2026-01-01T00:00:00Z",
                "sequence": sequence,
            });
            let headers = [
                ("content-type", "application/connect+json"),
                ("authorization", &*format!("Bearer {}", agent.token)),
            ];
            let body = enveloped(upload.to_string().as_bytes());
            let path = format!("/{name}");
            let answer = within(&what, http1(bench.address, "POST", &path, &headers, &body)).await;
            // The stream is answered, and the message is dealt with: it would say no more if it came again.
            let counts: serde_json::Value =
                serde_json::Deserializer::from_slice(&answer.bytes[5..]).into_iter().next().unwrap().unwrap();
            let counted = serde_json::json!({"rejectedCount": "1", "durableSequence": sequence.to_string()});
            assert_eq!(counts, counted, "{what}: {answer:?}");
            let lines = said.take();
            let line = lines.iter().find(|line| line.contains("an upload was rejected"));
            let line = line.unwrap_or_else(|| panic!("{what}: not logged: {lines:?}"));
            assert!(says.iter().all(|says| line.contains(says.as_str())), "{what}: {says:?}: {line}");
            let after = bench.dump().await;
            let stored: Vec<_> = before.changes(&after);
            let is_position = |change: &String| change[1..].starts_with(" upload_position:");
            assert!(stored.iter().all(is_position), "{what}: {stored:#?}");
        }
    }
}

// The control stream.

/// What was logged, line by line.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// On this thread, on which everything runs.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_writer(self.clone()).with_ansi(false);
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn take(&self) -> Vec<String> {
        let said = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(said).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

impl io::Write for Said {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_message_that_breaks_a_rule_is_refused_and_logged_and_the_control_stream_lives() {
    let (bench, agent) = bench().await;
    let gateway = bench.gateway_as(&agent.token);
    let mut control = gateway.control_stream().await.unwrap();
    let kind = gateway::control_stream_request::Kind::Hello(gateway::ControlHello {
        agent_version: "0.1.0".to_owned(),
    });
    control.send(gateway::ControlStreamRequest { kind: Some(kind) }).await.unwrap();
    let first = within("accepted", control.message()).await.unwrap().unwrap();
    assert!(matches!(first.kind, Some(answer::Kind::Accepted(_))), "{first:?}");

    let before = bench.dump().await;
    let said = Said::default();
    let _speaking = said.listen();
    let method = methods().into_iter().find(|method| method.name() == "ControlStream").unwrap();
    let all = broken(&method.input());
    assert!(all.len() > 8, "{} rules", all.len());
    for Broken { what, message, says } in all {
        let message = gateway::ControlStreamRequest::decode(message.encode_to_vec().as_slice()).unwrap();
        control.send(message).await.unwrap();
        let mut lines = Vec::new();
        wire_support::eventually(&what, async || {
            lines.extend(said.take());
            lines.iter().any(|line| line.contains("a control message was refused"))
        })
        .await;
        let line = lines.iter().find(|line| line.contains("a control message was refused")).unwrap();
        assert!(line.contains("WARN") && line.contains(&agent.agent_id.to_string()), "{what}: {line}");
        assert!(says.iter().all(|says| line.contains(says.as_str())), "{what}: {says:?}: {line}");
        unchanged(&bench, &before, &what).await;
    }
    // It lives: it says nothing until it is told to end, and then it ends well.
    control.close_send();
    let end = within("the end", control.message()).await;
    assert!(matches!(end, Ok(None)), "{end:?}");
}
