//! The binary as people and service managers see it: output, exit codes, what is on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use fleet_core::{code::EnrollmentCode, fingerprint::Fingerprint};
use support::Running;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-agent"));
    command
        .args(arguments)
        .env_clear()
        .env("XDG_STATE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = command(home, arguments).spawn().unwrap();
    feed(&mut child, input).await;
    timeout(Duration::from_secs(60), child.wait_with_output()).await.expect("ends within 60 s").unwrap()
}

async fn feed(child: &mut Child, input: &str) {
    let mut stdin = child.stdin.take().unwrap();
    // A process that refuses its options does not read.
    let _ = stdin.write_all(input.as_bytes()).await;
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn code_of(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

/// Enrolls by the binary, with the operator confirming what it prints.
async fn enroll(server: &Running, home: &Path) -> String {
    let (new, code) = server.stub.create_code().await;
    let url = server.url().to_string();
    let mut child = command(home, &["enroll", "--server", &url, "--name", "site-1"]).spawn().unwrap();
    feed(&mut child, &format!("{}\nyes\n", code.expose())).await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        printed.push_str(&line);
        printed.push('\n');
        if let Ok(fingerprint) = line.parse::<Fingerprint>() {
            server.stub.confirm(&new, fingerprint).await.unwrap();
        }
    }
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code_of(&output), 0, "{printed}{}", text(&output));
    assert!(printed.contains("organization: Acme"), "{printed}");
    assert!(printed.contains("Agent site-1 of Acme is online"), "{printed}");
    assert!(!printed.contains(code.expose()));
    printed
}

#[tokio::test]
async fn an_agent_enrolls_from_a_pipe_and_can_be_looked_at() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let printed = enroll(&server, home.path()).await;

    let status = run(home.path(), &["status"], "").await;
    assert_eq!(code_of(&status), 0);
    let json = run(home.path(), &["status", "--json"], "").await;
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let fingerprint = report["fingerprint"].as_str().unwrap();
    assert!(text(&status).contains(fingerprint) && printed.contains(fingerprint));
    assert_eq!(report["organization"], "Acme");
    assert_eq!(report["enrollment"], "enrolled");
    assert_eq!(report["in_use"], false);
    let directory = home.path().join("fleet-agent");
    for name in ["api-key", "session"] {
        let file = fs::read_to_string(directory.join(name)).unwrap();
        let secret = file.lines().nth(1).unwrap().rsplit(' ').next().unwrap();
        assert!(secret.len() >= 43);
        assert!(!text(&status).contains(secret) && !text(&json).contains(secret));
    }

    let refresh = run(home.path(), &["refresh"], "").await;
    assert_eq!(code_of(&refresh), 0, "{}", text(&refresh));
}

#[tokio::test]
async fn a_running_agent_is_visible_and_stops_on_sigterm() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enroll(&server, home.path()).await;
    let mut agent = command(home.path(), &["run", "--log-format", "json"]).spawn().unwrap();
    server.stub.until("a control stream", |seen| seen.controls > 0).await;
    let pid = agent.id().unwrap();

    let json = run(home.path(), &["status", "--json"], "").await;
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["process_id"], pid);
    let second = run(home.path(), &["refresh"], "").await;
    assert_eq!(code_of(&second), 75);
    assert!(text(&second).contains(&format!("process {pid} is using")), "{}", text(&second));

    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::TERM).unwrap();
    drop(agent.stdin.take());
    let output = timeout(Duration::from_secs(20), agent.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(code_of(&output), 0, "{}", text(&output));
    let log = String::from_utf8(output.stderr).unwrap();
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("one JSON object a line");
    }
    assert!(log.contains("--scan 192.168.1.0/24"), "it says what to pass: {log}");
    assert!(log.contains("stopped; everything was uploaded"), "{log}");
}

#[tokio::test]
async fn bad_options_are_usage_errors_and_all_named() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["run", "--scan", "8.8.8.8", "--health", "nowhere"], "").await;
    assert_eq!(code_of(&output), 64);
    assert!(text(&output).contains("--scan: ") && text(&output).contains("--health: "), "{}", text(&output));
    for (arguments, says) in [
        (&["enroll", "--server", "http://fleet.example"][..], "--allow-insecure-transport"),
        (&["enroll", "--server", "https://me:hunter2@fleet.example"], "user name"),
        (&["enroll", "--server", "https://fleet.example", "--name", ""], "--name"),
        (&["enroll", "--server", "https://fleet.example", "--ca-file", "/nonexistent"], "/nonexistent"),
        (&["enroll"], "--server"),
        (&["fly"], "fly"),
    ] {
        let output = run(home.path(), arguments, "").await;
        assert_eq!(code_of(&output), 64, "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(says), "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("hunter2"));
    }
    assert_eq!(code_of(&run(home.path(), &["--help"], "").await), 0);
    assert_eq!(code_of(&run(home.path(), &["run"], "").await), 1, "not enrolled");
    let status = run(home.path(), &["status"], "").await;
    assert_eq!(code_of(&status), 0);
    assert!(text(&status).contains("fleet-agent enroll"));
}

