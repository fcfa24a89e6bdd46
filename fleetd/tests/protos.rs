//! The .proto files, judged by `buf`: its lint finds nothing, and nothing that an older client relies on has changed since
//! the last release. `buf` is installed from its registry, once; where that cannot be, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod interop_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Plain, Output, Stdio};

use interop_support::{CLIENT_WITHIN, buf, node, printed, protos, run, skipped};
use tempfile::TempDir;

/// The wire of the last release, for where its tag is not.
const BASELINE: &str = "fleet-proto/baseline.binpb";

#[tokio::test]
async fn buf_lint_finds_nothing() {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf lint", &why),
    };
    let output = run(buf(&node).arg("lint").current_dir(protos()), CLIENT_WITHIN).await.unwrap();
    assert_eq!(printed("buf lint", &output), "");
    // It can find something: without the exceptions of buf.yaml, the .proto files of others have faults.
    let strict = r#"{"version": "v2", "modules": [{"path": "proto"}, {"path": "vendor"}]}"#;
    let output =
        run(buf(&node).args(["lint", "--config", strict]).current_dir(protos()), CLIENT_WITHIN).await;
    let output = output.unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("vendor/grpc/health/v1/health.proto"), "{output:?}");
}

/// What git prints, if it succeeds.
fn git(repository: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut git = Plain::new("git");
    // A repository of the test's own reads nobody's settings.
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = git.arg("-C").arg(repository).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn last_tag(repository: &Path) -> Option<String> {
    let tag = git(repository, &["describe", "--tags", "--abbrev=0", "--match", "v*"])?;
    Some(String::from_utf8(tag).unwrap().trim().to_owned())
}

/// What the wire is compared with.
struct Released {
    /// The tag; `None` if none can be reached, as in a clone without tags.
    tag: Option<String>,
    /// As `buf breaking --against` takes it.
    against: String,
    _unpacked: TempDir,
}

/// The wire of the last tag, else that of the baseline.
fn released(repository: &Path) -> Released {
    let unpacked = tempfile::tempdir().unwrap();
    let Some(tag) = last_tag(repository) else {
        let baseline = repository.join(BASELINE);
        let against = format!("{}#format=binpb", baseline.display());
        return Released { tag: None, against, _unpacked: unpacked };
    };
    let archive = unpacked.path().join("release.tar");
    let output = format!("--output={}", archive.display());
    git(repository, &["archive", "--format=tar", &output, &tag, "fleet-proto"])
        .unwrap_or_else(|| panic!("{tag} has no fleet-proto"));
    // A release makes the baseline, and nothing else changes it: a clone without tags compares with the same.
    let of_tag = git(repository, &["show", &format!("{tag}:{BASELINE}")]).expect("a release has a baseline");
    let here = fs::read(repository.join(BASELINE)).unwrap();
    assert!(of_tag == here, "{BASELINE} is not that of {tag}: see CONTRIBUTING.md");
    let against = format!("{}#format=tar,subdir=fleet-proto/proto", archive.display());
    Released { tag: Some(tag), against, _unpacked: unpacked }
}

async fn breaking(node: &Path, protos: &Path, released: &Released) -> Output {
    let mut command = buf(node);
    // What is imported belongs to others.
    command.args(["breaking", "proto", "--exclude-imports", "--against", &released.against]);
    command.current_dir(protos);
    run(&mut command, CLIENT_WITHIN).await.unwrap()
}

#[tokio::test]
async fn nothing_that_was_released_is_broken() {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf breaking", &why),
    };
    let repository = protos().parent().unwrap().to_owned();
    let released = released(&repository);
    let output = breaking(&node, &protos(), &released).await;
    assert_eq!(printed(&format!("buf breaking against {:?}", released.tag), &output), "");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// A checkout of the .proto files as they are.
struct Checkout(TempDir);

impl Checkout {
    async fn new(node: &Path) -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        let to = checkout.protos();
        for directory in ["proto", "vendor"] {
            copy(&protos().join(directory), &to.join(directory));
        }
        fs::copy(protos().join("buf.yaml"), to.join("buf.yaml")).unwrap();
        // As a release makes it.
        let mut command = buf(node);
        command.args(["build", "proto", "--exclude-source-info", "-o", "baseline.binpb"]).current_dir(&to);
        printed("buf build", &run(&mut command, CLIENT_WITHIN).await.unwrap());
        checkout
    }

    fn protos(&self) -> PathBuf {
        self.0.path().join("fleet-proto")
    }

    /// Changes a file for as long as `judge` looks at it.
    async fn changed<T>(&self, file: &str, from: &str, to: &str, judge: impl AsyncFnOnce() -> T) -> T {
        let path = self.protos().join("proto").join(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{file} has no {from:?}");
        fs::write(&path, before.replacen(from, to, 1)).unwrap();
        let judged = judge().await;
        fs::write(&path, before).unwrap();
        judged
    }

    /// Requires that what breaks the wire is found, and what only adds to it is not.
    async fn assert_breaks_are_found(&self, node: &Path, released: &Released) {
        const GATEWAY: &str = "agentgateway/v1/agentgateway.proto";
        const OPERATOR: &str = "fleet/v1/operator.proto";
        let (protos, repository) = (self.protos(), format!("{:?}", released.tag));
        let judge = async || breaking(node, &protos, released).await;
        assert_eq!(printed(&repository, &judge().await), "", "as it was released");
        let changes = [
            ("another number", GATEWAY, "bytes client_nonce = 3", "bytes client_nonce = 4"),
            ("another type", GATEWAY, "bytes client_nonce = 3", "string client_nonce = 3"),
            ("another name, which JSON sees", GATEWAY, "bytes client_nonce = 3", "bytes nonce = 3"),
            ("a procedure that is gone", OPERATOR, "rpc Logout(", "rpc SignOut("),
            ("a stream that was none", OPERATOR, "rpc Logout(", "rpc Logout(stream "),
            ("another meaning of a value", GATEWAY, "ACK_CODE_OK = 1", "ACK_CODE_FINE = 1"),
        ];
        for (what, file, from, to) in changes {
            let output = self.changed(file, from, to, judge).await;
            let found = String::from_utf8_lossy(&output.stdout);
            assert!(!output.status.success() && found.contains(file), "{repository}: {what}: {output:?}");
        }
        let (from, to) = ("message LogoutRequest {}", "message LogoutRequest {\n  bool everywhere = 1;\n}");
        let output = self.changed(OPERATOR, from, to, judge).await;
        assert_eq!(printed("a field more", &output), "", "{repository}");
    }
}

#[tokio::test]
async fn what_breaks_the_wire_is_found() {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf breaking can fail", &why),
    };
    // As in a clone without tags, or in no clone at all.
    let checkout = Checkout::new(&node).await;
    let repository = checkout.0.path();
    let baseline = released(repository);
    assert_eq!(baseline.tag, None);
    checkout.assert_breaks_are_found(&node, &baseline).await;

    if git(repository, &["init", "--quiet"]).is_none() {
        return skipped("buf breaking against a tag", "there is no git");
    }
    let commit = || {
        git(repository, &["add", "--all"]).unwrap();
        let me = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let commit = ["commit", "--quiet", "--allow-empty", "--message=x"];
        git(repository, &[&me[..], &commit].concat()).unwrap();
    };
    commit();
    git(repository, &["tag", "v0.1.0"]).unwrap();
    git(repository, &["tag", "nightly"]).unwrap();
    commit();
    git(repository, &["tag", "v0.2.0"]).unwrap();
    commit();
    let tagged = released(repository);
    assert_eq!(tagged.tag.as_deref(), Some("v0.2.0"), "the last one");
    checkout.assert_breaks_are_found(&node, &tagged).await;
}
