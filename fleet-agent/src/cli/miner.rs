//! `miner login`, `logout` and `list`.

use std::{net::IpAddr, str::FromStr};

use clap::{Args, Subcommand};

use super::{
    AgentArgs,
    exit::Failure,
    terminal::{asked, say},
};
use crate::{
    miner::credentials::{CredentialFile, CredentialKey, CredentialKeyError, Credentials},
    prompt,
    state::{Access, StateDirError},
};

/// What to do with miners' passwords.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum MinerCommand {
    /// Keep a miner's password, which is asked for. A running agent takes it up at its next reading
    Login {
        /// The miner.
        #[command(flatten)]
        miner: MinerName,
        /// The user name, for miners that have one: root on an Antminer
        #[arg(long, default_value = "")]
        user: String,
    },
    /// Forget a miner's password
    Logout {
        /// The miner.
        #[command(flatten)]
        miner: MinerName,
    },
    /// List the miners whose passwords are kept
    List,
}

/// Names a miner.
#[derive(Debug, Args)]
#[non_exhaustive]
pub struct MinerName {
    /// mac:… or sn:… as the health page and the log show it; an IP address for a miner that says
    /// nothing before a login
    #[arg(value_name = "MINER")]
    pub miner: String,
}

impl MinerName {
    fn key(&self) -> Result<CredentialKey, Failure> {
        parse_key(&self.miner).map_err(|error| Failure::usage(vec![format!("MINER: {error}")]))
    }
}

fn parse_key(text: &str) -> Result<CredentialKey, CredentialKeyError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(CredentialKey::Address(address)),
        Err(_) => CredentialKey::from_str(text),
    }
}

pub(super) async fn miner(args: &AgentArgs, command: &MinerCommand) -> Result<(), Failure> {
    match command {
        MinerCommand::Login { miner, user } => {
            let key = miner.key()?;
            let file = credentials(args)?;
            let password = asked(|| prompt::secret("the miner's password")).await?;
            file.put(key.clone(), Credentials::new(user.as_str(), password.as_str())?)?;
            say(format_args!("the password for {key} is kept"));
        }
        MinerCommand::Logout { miner } => {
            let key = miner.key()?;
            credentials(args)?.remove(&key)?;
            say(format_args!("no password for {key} is kept"));
        }
        MinerCommand::List => {
            let keys = match args.open(Access::ReadOnly) {
                Ok(directory) => CredentialFile::in_directory(directory.path()).keys()?,
                Err(StateDirError::Missing { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            for key in keys {
                say(format_args!("{key}"));
            }
        }
    }
    Ok(())
}

fn credentials(args: &AgentArgs) -> Result<CredentialFile, Failure> {
    Ok(CredentialFile::in_directory(args.open(Access::Shared)?.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miner_is_named_by_identity_or_address() {
        for (text, key) in [
            ("mac:aabbccddeeff", "mac:aabbccddeeff"),
            ("sn:PM-1", "sn:PM-1"),
            ("10.0.0.7", "at:10.0.0.7"),
            ("at:10.0.0.7", "at:10.0.0.7"),
        ] {
            assert_eq!(parse_key(text).unwrap().to_string(), key);
        }
        assert!(parse_key("miner-7").is_err());
    }
}
