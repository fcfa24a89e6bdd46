//! A PostgreSQL cluster of the test's own, stopped when dropped.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A running cluster, or somebody else's by `FLEET_TEST_POSTGRES_URL`.
pub struct Cluster {
    pub url: String,
    own: Option<Own>,
}

struct Own {
    pg_ctl: PathBuf,
    data: PathBuf,
    unprivileged: bool,
    _directory: TempDir,
}

impl Cluster {
    /// Starts a cluster; the error says why there is none.
    pub fn start() -> Result<Self, String> {
        if let Ok(url) = std::env::var("FLEET_TEST_POSTGRES_URL") {
            return Ok(Self { url, own: None });
        }
        let bin = binaries().ok_or("initdb is neither in PATH nor in /usr/lib/postgresql/*/bin")?;
        let directory = tempfile::Builder::new().prefix("fleet-pg-").tempdir().map_err(|e| e.to_string())?;
        // initdb refuses to run as root: another user must be able to write here.
        let root = directory.path().metadata().map_err(|e| e.to_string())?.uid() == 0;
        if root {
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(directory.path(), open).map_err(|e| e.to_string())?;
        }
        let data = directory.path().join("data");
        let mut initdb = command(&bin.join("initdb"), root);
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]);
        run(&mut initdb)?;
        let own = Own { pg_ctl: bin.join("pg_ctl"), data, unprivileged: root, _directory: directory };
        let mut last = String::new();
        // The port is free when it is picked; somebody may be faster.
        for _ in 0..5 {
            match own.start() {
                Ok(port) => {
                    let url = format!("postgres://postgres@127.0.0.1:{port}");
                    return Ok(Self { url, own: Some(own) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Own {
    fn start(&self) -> Result<u16, String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        drop(listener);
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off \
             -c max_connections=300"
        );
        let mut start = command(&self.pg_ctl, self.unprivileged);
        start.arg("-D").arg(&self.data).arg("-l").arg(self.data.join("log"));
        run(start.args(["-w", "-o", &options, "start"]))?;
        Ok(port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            let mut stop = command(&own.pg_ctl, own.unprivileged);
            let stopped = run(stop.arg("-D").arg(&own.data).args(["-w", "-m", "immediate", "stop"]));
            if let Err(error) = stopped {
                eprintln!("the PostgreSQL of the tests did not stop: {error}");
            }
        }
    }
}

fn binaries() -> Option<PathBuf> {
    let has = |directory: &PathBuf| directory.join("initdb").exists() && directory.join("pg_ctl").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")))
        .collect();
    versions.sort();
    std::env::split_paths(&path).find(has).or_else(|| versions.into_iter().rev().find(has))
}

fn command(program: &Path, unprivileged: bool) -> Command {
    let mut command = if unprivileged {
        let mut command = Command::new("runuser");
        command.args([OsStr::new("-u"), OsStr::new("nobody"), OsStr::new("--"), program.as_os_str()]);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{:?} ended with {status}", command.get_program())),
        Err(error) => Err(format!("{:?}: {error}", command.get_program())),
    }
}
