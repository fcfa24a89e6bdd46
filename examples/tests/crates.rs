//! The README's table of crates, features and dependency counts is true, and so is what it says of Rust's version.
//!
//! The graphs are those of `cargo tree` for a crate and a feature alone, on one target whatever the host: `cargo metadata`
//! resolves features for the whole workspace and would count what other members turn on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

/// Members that nobody embeds.
const INNER: [&str; 2] = ["fleet-proto-generate", "fleet-examples"];
const NONE: &str = "none";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn metadata() -> Metadata {
    let manifest = root().join("Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

/// The rows of the table: crate, feature, and how many crates that takes in.
fn listed() -> BTreeMap<(String, String), usize> {
    let mut rows = BTreeMap::new();
    for line in readme().lines().filter(|line| line.starts_with("| `fleet")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, feature, _, count, _] = cells.as_slice() else { continue };
        let plain = |cell: &str| cell.split(' ').next().unwrap().trim_matches('`').to_owned();
        let count = count.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(rows.insert((plain(name), plain(feature)), count).is_none(), "{line} stands there twice");
    }
    rows
}

/// How many crates a crate with one feature, or none, takes in.
fn counted(name: &str, feature: &str) -> usize {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--package", name, "--no-default-features", "--edges", "normal,build"]);
    tree.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"]);
    if feature != NONE {
        tree.args(["--features", feature]);
    }
    let output = tree.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packages = text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    packages.filter(|package| !package.is_empty()).collect::<BTreeSet<_>>().len()
}

#[test]
fn every_crate_and_feature_is_listed_with_what_it_takes_in() {
    let listed = listed();
    let mut expected = BTreeSet::new();
    for package in metadata().packages.iter().filter(|package| !INNER.contains(&package.name.as_str())) {
        // A feature that an optional dependency makes is none of ours.
        let features = package.features.keys().filter(|name| *name != "default").map(String::as_str);
        expected.extend(features.chain([NONE]).map(|feature| (package.name.to_string(), feature.to_owned())));
    }
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let wrong: Vec<_> = listed
        .iter()
        .map(|((name, feature), count)| (name, feature, *count, counted(name, feature)))
        .filter(|(_, _, listed, counted)| listed != counted)
        .collect();
    assert!(wrong.is_empty(), "crate, feature, what README.md says, what it is: {wrong:?}");
}

#[test]
fn every_crate_names_the_rust_version_that_the_documents_name() {
    let metadata = metadata();
    let versions: BTreeSet<_> =
        metadata.packages.iter().map(|package| package.rust_version.clone()).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    let version = versions.first().unwrap().clone().expect("a rust-version");
    let said = format!("Rust {}.{}", version.major, version.minor);
    for document in ["README.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        assert!(
            text.contains(&format!("{said} ")) || text.contains(&format!("{said},")),
            "{document}: {said}"
        );
    }
    let oldest = format!("The oldest Rust is {}.{},", version.major, version.minor);
    assert!(readme().contains(&oldest), "{oldest}");
}

#[test]
fn all_crates_share_one_version_which_is_0_x() {
    let versions: BTreeSet<_> =
        metadata().packages.iter().map(|package| package.version.to_string()).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert!(versions.first().unwrap().starts_with("0."), "what README.md says of 0.x is over: {versions:?}");
}
