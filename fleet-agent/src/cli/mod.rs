//! The commands of `fleet-agent`, which `fleetd agent` has as well.
//!
//! Exit codes: 0; 1 failure; 64 usage or configuration; 75 try again later; 77 refused for good, so
//! that a service manager does not start it again.

mod enroll;
mod exit;
mod miner;
mod options;
mod panics;
mod run;
mod status;
mod terminal;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(target_os = "linux")]
use rustix::process::DumpableBehavior;
use rustix::process::{Resource, Rlimit, setrlimit};

pub use self::{
    enroll::EnrollArgs,
    exit::Exit,
    miner::{MinerCommand, MinerName},
    panics::terse_panics,
    run::RunArgs,
    status::StatusArgs,
};
use self::{exit::Failure, terminal::interruptible};
use crate::{
    state::{Access, StateDir, StateDirError},
    tls::{ClientFiles, TlsOptions},
};

/// The fleet agent: reads the miners of its site and reports to the fleet server.
#[derive(Debug, Parser)]
#[command(name = "fleet-agent", version, propagate_version = true)]
#[non_exhaustive]
pub struct Cli {
    /// Options and command.
    #[command(flatten)]
    pub agent: AgentArgs,
}

/// What `fleet-agent` and `fleetd agent` share.
#[derive(Debug, Args)]
#[non_exhaustive]
pub struct AgentArgs {
    /// Where the agent keeps its keys and state [default: $XDG_STATE_HOME/fleet-agent, else
    /// ~/.local/state/fleet-agent]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How log lines are written to standard error. RUST_LOG says which.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Make this host an agent of an organization. The enrollment code is asked for, or read from a pipe
    Enroll(EnrollArgs),
    /// Read the miners and report to the server, until stopped
    Run(RunArgs),
    /// Show who this agent is; never a secret
    Status(StatusArgs),
    /// Make a new session now, to see whether the server accepts this agent
    Refresh(ServerArgs),
    /// Passwords of miners, kept in this agent's state directory
    #[command(subcommand)]
    Miner(MinerCommand),
}

/// How the server is reached.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct ServerArgs {
    /// Verify the server by the certificates of this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Show this certificate to a server that asks for one: PEM, the own certificate first
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// Its key: PEM, to be read by its owner alone
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// Allow plain HTTP to a host that is not loopback: whoever can read the traffic has the api_key
    #[arg(long)]
    pub allow_insecure_transport: bool,
}

impl ServerArgs {
    fn tls(&self) -> TlsOptions {
        let client = self.client_cert.clone().zip(self.client_key.clone());
        TlsOptions {
            anchors: self.ca_file.clone().into(),
            client: client.map(|(certificate, key)| ClientFiles { certificate, key }),
        }
    }
}

impl AgentArgs {
    fn state_path(&self) -> Result<PathBuf, StateDirError> {
        self.state_dir.clone().map_or_else(StateDir::default_path, Ok)
    }

    fn open(&self, access: Access) -> Result<StateDir, StateDirError> {
        StateDir::open(&self.state_path()?, access)
    }
}

/// Keeps this process's memory, which holds keys, tokens and passwords, to itself, for good: no core dump, neither in a
/// file nor, on Linux, through a pipe to a crash reporter, which heeds no limit; and no debugger or `/proc/PID/mem` of
/// another process of the same user. To be called before anything secret is read.
pub fn no_core_dumps() {
    // The hard limit too, so that nothing later in the process, or a child of it, raises it again.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        // There is no log yet. A host that forbids even this must not keep the miners unread.
        eprintln!("warning: core dumps cannot be turned off: {error}");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("warning: this process can be dumped and debugged: {error}");
    }
}

/// Runs a whole command line in a runtime of its own. `logging` sets up the log, which is for the
/// binary to choose.
#[must_use]
pub fn run_cli(arguments: impl IntoIterator<Item = OsString>, logging: impl FnOnce(LogFormat)) -> ExitCode {
    no_core_dumps();
    terse_panics();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors too; a closed pipe is nobody's concern.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    logging(cli.agent.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(anyhow::Error::from(error)).report(),
    };
    let code = runtime.block_on(execute(cli.agent));
    // A prompt that still waits for a line must not keep the process.
    runtime.shutdown_background();
    code
}

/// Runs one command.
///
/// # Cancel safety
/// Dropped, it is as if the command had been interrupted: what it does to the disk is whole or not there. The
/// future is `Send`; it panics only outside of a tokio runtime.
pub async fn execute(args: AgentArgs) -> ExitCode {
    let outcome = match &args.command {
        Command::Enroll(enroll) => interruptible(enroll::enroll(&args, enroll)).await,
        Command::Run(run) => run::run(&args, run).await,
        Command::Status(status) => status::status(&args, status),
        Command::Refresh(server) => interruptible(run::refresh(&args, server)).await,
        Command::Miner(command) => interruptible(miner::miner(&args, command)).await,
    };
    match outcome {
        Ok(()) => Exit::Success.into(),
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn walk(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(command.get_arguments().map(|argument| argument.get_id().to_string()));
            command.get_subcommands().for_each(|inner| walk(inner, found));
        }
        let mut found = Vec::new();
        walk(&Cli::command(), &mut found);
        assert!(found.contains(&"server".to_owned()));
        for word in ["password", "code", "api_key", "token", "secret"] {
            assert!(!found.iter().any(|name| name.contains(word)), "{word}: {found:?}");
        }
    }
}
