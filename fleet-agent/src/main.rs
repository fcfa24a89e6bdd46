//! The agent's binary.

use std::process::ExitCode;

use fleet_agent::cli::{LogFormat, run_cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    run_cli(std::env::args_os(), |format| {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match format {
            LogFormat::Json => log.json().init(),
            LogFormat::Human | _ => log.init(),
        }
    })
}
