//! How much and how slowly a peer may send: sizes, deadlines, and what HTTP/2 has been abused for, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod limits_support;
mod wire_support;

use std::path::PathBuf;
use std::time::Duration;

use fleetd::config::{Limits, Mode, TlsFiles};
use limits_support::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, HEARTBEAT, LOGIN, PING,
    RST_STREAM, Raw, SETTINGS, answer, bench, bomb, call_fields, closed, fields, frame, full, grpc_frame,
    http2, limited, limits, open_body, request, unfounded,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire_support::{Bench, config, http1, within};

const PROTOCOLS: [&str; 4] =
    ["application/json", "application/proto", "application/grpc+proto", "application/grpc-web+proto"];

async fn is_well(bench: &Bench) {
    let health = within("the server answers", http1(bench.address, "GET", "/healthz", &[], b"")).await;
    assert_eq!(health.body, "ok\n");
}

/// Whether an answer says this code and text, in whichever protocol.
fn says(what: &str, answer: &limits_support::Answer2, connect: &str, grpc: &str, text: &str) {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let shown = format!("{:?} {body}", answer.headers);
    let code = shown.contains(&format!("\"code\":\"{connect}\""))
        || answer.header("grpc-status") == grpc
        || body.contains(&format!("grpc-status: {grpc}"));
    // gRPC writes its message percent-encoded.
    assert!(code && shown.replace("%20", " ").contains(text), "{what}: {shown}");
}

// Sizes.

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_by_naming_the_limit() {
    let bench = bench(Limits { message_bytes: 100 * 1024, ..limits() }).await;
    let agent = bench.online("agent").await;
    for (procedure, token, limit) in
        [(LOGIN, None, 16 * 1024), (HEARTBEAT, Some(agent.token.as_str()), 100 * 1024)]
    {
        for kind in PROTOCOLS {
            let message = match kind {
                "application/json" | "application/proto" => vec![b' '; limit + 1],
                _ => grpc_frame(false, &vec![b' '; limit + 1]),
            };
            let mut sender = http2(bench.address).await;
            let answer =
                answer(&mut sender, request(bench.address, procedure, kind, token, full(message))).await;
            says(&format!("{procedure} {kind}"), &answer, "resource_exhausted", "8", &limit.to_string());
        }
        // As long as it may be: judged for what it says.
        let json = format!("{{{}}}", " ".repeat(limit - 2));
        let answer = wire_support::json(bench.address, procedure, token, &json).await;
        assert_eq!(answer.status, 400, "{procedure}: {answer:?}");
    }
    is_well(&bench).await;
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_while_it_is_being_sent() {
    let bench = bench(limits()).await;
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!(
        "POST /{LOGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let sending = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await?;
        let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
        loop {
            write.write_all(&chunk).await?;
        }
        #[allow(unreachable_code, reason = "names the type")]
        Ok::<(), std::io::Error>(())
    });
    let mut said = vec![0; 1024];
    let count = within("the answer", read.read(&mut said)).await.unwrap();
    let said = String::from_utf8_lossy(&said[..count]).into_owned();
    assert!(said.starts_with("HTTP/1.1 429") && said.contains("limit 16384"), "{said}");
    within("the connection is closed", sending).await.unwrap().unwrap_err();

    let mut sender = http2(bench.address).await;
    let (body, open) = open_body();
    for _ in 0..64 {
        body.unbounded_send(vec![b' '; 1024].into()).unwrap();
    }
    let answer = answer(&mut sender, request(bench.address, LOGIN, "application/json", None, open)).await;
    says("HTTP/2", &answer, "resource_exhausted", "8", "limit 16384");
}

