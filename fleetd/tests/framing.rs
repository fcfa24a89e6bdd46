//! Calls that are not what they should be, and deadlines: what each protocol answers, written byte by byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use fleet_core::time::Clock as _;
use fleet_proto::agentadmin::v1 as admin;
use fleet_proto::agentgateway::v1 as gateway;
use fleet_proto::convert::timestamp;
use fleetd::config::Mode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire_support::{Answer, Bench, http1, parse, within};

const WHO: &str = "/fleet.v1.OperatorService/WhoAmI";
const LOGIN: &str = "/fleet.v1.OperatorService/Login";
const UPLOAD: &str = "/agentgateway.v1.AgentGatewayService/UploadEvents";
const CONTROL: &str = "/agentgateway.v1.AgentGatewayService/ControlStream";

/// How a call ended, in the words of its protocol: an HTTP status, a Connect code, or a gRPC status.
fn ended(answer: &Answer) -> String {
    let text = &answer.body;
    if matches!(answer.status, 405 | 415) {
        return answer.status.to_string();
    }
    if let Some(at) = text.find("\"code\":\"") {
        return text[at + 8..].split('"').next().unwrap().to_owned();
    }
    for head in [answer.header("grpc-status"), text.rsplit("grpc-status:").next().unwrap_or_default()] {
        let digits: String = head.trim().chars().take_while(char::is_ascii_digit).collect();
        if !digits.is_empty() && (!answer.header("grpc-status").is_empty() || text.contains("grpc-status:")) {
            return format!("grpc {digits}");
        }
    }
    answer.status.to_string()
}

