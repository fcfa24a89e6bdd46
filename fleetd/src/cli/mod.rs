//! The commands of `fleetd`.
//!
//! Exit codes: 0; 1 failure; 64 usage or configuration; 75 try again later; 77 not allowed.

mod backup;
mod orgs;
mod place;
mod serve;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use crate::config::LogFormat;
use crate::demo::DemoArgs;
use crate::operator::{OperatorCommand, OperatorError};
use backup::{BackupArgs, ManifestArgs, RestoreArgs};
use orgs::OrgsCommand;
use serve::ServeArgs;

/// Wrong use, as sysexits.h numbers it.
const USAGE: u8 = 64;

/// Runs a fleet of Bitcoin miners from one place.
///
/// Without a command it is the server: API, storage and, in the default combined mode, the miners of the networks that
/// --scan names. Agents at other sites dial in; nothing dials out to them.
#[derive(Debug, Parser)]
#[command(name = "fleetd", version, args_conflicts_with_subcommands = false, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Every option of the server may also stand in a TOML file (--config) or in the environment: --data-dir is data-dir in \
the file and FLEETD_DATA_DIR. The command line wins over the environment, and that over the file.

Start here:
  fleetd demo           see it work, with simulated miners
  fleetd                start a server; it prints a link to set it up by
  fleetd setup          use that link at a prompt
  fleetd login          sign in, then: fleetd agents code, fleetd devices list";

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Operator(OperatorCommand),
    /// Make, list and staff organizations, on the server's host; and go from one of yours to another
    #[command(subcommand)]
    Orgs(OrgsCommand),
    /// Run an agent: the same commands as fleet-agent
    Agent(fleet_agent::cli::AgentArgs),
    /// Show the whole of it with simulated miners, on this host alone
    Demo(DemoArgs),
    /// Copy the installation on this host, running or not, into a new directory: database and keys
    Backup(BackupArgs),
    /// Put a backup into a place on this host where nothing is
    Restore(RestoreArgs),
    /// Issue the manifest anew, after the database was restored by other means than fleetd restore
    Manifest(ManifestArgs),
}

/// How the binary shall log.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "for the binary alone")]
pub struct Logging {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged unless `RUST_LOG` says otherwise.
    pub default_filter: &'static str,
}

/// Runs a whole command line in a runtime of its own. `logging` sets up the log, which is for the binary to choose.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>, logging: impl FnOnce(Logging)) -> ExitCode {
    fleet_agent::cli::no_core_dumps();
    fleet_agent::cli::terse_panics();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors too; a closed pipe is nobody's concern.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let human = |default_filter| Logging { format: LogFormat::Human, default_filter };
    let code = match cli.command {
        None => serve::run(cli.serve, logging, &runtime),
        Some(Command::Operator(command)) => {
            logging(human("warn"));
            told(runtime.block_on(command.run()))
        }
        Some(Command::Orgs(command)) => {
            logging(human("warn"));
            told(runtime.block_on(command.run()))
        }
        Some(Command::Agent(args)) => {
            let format = match args.log_format {
                fleet_agent::cli::LogFormat::Json => LogFormat::Json,
                fleet_agent::cli::LogFormat::Human | _ => LogFormat::Human,
            };
            logging(Logging { format, default_filter: "info" });
            runtime.block_on(fleet_agent::cli::execute(args))
        }
        Some(Command::Demo(args)) => {
            logging(human("warn"));
            runtime.block_on(crate::demo::run(args))
        }
        Some(Command::Backup(args)) => {
            logging(human("warn"));
            runtime.block_on(args.run())
        }
        Some(Command::Restore(args)) => {
            logging(human("warn"));
            runtime.block_on(args.run())
        }
        Some(Command::Manifest(args)) => {
            logging(human("warn"));
            runtime.block_on(args.run())
        }
    };
    // A prompt that still waits for a line must not keep the process.
    runtime.shutdown_background();
    code
}

fn told(done: Result<(), OperatorError>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            error.exit_code()
        }
    }
}

/// An error and its causes, one line.
pub(crate) fn report(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors show their cause already.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    eprintln!("error: {text}");
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
            found.extend(
                command
                    .get_arguments()
                    .filter(|a| a.get_action().takes_values())
                    .map(|a| a.get_id().to_string()),
            );
            command.get_subcommands().for_each(|inner| walk(inner, found));
        }
        let mut found = Vec::new();
        walk(&Cli::command(), &mut found);
        for word in ["password", "api_key", "token", "secret", "code"] {
            assert!(!found.iter().any(|name| name.contains(word)), "{word}: {found:?}");
        }
    }

    #[test]
    fn every_setting_is_an_option_and_the_reverse() {
        let mut options: Vec<String> = Cli::command()
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(ToOwned::to_owned))
            .filter(|name| !["help", "version"].contains(&name.as_str()))
            .collect();
        options.sort();
        let mut settings: Vec<String> = crate::config::SETTINGS.iter().map(|s| s.name.to_owned()).collect();
        settings.sort();
        assert_eq!(options, settings);
    }
}