#[tokio::test]
async fn what_expands_beyond_the_limit_is_not_expanded() {
    let bench = bench(limits()).await;
    let agent = bench.online("agent").await;
    let bomb = bomb(32 << 20);
    assert!(bomb.len() < 64 * 1024, "it is small on the wire: {}", bomb.len());
    let mut sender = http2(bench.address).await;
    for (procedure, token) in [(HEARTBEAT, Some(agent.token.as_str()))] {
        for kind in PROTOCOLS {
            let (header, body) = match kind {
                "application/json" | "application/proto" => ("content-encoding", bomb.clone()),
                _ => ("grpc-encoding", grpc_frame(true, &bomb)),
            };
            let mut request = request(bench.address, procedure, kind, token, full(body));
            request.headers_mut().insert(header, "gzip".parse().unwrap());
            let answer = answer(&mut sender, request).await;
            says(kind, &answer, "resource_exhausted", "8", "1114112");
        }
    }
    // Where anybody may send, it fits into what anybody may send and expands to more.
    let small = limits_support::bomb(1 << 20);
    assert!(small.len() < 16 * 1024);
    let mut login = request(bench.address, LOGIN, "application/json", None, full(small));
    login.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    says("a login", &answer(&mut sender, login).await, "resource_exhausted", "8", "16384");
    is_well(&bench).await;
}

#[tokio::test]
async fn headers_have_a_size_and_a_number() {
    let bench = bench(Limits { header_bytes: 8 * 1024, ..limits() }).await;
    let get = async |headers: &[(&str, &str)]| http1(bench.address, "GET", "/", headers, b"").await.status;
    // host, connection, and 32 bytes for each field.
    let rest = "host".len()
        + bench.address.to_string().len()
        + "connection".len()
        + "close".len()
        + 3 * 32
        + "/".len()
        + 1;
    let fits = "x".repeat(8 * 1024 - rest);
    assert_eq!(get(&[("x", &fits)]).await, 200);
    assert_eq!(get(&[("x", &format!("{fits}x"))]).await, 431);
    assert_eq!(get(&[("x", &"x".repeat(100 * 1024))]).await, 431);
    assert_eq!(get(&[("x", ""); 101]).await, 431, "by number");
    let long = format!("/{}", "x".repeat(9 * 1024));
    assert!(
        [414, 431].contains(&http1(bench.address, "GET", &long, &[], b"").await.status),
        "the target counts"
    );

    let mut sender = http2(bench.address).await;
    for (length, status) in [(7 * 1024, 401), (9 * 1024, 431)] {
        let mut request = request(bench.address, HEARTBEAT, "application/json", None, full("{}"));
        request.headers_mut().insert("x", "x".repeat(length).parse().unwrap());
        assert_eq!(answer(&mut sender, request).await.status, status, "{length} over HTTP/2");
    }
    is_well(&bench).await;
}

// Slow senders.

