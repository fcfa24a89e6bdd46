//! The cgminer API: one JSON request on a TCP connection, one JSON answer.
//!
//! The request ends with or without a newline. The answer ends with NUL, with the connection, or,
//! on some firmware, with a newline while the connection stays open. WhatsMiner's API version 3
//! puts a length (4 bytes, little-endian) before request and answer instead.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MAX_RESPONSE_BYTES, MinerError, ProtocolViolation, connect};

/// The port of the cgminer API.
pub(super) const PORT: u16 = 4028;

/// Sends `request` and returns the answer, whatever its STATUS says.
pub(super) async fn call(address: SocketAddr, request: &Value) -> Result<Value, MinerError> {
    let mut stream = connect(address).await?;
    stream.write_all(request.to_string().as_bytes()).await?;

    let mut answer = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let count = stream.read(&mut chunk).await?;
        let received = chunk.get(..count).unwrap_or_default();
        if answer.len() + received.len() > MAX_RESPONSE_BYTES {
            return Err(ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES }.into());
        }
        if let Some(end) = received.iter().position(|byte| *byte == 0) {
            answer.extend_from_slice(received.get(..end).unwrap_or_default());
            return parse(&answer);
        }
        answer.extend_from_slice(received);
        if count == 0 {
            return if answer.is_empty() { Err(closed_without_answer()) } else { parse(&answer) };
        }
        // A newline ends the answer only if what came before it is whole: old WhatsMiner firmware
        // has newlines inside its answers.
        if answer.ends_with(b"\n")
            && let Ok(value) = parse(&answer)
        {
            return Ok(value);
        }
    }
}

/// Sends `request` with a length before it and returns the answer that comes in the same form.
pub(super) async fn call_framed(address: SocketAddr, request: &Value) -> Result<Value, MinerError> {
    let mut stream = connect(address).await?;
    let body = request.to_string();
    let length =
        u32::try_from(body.len()).map_err(|_| ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES })?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;

    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    // Checked before anything is allocated: the length is the miner's word.
    if length > MAX_RESPONSE_BYTES {
        return Err(ProtocolViolation::TooLarge { limit: MAX_RESPONSE_BYTES }.into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    parse(&answer)
}

/// Whether an answer of the cgminer API reports success: `S` or `I`, in the list form of cgminer
/// or the flat form of WhatsMiner.
pub(super) fn succeeded(answer: &Value) -> bool {
    let status = answer.pointer("/STATUS/0/STATUS").or_else(|| answer.get("STATUS"));
    matches!(status.and_then(Value::as_str), Some("S" | "I"))
}

fn closed_without_answer() -> MinerError {
    MinerError::Unreachable(std::io::ErrorKind::UnexpectedEof.into())
}

fn parse(answer: &[u8]) -> Result<Value, MinerError> {
    // Old WhatsMiner firmware breaks lines inside strings and leaves commas before braces.
    let text = String::from_utf8_lossy(answer).replace(['\n', '\r'], "").replace(",}", "}");
    serde_json::from_str(&text).map_err(|error| ProtocolViolation::from(error).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn old_firmware_is_mended() {
        let answer = b"{\"STATUS\":\"S\",\"Msg\":{\"fw\":\"2021\n0322\",}}\n";
        assert_eq!(parse(answer).unwrap(), json!({ "STATUS": "S", "Msg": { "fw": "20210322" } }));
    }

    #[test]
    fn success_is_read_from_both_forms() {
        assert!(succeeded(&json!({ "STATUS": [{ "STATUS": "S" }] })));
        assert!(succeeded(&json!({ "STATUS": "I" })));
        assert!(!succeeded(&json!({ "STATUS": [{ "STATUS": "E" }] })));
        assert!(!succeeded(&json!({ "STATUS": "E" })));
        assert!(!succeeded(&json!({})));
    }
}
