//! Misuse does not compile.
//!
//! A case in `compile_fail/` misuses the crate in the statements under `#[cfg(trybuild)]`, which is set when `trybuild`
//! compiles it, and must fail with the very words beside it. Here the same files are modules, compiled without those
//! statements: what is left is the legal use next to each misuse, so a case fails for what it says and nothing else.
//!
//! After a change to a case, or to rustc: `TRYBUILD=overwrite cargo test -p fleet-core --all-features --test compile_fail`,
//! and read what it has written.
#![allow(
    unused,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{collections::BTreeSet, fs, io::Write as _, path::Path, process::Command};

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(mod $case;)*
        pub(super) const CASES: &[&str] = &[$(stringify!($case)),*];
    };
}

mod compile_fail {
    cases!(
        commit_forgotten,
        enrollment_agent_state_twice,
        enrollment_server_state_twice,
        evidence_forged,
        evidence_named,
        evidence_put_together,
        handshake_agent_state_twice,
        handshake_server_state_twice,
        secret_as_bytes,
        secret_cloned,
        secret_compared,
        secret_printed,
        sent_before_commit,
        state_duplicated,
        step_skipped,
        wrong_kind,
    );
}

/// The words of an error change from one rustc to the next: they are those of the one that the workspace names.
fn is_the_rustc_of_the_words() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap().stdout;
    let wanted = format!("rustc {}.", env!("CARGO_PKG_RUST_VERSION"));
    let version = String::from_utf8(version).unwrap();
    if !version.starts_with(&wanted) {
        // Past the capture of a test's output.
        let line =
            format!("SKIPPED: compile-fail cases: their errors are those of {wanted}x, this is {version}");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return false;
    }
    true
}

#[test]
fn misuse_does_not_compile() {
    if is_the_rustc_of_the_words() {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    }
}

#[test]
fn every_case_has_its_misuse_its_words_and_its_legal_twin() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut files = BTreeSet::new();
    for file in fs::read_dir(&cases).unwrap() {
        files.insert(file.unwrap().path());
    }
    let mut expected = BTreeSet::new();
    for case in compile_fail::CASES {
        let [code, words] = [".rs", ".stderr"].map(|end| cases.join(format!("{case}{end}")));
        let misuses = fs::read_to_string(&code).unwrap().matches("#[cfg(trybuild)]\n").count();
        assert!(misuses > 0, "{case} misuses nothing");
        let words_said = fs::read_to_string(&words).unwrap();
        let errors = words_said.lines().filter(|line| line.starts_with("error")).count();
        assert!(errors >= misuses, "{case} has {misuses} misuses and {errors} errors");
        expected.extend([code, words]);
    }
    assert_eq!(files, expected, "a case is a .rs file, a .stderr file, and a line in the list above");
}
