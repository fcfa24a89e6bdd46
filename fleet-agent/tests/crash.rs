//! The process dies at every point of an enrollment; the same command goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use fleet_agent::state::{Access, StateDir};
use fleet_core::{code::EnrollmentCode, driver::Point, enrollment::NewCode, fingerprint::Fingerprint};
use support::Running;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

async fn enroll(
    server: &Running,
    home: &Path,
    new: &NewCode,
    code: &EnrollmentCode,
    crash: Option<Point>,
) -> ExitStatus {
    let url = server.url().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-agent"));
    command
        .args(["enroll", "--server", &url, "--yes", "--name", "site-1"])
        .env_clear()
        .env("XDG_STATE_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(point) = crash {
        command.env("FLEET_CRASH_AT", point.name());
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{}\n", code.expose()).as_bytes()).await.unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(fingerprint) = line.parse::<Fingerprint>() {
            // A second showing finds it confirmed, by the same keys.
            let confirmed = server.stub.confirm(new, fingerprint).await;
            assert!(confirmed.is_ok() || crash.is_none(), "{confirmed:?}");
        }
    }
    child.wait().await.unwrap()
}

async fn crash_at(point: Point) {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let (new, code) = server.stub.create_code().await;
    let status = enroll(&server, home.path(), &new, &code, Some(point)).await;
    assert_eq!(status.code(), None, "{point:?}: it dies of a signal");
    // The lock died with it, and the files can be read.
    let directory = StateDir::open(&home.path().join("fleet-agent"), Access::Exclusive).unwrap();
    directory.public_state().unwrap();
    drop(directory);
    let status = enroll(&server, home.path(), &new, &code, None).await;
    assert_eq!(status.code(), Some(0), "{point:?}: the same command goes on");
}

#[tokio::test]
async fn an_enrollment_survives_a_crash_at_every_point() {
    let points: Vec<Point> =
        Point::ALL.into_iter().filter(|point| point.name().starts_with("agent-")).collect();
    assert_eq!(points.len(), 13);
    // Each waits for seconds; together they take no longer than one.
    let runs: Vec<_> = points.into_iter().map(|point| tokio::spawn(crash_at(point))).collect();
    for run in runs {
        run.await.unwrap();
    }
}
