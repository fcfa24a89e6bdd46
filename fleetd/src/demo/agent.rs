//! The agent of the demo: a process of its own, run by the commands that a person would use.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use fleet_core::fingerprint::Fingerprint;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Runs `current_exe() agent ...`.
pub(super) struct AgentProcess {
    program: PathBuf,
    state: PathBuf,
}

/// An enrollment that goes on in its own process.
pub(super) struct Enrolling {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl AgentProcess {
    pub(super) fn new(state: PathBuf) -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, state })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("agent").arg("--state-dir").arg(&self.state).args(arguments);
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The log of the agent would cut through what the person reads; warnings are shown.
        command.env("RUST_LOG", "warn");
        command
    }

    /// `fleet-agent enroll`, the code by pipe.
    pub(super) async fn enroll(&self, server: &str, name: &str, code: &str) -> io::Result<Enrolling> {
        let mut child = self.command(&["enroll", "--server", server, "--name", name, "--yes"]).spawn()?;
        enter(&mut child, code).await?;
        show(child.stderr.take());
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        Ok(Enrolling { child, lines: BufReader::new(stdout).lines() })
    }

    /// `fleet-agent run`.
    pub(super) fn run(&self, range: &str, proto_port: u16) -> io::Result<Child> {
        let port = proto_port.to_string();
        let mut command =
            self.command(&["run", "--scan", range, "--proto-port", &port, "--poll-interval", "2s"]);
        let mut child = command.stdin(Stdio::null()).spawn()?;
        show(child.stdout.take());
        show(child.stderr.take());
        Ok(child)
    }

    /// `fleet-agent miner login`, the password by pipe.
    pub(super) async fn miner_login(&self, miner: &str, password: &str) -> io::Result<bool> {
        let mut child = self.command(&["miner", "login", miner]).spawn()?;
        enter(&mut child, password).await?;
        show(child.stderr.take());
        Ok(child.wait().await?.success())
    }
}

impl Enrolling {
    /// Shows what the agent prints until it has printed its fingerprint, and returns that.
    pub(super) async fn fingerprint(&mut self) -> io::Result<Option<String>> {
        while let Some(line) = self.lines.next_line().await? {
            println!("  agent | {line}");
            if line.trim().parse::<Fingerprint>().is_ok() {
                return Ok(Some(line.trim().to_owned()));
            }
        }
        Ok(None)
    }

    /// Shows the rest and says whether the agent enrolled.
    pub(super) async fn finished(mut self) -> io::Result<bool> {
        while let Some(line) = self.lines.next_line().await? {
            println!("  agent | {line}");
        }
        Ok(self.child.wait().await?.success())
    }
}

/// Enters one line and closes standard input.
async fn enter(child: &mut Child, line: &str) -> io::Result<()> {
    let mut stdin = child.stdin.take().ok_or_else(|| io::Error::other("no standard input"))?;
    stdin.write_all(line.as_bytes()).await?;
    stdin.write_all(b"\n").await?;
    stdin.shutdown().await
}

/// Shows what a process prints, as it comes.
fn show(output: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(output) = output else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("  agent | {line}");
        }
    });
}
