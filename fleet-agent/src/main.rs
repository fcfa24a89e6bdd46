//! The agent's binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use fleet_agent::cli::{LogFormat, run_cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    run_cli(std::env::args_os(), |format| {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let color = std::io::stderr().is_terminal();
        let log =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr);
        match format {
            LogFormat::Json => log.json().init(),
            LogFormat::Human | _ => log.init(),
        }
    })
}
