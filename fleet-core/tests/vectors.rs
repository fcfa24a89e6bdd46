//! The test vectors of the second implementation, through `fleet-core`'s public API. What they are says
//! `vectors/README.md`; what they hold of protobuf is compared in `fleet-proto/tests/vectors.rs`.
//!
//! Every output of an accepted vector is the same to the byte. Every refused one is refused with the code of the wire,
//! names its field where the code is `invalid_argument` or `failed_precondition`, and is taken once its one fault is
//! mended.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "vectors_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fleet_core::refusal::UNAUTHENTICATED;
use fleet_core::transcript::sha256;
use serde_json::Value;
use support::{Given, Stop, Vector, blocks, enrollment, handshake, later, roots};

type Handler = fn(Given<'_>) -> Result<Value, Stop>;
type Takes = fn(&Vector) -> bool;

/// Every operation, with the least numbers of vectors that are accepted and refused. They only ever grow.
const OPS: &[(&str, usize, usize, Handler)] = &[
    ("api-key", 1, 0, blocks::api_key),
    ("api-key-parse", 2, 12, blocks::api_key_parse),
    ("begin-answer", 6, 42, handshake::begin_answer),
    ("begin-request", 1, 15, handshake::begin_request),
    ("certificate", 4, 0, roots::certificate_op),
    ("certificate-verify", 2, 24, handshake::certificate_verify),
    ("command", 5, 0, later::command),
    ("command-verify", 4, 16, later::command_verify),
    ("complete-request", 2, 29, handshake::complete_request),
    ("ed25519-public-key", 3, 38, blocks::ed25519_public_key),
    ("enrollment-code", 4, 0, blocks::enrollment_code),
    ("enrollment-code-parse", 4, 18, blocks::enrollment_code_parse),
    ("fingerprint", 1, 0, blocks::fingerprint),
    ("fingerprint-parse", 10, 6, blocks::fingerprint_parse),
    ("handshake", 3, 0, handshake::handshake),
    ("manifest", 4, 0, roots::manifest_op),
    ("manifest-update", 8, 9, roots::manifest_update),
    ("manifest-verify", 3, 37, roots::manifest_verify),
    ("name", 25, 22, blocks::name),
    ("open-api-key", 1, 22, enrollment::open_api_key),
    ("register", 4, 0, enrollment::register),
    ("register-answer", 5, 22, enrollment::register_answer),
    ("register-request", 5, 76, enrollment::register_request),
    ("rotate", 2, 0, later::rotate),
    ("seal-api-key", 3, 0, enrollment::seal_api_key),
    ("transcript", 23, 2, blocks::transcript),
    ("x25519-public-key", 4, 13, blocks::x25519_public_key),
];

/// Vectors that are not run here, and why. Each row takes some.
const ELSEWHERE: &[(&str, Takes)] = &[
    ("src/keys/ed25519.rs verifies signatures of what is no transcript", |v| v.op == "ed25519-verify"),
    ("src/fingerprint.rs has those whose keys are no points", |v| {
        ["fingerprint/example.accept.json", "fingerprint/roles-matter.accept.json"].contains(&&v.path[..])
    }),
    ("google.protobuf.Timestamp is fleet-proto's", |v| v.op == "timestamp"),
    ("CFRG's vectors of HPKE are read in src/hpke.rs", |v| v.path == "hpke-rfc9180.json"),
    ("there is no RotateKeys yet", |v| v.op == "rotate-verify"),
    ("there is no RotateKeys yet, nor its domains", |v| {
        v.op == "transcript"
            && v.given()["domain"].as_str().is_some_and(|d| d.starts_with("fleet/v1/rotate/"))
    }),
];

/// Faults that are not for `fleet-core` to find, by operation and reason, and why. What has no other fault must pass.
const LET_PASS: &[(&str, &str, &str)] = &[
    ("register-request", "token-length", "a rule of the wire, which fleet-proto enforces"),
    ("begin-request", "api-key-length", "a rule of the wire, which fleet-proto enforces"),
    ("transcript", "integer-negative", "what may be signed is for the types: manifest/epoch-negative"),
    ("command-verify", "command-id-reused", "there is no machine of section 8 yet"),
    ("command-verify", "sequence-not-above", "there is no machine of section 8 yet"),
    ("command-verify", "command-expired", "there is no machine of section 8 yet"),
];

/// Outputs that are not compared here besides those of protobuf, and why.
const LEFT_OUT: &[(&str, &[&str], &str)] = &[
    ("rotate", &["old", "identity", "miner-signing"], "there is no RotateKeys yet, nor its domains"),
    ("command-verify", &["decision"], "there is no machine of section 8 yet"),
];

/// Reasons that are refused by a type without room for the value. Each is a rule of the wire where a message is
/// concerned, and then demanded by `fleet-proto/tests/vectors.rs` too.
const NO_ROOM: &[&str] = &[
    "certificate-missing",
    "challenge-length",
    "integer-too-large",
    "key-length",
    "manifest-missing",
    "nonce-length",
    "revoked-length",
    "signature-length",
];

fn is_protobuf(name: &str) -> bool {
    name == "protobuf" || name.ends_with("_protobuf")
}

fn check(vector: &Vector, handler: Handler) -> Result<(), String> {
    let run = |given: &Value| {
        catch_unwind(AssertUnwindSafe(|| handler(Given(given)))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        })
    };
    if let Some(expected) = vector.out() {
        let out = run(vector.given())?.map_err(|stop| format!("refused: {stop:?}"))?;
        let left = LEFT_OUT.iter().find(|(op, ..)| *op == vector.op).map_or(&[][..], |(_, names, _)| *names);
        for (name, value) in expected {
            if is_protobuf(name) || left.contains(&&name[..]) {
                continue;
            }
            match out.get(name) {
                Some(got) if got == value => {}
                got => return Err(format!("{name}: the vector has {value}, got {got:?}")),
            }
        }
        let more = out.as_object().unwrap().keys().find(|name| !expected.contains_key(*name));
        return more.map_or(Ok(()), |more| Err(format!("{more}: not in the vector")));
    }
    let (code, reason, field) = (vector.refused("code"), vector.refused("reason"), vector.refused("field"));
    let passes = LET_PASS.iter().any(|(op, let_pass, _)| (*op, *let_pass) == (&vector.op, reason));
    match run(vector.given())? {
        Ok(_) if passes => {}
        Ok(_) => return Err(format!("taken, though {reason}")),
        Err(_) if passes => {
            return Err(format!("refused here, though {reason} is listed as found elsewhere"));
        }
        Err(Stop::NoRoom { field: got }) if NO_ROOM.contains(&reason) => {
            if !field.is_empty() && got != field {
                return Err(format!("no room for {got}, expected {field}"));
            }
        }
        Err(Stop::NoRoom { field: got }) => return Err(format!("no room for {got}, expected {reason}")),
        Err(Stop::Refused { code: got, message }) => {
            // Its length is a rule of the wire, which answers otherwise; to this crate it is one more unknown api_key.
            if got != code && !(vector.op == "api-key-parse" && reason == "api-key-length") {
                return Err(format!("refused as {got} ({message}), expected {code} ({reason})"));
            }
            if ["invalid_argument", "failed_precondition"].contains(&got) && !message.contains(field) {
                return Err(format!("the message does not name {field}: {message}"));
            }
            if got == "unauthenticated" && message != UNAUTHENTICATED {
                return Err(format!("the message tells the cause: {message}"));
            }
        }
    }
    run(&vector.mended())?.map(|_| ()).map_err(|stop| format!("mended, still refused: {stop:?}"))
}

