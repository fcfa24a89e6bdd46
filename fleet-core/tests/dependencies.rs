//! What `fleet-core` may depend on: no async runtime, no wire format, no database, no TLS stack, and not many
//! crates at all.
//!
//! The graph is that of a user who turns on every feature: normal and build dependencies, none for tests. It
//! is read from `cargo tree`, which resolves features for this crate alone; `cargo metadata` resolves them for
//! the whole workspace and would count what other members turn on.

#![allow(clippy::expect_used)]

use std::{collections::BTreeSet, env, process::Command};

/// The most crates that `fleet-core` may need, itself included.
const MOST_CRATES: usize = 60;

/// Crates that `fleet-core` never depends on, each with all crates whose names continue it after a dash.
const BANNED: &[&str] = &[
    // Async runtimes.
    "async-std",
    "mio",
    "smol",
    "tokio",
    // Wire formats and RPC.
    "axum",
    "buffa",
    "connectrpc",
    "h2",
    "hyper",
    "prost",
    "protobuf",
    "reqwest",
    "tonic",
    "tower",
    // Databases.
    "diesel",
    "libsqlite3",
    "rusqlite",
    "sea-orm",
    "sea-query",
    "sqlx",
    // TLS stacks and their crypto providers.
    "aws-lc",
    "boring",
    "native-tls",
    "openssl",
    "ring",
    "rustls",
    "schannel",
    "security-framework",
];

/// `name version` of every crate that `cargo tree` lists, `fleet-core` included.
fn dependency_graph() -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--package", "fleet-core", "--all-features"])
        .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo tree failed:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .expect("cargo tree prints UTF-8")
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|package| !package.is_empty())
        .collect()
}

fn is_banned(package: &str) -> bool {
    let name = package.split(' ').next().unwrap_or_default().replace('_', "-");
    BANNED.iter().any(|banned| match name.strip_prefix(banned) {
        Some(rest) => rest.is_empty() || rest.starts_with('-'),
        None => false,
    })
}

#[test]
fn no_runtime_wire_format_database_or_tls_stack() {
    let graph = dependency_graph();
    assert!(
        graph.iter().any(|package| package.starts_with("ed25519-dalek ")),
        "this is not the graph of fleet-core: {graph:?}"
    );
    let found: Vec<_> = graph.iter().filter(|package| is_banned(package)).collect();
    assert!(found.is_empty(), "fleet-core must not depend on {found:?}");
}

#[test]
fn few_crates() {
    let graph = dependency_graph();
    assert!(
        graph.len() <= MOST_CRATES,
        "fleet-core needs {} crates, at most {MOST_CRATES} are allowed: {graph:?}",
        graph.len()
    );
}

#[test]
fn a_ban_covers_the_crate_and_its_family_only() {
    for banned in ["tokio v1.0.0", "tokio-util v0.7.0", "sea_orm v2.0.0", "openssl-sys v0.9.0"] {
        assert!(is_banned(banned), "{banned}");
    }
    for allowed in ["ringbuf v0.4.0", "mioco v0.8.0", "prostate v1.0.0", "sha2 v0.11.0"] {
        assert!(!is_banned(allowed), "{allowed}");
    }
}
