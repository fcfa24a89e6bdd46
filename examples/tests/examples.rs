//! Every example runs to its end and says what it came to, is short, and stands in the README.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Measures something, for minutes; it is no example of how to embed.
const MEASURES: &str = "hostile";
/// The most lines of an example.
const MOST_LINES: usize = 149;

fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The examples, by name.
fn examples() -> BTreeSet<String> {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let names = sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| name != MEASURES).collect()
}

/// What an example prints. Cargo builds the examples beside the tests, unless it is told to build one test alone.
fn run(name: &str) -> String {
    let deps = std::env::current_exe().unwrap();
    let built: PathBuf = deps.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(built.exists(), "{} is not built: cargo build -p fleet-examples --examples", built.display());
    let output = Command::new(built).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Runs an example; each of its lines begins and ends so.
fn says(name: &str, lines: &[(&str, &str)]) {
    assert!(examples().contains(name), "{name} is no example");
    let said = run(name);
    assert_eq!(said.lines().count(), lines.len(), "{name} says:\n{said}");
    for (line, (begin, end)) in said.lines().zip(lines) {
        assert!(line.starts_with(begin) && line.ends_with(end), "{name} says {line:?}");
    }
}

const JOIN: (&str, &str) = ("join Acme Mining? yes; the fingerprint is ", "");

#[test]
fn blocking_tcp() {
    says("blocking_tcp", &[JOIN, ("agent ", " is online")]);
}

#[test]
fn tokio_driver() {
    says("tokio_driver", &[JOIN, ("agent ", " is online")]);
}

#[test]
fn own_store() {
    says("own_store", &[("12 stores", " do what every store must"), ("agent ", " is still online")]);
}

#[test]
fn own_signer() {
    says(
        "own_signer",
        &[
            ("a miner's token and a command were not signed", ""),
            ("agent ", " is online; its identity key is in another process"),
        ],
    );
}

#[test]
fn beside_hyper() {
    says(
        "beside_hyper",
        &[("GET /hello: hello from the program around it", ""), ("agent ", " is online, beside it")],
    );
}

#[test]
fn each_is_short_has_a_test_here_and_stands_in_the_readme() {
    let read = |path: &str| std::fs::read_to_string(directory().join(path)).unwrap();
    let (readme, manifest, tests) = (read("README.md"), read("Cargo.toml"), read("tests/examples.rs"));
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");
    for name in examples {
        let file = format!("{name}.rs");
        let lines = read(&file).lines().count();
        assert!(lines <= MOST_LINES, "{file} has {lines} lines, at most {MOST_LINES} are good");
        assert!(readme.contains(&format!("[{file}]({file})")), "{file} is not in the README");
        assert!(manifest.contains(&format!("path = \"{file}\"")), "{file} is not in Cargo.toml");
        assert!(tests.contains(&format!("\nfn {name}() {{")), "{file} is not run");
    }
}
