//! The clients and tools of others, installed from their registries, once.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// The longest that a client may take, and an installation.
pub const CLIENT_WITHIN: Duration = Duration::from_secs(120);
const INSTALL_WITHIN: Duration = Duration::from_secs(300);

/// The directory of the scripts.
pub fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join("interop")
}

pub fn protos() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fleet-proto").canonicalize().unwrap()
}

pub fn descriptors() -> PathBuf {
    protos().join("src/generated/descriptors.bin")
}

/// Not eprintln!, which is shown only for tests that fail.
pub fn skipped(what: &str, why: &str) {
    let text = format!("SKIPPED: {what}: {}\n", why.lines().next().unwrap_or("for no reason"));
    io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Runs a program to its end; `None` if there is no such program.
pub async fn run(command: &mut Command, within: Duration) -> Option<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let ended = tokio::time::timeout(within, child.wait_with_output()).await;
    Some(ended.unwrap_or_else(|_| panic!("it did not end within {within:?}: {command:?}")).unwrap())
}

/// What it printed, if it succeeded.
pub fn printed(what: &str, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    out
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop")
}

/// Tests run side by side, as processes too. One at a time holds what it returns.
async fn locked(name: &str) -> File {
    fs::create_dir_all(root()).unwrap();
    let lock = File::create(root().join(format!("{name}.lock"))).unwrap();
    tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap()
}

/// Installs what `files` pin into a directory that the next run finds again. The error says why it cannot be.
async fn installed(
    name: &str,
    files: &[&str],
    steps: impl FnOnce(&Path) -> Vec<Command>,
) -> Result<PathBuf, String> {
    let lock = locked(name).await;
    let directory = root().join(name);
    let wanted: String = files.iter().map(|file| fs::read_to_string(scripts().join(file)).unwrap()).collect();
    // Written last: half an installation is none.
    let marker = directory.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir(&directory).unwrap();
    for file in files {
        let file = scripts().join(file);
        fs::copy(&file, directory.join(file.file_name().unwrap())).unwrap();
    }
    for mut step in steps(&directory) {
        let program = step.as_std().get_program().to_string_lossy().into_owned();
        let Some(output) = run(step.current_dir(&directory), INSTALL_WITHIN).await else {
            return Err(format!("there is no {program}"));
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!text.contains("EUSAGE"), "package-lock.json is not that of package.json: {text}");
            assert!(!text.contains("checksum mismatch"), "go.sum is not that of go.mod: {text}");
            let is_error = |line: &&str| {
                ["npm error", "ERROR", "Error", "go: "].iter().any(|start| line.starts_with(start))
            };
            let mut lines = text.lines().filter(is_error);
            let says = lines.next().unwrap_or("it does not say why");
            return Err(format!("it cannot be installed: {says}"));
        }
    }
    fs::write(marker, wanted).unwrap();
    drop(lock);
    Ok(directory)
}

pub async fn node() -> Result<PathBuf, String> {
    let mut version = Command::new("node");
    let Some(version) = run(version.arg("--version"), CLIENT_WITHIN).await else {
        return Err("there is no node".to_owned());
    };
    let version = printed("node --version", &version);
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 20) {
        return Err(format!("node must be 20 or later, and is {version}"));
    }
    installed("node", &["package.json", "package-lock.json"], |_| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.args(["--fetch-retries=1", "--fetch-timeout=30000"]);
        vec![npm]
    })
    .await
}

pub async fn python() -> Result<PathBuf, String> {
    installed("python", &["requirements.txt"], |directory| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "venv"]);
        let mut pip = Command::new(directory.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--retries=1", "--timeout=30", "--only-binary=:all:"]);
        pip.args(["--disable-pip-version-check", "--no-deps", "-r", "requirements.txt"]);
        vec![venv, pip]
    })
    .await
}

pub fn buf(node: &Path) -> Command {
    let mut buf = Command::new(node.join("node_modules/.bin/buf"));
    buf.env("BUF_CACHE_DIR", node.join("buf-cache"));
    buf
}

/// `go`, which keeps what it fetches and builds in a directory, and fetches no other version of itself.
fn go(directory: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(directory).env("GOTOOLCHAIN", "local").env("GOWORK", "off").env("CGO_ENABLED", "0");
    // Whatever it writes can be removed again.
    go.env("GOFLAGS", "-mod=readonly -modcacherw");
    go.env("GOMODCACHE", directory.join("modules")).env("GOCACHE", directory.join("cache"));
    go
}

/// Builds the client that uses connect-go into a directory. The error says why it cannot be; one that does not compile
/// is a failure.
pub async fn connect_go(into: &Path) -> Result<PathBuf, String> {
    let Some(version) = run(go(into).args(["env", "GOVERSION"]), CLIENT_WITHIN).await else {
        return Err("there is no go".to_owned());
    };
    let version = printed("go env GOVERSION", &version);
    let rest = version.strip_prefix("go1.").unwrap_or_default();
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|minor| minor.parse().ok());
    if minor.is_none_or(|minor: u32| minor < 24) {
        return Err(format!("go must be 1.24 or later, and is {version}"));
    }
    let modules = installed("go", &["connect-go/go.mod", "connect-go/go.sum"], |directory| {
        let mut download = go(directory);
        download.args(["mod", "download"]);
        vec![download]
    })
    .await?;
    // The others find in the cache what the first one builds.
    let _lock = locked("go").await;
    let client = into.join("connect-go");
    let mut build = go(&modules);
    build.args(["build", "-o"]).arg(&client).arg(scripts().join("connect-go").join("main.go"));
    printed("go build", &run(&mut build, INSTALL_WITHIN).await.unwrap());
    Ok(client)
}
