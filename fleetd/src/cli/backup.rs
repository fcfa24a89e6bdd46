//! `fleetd backup`, `fleetd restore` and `fleetd manifest`: on the server's host, with its files.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fleet_agent::clock::SystemClock;
use fleet_core::time::Clock as _;
use fleet_store::OpenError;

use super::place::PlaceArgs;
use super::{USAGE, report};
use crate::backup::{
    self, BackupError, IssueError, Issued, KnownOrganization, Outcome, Restore, RestoreError,
};
use crate::config::{Config, Mode};
use crate::server::LockError;

/// Try again later, as sysexits.h numbers it.
const LATER: u8 = 75;
/// How many agents or api_keys are listed.
const LISTED: usize = 100;

/// Where the backup goes, and what it is of.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
    /// The directory to make; nothing may be there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Leave out the keys, and the local agent: for daily backups, which lie elsewhere than the keys
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the backup is, and where it goes.
#[derive(Debug, Clone, Args)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The directory that has the keys, for a backup without; the server's own key directory stays as it is
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the installation is.
#[derive(Debug, Clone, Args)]
pub(super) struct ManifestArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// The installation; the exit code if there is none.
fn place(args: PlaceArgs) -> Result<Config, ExitCode> {
    match args.config() {
        Ok(config) if config.mode == Mode::Agent => {
            eprintln!("error: with mode agent there is no server here");
            Err(ExitCode::from(USAGE))
        }
        Ok(config) => Ok(config),
        Err(errors) => {
            eprintln!("error: {errors}");
            Err(ExitCode::from(USAGE))
        }
    }
}

/// A closed pipe is nobody's concern: what was to be done is done.
fn say(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
}

impl BackupArgs {
    pub(super) async fn run(self) -> ExitCode {
        let config = match place(self.place) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let now = SystemClock.now();
        let made = match backup::make(&config, &self.directory, !self.without_keys, now).await {
            Ok(made) => made,
            Err(error) => {
                report(&error);
                let is_use = matches!(
                    error,
                    BackupError::Exists { .. }
                        | BackupError::NoInstallation { .. }
                        | BackupError::InMemory
                        | BackupError::Unfinished(LockError::Restoring { .. })
                        | BackupError::Open(OpenError::Unfinished)
                );
                return if is_use { ExitCode::from(USAGE) } else { ExitCode::FAILURE };
            }
        };
        let directory = self.directory.display();
        let mut lines = vec![format!("{directory}: {} of {}", made.database, made.made_at)];
        if made.keys {
            lines.push(
                "It holds the server's keys: whoever reads it can pass for the organization.".to_owned(),
            );
            if made.local_agent {
                lines.push("It holds the local agent's keys and the passwords of its miners.".to_owned());
            }
        } else {
            lines.push(format!(
                "It does not hold the server's keys, nor a local agent's. Keep {} too: a restore needs it.",
                config.key_dir.display()
            ));
        }
        for held in made.organizations.iter().filter(|held| !held.managed_root) {
            lines.push(format!("The root of organization {} is not on this server, and not in it.", held.id));
        }
        say(&lines);
        ExitCode::SUCCESS
    }
}

