//! Where an installation is, for commands that work on its files and database rather than over the network.

use clap::Args;

use crate::config::{self, Config, ConfigErrors};

/// Where the installation is. What the server reads from its environment and its file holds here too.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArgs {
    /// Where the server keeps everything [default: $XDG_STATE_HOME/fleetd, else ~/.local/state/fleetd]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where the server's keys are [default: keys in the data directory]
    #[arg(long, value_name = "DIR")]
    key_dir: Option<String>,
    /// sqlite:///PATH or postgres://... [default: fleet.db in the data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A file that holds the database URL, for one with a password
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<String>,
    /// The server's TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

impl PlaceArgs {
    /// The configuration that a server here would run with.
    ///
    /// # Errors
    /// [`ConfigErrors`], as of the server.
    pub(super) fn config(self) -> Result<Config, ConfigErrors> {
        let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let given = vec![
            ("data-dir", one(self.data_dir)),
            ("key-dir", one(self.key_dir)),
            ("database-url", one(self.database_url)),
            ("database-url-file", one(self.database_url_file)),
            ("config", one(self.config)),
        ];
        config::load(given, std::env::vars_os())
    }
}