#[test]
fn both_implementations_agree_on_every_byte_and_every_refusal() {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut elsewhere = [0; ELSEWHERE.len()];
    let mut let_pass = [0; LET_PASS.len()];
    let mut wrong = Vec::new();
    for (path, file) in support::files() {
        assert!(path.ends_with(".json"), "{path} is no vector");
        let vector = Vector::read(&path, &file);
        if let Some(row) = ELSEWHERE.iter().position(|(_, takes)| takes(&vector)) {
            elsewhere[row] += 1;
            continue;
        }
        let Some((op, _, _, handler)) = OPS.iter().find(|(op, ..)| *op == vector.op) else {
            wrong.push(format!("{path}: nothing runs {}", vector.op));
            continue;
        };
        if let Err(why) = check(&vector, *handler) {
            wrong.push(format!("{path}: {why}"));
        }
        let count = counts.entry(op).or_default();
        if vector.out().is_some() {
            count.0 += 1;
        } else {
            count.1 += 1;
        }
        let reason = vector.refused("reason");
        if let Some(row) =
            LET_PASS.iter().position(|(op, let_pass, _)| (*op, *let_pass) == (&vector.op, reason))
        {
            let_pass[row] += 1;
        }
    }
    for (op, (accepted, refused)) in &counts {
        println!("{op:24}{accepted:4} accepted{refused:4} refused");
    }
    for ((why, _), count) in ELSEWHERE.iter().zip(elsewhere) {
        println!("{count:4} not run here: {why}");
        assert!(count > 0, "no vector is left that is not run because {why}");
    }
    for ((op, reason, why), count) in LET_PASS.iter().zip(let_pass) {
        println!("{count:4} of {op} let pass, {reason}: {why}");
        assert!(count > 0, "no vector is left of {op} with {reason}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for (op, accepted, refused, _) in OPS {
        let count = counts.get(op).copied().unwrap_or_default();
        assert!(count.0 >= *accepted && count.1 >= *refused, "{op}: {count:?}, fewer than there were");
    }
}

/// A change that breaks a vector breaks the protocol, and so does a change of the vector.
#[test]
fn the_vectors_are_frozen() {
    let listed = std::fs::read_to_string(support::directory().join("SHA256SUMS")).unwrap();
    let is: String = support::files()
        .iter()
        .map(|(path, file)| format!("{}  {path}\n", hex::encode(sha256(file))))
        .collect();
    let (listed, is): (Vec<_>, Vec<_>) = (listed.lines().collect(), is.lines().collect());
    let gone: Vec<_> = listed.iter().filter(|line| !is.contains(line)).collect();
    let new: Vec<_> = is.iter().filter(|line| !listed.contains(line)).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "listed and not there: {gone:#?}\nthere and not listed: {new:#?}"
    );
    assert_eq!(listed, is, "SHA256SUMS is sorted by path");
}