impl RestoreArgs {
    pub(super) async fn run(self) -> ExitCode {
        let config = match place(self.place) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let keys = self.keys.as_deref();
        let restore = Restore { from: &self.directory, keys, now: SystemClock.now() };
        match backup::restore(&config, restore).await {
            Ok(outcome) => {
                say(&told(&config, &outcome));
                ExitCode::SUCCESS
            }
            Err(error) => {
                report(&error);
                let is_use = matches!(
                    error,
                    RestoreError::OtherDatabase { .. }
                        | RestoreError::InMemory
                        | RestoreError::NoKeys
                        | RestoreError::Occupied { .. }
                        | RestoreError::Lock(LockError::Restoring { .. })
                );
                if matches!(error, RestoreError::Lock(LockError::InUse { .. })) {
                    ExitCode::from(LATER)
                } else if is_use {
                    ExitCode::from(USAGE)
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// What the operator must know now.
fn told(config: &Config, outcome: &Outcome) -> Vec<String> {
    let made_at = &outcome.backup.made_at;
    let mut lines = vec![
        format!("Restored into {}, as it was at {made_at}.", config.data_dir.display()),
        "Everybody must sign in again. What happened since then is forgotten, so, before the server runs:"
            .to_owned(),
        String::new(),
        format!(
            "1. Operators who were removed since {made_at} are operators again, with the passwords of then:"
        ),
        "   fleetd orgs remove, and fleetd orgs set-password for whose password was changed. Those are:"
            .to_owned(),
    ];
    let several = outcome.organizations.len() > 1;
    for organization in &outcome.organizations {
        lines.extend(name_of(organization).filter(|_| several));
        lines.extend(listed(organization.operators.iter().cloned(), "fleetd orgs list"));
    }
    lines.extend([
        String::new(),
        "And once it runs:".to_owned(),
        String::new(),
        format!("2. Agents that were revoked since {made_at} may come back. Revoke each again, at once:"),
        "   fleetd agents revoke NAME. Those that the backup takes for confirmed:".to_owned(),
    ]);
    for organization in &outcome.organizations {
        lines.extend(name_of(organization).filter(|_| several));
        let agents = organization.agents.iter();
        let agents =
            agents.map(|agent| format!("{} (id {}, {} devices)", agent.name, agent.id, agent.devices));
        lines.extend(listed(agents, "fleetd agents list"));
    }
    lines.push(
        "3. api_keys that were revoked since then work again: fleetd api-keys revoke DIGITS. Those are:"
            .into(),
    );
    for organization in &outcome.organizations {
        lines.extend(name_of(organization).filter(|_| several));
        let keys = organization.api_keys.iter().map(|(digits, label)| format!("{digits} {label}"));
        lines.extend(listed(keys, "fleetd api-keys list"));
    }
    let open: usize = outcome.organizations.iter().map(|organization| organization.open_enrollments).sum();
    lines.push(format!(
        "4. Enrollments that were cancelled or confirmed since then are open again ({open} open): fleetd agents \
         enrollments."
    ));
    lines.push(
        "5. Agents that were enrolled since then are not known, and stop: enroll each anew, in an empty state \
         directory."
            .to_owned(),
    );
    lines.push(
        "6. Devices that were paired since then are not, and those unpaired since are: fleetd devices list."
            .to_owned(),
    );
    lines.push(String::new());
    for organization in &outcome.organizations {
        let Issued { id, name, epoch } = &organization.manifest;
        lines.push(match epoch {
            Some(epoch) => format!("A new manifest of {name} (id {id}) is signed: epoch {epoch}."),
            None => format!(
                "The root of {name} (id {id}) is not here. Agents that have seen a later manifest refuse this server \
                 until the operator's own tool signs a new one."
            ),
        });
    }
    if !outcome.local_agent && outcome.organizations.iter().any(|found| found.has_local_agent) {
        lines.push(
            "The local agent's keys are not here: start with --mode=server, or put its directory back before."
                .to_owned(),
        );
    }
    lines
}

fn name_of(organization: &KnownOrganization) -> Option<String> {
    let Issued { id, name, .. } = &organization.manifest;
    Some(format!("   {name} (id {id}):"))
}

fn listed(mut items: impl ExactSizeIterator<Item = String>, rest: &str) -> Vec<String> {
    if items.len() == 0 {
        return vec!["     none".to_owned()];
    }
    let more = items.len().saturating_sub(LISTED);
    let mut lines: Vec<String> = items.by_ref().take(LISTED).map(|item| format!("     {item}")).collect();
    if more > 0 {
        lines.push(format!("     and {more} more: {rest}"));
    }
    lines
}

impl ManifestArgs {
    pub(super) async fn run(self) -> ExitCode {
        let config = match place(self.place) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let issued = match backup::issue(&config, SystemClock.now()).await {
            Ok(issued) => issued,
            Err(error) => {
                report(&error);
                let is_use = matches!(
                    error,
                    IssueError::NotSetUp
                        | IssueError::Keys(_)
                        | IssueError::Unfinished(LockError::Restoring { .. })
                        | IssueError::Open(OpenError::Unfinished)
                );
                return if is_use { ExitCode::from(USAGE) } else { ExitCode::FAILURE };
            }
        };
        let mut missing = false;
        for Issued { id, name, epoch } in &issued {
            match epoch {
                Some(epoch) => {
                    say(&[format!("A new manifest of {name} (id {id}) is signed: epoch {epoch}.")])
                }
                None => {
                    missing = true;
                    eprintln!(
                        "error: the root of {name} (id {id}) is not here: its operator's own tool must sign"
                    );
                }
            }
        }
        if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
