//! Installations in directories of a test, on SQLite or PostgreSQL, that are backed up and restored.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

#[path = "../../../fleet-store/tests/support/cluster.rs"]
mod cluster;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cluster::Cluster;
use fleet_agent::sim::LoopbackBlock;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::process_support::{Ended, Home, PATIENCE, Process, Server};

pub const USAGE: i32 = 64;
pub const LATER: i32 = 75;
pub const REFUSED: i32 = 77;

/// An installation's host, and the site that it serves.
pub struct Site {
    pub home: Home,
    pub listen: String,
    pub health: String,
    pub block: LoopbackBlock,
    /// A PostgreSQL server; SQLite without.
    pub cluster: Option<Cluster>,
}

impl Site {
    pub fn new(cluster: Option<Cluster>) -> Self {
        let block = LoopbackBlock::reserve().unwrap();
        // Addresses of this test alone: the ports are free, and stay so while nobody listens.
        let listen = format!("{}:8420", block.address().unwrap());
        let health = format!("{}:8421", block.address().unwrap());
        Self { home: Home::new(), listen, health, block, cluster }
    }

    /// The options by which an installation is found; its data is in a directory of this name.
    pub fn place(&self, name: &str) -> Vec<String> {
        let data = self.home.join(name).display().to_string();
        let mut place = vec!["--data-dir".to_owned(), data];
        if self.cluster.is_some() {
            let file = self.home.join(&format!("{name}.url"));
            fs::write(&file, self.url(name)).unwrap();
            place.extend(["--database-url-file".to_owned(), file.display().to_string()]);
        }
        place
    }

    /// A database URL with a password, which a cluster that trusts everybody does not look at.
    pub fn url(&self, name: &str) -> String {
        let cluster = self.cluster.as_ref().unwrap();
        let with_password = cluster.url.replacen("postgres@", "postgres:hunter%3A2%5C@", 1);
        format!("{with_password}/{}", database_name(name))
    }

    /// An empty database for an installation, where it needs one.
    pub async fn create_database(&self, name: &str) {
        let Some(cluster) = &self.cluster else { return };
        let admin = Database::connect(format!("{}/postgres", cluster.url)).await.unwrap();
        let name = database_name(name);
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            admin.execute_unprepared(&statement).await.unwrap();
        }
        admin.close().await.unwrap();
    }

    pub fn start(&self, name: &str) -> Process {
        let mut command = self.home.command(["--mode", "server", "--listen", &self.listen]);
        Process::spawn(command.args(self.place(name)))
    }

    pub async fn server(&self, name: &str) -> Server {
        Server::up(self.start(name)).await
    }

    /// `fleetd WORDS` on an installation.
    pub async fn fleetd(&self, words: &[&str], name: &str) -> Ended {
        let arguments = words.iter().map(|word| (*word).to_owned()).chain(self.place(name));
        self.home.run(arguments, &[]).await
    }

    pub fn agent(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = self.home.command(["agent", "--state-dir"]);
        Process::spawn(command.arg(self.home.join(name)).args(arguments))
    }

    pub fn run_agent(&self, name: &str) -> Process {
        let scan = self.block.cidr();
        self.agent(name, &["run", "--scan", &scan, "--poll-interval", "1s", "--health", &self.health])
    }

    pub async fn refresh(&self, name: &str) -> Ended {
        self.agent(name, &["refresh"]).ended().await
    }

    /// The epoch of the manifest that an agent holds.
    pub async fn epoch(&self, name: &str) -> i64 {
        let ended = self.agent(name, &["status", "--json"]).ended().await.expect(0);
        ended.json()["manifest_epoch"].as_i64().unwrap_or_else(|| panic!("{ended:#?}"))
    }

    /// `/health.json` of the agent that runs; `None` while it does not answer.
    pub async fn health(&self) -> Option<Value> {
        let mut stream = tokio::net::TcpStream::connect(&self.health).await.ok()?;
        let request =
            format!("GET /health.json HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.health);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.get(answer.find('{')?..=answer.rfind('}')?)?).ok()
    }

    pub async fn online(&self, what: &str) {
        in_its_time(what, async || self.health().await.filter(|health| health["online"] == true)).await;
    }

    /// A number from the database of an installation.
    pub async fn number(&self, name: &str, sql: &str) -> i64 {
        let url = match &self.cluster {
            Some(_) => self.url(name),
            None => format!("sqlite://{}", self.home.join(name).join("fleet.db").display()),
        };
        let raw = Database::connect(url).await.unwrap();
        let statement = Statement::from_string(raw.get_database_backend(), sql);
        let row = raw.query_one_raw(statement).await.unwrap().unwrap();
        let number = row.try_get::<i64>("", "n").unwrap();
        raw.close().await.unwrap();
        number
    }

    /// What somebody has who restores without knowing of `fleetd restore`: the same files, or what `pg_restore` makes.
    pub async fn copy_by_hand(&self, backup: &str, name: &str) {
        let (backup, data) = (self.home.join(backup), self.home.join(name));
        make_private(&data);
        copy_tree(&backup.join("keys"), &data.join("keys"));
        self.create_database(name).await;
        if let Some(cluster) = &self.cluster {
            let mut restore = tokio::process::Command::new(tool("pg_restore"));
            restore.arg(format!("--dbname={}/{}", cluster.url, database_name(name)));
            assert!(restore.arg(backup.join("fleet.dump")).status().await.unwrap().success());
        } else {
            fs::copy(backup.join("fleet.db"), data.join("fleet.db")).unwrap();
        }
    }
}

pub fn database_name(name: &str) -> String {
    format!("fleet_test_{}_{}", std::process::id(), name.replace('-', "_"))
}

pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")));
    let mut directories: Vec<PathBuf> = versions.collect();
    directories.sort();
    directories.reverse();
    directories.extend(std::env::split_paths(&path));
    directories.into_iter().map(|directory| directory.join(name)).find(|path| path.is_file()).unwrap()
}

pub fn make_private(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}

pub fn copy_tree(from: &Path, to: &Path) {
    make_private(to);
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_tree(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

pub fn postgres(what: &str) -> Option<Cluster> {
    match Cluster::start() {
        Ok(cluster) => Some(cluster),
        Err(reason) => {
            skipped(&format!("{what} ({reason})"));
            None
        }
    }
}

pub fn skipped(what: &str) {
    // Not eprintln!, which is shown only for tests that fail.
    std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

/// Looks until something is there that an agent must come by itself for: it pauses for up to a minute between two tries.
pub async fn in_its_time<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    timeout(PATIENCE + Duration::from_secs(60), search)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}
