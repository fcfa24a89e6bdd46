//! Signatures that a fuzzer can make exist under a fuzzer alone: no manifest, build script or configuration of this
//! repository can turn them on, and this build has none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::keys::{IdentitySecretKey, Signature};
use fleet_core::transcript::{Domain, Transcript};

/// The one line that may name it in a manifest: rustc is told that there is such a cfg, which sets nothing.
const KNOWN: &str = r#"unexpected_cfgs = { level = "warn", check-cfg = ["cfg(fuzzing)"] }"#;
/// The one source that asks for it.
const ASKS: &str = "fleet-core/src/keys/ed25519.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file below, by its path from the root, but what is built and what is not source.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_symlink() || matches!(name, "target" | ".git" | "corpus" | "artifacts" | "node_modules") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if name.ends_with(".rs") || name.ends_with(".toml") || name == "config" {
            found.push(path);
        }
    }
}

#[test]
fn nothing_here_turns_them_on() {
    let (mut found, mut asked) = (Vec::new(), 0);
    files(&root(), &mut found);
    let manifests = found.iter().filter(|path| path.ends_with("Cargo.toml")).count();
    assert!(manifests >= 8 && found.len() > 300, "{manifests} manifests of {} files", found.len());
    for path in found {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if name == "fleet-core/tests/weak_signatures.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}: {line}", number + 1);
            if line.trim_start().starts_with("//")
                || line.trim_start().starts_with('#') && name.ends_with(".toml")
            {
                continue;
            }
            if name.ends_with(".rs") {
                let asks = line.contains("fuzzing");
                assert!(!asks || name == ASKS && line.trim() == "#[cfg(fuzzing)]", "{at}");
                asked += usize::from(asks);
            } else if line.contains("fuzzing") {
                assert_eq!(line, KNOWN, "{at}");
            }
        }
    }
    assert_eq!(asked, 2, "the check and the function");
}

#[test]
fn this_build_takes_none() {
    let key = IdentitySecretKey::from_seed(&[7; 32]).public();
    let transcript = Transcript::new(Domain::Keyset).field(b"x");
    for byte in 0..=255 {
        assert!(key.verify(&transcript, &Signature::from_bytes([byte; 64])).is_err(), "{byte}");
    }
}
