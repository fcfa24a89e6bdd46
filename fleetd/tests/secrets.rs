//! Every type that holds a secret, found in the sources, and where its `Debug` is pinned: by a snapshot of a value whose
//! secrets are known and searched for, or by having none at all. `fleet-proto/tests/debug.rs` does so for the messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Parts of a field's name that say it is a secret, if what it holds is bytes or text. What a tuple struct holds goes by
/// the name of the struct.
const TELLING: [&str; 21] = [
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
    "proof",
    "payload",
    "body",
    "raw",
    "authorization",
    "sealed",
    "code",
    "plaintext",
    "lines",
    "link",
    "values",
];
/// Types of bytes and text.
const BARE: [&str; 9] = [
    "String",
    "Vec<String>",
    "Vec<u8>",
    "Bytes",
    "bytes::Bytes",
    "[u8",
    "&'a [u8]",
    "Zeroizing",
    "Receiver<Zeroizing",
];
/// Types that are a secret whatever the field is called.
const WRAPPED: [&str; 4] = ["Zeroizing<", "PrivateKeyDer<", "HiddenBytes", "HiddenText"];

/// How the `Debug` of a type that holds a secret is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pin {
    /// It has none, which `assert_not_impl_any!` states where the type is.
    Nothing,
    /// By a snapshot in the tests of its own file.
    Beside,
    /// By a snapshot in this file of tests.
    In(&'static str),
}
use Pin::{Beside, In, Nothing};

const CORE: Pin = In("fleet-core/tests/debug/main.rs");

const HOLDERS: [(&str, &str, Pin); 47] = [
    ("fleet-agent/src/cli/enroll.rs", "Terminal", Nothing),
    ("fleet-agent/src/gateway/mod.rs", "Upload", Beside),
    ("fleet-agent/src/miner/credentials.rs", "Credentials", Beside),
    ("fleet-agent/src/miner/credentials.rs", "StoredCredentials", Nothing),
    ("fleet-agent/src/miner/digest.rs", "Challenge", Beside),
    ("fleet-agent/src/miner/http.rs", "Answer", Beside),
    ("fleet-agent/src/miner/proto.rs", "ProtoSession", Beside),
    ("fleet-agent/src/sim/antminer.rs", "AntminerConfig", Beside),
    ("fleet-agent/src/sim/proto.rs", "ProtoRigConfig", Beside),
    ("fleet-agent/src/sim/proto.rs", "TlsIdentity", Beside),
    ("fleet-agent/src/sim/proto.rs", "Access", Beside),
    ("fleet-agent/src/state/document.rs", "Document", Nothing),
    ("fleet-agent/src/state/document.rs", "ManifestDocument", Nothing),
    ("fleet-core/src/code.rs", "SecretHash", CORE),
    ("fleet-core/src/code.rs", "EnrollmentCode", CORE),
    ("fleet-core/src/code.rs", "ApiKey", CORE),
    ("fleet-core/src/code.rs", "SessionToken", CORE),
    ("fleet-core/src/enrollment/agent.rs", "Verified", CORE),
    ("fleet-core/src/enrollment/agent.rs", "NeedsOpen", CORE),
    ("fleet-core/src/enrollment/mod.rs", "RegisterRequest", CORE),
    ("fleet-core/src/enrollment/mod.rs", "RegisterResponse", CORE),
    ("fleet-core/src/enrollment/server/code.rs", "CreateCode", CORE),
    ("fleet-core/src/handshake/agent.rs", "ExpectChallenge", CORE),
    ("fleet-core/src/handshake/mod.rs", "BeginRequest", CORE),
    ("fleet-core/src/handshake/mod.rs", "BeginResponse", CORE),
    ("fleet-core/src/handshake/mod.rs", "CompleteRequest", CORE),
    ("fleet-core/src/keys/ed25519.rs", "Signature", CORE),
    ("fleet-core/src/store/records.rs", "AgentRecord", CORE),
    ("fleet-core/src/store/records.rs", "ChallengeRecord", CORE),
    ("fleet-proto/src/rpc/glue.rs", "Raw", Beside),
    ("fleet-proto/src/rpc/glue.rs", "RawView", Beside),
    ("fleet-store/src/entity/agent.rs", "Model", Beside),
    ("fleet-store/src/entity/agent_auth_challenge.rs", "Model", Beside),
    ("fleet-store/src/entity/agent_session.rs", "Model", Beside),
    ("fleet-store/src/entity/api_key.rs", "Model", Beside),
    ("fleet-store/src/entity/app_user.rs", "Model", Beside),
    ("fleet-store/src/entity/manifest.rs", "Model", Beside),
    ("fleet-store/src/entity/pending_enrollment.rs", "Model", Beside),
    ("fleet-store/src/entity/user_session.rs", "Model", Beside),
    ("fleet-store/src/url.rs", "PostgresTarget", Nothing),
    ("fleet-store/src/users.rs", "UserRecord", Beside),
    ("fleetd/src/config/layer.rs", "Given", Beside),
    ("fleetd/src/operator/session.rs", "Session", Beside),
    ("fleetd/src/server/pages.rs", "SetUpForm", Nothing),
    ("fleetd/src/server/services/gateway.rs", "Message", Nothing),
    ("fleetd/src/server/set_up.rs", "SetUpLink", Beside),
    ("fleetd/src/server/tls.rs", "Contents", Nothing),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
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
                let text = read(&path);
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
    /// It is erased when dropped, or its parts are.
    is_erased: bool,
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

/// `ApiKey` as `api_key`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
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
        let fields = match &rest[end..=end] {
            ";" => Vec::new(),
            "(" => {
                let held = bracketed(&rest[end..]);
                let held = held.rsplit_once(") ").map_or(held, |(_, held)| held).trim_start_matches("pub ");
                vec![format!("{}: {held}", snake(&name))]
            }
            _ => {
                let lines = bracketed(&rest[end..]).lines().map(|line| line.trim().to_owned());
                lines.filter(|line| line.contains(": ")).collect()
            }
        };
        let attributes = &source[before.max(source[..line].rfind("}\n").map_or(0, |at| at + 2))..line];
        let is_erased = attributes.contains("Zeroize");
        types.push(Type { name, is_erased, fields });
        before = at;
    }
    types
}

