//! PostgreSQL's own tools. A password reaches them by a file that only this user can read, and nothing else of this
//! process's environment reaches them but what concerns the connection.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleet_store::PostgresAddress;
use tempfile::NamedTempFile;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::error::{FileError, ToolError};
use super::files;

/// Where distributions keep versions beside each other.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How much of what a tool says is shown.
const SAID: usize = 2000;
const PASSWORD: &str = "PGPASSWORD";

/// Dumps one moment of a database into a new file.
pub(super) async fn dump(
    address: PostgresAddress<'_>,
    snapshot: &str,
    to: &Path,
) -> Result<(), super::error::BackupError> {
    // Made here, so that nobody else can read it from the first byte on.
    files::create(to).map_err(|source| FileError::Io { path: to.to_owned(), source })?;
    let mut tool = Tool::new("pg_dump", address)?;
    tool.command.args(["--format=custom", "--no-owner", "--no-privileges"]);
    tool.command.arg(format!("--snapshot={snapshot}")).arg("--file").arg(to);
    tool.run().await?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    Ok(synced.map_err(|source| FileError::Io { path: to.to_owned(), source })?)
}

/// Restores a dump, in one transaction.
pub(super) async fn restore(address: PostgresAddress<'_>, dump: File) -> Result<(), ToolError> {
    let mut tool = Tool::new("pg_restore", address)?;
    tool.command.args(["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]);
    tool.command.stdin(dump);
    tool.run().await
}

#[derive(Debug)]
struct Tool {
    path: PathBuf,
    command: Command,
    /// Removed when dropped.
    _passfile: Option<NamedTempFile>,
}

impl Tool {
    fn new(name: &'static str, address: PostgresAddress<'_>) -> Result<Self, ToolError> {
        let path = find(name).ok_or(ToolError::Missing { tool: name })?;
        let mut command = Command::new(&path);
        // FLEETD_DATABASE_URL may hold the password, and so may PGPASSWORD.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_passed_on(name)));
        let own = std::env::var(PASSWORD).ok().map(Zeroizing::new);
        let password = address.danger_password().or_else(|| own.as_ref().map(|own| own.as_str()));
        let passfile = password.map(passfile).transpose();
        let passfile = passfile.map_err(|source| ToolError::Passfile { tool: name, source })?;
        if let Some(passfile) = &passfile {
            command.env("PGPASSFILE", passfile.path());
        }
        command.arg("--no-password").arg(format!("--dbname={}", address.libpq_uri()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(Self { path, command, _passfile: passfile })
    }

    async fn run(mut self) -> Result<(), ToolError> {
        let failed = |source| ToolError::Run { path: self.path.clone(), source };
        let child = self.command.spawn().map_err(failed)?;
        let ended = child.wait_with_output().await.map_err(failed)?;
        if ended.status.success() {
            return Ok(());
        }
        let mut said = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
        said.retain(|c| !c.is_control());
        let said = match said.char_indices().nth(SAID) {
            _ if said.is_empty() => ended.status.to_string(),
            Some((end, _)) => said.get(..end).unwrap_or_default().to_owned(),
            None => said,
        };
        Err(ToolError::Failed { path: self.path, said })
    }
}

fn is_passed_on(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    ["PATH", "HOME", "LANG", "TZ", "TMPDIR"].contains(&name)
        || name.starts_with("LC_")
        || (name.starts_with("PG") && name != PASSWORD)
}

/// A file by which libpq finds a password for every host.
fn passfile(password: &str) -> io::Result<NamedTempFile> {
    if password.contains(['\n', '\r', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a password cannot have a line break"));
    }
    let escaped = Zeroizing::new(password.replace('\\', "\\\\").replace(':', "\\:"));
    let mut file = tempfile::Builder::new().prefix(".fleetd-").suffix(".pgpass").tempfile()?;
    let line = Zeroizing::new(format!("*:*:*:*:{}\n", *escaped));
    file.write_all(line.as_bytes())?;
    file.flush()?;
    Ok(file)
}

fn find(name: &str) -> Option<PathBuf> {
    let is_there = |directory: PathBuf| Some(directory.join(name)).filter(|path| path.is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).find_map(is_there);
    in_path.or_else(|| {
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(VERSIONS)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let version = entry.file_name().to_str()?.split('.').next()?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .collect();
        versions.sort();
        versions.into_iter().rev().find_map(|(_, directory)| is_there(directory))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_password_goes_into_a_private_file_with_its_colons_escaped() {
        let file = passfile(r"a:b\c").unwrap();
        assert_eq!(file.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
        assert!(passfile("a\nb").is_err());
    }

    #[test]
    fn what_may_hold_a_secret_is_not_passed_on() {
        for name in ["PGPASSWORD", "FLEETD_DATABASE_URL", "AWS_SECRET_ACCESS_KEY"] {
            assert!(!is_passed_on(&name.into()), "{name}");
        }
        assert!(is_passed_on(&"PGSSLROOTCERT".into()) && is_passed_on(&"PATH".into()));
    }
}