const SHORT: Duration = Duration::from_millis(200);
/// Long enough for an honest call on a machine that is busy.
const PATIENT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn whoever_does_not_finish_its_headers_is_closed() {
    let bench = unfounded(Limits { handshake_timeout: SHORT, ..limits() }).await;
    for (what, beginning) in [
        ("nothing", ""),
        ("half a preface", "PRI * HTTP/2.0"),
        ("half a request line", "GET /heal"),
        ("half a header", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "),
        ("rubbish", "\u{1}\u{2}\u{3}"),
    ] {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let said = closed(what, stream).await;
        assert!(!said.starts_with(b"HTTP/1.1 200"), "{what}");
    }
    // Byte by byte, without ever pausing for as long as the deadline.
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let (read, mut write) = stream.into_split();
    let dripping = tokio::spawn(async move {
        write.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
        loop {
            write.write_all(b"x").await?;
            tokio::time::sleep(SHORT / 10).await;
        }
        #[allow(unreachable_code, reason = "names the type")]
        Ok::<(), std::io::Error>(())
    });
    closed("dripping headers", read).await;
    within("the dripping ends", dripping).await.unwrap().unwrap_err();
    // After an answer the next request has as long.
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let said = closed("nothing after an answer", stream).await;
    assert!(said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    is_well(&bench).await;
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_closed() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fleet-agent/tests/tls_data");
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.limits = Limits { handshake_timeout: SHORT, ..limits() };
    config.tls =
        Some(TlsFiles { certificate: data.join("server.pem"), key: data.join("server.key"), clients: None });
    let bench = Bench::with(config, directory).await;
    // Nothing; half a record of a ClientHello; HTTP where TLS is spoken.
    for beginning in [b"".as_slice(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        closed(&format!("{beginning:?}"), stream).await;
    }
}

#[tokio::test]
async fn a_message_that_does_not_come_in_time_is_answered_for() {
    let bench = bench(Limits { request_timeout: PATIENT, ..limits() }).await;
    let agent = bench.online("agent").await;
    let mut calls = JoinSet::new();
    for (procedure, token) in [(LOGIN, None), (HEARTBEAT, Some(agent.token.as_str()))] {
        for kind in PROTOCOLS {
            let (body, open) = open_body();
            body.unbounded_send(vec![0; 3].into()).unwrap();
            let call = request(bench.address, procedure, kind, token, open);
            let what = format!("{procedure} {kind}");
            let mut sender = http2(bench.address).await;
            calls.spawn(async move { (what, answer(&mut sender, call).await, body) });
        }
    }
    for (what, answer, _) in calls.join_all().await {
        says(&what, &answer, "deadline_exceeded", "4", "timeout");
    }
    let bench = unfounded(Limits { request_timeout: SHORT, ..limits() }).await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let head = format!("POST /{LOGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
    stream.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    let mut said = vec![0; 1024];
    let count = within("the answer over HTTP/1.1", stream.read(&mut said)).await.unwrap();
    assert!(String::from_utf8_lossy(&said[..count]).contains("deadline_exceeded"));
    // The form of set-up, which is no call.
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let head =
        format!("POST /setup/{} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\no", bench.set_up_token());
    stream.write_all(head.as_bytes()).await.unwrap();
    let count = within("the answer to a form", stream.read(&mut said)).await.unwrap();
    assert!(said[..count].starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said[..count]));
}

// What HTTP/2 has been abused for.

#[tokio::test]
async fn streams_that_are_opened_and_reset_at_once_end_the_connection() {
    let bench = unfounded(limits()).await;
    let mut raw = Raw::open(bench.address).await;
    let block = call_fields(LOGIN);
    // CVE-2023-44487: each pair costs the client nothing.
    let mut flood = Vec::new();
    for number in 0..2000 {
        let stream = number * 2 + 1;
        flood.extend(frame(HEADERS, END_HEADERS, stream, &block));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // It may be closed before all is sent.
    let _ = raw.send(&flood).await;
    assert_eq!(raw.goaway().await, Some(ENHANCE_YOUR_CALM));
    is_well(&bench).await;
}

#[tokio::test]
async fn headers_that_go_on_for_ever_end_the_connection() {
    let bench = unfounded(limits()).await;
    for (what, piece) in [("long", fields(&[("x", &"x".repeat(8 * 1024))])), ("empty", Vec::new())] {
        let mut raw = Raw::open(bench.address).await;
        let mut flood = frame(HEADERS, 0, 1, &call_fields(LOGIN));
        for _ in 0..2000 {
            flood.extend(frame(CONTINUATION, 0, 1, &piece));
        }
        let _ = raw.send(&flood).await;
        let code = raw.goaway().await;
        assert!(code.is_none_or(|code| code != 0), "{what}: {code:?}");
        is_well(&bench).await;
    }
}

#[tokio::test]
async fn floods_of_frames_that_want_an_answer_cost_nobody_else_anything() {
    let bench = unfounded(Limits { idle_timeout: PATIENT, request_timeout: PATIENT, ..limits() }).await;
    let setting = [0, 3, 0, 0, 0, 100];
    for (what, one) in [
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &setting)),
        ("empty data", frame(DATA, 0, 1, &[])),
    ] {
        let mut raw = Raw::open(bench.address).await;
        raw.send(&frame(HEADERS, END_HEADERS, 1, &call_fields(LOGIN))).await.unwrap();
        let (read, mut write) = raw.0.into_split();
        // Nothing is read, so that the answers pile up; the writer goes on until the server has had enough.
        let flood = one.repeat(100);
        let flooding = tokio::spawn(async move { while write.write_all(&flood).await.is_ok() {} });
        is_well(&bench).await;
        within(what, flooding).await.unwrap();
        drop(read);
    }
    is_well(&bench).await;
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_does_not_stay() {
    let bench = unfounded(Limits { idle_timeout: SHORT, request_timeout: SHORT, ..limits() }).await;
    let mut raw = Raw::open(bench.address).await;
    // A window of nothing for every stream: no answer's body can be sent.
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
    for number in 0..50 {
        let get = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")]);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &get)).await.unwrap();
    }
    raw.goaway().await;
    assert_eq!(limited(&bench, "idle-timeout").await, 1);
    is_well(&bench).await;
}