/// The name of a field that holds a secret.
fn secret(field: &str, is_erased: bool) -> Option<&str> {
    let (name, holds) = field.split_once(": ")?;
    let name = name.rsplit(' ').next()?;
    let holds = holds.strip_prefix("Option<").unwrap_or(holds);
    let is_bare = BARE.iter().any(|bare| holds.trim_start_matches("mpsc::").starts_with(bare));
    let tells = is_erased || TELLING.iter().any(|part| name.contains(part));
    ((is_bare && tells) || WRAPPED.iter().any(|wrapped| holds.contains(wrapped))).then_some(name)
}

/// Whether a snapshot among these tests shows a type, after the secrets that it holds were searched for in it.
fn has_snapshot(tests: &str, name: &str) -> bool {
    tests.split("assert_snapshot!(").skip(1).any(|asserted| {
        let asserted = asserted.split(");\n").next().unwrap();
        let Some((expression, shown)) = asserted.split_once('@') else { return false };
        let shows = |opening: &str| {
            shown.match_indices(&format!("{name}{opening}")).any(|(at, _)| {
                !shown[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            })
        };
        expression.contains("unsaid(") && (shows(" {") || shows("("))
    })
}

#[test]
fn every_type_that_holds_a_secret_has_a_debug_that_is_pinned_or_none() {
    let sources = sources();
    let (mut found, mut unknown, mut unpinned) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (path, source) in &sources {
        for Type { name, is_erased, fields } in types(source) {
            let secrets: Vec<_> = fields.iter().filter_map(|field| secret(field, is_erased)).collect();
            if secrets.is_empty() {
                continue;
            }
            let known = HOLDERS.iter().find(|(file, known, _)| file == path && *known == name);
            let Some((_, _, pin)) = known else {
                unknown.push(format!("{path}: {name} holds {secrets:?}"));
                continue;
            };
            let tests = |text: String| text.split_once("mod tests {").map(|(_, tests)| tests.to_owned());
            let is_pinned = match pin {
                Nothing => source.contains(&format!("static_assertions::assert_not_impl_any!({name}: ")),
                Beside => tests(read(path)).is_some_and(|tests| has_snapshot(&tests, &name)),
                In(file) => has_snapshot(&read(file), &name),
            };
            if !is_pinned {
                unpinned.push(format!("{path}: {name}, {pin:?}"));
            }
            found.insert((path.as_str(), name));
        }
    }
    assert!(unknown.is_empty(), "pin what the Debug of these shows, and list them here: {unknown:#?}");
    assert!(unpinned.is_empty(), "these are not pinned where it is said: {unpinned:#?}");
    let gone = HOLDERS.iter().filter(|(file, name, _)| !found.contains(&(*file, (*name).to_owned())));
    assert_eq!(gone.collect::<Vec<_>>(), Vec::<&(&str, &str, Pin)>::new(), "they hold no secret any more");
}
