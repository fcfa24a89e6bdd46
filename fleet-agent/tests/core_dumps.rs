//! The agent's process leaves no core dump: its memory holds keys and passwords.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The soft and the hard limit.
fn core_limits(pid: u32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let mut words = core.split_whitespace().map(ToOwned::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn core_dumps_are_off_and_stay_off() {
    let home = tempfile::tempdir().unwrap();
    // It waits for a code.
    let mut agent = Command::new(env!("CARGO_BIN_EXE_fleet-agent"))
        .args(["enroll", "--server", "http://127.0.0.1:1", "--name", "site-1", "--state-dir"])
        .arg(home.path().join("state"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut limits = core_limits(agent.id());
    while limits != ["0", "0"] && begun.elapsed() < PATIENCE && agent.try_wait().unwrap().is_none() {
        std::thread::yield_now();
        limits = core_limits(agent.id());
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(limits, ["0", "0"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_can_be_neither_dumped_through_a_pipe_nor_debugged() {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable, "as every process begins");
    fleet_agent::cli::no_core_dumps();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}