#[tokio::test]
async fn a_code_with_a_typing_error_is_caught_before_a_packet_is_sent() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (_, code) = server.stub.create_code().await;
    let mut wrong = code.expose().to_owned();
    let last = if wrong.pop() == Some('q') { 'p' } else { 'q' };
    wrong.push(last);
    let url = server.url().to_string();
    let output = run(home.path(), &["enroll", "--server", &url], &format!("{wrong}\n")).await;
    assert_eq!(code_of(&output), 64);
    assert!(text(&output).contains("typing error"), "{}", text(&output));
    assert_eq!(server.stub.seen().registers, 0);
    assert!(!home.path().join("fleet-agent/identity.key").exists());
}

#[tokio::test]
async fn refusals_for_good_and_for_now_have_codes_of_their_own() {
    let mut server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let unknown = EnrollmentCode::generate(
        fleet_core::manifest::Pin::from_bytes([1; 16]),
        &fleet_core::random::OsRandom,
    )
    .unwrap();
    let url = server.url().to_string();
    let arguments = ["enroll", "--server", url.as_str(), "--yes"];
    let output = run(home.path(), &arguments, &format!("{}\n", unknown.expose())).await;
    assert_eq!(code_of(&output), 77, "{}", text(&output));
    assert!(text(&output).contains("ask for a new one"));

    let home = tempfile::tempdir().unwrap();
    enroll(&server, home.path()).await;
    server.kill().await;
    assert_eq!(code_of(&run(home.path(), &["refresh"], "").await), 75);
    server.revive().await;
    let directory = fleet_agent::state::StateDir::open(
        &home.path().join("fleet-agent"),
        fleet_agent::state::Access::ReadOnly,
    );
    let agent_id = directory.unwrap().public_state().unwrap().unwrap().agent_id.unwrap();
    server.stub.revoke(agent_id).await;
    let output = run(home.path(), &["refresh"], "").await;
    assert_eq!(code_of(&output), 77, "{}", text(&output));
}

#[tokio::test]
async fn whoever_does_not_answer_yes_does_not_join() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (_, code) = server.stub.create_code().await;
    let url = server.url().to_string();
    let output = run(home.path(), &["enroll", "--server", &url], &format!("{}\nno\n", code.expose())).await;
    assert_eq!(code_of(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("Acme"));
    assert!(!text(&output).contains("fingerprint"));
}

#[tokio::test]
async fn enrolling_need_not_wait() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let url = server.url().to_string();
    let arguments = ["enroll", "--server", url.as_str(), "--yes", "--no-wait"];
    let input = format!("{}\n", code.expose());
    let output = run(home.path(), &arguments, &input).await;
    assert_eq!(code_of(&output), 0, "{}", text(&output));
    let fingerprint = text(&output).lines().find_map(|line| line.parse::<Fingerprint>().ok()).unwrap();
    server.stub.confirm(&new, fingerprint).await.unwrap();
    let output = run(home.path(), &arguments, &input).await;
    assert_eq!(code_of(&output), 0);
    assert!(text(&output).contains("is online"), "{}", text(&output));
}

#[tokio::test]
async fn passwords_of_miners_are_kept_in_private_and_listed_without() {
    let home = tempfile::tempdir().unwrap();
    let login = run(home.path(), &["miner", "login", "10.0.0.7", "--user", "root"], "s3cr3t pass\n").await;
    assert_eq!(code_of(&login), 0, "{}", text(&login));
    run(home.path(), &["miner", "login", "mac:aabbccddeeff"], "other\n").await;
    let list = run(home.path(), &["miner", "list"], "").await;
    assert_eq!(String::from_utf8(list.stdout).unwrap(), "mac:aabbccddeeff\nat:10.0.0.7\n");
    let file = home.path().join("fleet-agent/miner-credentials.json");
    assert!(fs::read_to_string(&file).unwrap().contains("s3cr3t pass"));
    assert!(!text(&login).contains("s3cr3t"));
    let out = run(home.path(), &["miner", "logout", "at:10.0.0.7"], "").await;
    assert_eq!(code_of(&out), 0);
    assert!(!fs::read_to_string(&file).unwrap().contains("s3cr3t"));
    assert_eq!(code_of(&run(home.path(), &["miner", "login", "miner-7"], "x\n").await), 64);
    assert_eq!(code_of(&run(home.path(), &["miner", "login", "10.0.0.8"], "").await), 1, "nothing entered");
}
