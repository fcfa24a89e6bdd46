//! What no type says: that no crate of the repository holds `unsafe`, and how what is stored of a secret is compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every manifest below a directory; what cargo builds and what is hidden left out.
fn manifests(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        // A target directory that came out of a cache may have lost its tag.
        let is_built = name == "target" || path.join("CACHEDIR.TAG").exists();
        if entry.file_type().unwrap().is_dir() && !is_built && !name.to_string_lossy().starts_with('.') {
            manifests(&path, found);
        } else if name == "Cargo.toml" {
            found.push(path);
        }
    }
}

/// Whether a table of lints, a workspace's or a crate's own, forbids it.
fn forbids(lints: &toml::Value) -> bool {
    let level = lints.get("rust").and_then(|rust| rust.get("unsafe_code"));
    let level = level.and_then(|lint| lint.get("level").or(Some(lint)));
    level.and_then(toml::Value::as_str) == Some("forbid")
}

/// Each manifest forbids it, or takes the lints of a workspace that does. `forbid` cannot be allowed again further in,
/// so the manifests are all that there is to look at.
#[test]
fn every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap().parse::<toml::Table>().unwrap();
    let workspace = read(&root.join("Cargo.toml"));
    assert!(forbids(&workspace["workspace"]["lints"]), "the workspace does not forbid it");

    let mut found = Vec::new();
    manifests(root, &mut found);
    let mut crates = 0;
    for path in &found {
        let manifest = read(path);
        let Some(package) = manifest.get("package") else { continue };
        crates += 1;
        let lints = manifest.get("lints").unwrap_or_else(|| panic!("{package} has no lints"));
        let inherits = lints.get("workspace").and_then(toml::Value::as_bool) == Some(true);
        assert!(inherits || forbids(lints), "{} does not forbid unsafe code", path.display());
    }
    let members = workspace["workspace"]["members"].as_array().unwrap().len();
    assert!(
        crates > members,
        "{crates} crates were found, and there are {members} and the fuzz targets: {found:?}"
    );
}

/// The secrets themselves cannot be compared at all; see `compile_fail/secret_compared.rs`.
#[test]
fn hashes_of_secrets_and_fingerprints_are_compared_in_constant_time() {
    for (file, name) in [("code.rs", "SecretHash"), ("fingerprint.rs", "Fingerprint")] {
        let source =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
        let (before, _) = source.split_once(&format!("pub struct {name}(")).unwrap();
        let derived = before.lines().last().unwrap();
        assert!(derived.starts_with("#[derive(") && !derived.contains("PartialEq"), "{name}: {derived}");
        let (_, equality) = source.split_once(&format!("impl PartialEq for {name} {{")).unwrap();
        let (equality, _) = equality.split_once("\n}").unwrap();
        let compares = if equality.contains("self.matches(other)") {
            source.split_once("pub fn matches(").unwrap().1.split_once("\n    }").unwrap().0
        } else {
            equality
        };
        assert!(compares.contains(".ct_eq("), "{name} is compared by {compares}");
    }
}

/// Where a challenge is taken. A store that looks it up by an index need not: see `ChallengeRecord`.
#[test]
fn challenges_are_compared_in_constant_time_where_they_are_taken() {
    for (file, function) in
        [("handshake/server.rs", "pub fn taken("), ("store/memory.rs", "fn take_challenge(")]
    {
        let source =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
        let (_, body) = source.split_once(function).unwrap();
        let (body, _) = body.split_once("\n    }").unwrap();
        assert!(body.contains(".challenge.ct_eq(") && !body.contains("=="), "{file}: {body}");
    }
}
