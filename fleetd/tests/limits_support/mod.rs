//! Clients that do what no honest one does: HTTP/2 frame by frame, bodies that never end, connections that say nothing.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use fleetd::config::{Limits, Mode};
use futures::StreamExt as _;
use futures::channel::mpsc;
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wire_support::{Bench, config, http1, within};

pub const HEARTBEAT: &str = "agentgateway.v1.AgentGatewayService/UploadHeartbeat";
pub const LOGIN: &str = "fleet.v1.OperatorService/Login";

/// A server with these limits, which is set up.
pub async fn bench(limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.limits = limits;
    let mut bench = Bench::with(config, directory).await;
    bench.found().await;
    bench
}

/// A server with these limits, which nobody has set up, with its metrics on an address of their own.
pub async fn unfounded(limits: Limits) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.limits = limits;
    config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    Bench::with(config, directory).await
}

/// Limits whose allowances do not stand still with the clock.
pub fn limits() -> Limits {
    Limits { unauthenticated_rate: None, session_rate: None, ..Limits::default() }
}

/// What was logged, line by line, on the thread of a test, on which its server runs.
#[derive(Debug, Clone, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // With one subscriber in all, what another thread without any comes by first would be off for every thread.
        static ANOTHER: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
            tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish())
        });
        LazyLock::force(&ANOTHER);
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
        tracing::subscriber::set_default(subscriber.finish())
    }

    /// The lines since the last time.
    pub fn take(&self) -> Vec<String> {
        let said = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(said).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

impl std::io::Write for Said {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One number of the metrics, 0 if it is not there.
pub async fn metric(bench: &Bench, name: &str) -> u64 {
    let bearer = format!("Bearer {}", bench.token);
    let address = bench.server.metrics_address().unwrap_or(bench.address);
    let answer = http1(address, "GET", "/metrics", &[("authorization", &bearer)], b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

/// How often a limit refused something.
pub async fn limited(bench: &Bench, limit: &str) -> u64 {
    metric(bench, &format!("fleetd_limited_total{{limit=\"{limit}\"}}")).await
}

/// Waits until the server has closed a connection, and returns what it said before.
pub async fn closed(what: &str, mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = within(what, stream.read_to_end(&mut said)).await;
    said
}

/// `zeros` blanks, which JSON allows anywhere, compressed.
pub fn bomb(blanks: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; blanks]).unwrap();
    encoder.finish().unwrap()
}

/// A message in gRPC's framing.
pub fn grpc_frame(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[u8::from(compressed)][..], &length, message].concat()
}

// HTTP/2 by hyper, for bodies that do not end.

pub type Http2 = SendRequest<BoxBody<Bytes, Infallible>>;

pub async fn http2(address: SocketAddr) -> Http2 {
    let stream = TcpStream::connect(address).await.unwrap();
    let made = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = made.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn full(body: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(body.into()).boxed()
}

/// A body that goes on for as long as its sender lives.
pub fn open_body() -> (mpsc::UnboundedSender<Bytes>, BoxBody<Bytes, Infallible>) {
    let (sender, receiver) = mpsc::unbounded();
    (sender, BodyExt::boxed(StreamBody::new(receiver.map(|bytes| Ok(Frame::data(bytes))))))
}

pub fn request(
    address: SocketAddr,
    procedure: &str,
    kind: &str,
    token: Option<&str>,
    body: BoxBody<Bytes, Infallible>,
) -> Request<BoxBody<Bytes, Infallible>> {
    let mut request = Request::post(format!("http://{address}/{procedure}")).header("content-type", kind);
    if kind.starts_with("application/grpc") {
        request = request.header("te", "trailers");
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(body).unwrap()
}

/// An answer of HTTP/2, with its trailers among the headers.
#[derive(Debug)]
pub struct Answer2 {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer2 {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn answer(sender: &mut Http2, request: Request<BoxBody<Bytes, Infallible>>) -> Answer2 {
    let answered = async {
        sender.ready().await.unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let collected = body.collect().await.unwrap();
        let mut headers = parts.headers;
        headers.extend(collected.trailers().cloned().unwrap_or_default());
        Answer2 { status: parts.status, headers, body: collected.to_bytes() }
    };
    within("an answer over HTTP/2", answered).await
}

// HTTP/2 frame by frame (RFC 9113 section 6).

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Fields as HPACK literals, neither indexed nor compressed (RFC 7541 section 6.2.2).
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, text: &str| {
        assert!(text.len() < 127 + 128 * 128);
        match text.len().checked_sub(127) {
            None => block.push(u8::try_from(text.len()).unwrap()),
            Some(rest) => {
                let (low, high) = (rest % 128, rest / 128);
                block.extend([127, u8::try_from(low).unwrap() | 128, u8::try_from(high).unwrap()]);
            }
        }
        block.extend(text.as_bytes());
    };
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// The fields of a call.
pub fn call_fields(procedure: &str) -> Vec<u8> {
    let path = format!("/{procedure}");
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "x"),
        ("content-type", "application/json"),
    ])
}

pub struct Raw(pub TcpStream);

impl Raw {
    /// A connection whose preface was sent.
    pub async fn open(address: SocketAddr) -> Self {
        let mut raw = Self(TcpStream::connect(address).await.unwrap());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.send(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        raw
    }

    pub async fn send(&mut self, frames: &[u8]) -> std::io::Result<()> {
        self.0.write_all(frames).await
    }

    /// The next frame: kind and payload. `None` once the connection is over.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], payload))
    }

    /// Reads until the server says why it goes, and returns the error code; `None` if it goes without a word.
    pub async fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        let read = async {
            while let Some((kind, payload)) = self.next().await {
                if kind == GOAWAY {
                    code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                }
            }
        };
        within("the server closes the connection", read).await;
        code
    }
}
