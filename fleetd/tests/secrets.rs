//! Every type that holds a secret, found in the sources, and what its `Debug` shows. `fleet-core/tests/debug.rs` and
//! `fleet-proto/tests/debug.rs` pin those of the core and of the messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fleet_agent::gateway::Upload;
use fleet_agent::sim::{AntminerConfig, ProtoRigConfig};
use fleet_core::id::UserId;
use fleet_core::time::UnixMillis;
use fleet_store::{DatabaseUrl, UserRecord};

/// Parts of a field's name that say it is a secret, if what it holds is bytes or text.
const TELLING: [&str; 14] = [
    "password",
    "token",
    "secret",
    "seed",
    "scalar",
    "api_key",
    "bearer",
    "challenge",
    "nonce",
    "signature",
    "payload",
    "authorization",
    "sealed",
    "lines",
];
/// Types of bytes and text.
const BARE: [&str; 7] =
    ["String", "Vec<u8>", "Bytes", "bytes::Bytes", "[u8", "Zeroizing", "Receiver<Zeroizing"];
/// Types that are a secret whatever the field is called.
const WRAPPED: [&str; 2] = ["Zeroizing<", "PrivateKeyDer<"];

/// What the `Debug` of a type that holds a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// It has none.
    None,
    /// One of its own, which leaves the secret out.
    Rest,
    /// All: why that is no harm.
    All(&'static str),
}
use Shows::{All, None as Nothing, Rest};

const SEALED: &str = "only the agent's sealing key opens it";
const SIGNED: &str = "a signature that the whole organization has";
const HASHED: &str = "a row, of hashes; rows are private to the store";

