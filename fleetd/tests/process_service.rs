//! As a service: the service manager is told when the server is ready and when it stops, and the units that stand beside
//! the crates are sound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use process_support::{Home, Process};
use rustix::process::Signal;

#[tokio::test]
async fn the_service_manager_is_told() {
    let home = Home::new();
    let socket = home.join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = home.command(["--mode=server", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &socket);
    let server = Process::spawn(&mut command);
    let told = || {
        let mut bytes = [0; 256];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    };
    assert_eq!(told().trim(), "READY=1");
    server.signal(Signal::HUP);
    let reloading = told();
    let mut lines = reloading.lines();
    assert_eq!(lines.next(), Some("RELOADING=1"));
    assert!(lines.next().is_some_and(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    assert_eq!(told().trim(), "READY=1");
    server.signal(Signal::TERM);
    assert_eq!(told().trim(), "STOPPING=1");
    server.ended().await.expect(0);
}

#[test]
fn the_units_are_confined() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for unit in ["fleetd/systemd/fleetd.service", "fleet-agent/systemd/fleet-agent.service"] {
        let text = std::fs::read_to_string(root.join(unit)).unwrap();
        for line in ["NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0077"] {
            assert!(text.lines().any(|l| l == line), "{unit}: {line}");
        }
        assert!(text.lines().any(|l| l == "Type=notify"), "{unit}: both programs say when they are ready");
        let security = ["security", "--offline=true", "--no-pager", "--threshold=20"];
        match Command::new("systemd-analyze").args(security).arg(root.join(unit)).output() {
            // The threshold is in tenths: 2.0.
            Ok(ran) => assert!(ran.status.success(), "{unit}: {}", String::from_utf8_lossy(&ran.stdout)),
            Err(error) => {
                use std::io::Write as _;
                // Not eprintln!, which is shown only for tests that fail.
                let text = format!("SKIPPED: systemd-analyze security and verify of {unit} ({error})\n");
                std::io::stderr().write_all(text.as_bytes()).unwrap();
                continue;
            }
        }
        // What is started must exist: the binary stands in for what is installed.
        let home = tempfile::tempdir().unwrap();
        let installed = home.path().join(Path::new(unit).file_name().unwrap());
        let binary = env!("CARGO_BIN_EXE_fleetd");
        let started =
            text.replace("/usr/local/bin/fleetd", binary).replace("/usr/local/bin/fleet-agent", binary);
        std::fs::write(&installed, started).unwrap();
        let ran =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&installed).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let of_ours: Vec<_> = said.lines().filter(|line| line.contains(".service:")).collect();
        assert!(ran.status.success() && of_ours.is_empty(), "{unit}: {said}");
    }
}