#[tokio::test]
async fn what_is_no_call_gets_the_code_of_its_protocol() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    // The first call under a session changes something, whatever comes of the call.
    let heartbeat = gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    };
    bench.gateway_as(&agent.token).upload_heartbeat(heartbeat).await.unwrap();
    let before = bench.dump().await;
    let (operator, session) = (format!("Bearer {}", bench.token), format!("Bearer {}", agent.token));
    let gzip = [0x1f, 0x8b, 8, 0, 0];
    let envelope = |flags: u8, length: u32, body: &[u8]| [&[flags], &length.to_be_bytes()[..], body].concat();
    type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("another content type", "POST", WHO, "text/plain", &[], b"{}".to_vec(), "415"),
        ("no content type", "POST", WHO, "", &[], b"{}".to_vec(), "415"),
        ("another method", "PUT", WHO, "application/json", &[], Vec::new(), "405"),
        ("GET of what has effects", "GET", LOGIN, "application/json", &[], Vec::new(), "405"),
        (
            "an encoding that is not known",
            "POST",
            WHO,
            "application/json",
            &[("content-encoding", "rot13")],
            b"{}".to_vec(),
            "unimplemented",
        ),
        (
            "broken gzip",
            "POST",
            WHO,
            "application/json",
            &[("content-encoding", "gzip")],
            gzip.to_vec(),
            "invalid_argument",
        ),
        (
            "a unary call as a stream",
            "POST",
            WHO,
            "application/connect+json",
            &[],
            envelope(0, 2, b"{}"),
            "invalid_argument",
        ),
        (
            "a stream as a unary call",
            "POST",
            UPLOAD,
            "application/json",
            &[],
            b"{}".to_vec(),
            "unimplemented",
        ),
        (
            "half an envelope",
            "POST",
            UPLOAD,
            "application/connect+proto",
            &[],
            envelope(0, 9, b"abc"),
            "invalid_argument",
        ),
        (
            "half an envelope's head",
            "POST",
            UPLOAD,
            "application/connect+proto",
            &[],
            vec![0, 0],
            "invalid_argument",
        ),
        (
            "a compressed envelope in no encoding",
            "POST",
            UPLOAD,
            "application/connect+proto",
            &[],
            envelope(1, 5, &gzip),
            "internal",
        ),
        (
            "an envelope of two gibibytes",
            "POST",
            UPLOAD,
            "application/connect+proto",
            &[],
            envelope(0, 1 << 31, b""),
            "resource_exhausted",
        ),
        ("gRPC: half an envelope", "POST", WHO, "application/grpc", &[], envelope(0, 9, b"abc"), "grpc 3"),
        ("gRPC: no envelope", "POST", WHO, "application/grpc", &[], Vec::new(), "grpc 12"),
        (
            "gRPC: two messages for one",
            "POST",
            WHO,
            "application/grpc",
            &[],
            [envelope(0, 0, b""), envelope(0, 0, b"")].concat(),
            "grpc 12",
        ),
        (
            "gRPC: an encoding that is not known",
            "POST",
            WHO,
            "application/grpc",
            &[("grpc-encoding", "rot13")],
            envelope(1, 0, b""),
            "grpc 12",
        ),
        ("gRPC: no message", "POST", WHO, "application/grpc", &[], envelope(0, 2, b"\x0a\x7f"), "grpc 3"),
        (
            "gRPC-Web: half an envelope",
            "POST",
            WHO,
            "application/grpc-web+proto",
            &[],
            envelope(0, 9, b"abc"),
            "grpc 3",
        ),
        (
            "a method that there is not",
            "POST",
            "/fleet.v1.OperatorService/Nothing",
            "application/json",
            &[],
            b"{}".to_vec(),
            "unimplemented",
        ),
        (
            "gRPC: a method that there is not",
            "POST",
            "/fleet.v1.OperatorService/Nothing",
            "application/grpc",
            &[],
            envelope(0, 0, b""),
            "grpc 12",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, method, path, kind, more, body, expected) in cases {
        let bearer = if path == UPLOAD { &session } else { &operator };
        let mut headers = vec![("authorization", bearer.as_str()), ("te", "trailers")];
        headers.extend((!kind.is_empty()).then_some(("content-type", kind)));
        headers.extend(more);
        let answer = within(what, http1(bench.address, method, path, &headers, &body)).await;
        if ended(&answer) != expected {
            wrong.push(format!("{what}: {} and not {expected}: {answer:?}", ended(&answer)));
        }
        assert_eq!(before.changes(&bench.dump().await), [""; 0], "{what}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A request of which the body does not come to its end.
async fn held(
    bench: &Bench,
    path: &str,
    kind: &str,
    token: &str,
    timeout: (&str, &str),
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: 100\r\n\
         te: trailers\r\nauthorization: Bearer {token}\r\n{}: {}\r\n\r\n",
        timeout.0, timeout.1
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    within(path, stream.read_to_end(&mut answer)).await.unwrap();
    parse(&answer)
}

#[tokio::test]
async fn the_callers_deadline_is_kept_in_each_protocol() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let (connect, grpc) = (("connect-timeout-ms", "60"), ("grpc-timeout", "60m"));
    for (path, kind, token, timeout, expected) in [
        (WHO, "application/json", &bench.token, connect, "deadline_exceeded"),
        (WHO, "application/proto", &bench.token, connect, "deadline_exceeded"),
        (WHO, "application/grpc", &bench.token, grpc, "grpc 4"),
        (WHO, "application/grpc-web+proto", &bench.token, grpc, "grpc 4"),
        (UPLOAD, "application/connect+proto", &agent.token, connect, "deadline_exceeded"),
        (UPLOAD, "application/grpc", &agent.token, grpc, "grpc 4"),
    ] {
        let answer = held(&bench, path, kind, token, timeout, b"").await;
        assert_eq!(ended(&answer), expected, "{path} {kind}: {answer:?}");
    }
    // A control stream that was accepted ends too, though the agent goes on sending, and the agent is offline.
    let hello = br#"{"hello": {"agentVersion": "0.1.0"}}"#;
    let body = [&[0, 0, 0, 0][..], &[u8::try_from(hello.len()).unwrap()], hello].concat();
    let longer = ("connect-timeout-ms", "1500");
    let answer = held(&bench, CONTROL, "application/connect+json", &agent.token, longer, &body).await;
    assert!(answer.body.contains("\"accepted\""), "{answer:?}");
    assert_eq!(ended(&answer), "deadline_exceeded", "{answer:?}");
    let offline = async || {
        let agent =
            bench.admin().get_agent(admin::GetAgentRequest { agent_id: agent.agent_id }).await.unwrap();
        !agent.agent.unwrap().online
    };
    wire_support::eventually("the stream is forgotten", offline).await;
}
