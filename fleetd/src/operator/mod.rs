//! The operator's command line against a running server.
//!
//! Tables are for people, `--json` is for scripts: it prints the server's answer in protobuf's JSON form.

mod account;
mod agents;
mod api_keys;
mod client;
mod devices;
mod history;
pub mod session;
pub mod table;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use fleet_core::time::UnixMillis;
use fleet_proto::convert::millis;
use prost_types::Timestamp;

pub(crate) use account::{UseArgs, new_password};
pub use client::{ConnectArgs, OperatorError};
pub use devices::device_table;

use table::Table;

/// What an operator can do from the command line.
#[derive(Debug, Clone, Subcommand)]
pub enum OperatorCommand {
    /// Set up a new server with the link that it printed
    Setup(account::SetupArgs),
    /// Sign in to a server
    Login(account::LoginArgs),
    /// Sign out
    Logout(account::LogoutArgs),
    /// Say who is signed in, and where
    Whoami(Common),
    /// Change your password; ends your other logins
    Passwd(account::PasswdArgs),
    /// Enroll, list, confirm and revoke agents
    #[command(subcommand)]
    Agents(agents::AgentsCommand),
    /// List, pair and unpair devices
    #[command(subcommand)]
    Devices(devices::DevicesCommand),
    /// Show what all devices together did over time: sums of averages in steps
    History(history::FleetArgs),
    /// Make, list and revoke api_keys for scripts
    #[command(subcommand)]
    ApiKeys(api_keys::ApiKeysCommand),
    /// Show who did what, newest first
    Activity(account::ActivityArgs),
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

impl OperatorCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`OperatorError`].
    ///
    /// # Cancel safety
    /// Dropped, it is as if the command had been interrupted: what it asked of the server may have happened.
    /// The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn run(self) -> Result<(), OperatorError> {
        match self {
            Self::Setup(args) => args.run().await,
            Self::Login(args) => args.run().await,
            Self::Logout(args) => args.run().await,
            Self::Whoami(common) => account::whoami(&common).await,
            Self::Passwd(args) => args.run().await,
            Self::Agents(command) => command.run().await,
            Self::Devices(command) => command.run().await,
            Self::History(args) => args.run().await,
            Self::ApiKeys(command) => command.run().await,
            Self::Activity(args) => args.run().await,
        }
    }
}

/// Prints a line. A reader that closed the pipe has seen enough.
pub(crate) fn say(text: impl std::fmt::Display) -> Result<(), OperatorError> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(crate) fn say_table(table: &Table) -> Result<(), OperatorError> {
    table.lines().into_iter().try_for_each(say)
}

fn say_json<M: prost_reflect::ReflectMessage>(message: &M) -> Result<(), OperatorError> {
    say(serde_json::to_string_pretty(&fleet_proto::to_json(message)?)?)
}

/// Asks for something that is no secret; from a pipe it is a line.
fn ask(question: &str) -> Result<String, OperatorError> {
    if io::stdin().is_terminal() {
        let mut out = io::stderr();
        write!(out, "{question}: ")?;
        out.flush()?;
    }
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(OperatorError::Usage(format!(
            "standard input ended before this was answered: {question}"
        )));
    }
    Ok(line.trim().to_owned())
}

/// How many seconds ago, by this host's clock.
fn seconds_since(time: Option<&Timestamp>) -> Option<u64> {
    let then = time.and_then(|time| millis(time).ok())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(now.saturating_sub(u64::try_from(then.value()).unwrap_or(0) / 1000))
}

/// How long ago, for people: `12 s`, `5 min`, `3 h`, `2 d`.
fn age(time: Option<&Timestamp>) -> String {
    seconds_since(time).map_or_else(table::dash, table::duration)
}

/// The same of a time of this host.
pub(crate) fn age_of(time: UnixMillis) -> String {
    age(Some(&fleet_proto::convert::timestamp(time)))
}

/// Whether something was received within the last minute.
fn is_news(received: Option<&Timestamp>) -> bool {
    seconds_since(received).is_some_and(|seconds| seconds <= 60)
}

/// A word of an enum without its prefix, in lower case: `AWAITING_CONFIRMATION` as `awaiting confirmation`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}
