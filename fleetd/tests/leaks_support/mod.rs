//! Secrets, in every form in which they may be said, and a relay that sees them go by.
#![allow(unreachable_pub, reason = "of a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Bytes that nobody may say.
#[derive(Clone)]
pub struct Secret {
    pub name: &'static str,
    patterns: Vec<(&'static str, String)>,
}

/// Text in which every byte is one character, so that any bytes can be searched as text.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn decimal(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// As `Debug` of the `bytes` crate has it.
fn byte_string(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' | b'"' => text.extend(['\\', char::from(byte)]),
            b'\0' => text.push_str("\\0"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

/// What base64 of anything that has these bytes after `shift` others, modulo 3, contains.
fn base64_within(engine: &impl base64::Engine, bytes: &[u8], shift: usize) -> String {
    let whole = engine.encode([&vec![0; shift], bytes].concat());
    whole[(8 * shift).div_ceil(6)..8 * (shift + bytes.len()) / 6].to_owned()
}

impl Secret {
    pub fn new(name: &'static str, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 16, "{name} is short enough to be found by chance");
        let hex = hex::encode(bytes);
        let quoted = byte_string(bytes);
        let lossy = String::from_utf8_lossy(bytes);
        let mut patterns = vec![
            ("raw", latin1(bytes)),
            ("text", latin1(lossy.as_bytes())),
            ("upper hex", hex.to_uppercase()),
            ("hex", hex),
            ("decimal", decimal(bytes)),
            // A quoted text in JSON is quoted once more.
            ("quoted in JSON", quoted.replace('\\', "\\\\").replace('"', "\\\"")),
            ("quoted", quoted),
        ];
        for shift in 0..3 {
            patterns.push(("base64", base64_within(&STANDARD_NO_PAD, bytes, shift)));
            patterns.push(("base64url", base64_within(&URL_SAFE_NO_PAD, bytes, shift)));
        }
        let mut seen = BTreeSet::new();
        patterns.retain(|(_, pattern)| seen.insert(pattern.clone()));
        Self { name, patterns }
    }

    pub fn text(name: &'static str, text: &str) -> Self {
        Self::new(name, text.as_bytes())
    }

    /// A token that stands for random bytes: they are as good.
    pub fn token(name: &'static str, text: &str) -> [Self; 2] {
        let random = &text[text.len() - 43..];
        [Self::text(name, text), Self::new(name, &URL_SAFE_NO_PAD.decode(random).unwrap())]
    }

    /// The seed in a key file: a line of hex digits.
    pub fn seed(name: &'static str, file: &Path) -> Self {
        let line = fs::read_to_string(file).unwrap();
        Self::new(name, &hex::decode(line.trim_end()).unwrap())
    }
}

/// Searches bytes; says which secrets are there and in what form, and never the secret.
pub fn search(said: &[u8], secrets: &[Secret]) -> Vec<String> {
    let said = latin1(said);
    // `Debug` puts a blank or a line break between numbers, and a log may escape the latter.
    let mut bare = said.replace("\\n", "");
    bare.retain(|c| !c.is_ascii_whitespace());
    let mut found = BTreeSet::new();
    for secret in secrets {
        for (form, pattern) in &secret.patterns {
            let place = if *form == "decimal" { &bare } else { &said };
            if let Some(at) = place.find(pattern) {
                let line = place[..at].rsplit(['\n', '{']).next().unwrap();
                found.insert(format!("{} in {form}, after: {line}", secret.name));
            }
        }
    }
    found.into_iter().collect()
}

/// Both directions of one connection, each as it went by.
type Wire = [Arc<Mutex<Vec<u8>>>; 2];

/// Somebody between agent and server who writes down what goes by in clear.
pub struct Relay {
    pub address: SocketAddr,
    wires: Arc<Mutex<Vec<Wire>>>,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wires: Arc<Mutex<Vec<Wire>>> = Arc::default();
        let all = Arc::clone(&wires);
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let wire = Wire::default();
                all.lock().unwrap().push(wire.clone());
                let (from_agent, to_agent) = agent.into_split();
                let (from_server, to_server) = server.into_split();
                let [up, down] = wire;
                tokio::spawn(pass(from_agent, to_server, up));
                tokio::spawn(pass(from_server, to_agent, down));
            }
        });
        Self { address, wires }
    }

    /// The messages that went by, each as it stood in the frames of HTTP/2.
    fn messages(&self) -> Vec<Vec<u8>> {
        let wires = self.wires.lock().unwrap();
        wires.iter().flatten().flat_map(|wire| messages(&wire.lock().unwrap())).collect()
    }

    /// Every field of bytes that is no text and long enough to be sought, and every upload's payload: challenges,
    /// nonces, signatures, proofs, sealed keys. Public keys are among them: nothing says one whole either.
    pub fn secrets(&self) -> Vec<Secret> {
        let (mut fields, mut seen) = (Vec::new(), BTreeSet::new());
        for message in self.messages() {
            collect(&message, &mut fields);
        }
        fields.retain(|field| field.len() >= 16 && seen.insert(field.clone()));
        fields.iter().map(|field| Secret::new("what went over the wire", field)).collect()
    }

    /// Whether a text went by: that the relay sees what it is there to see.
    pub fn saw(&self, text: &str) -> bool {
        self.messages().iter().any(|message| latin1(message).contains(text))
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    written: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        written.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// The messages in one direction of an HTTP/2 connection.
fn messages(wire: &[u8]) -> Vec<Vec<u8>> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut rest = wire.strip_prefix(PREFACE).unwrap_or(wire);
    let mut streams: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let (kind, flags) = (rest[3], rest[4]);
        let stream = u32::from_be_bytes(rest[5..9].try_into().unwrap());
        if rest.len() < 9 + length {
            break;
        }
        if kind == 0 {
            assert_eq!(flags & 8, 0, "padding");
            streams.entry(stream).or_default().extend_from_slice(&rest[9..9 + length]);
        }
        rest = &rest[9 + length..];
    }
    let mut messages = Vec::new();
    for body in streams.into_values() {
        let mut rest = body.as_slice();
        // No message begins with so small a byte: these are the envelopes of a stream.
        while rest.len() >= 5 && rest[0] < 8 {
            let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
            let end = (5 + length).min(rest.len());
            messages.push(rest[5..end].to_vec());
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            messages.push(rest.to_vec());
        }
    }
    messages
}

/// The fields of bytes in a message of any kind, and in those within.
fn collect(message: &[u8], fields: &mut Vec<Vec<u8>>) -> bool {
    let mut found = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let Some(key) = varint(&mut rest) else { return false };
        if key >> 3 == 0 {
            return false;
        }
        let skipped = match key & 7 {
            0 => varint(&mut rest).map(|_| 0),
            1 => Some(8),
            5 => Some(4),
            2 => {
                let Some(length) = varint(&mut rest).and_then(|length| usize::try_from(length).ok()) else {
                    return false;
                };
                let Some(field) = rest.get(..length) else { return false };
                let is_text =
                    std::str::from_utf8(field).is_ok_and(|text| !text.chars().any(|c| c.is_control()));
                if !is_text {
                    found.push(field.to_vec());
                    // It may be a message too, by intent or by chance.
                    collect(field, &mut found);
                }
                Some(length)
            }
            _ => None,
        };
        let Some(after) = skipped.and_then(|skipped| rest.get(skipped..)) else { return false };
        rest = after;
    }
    fields.append(&mut found);
    true
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