const HOLDERS: [(&str, &str, Shows); 33] = [
    ("fleet-agent/src/cli/enroll.rs", "Terminal", Nothing),
    ("fleet-agent/src/gateway/mod.rs", "Upload", Rest),
    ("fleet-agent/src/miner/credentials.rs", "Credentials", Rest),
    ("fleet-agent/src/miner/credentials.rs", "StoredCredentials", Nothing),
    (
        "fleet-agent/src/miner/digest.rs",
        "Challenge",
        All("a miner's, which goes over in clear; no answer is made twice"),
    ),
    ("fleet-agent/src/miner/proto.rs", "ProtoSession", Rest),
    ("fleet-agent/src/sim/antminer.rs", "AntminerConfig", Rest),
    ("fleet-agent/src/sim/proto.rs", "Access", Rest),
    ("fleet-agent/src/sim/proto.rs", "ProtoRigConfig", Rest),
    ("fleet-agent/src/sim/proto.rs", "TlsIdentity", Rest),
    ("fleet-agent/src/state/document.rs", "ManifestDocument", All(SIGNED)),
    ("fleet-core/src/enrollment/agent.rs", "NeedsOpen", All(SEALED)),
    ("fleet-core/src/enrollment/agent.rs", "Verified", All(SEALED)),
    ("fleet-core/src/enrollment/mod.rs", "RegisterRequest", Rest),
    ("fleet-core/src/enrollment/mod.rs", "RegisterResponse", All(SEALED)),
    ("fleet-core/src/handshake/agent.rs", "ExpectChallenge", Rest),
    ("fleet-core/src/handshake/mod.rs", "BeginRequest", Rest),
    ("fleet-core/src/handshake/mod.rs", "BeginResponse", Rest),
    ("fleet-core/src/handshake/mod.rs", "CompleteRequest", Rest),
    ("fleet-core/src/store/records.rs", "AgentRecord", All(SEALED)),
    ("fleet-core/src/store/records.rs", "ChallengeRecord", Rest),
    ("fleet-store/src/entity/agent.rs", "Model", All(SIGNED)),
    ("fleet-store/src/entity/agent_auth_challenge.rs", "Model", All("a row; rows are private to the store")),
    ("fleet-store/src/entity/agent_session.rs", "Model", All(HASHED)),
    ("fleet-store/src/entity/app_user.rs", "Model", All(HASHED)),
    ("fleet-store/src/entity/manifest.rs", "Model", All(SIGNED)),
    ("fleet-store/src/entity/user_session.rs", "Model", All(HASHED)),
    ("fleet-store/src/url.rs", "PostgresTarget", Nothing),
    ("fleet-store/src/users.rs", "UserRecord", Rest),
    ("fleetd/src/operator/session.rs", "Session", Rest),
    ("fleetd/src/server/pages.rs", "SetUpForm", Nothing),
    ("fleetd/src/server/services/gateway.rs", "Message", Nothing),
    ("fleetd/src/server/tls.rs", "Contents", Nothing),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The sources of the crates, but what is generated, by path.
fn sources() -> BTreeMap<String, String> {
    fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.ends_with("/generated") {
                walk(root, &path, found);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                // Tests hold secrets of their own.
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.insert(name, code.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let mut found = BTreeMap::new();
    for krate in ["fleet-core", "fleet-proto", "fleet-store", "fleet-agent", "fleetd"] {
        walk(&root(), &root().join(krate).join("src"), &mut found);
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

struct Type {
    name: String,
    derives_debug: bool,
    fields: Vec<String>,
}

/// What stands between a bracket at the beginning of a text and its partner.
fn bracketed(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[1..at];
        }
    }
    panic!("a bracket is not closed: {text}");
}

/// The structs of a source. Enums hold secrets only in types that are their own holders.
fn types(source: &str) -> Vec<Type> {
    let mut types = Vec::new();
    let mut before = 0;
    for (at, _) in source.match_indices("struct ") {
        let line = source[..at].rfind('\n').map_or(0, |at| at + 1);
        let visibility = source[line..at].trim();
        if !visibility.is_empty() && !visibility.starts_with("pub") {
            continue;
        }
        let rest = &source[at + "struct ".len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = rest.find([';', '{', '(']).unwrap();
        let body = if rest[end..].starts_with(';') { "" } else { bracketed(&rest[end..]) };
        let attributes = &source[before.max(source[..line].rfind("}\n").map_or(0, |at| at + 2))..line];
        let derives_debug = attributes
            .match_indices("derive(")
            .any(|(at, _)| bracketed(&attributes[at + "derive".len()..]).contains("Debug"));
        let fields = body.lines().map(|line| line.trim().to_owned()).filter(|line| line.contains(": "));
        types.push(Type { name, derives_debug, fields: fields.collect() });
        before = at;
    }
    types
}

/// The name of a field that holds a secret.
fn secret(field: &str) -> Option<&str> {
    let (name, holds) = field.split_once(": ")?;
    let name = name.rsplit(' ').next()?;
    let holds = holds.strip_prefix("Option<").unwrap_or(holds);
    let is_bare = BARE.iter().any(|bare| holds.trim_start_matches("mpsc::").starts_with(bare));
    let tells = TELLING.iter().any(|part| name.contains(part));
    let is_hash = name.ends_with("_hash") && holds.starts_with("SecretHash");
    ((is_bare && tells && !is_hash) || WRAPPED.iter().any(|wrapped| holds.contains(wrapped))).then_some(name)
}

#[test]
fn every_type_that_holds_a_secret_is_known_and_does_not_show_it() {
    let sources = sources();
    let (mut found, mut unknown) = (BTreeSet::new(), Vec::new());
    for (path, source) in &sources {
        for Type { name, derives_debug, fields } in types(source) {
            let secrets: Vec<_> = fields.iter().filter_map(|field| secret(field)).collect();
            if secrets.is_empty() {
                continue;
            }
            let known = HOLDERS.iter().find(|(file, known, _)| file == path && *known == name);
            let Some((_, _, shows)) = known else {
                unknown.push(format!("{path}: {name} holds {secrets:?}"));
                continue;
            };
            let own = source.split_once(&format!("Debug for {name}")).map(|(_, after)| {
                let from = after.find('{').unwrap();
                bracketed(&after[from..])
            });
            match (shows, own) {
                (Nothing, own) => assert!(!derives_debug && own.is_none(), "{path}: {name} has a Debug"),
                (All(_), own) => assert!(derives_debug && own.is_none(), "{path}: {name} derives no Debug"),
                (Rest, Some(own)) => {
                    assert!(!derives_debug, "{path}: {name}");
                    for secret in secrets {
                        let said = own.replace(&format!("self.{secret}.len()"), "");
                        assert!(!said.contains(&format!("self.{secret}")), "{path}: {name} shows {secret}");
                    }
                    assert!(own.contains("finish_non_exhaustive()"), "{path}: {name} hides that it hides");
                }
                (Rest, None) => panic!("{path}: {name} has no Debug of its own"),
            }
            found.insert((path.as_str(), name));
        }
    }
    assert!(unknown.is_empty(), "decide what the Debug of these shows, and list them here: {unknown:#?}");
    let gone = HOLDERS.iter().filter(|(file, name, _)| !found.contains(&(*file, (*name).to_owned())));
    assert_eq!(gone.collect::<Vec<_>>(), Vec::<&(&str, &str, Shows)>::new(), "they hold no secret any more");
}

#[test]
fn what_they_show_is_the_rest() {
    const SECRET: &str = "a-secret-that-nobody-may-see";
    let at = UnixMillis::new(1_767_225_600_000).unwrap();
    let upload = Upload { payload: SECRET.as_bytes().to_vec().into(), captured_at: at, sequence: 7 };
    let user = UserRecord {
        id: UserId::new(1).unwrap(),
        name: "alice".to_owned(),
        password_hash: SECRET.to_owned(),
        created_at: at,
    };
    let url = DatabaseUrl::parse(&format!("postgres://fleet:{SECRET}@db.example/fleet")).unwrap();
    let (antminer, rig) = (AntminerConfig::new(1, SECRET), ProtoRigConfig::new(1, SECRET));
    for (debug, shown) in [
        (
            format!("{upload:?}"),
            "Upload { bytes: 28, captured_at: UnixMillis(1767225600000), sequence: 7, .. }",
        ),
        (
            format!("{user:?}"),
            "UserRecord { id: UserId(1), name: \"alice\", created_at: UnixMillis(1767225600000), .. }",
        ),
        (format!("{url:?}"), "DatabaseUrl(postgres://fleet@db.example/fleet)"),
        (format!("{antminer:?}"), "AntminerConfig { mac: "),
        (format!("{rig:?}"), "ProtoRigConfig { serial: \"PROTO-SIM-00000001\", .. }"),
    ] {
        assert!(debug.starts_with(shown) && !debug.contains(SECRET), "{debug}");
    }
}
