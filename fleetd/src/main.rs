//! The server's binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use fleetd::cli::{LogFormat, Logging};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    fleetd::cli::run(std::env::args_os(), |Logging { format, default_filter }| {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
        let color = std::io::stderr().is_terminal();
        let log =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr);
        match format {
            LogFormat::Json => log.json().init(),
            LogFormat::Human => log.init(),
        }
    })
}
