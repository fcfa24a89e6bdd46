//! An installation is backed up while it runs, lost, and restored: server, agents and operator are processes of their
//! own, on SQLite and, where there is one, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#[path = "../../fleet-store/tests/support/cluster.rs"]
mod cluster;
mod process_support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::Cluster;
use fleet_agent::sim::{LoopbackBlock, WhatsMiner, WhatsMinerConfig, WhatsMinerModel};
use fleet_core::refusal::UNAUTHENTICATED;
use fleet_core::time::UnixMillis;
use fleet_proto::{
    agentadmin::v1::{
        Agent, ConfirmAgentRequest, CreateEnrollmentCodeRequest, ListAgentsRequest, RevokeAgentRequest,
    },
    client::Channel,
    convert::millis,
    fleet::v1::{
        DeviceServiceClient, ListActivityRequest, ListDevicesRequest, ListReadingsRequest, LoginRequest,
        OperatorServiceClient, PairDevicesRequest, TelemetryServiceClient, WhoAmIRequest,
    },
    rpc::Code,
};
use process_support::{
    Ended, Home, PASSWORD, PATIENCE, Process, Server, USER, admin, assert_private, entries, fingerprint,
    mode, until,
};
use rustix::process::Signal;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const USAGE: i32 = 64;
const LATER: i32 = 75;
const REFUSED: i32 = 77;
/// What section 5 of the protocol has an agent say.
const ROLLBACK: &str = "the server was restored from a backup and must issue a new manifest";
const DB_PASSWORD: &str = "hunter:2\\";

/// An installation's host, and the site that it serves.
struct Site {
    home: Home,
    listen: String,
    health: String,
    block: LoopbackBlock,
    /// A PostgreSQL server; SQLite without.
    cluster: Option<Cluster>,
}

impl Site {
    fn new(cluster: Option<Cluster>) -> Self {
        let block = LoopbackBlock::reserve().unwrap();
        // Addresses of this test alone: the ports are free, and stay so while nobody listens.
        let listen = format!("{}:8420", block.address().unwrap());
        let health = format!("{}:8421", block.address().unwrap());
        Self { home: Home::new(), listen, health, block, cluster }
    }

    /// The options by which an installation is found; its data is in a directory of this name.
    fn place(&self, name: &str) -> Vec<String> {
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
    fn url(&self, name: &str) -> String {
        let cluster = self.cluster.as_ref().unwrap();
        let with_password = cluster.url.replacen("postgres@", "postgres:hunter%3A2%5C@", 1);
        format!("{with_password}/{}", database_name(name))
    }

    /// An empty database for an installation, where it needs one.
    async fn create_database(&self, name: &str) {
        let Some(cluster) = &self.cluster else { return };
        let admin = Database::connect(format!("{}/postgres", cluster.url)).await.unwrap();
        let name = database_name(name);
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            admin.execute_unprepared(&statement).await.unwrap();
        }
        admin.close().await.unwrap();
    }

    fn start(&self, name: &str) -> Process {
        let mut command = self.home.command(["--mode", "server", "--listen", &self.listen]);
        Process::spawn(command.args(self.place(name)))
    }

    async fn server(&self, name: &str) -> Server {
        Server::up(self.start(name)).await
    }

    /// `fleetd WORDS` on an installation.
    async fn fleetd(&self, words: &[&str], name: &str) -> Ended {
        let arguments = words.iter().map(|word| (*word).to_owned()).chain(self.place(name));
        self.home.run(arguments, &[]).await
    }

    fn agent(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = self.home.command(["agent", "--state-dir"]);
        Process::spawn(command.arg(self.home.join(name)).args(arguments))
    }

    fn run_agent(&self, name: &str) -> Process {
        let scan = self.block.cidr();
        self.agent(name, &["run", "--scan", &scan, "--poll-interval", "1s", "--health", &self.health])
    }

    async fn refresh(&self, name: &str) -> Ended {
        self.agent(name, &["refresh"]).ended().await
    }

    /// The epoch of the manifest that an agent holds.
    async fn epoch(&self, name: &str) -> i64 {
        let ended = self.agent(name, &["status", "--json"]).ended().await.expect(0);
        ended.json()["manifest_epoch"].as_i64().unwrap_or_else(|| panic!("{ended:#?}"))
    }

    /// `/health.json` of the agent that runs; `None` while it does not answer.
    async fn health(&self) -> Option<Value> {
        let mut stream = tokio::net::TcpStream::connect(&self.health).await.ok()?;
        let request =
            format!("GET /health.json HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.health);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.get(answer.find('{')?..=answer.rfind('}')?)?).ok()
    }

    async fn online(&self, what: &str) {
        in_its_time(what, async || self.health().await.filter(|health| health["online"] == true)).await;
    }

    /// A number from the database of an installation.
    async fn number(&self, name: &str, sql: &str) -> i64 {
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
    async fn copy_by_hand(&self, backup: &str, name: &str) {
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

fn database_name(name: &str) -> String {
    format!("fleet_test_{}_{}", std::process::id(), name.replace('-', "_"))
}

fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| entry.ok().map(|entry| entry.path().join("bin")));
    let mut directories: Vec<PathBuf> = versions.collect();
    directories.sort();
    directories.reverse();
    directories.extend(std::env::split_paths(&path));
    directories.into_iter().map(|directory| directory.join(name)).find(|path| path.is_file()).unwrap()
}

fn make_private(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
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

/// An operator, signed in.
struct Operator(Channel);

impl Operator {
    async fn login(server: &Server) -> Self {
        let channel = Channel::new(server.url().parse().unwrap(), None);
        let request = LoginRequest {
            user_name: USER.to_owned(),
            password: PASSWORD.to_owned(),
            organization: String::new(),
        };
        let login = OperatorServiceClient::new(channel.clone()).login(request).await.unwrap();
        Self(channel.with_bearer(&login.session_token))
    }

    async fn agent(&self, name: &str) -> Option<Agent> {
        let agents = admin(&self.0).list_agents(ListAgentsRequest::default()).await.unwrap().agents;
        agents.into_iter().find(|agent| agent.name == name)
    }

    /// Enrolls an agent whose state directory has its name.
    async fn enroll(&self, site: &Site, name: &str) {
        let request = CreateEnrollmentCodeRequest::default();
        let code = admin(&self.0).create_enrollment_code(request).await.unwrap().code;
        let url = format!("http://{}", site.listen);
        let mut agent = site.agent(name, &["enroll", "--server", &url, "--name", name, "--yes"]);
        agent.enter(&code).await;
        agent.close();
        let fingerprint = agent.out(fingerprint).await.expect("it shows its fingerprint");
        let waiting = self.agent(name).await.unwrap();
        let request = ConfirmAgentRequest {
            agent_id: waiting.agent_id,
            pending_enrollment_id: waiting.pending_enrollment_id,
            fingerprint,
            agent_certificate: None,
        };
        admin(&self.0).confirm_agent(request).await.unwrap();
        agent.ended().await.expect(0);
    }

    async fn revoke(&self, name: &str) {
        let agent_id = self.agent(name).await.unwrap().agent_id;
        admin(&self.0).revoke_agent(RevokeAgentRequest { agent_id }).await.unwrap();
    }

    /// Waits for a device and pairs it; returns its id.
    async fn pair(&self, agent: &str, endpoint: &str) -> i64 {
        let devices = DeviceServiceClient::new(self.0.clone());
        let device_id = until("the device is seen", async || {
            let found = devices.list_devices(ListDevicesRequest::default()).await.unwrap().devices;
            found.into_iter().find(|device| device.endpoint == endpoint).map(|device| device.device_id)
        })
        .await;
        let agent_id = self.agent(agent).await.unwrap().agent_id;
        let request = PairDevicesRequest { agent_id, device_ids: vec![device_id], all: false };
        assert_eq!(devices.pair_devices(request).await.unwrap().paired_device_ids, [device_id]);
        device_id
    }

    /// When the readings of a device were taken; none twice.
    async fn readings(&self, device_id: i64) -> BTreeSet<UnixMillis> {
        let request = ListReadingsRequest { device_id, limit: 10_000, ..Default::default() };
        let readings =
            TelemetryServiceClient::new(self.0.clone()).list_readings(request).await.unwrap().readings;
        let count = readings.len();
        let times: BTreeSet<_> =
            readings.iter().map(|reading| millis(reading.taken_at.as_ref().unwrap()).unwrap()).collect();
        assert_eq!(times.len(), count, "a reading was stored twice");
        times
    }

    /// Waits for a reading that was taken after a time.
    async fn reading_after(&self, device_id: i64, time: UnixMillis) -> UnixMillis {
        let later = async || self.readings(device_id).await.into_iter().find(|taken| *taken > time);
        in_its_time("a reading", later).await
    }
}

/// Looks until something is there that an agent must come by itself for: it pauses for up to a minute between two tries.
async fn in_its_time<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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

fn now() -> UnixMillis {
    use fleet_core::time::Clock as _;
    fleet_agent::clock::SystemClock.now()
}

#[tokio::test]
async fn a_lost_server_comes_back_on_sqlite() {
    comes_back(Site::new(None)).await;
}

#[tokio::test]
async fn a_lost_server_comes_back_on_postgresql() {
    let Some(cluster) = postgres("restoring a lost server on PostgreSQL") else { return };
    comes_back(Site::new(Some(cluster))).await;
}

fn postgres(what: &str) -> Option<Cluster> {
    match Cluster::start() {
        Ok(cluster) => Some(cluster),
        Err(reason) => {
            skipped(&format!("{what} ({reason})"));
            None
        }
    }
}

fn skipped(what: &str) {
    // Not eprintln!, which is shown only for tests that fail.
    std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

async fn comes_back(site: Site) {
    let miner = |seed| WhatsMinerConfig::new(WhatsMinerModel::M50S, seed);
    let _first = WhatsMiner::start(site.block.address().unwrap(), miner(7)).await.unwrap();
    let _second = WhatsMiner::start(site.block.address().unwrap(), miner(8)).await.unwrap();
    site.create_database("lost").await;
    let mut server = site.server("lost").await;
    let operator = Operator(server.found().await);
    operator.enroll(&site, "kept").await;
    operator.enroll(&site, "revoked").await;
    let agent = site.run_agent("kept");
    let device = operator.pair("kept", "mac:c40828000007").await;
    operator.reading_after(device, UnixMillis::EPOCH).await;

    // While all of it is in use. The path is a relative one.
    let ended = site.fleetd(&["backup", "backup"], "lost").await.expect(0);
    assert!(ended.out().contains("holds the server's keys"), "{ended:#?}");
    assert_private(&site.home.join("backup"));
    let described: Value =
        serde_json::from_slice(&fs::read(site.home.join("backup/backup.json")).unwrap()).unwrap();
    assert_eq!((&described["format"], &described["keys"]), (&1.into(), &true.into()), "{described:#}");
    let epoch = site.epoch("kept").await;
    assert_eq!(described["organizations"][0]["epoch"], epoch, "{described:#}");
    if site.cluster.is_some() {
        assert_tool_is_told_no_secret(&site).await;
    }

    // What the backup does not know.
    operator.revoke("revoked").await;
    site.refresh("revoked").await.expect(REFUSED);
    operator.enroll(&site, "late").await;
    agent.stop().await.expect(0);
    let agent = site.run_agent("kept");
    site.online("the agent has seen the new manifest").await;
    let seen = site.epoch("kept").await;
    assert!(seen > epoch, "the revocation signed a manifest");
    let forgotten = operator.pair("kept", "mac:c40828000008").await;
    operator.reading_after(forgotten, UnixMillis::EPOCH).await;
    let last_sequence = "SELECT last_sequence AS n FROM agent WHERE name = 'kept'";
    let sequence_before = site.number("lost", last_sequence).await;
    operator.reading_after(device, now()).await;

    server.process.kill().await;
    let died = now();

    // Restored by hand: agents say what is missing, and come back once it is there.
    site.copy_by_hand("backup", "by-hand").await;
    let said = agent.stderr().len();
    let server = site.server("by-hand").await;
    in_its_time("the log says why", async || {
        agent
            .stderr()
            .iter()
            .skip(said)
            .any(|line| line.contains("WARN") && line.contains(ROLLBACK))
            .then_some(())
    })
    .await;
    in_its_time("the health page says why", async || {
        let health = site.health().await?;
        health["problem"].as_str()?.contains(ROLLBACK).then_some(())
    })
    .await;
    assert_eq!(site.epoch("kept").await, seen, "nothing lower was taken");
    let ended = site.fleetd(&["manifest"], "by-hand").await.expect(0);
    assert!(ended.out().contains("A new manifest of Test Mining"), "{ended:#?}");
    site.online("it comes back by itself, and the server by itself has the new manifest").await;
    let by_hand = site.epoch("kept").await;
    assert!(by_hand > seen && ended.out().ends_with(&format!("epoch {by_hand}.")), "{by_hand} {ended:#?}");
    server.process.kill().await;

    // Restored by the command.
    site.create_database("restored").await;
    let ended = site.fleetd(&["restore", "backup"], "restored").await.expect(0);
    let out = ended.out();
    let made_at = described["made_at"].as_str().unwrap();
    for text in [made_at, "kept (id ", "revoked (id ", "Revoke each again", "not known", "A new manifest of"]
    {
        assert!(out.contains(text), "{text}: {ended:#?}");
    }
    assert!(!out.contains("late (id "), "{ended:#?}");
    assert_private(&site.home.join("restored"));
    let server = site.server("restored").await;
    let old = OperatorServiceClient::new(operator.0.clone()).who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(old.code, Code::Unauthenticated, "sessions of then are not valid now");
    let operator = Operator::login(&server).await;

    // The agent comes back by itself, with what it had to keep meanwhile, and nothing twice.
    let after = operator.reading_after(device, now()).await;
    let readings = operator.readings(device).await;
    assert!(readings.iter().any(|taken| *taken > died && *taken < after), "{died:?} {readings:?}");
    assert!(site.epoch("kept").await > by_hand);
    assert!(site.number("restored", last_sequence).await > sequence_before, "counters do not go back");
    assert!(agent.stderr().iter().all(|line| !line.contains("numbering anew")), "{:#?}", agent.stderr());
    // Of an agent that was enrolled since nothing is known; the answer is the one for every refusal.
    let ended = site.refresh("late").await.expect(REFUSED);
    assert!(ended.err().contains(UNAUTHENTICATED), "{ended:#?}");
    assert!(operator.agent("late").await.is_none());
    // One that was revoked since is back, until it is revoked again. That is what the operator was told.
    site.refresh("revoked").await.expect(0);
    operator.revoke("revoked").await;
    site.refresh("revoked").await.expect(REFUSED);
    // What was paired since is not.
    let owned = "SELECT COUNT(*) AS n FROM agent_device";
    assert_eq!(site.number("restored", owned).await, 1);
    let activities = OperatorServiceClient::new(operator.0.clone())
        .list_activity(ListActivityRequest::default())
        .await
        .unwrap()
        .activities;
    let line = activities.iter().find(|line| line.kind == "restored").expect("a line of it");
    assert!(line.detail.contains(made_at) && line.actor == "system", "{line:?}");

    // Nothing is restored over it.
    let ended = site.fleetd(&["restore", "backup"], "restored").await;
    assert!([Some(USAGE), Some(LATER)].contains(&ended.code()), "{ended:#?}");
    agent.stop().await.expect(0);
    server.process.stop().await.expect(0);
}

/// `pg_dump` gets the password by a private file: not by its arguments, and not by its environment.
async fn assert_tool_is_told_no_secret(site: &Site) {
    let home = site.home.path();
    let tools = home.join("tools");
    fs::create_dir(&tools).unwrap();
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > {home}/said\nenv >> {home}/said\ncat \"$PGPASSFILE\" > {home}/pass\n\
         stat -c %a \"$PGPASSFILE\" > {home}/mode\nexec {} \"$@\"\n",
        tool("pg_dump").display(),
        home = home.display()
    );
    fs::write(tools.join("pg_dump"), script).unwrap();
    fs::set_permissions(tools.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.home.command(["backup", "second", "--without-keys", "--data-dir"]);
    command.arg(site.home.join("lost")).env("FLEETD_DATABASE_URL", site.url("lost"));
    command.env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
    let ended = Process::spawn(&mut command).ended().await.expect(0);
    assert!(ended.out().contains("does not hold the server's keys"), "{ended:#?}");
    let said = fs::read_to_string(home.join("said")).unwrap();
    assert!(said.contains("--format=custom") && said.contains("PGPASSFILE="), "{said}");
    assert!(!said.contains("hunter"), "{said}");
    assert_eq!(fs::read_to_string(home.join("mode")).unwrap().trim(), "600");
    let escaped = DB_PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    assert_eq!(fs::read_to_string(home.join("pass")).unwrap(), format!("*:*:*:*:{escaped}\n"));
}

#[tokio::test]
async fn a_restore_that_dies_is_served_by_nobody_on_postgresql() {
    let Some(cluster) = postgres("a restore that dies on PostgreSQL") else { return };
    let site = Site::new(Some(cluster));
    site.create_database("first").await;
    let mut server = site.server("first").await;
    server.found().await;
    site.fleetd(&["backup", "backup"], "first").await.expect(0);
    server.process.stop().await.expect(0);
    // A dump that is damaged in a way that only PostgreSQL sees leaves an empty database.
    copy_tree(&site.home.join("backup"), &site.home.join("damaged"));
    redescribe(&site.home.join("damaged"), "fleet.dump", |bytes| bytes.truncate(bytes.len() / 2));
    site.create_database("second").await;
    let ended = site.fleetd(&["restore", "damaged"], "second").await.expect(1);
    assert!(ended.err().contains("pg_restore failed"), "{ended:#?}");
    assert!(!site.home.join("second").exists());
    // One in use is named.
    let ended = site.fleetd(&["restore", "backup"], "first").await.expect(USAGE);
    assert!(ended.err().contains("is there already"), "{ended:#?}");
    let mut elsewhere = site.home.command(["restore", "backup", "--data-dir", "elsewhere"]);
    elsewhere.env("FLEETD_DATABASE_URL", site.url("first"));
    let ended = Process::spawn(&mut elsewhere).ended().await.expect(1);
    assert!(ended.err().contains("not empty: it holds public."), "{ended:#?}");
    assert!(!site.home.join("elsewhere").exists());

    // pg_restore kills whoever called it.
    let tools = site.home.join("tools");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("pg_restore"), "#!/bin/sh\nkill -9 $PPID\n").unwrap();
    fs::set_permissions(tools.join("pg_restore"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.home.command(["restore", "backup"]);
    command.args(site.place("second")).env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
    let ended = Process::spawn(&mut command).ended().await;
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "{ended:#?}");
    let ended = site.start("second").ended().await.expect(USAGE);
    assert!(ended.err().contains("was not finished"), "{ended:#?}");
    // Nor is the database served from another directory.
    let mut other = site.home.command(["--mode", "server", "--listen", &site.listen, "--data-dir", "other"]);
    other.env("FLEETD_DATABASE_URL", site.url("second"));
    let ended = Process::spawn(&mut other).ended().await.expect(USAGE);
    assert!(ended.err().contains("a restore into this database was not finished"), "{ended:#?}");
    // With all of it gone it works.
    fs::remove_dir_all(site.home.join("second")).unwrap();
    site.create_database("second").await;
    site.fleetd(&["restore", "backup"], "second").await.expect(0);
    site.server("second").await.process.stop().await.expect(0);
}

/// Changes a file of a backup, and the description with it.
fn redescribe(backup: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(backup.join(name)).unwrap();
    change(&mut bytes);
    fs::write(backup.join(name), &bytes).unwrap();
    let description = backup.join("backup.json");
    let mut described: Value = serde_json::from_slice(&fs::read(&description).unwrap()).unwrap();
    for file in described["files"].as_array_mut().unwrap() {
        if file["path"] == name {
            file["size"] = bytes.len().into();
            file["sha256"] = hex::encode(fleet_core::transcript::sha256(&bytes)).into();
        }
    }
    fs::write(description, serde_json::to_vec(&described).unwrap()).unwrap();
}

/// An installation in combined mode, stopped, and a backup of it.
async fn combined() -> Site {
    let site = Site::new(None);
    let arguments = ["--listen".to_owned(), site.listen.clone()].into_iter().chain(site.place("first"));
    let mut server = Server::up(site.home.start(arguments)).await;
    server.found().await;
    // A server that runs is not restored over.
    let ended = site.fleetd(&["backup", "good"], "first").await.expect(0);
    assert!(ended.out().contains("the local agent's keys"), "{ended:#?}");
    server.process.stop().await.expect(0);
    site
}

#[tokio::test]
async fn what_is_not_a_whole_backup_is_refused_and_nothing_is_left() {
    let site = combined().await;
    let path = |name: &str| site.home.join(name);
    type Harm = fn(&Path);
    let harms: [(&str, &str, Harm); 16] = [
        ("cut", "is damaged", |bad| cut(&bad.join("backup.json"))),
        ("empty", "is damaged", |bad| fs::write(bad.join("backup.json"), "").unwrap()),
        ("no description", "backup.json", |bad| fs::remove_file(bad.join("backup.json")).unwrap()),
        ("newer", "format 2", |bad| rewrite(bad, "format", 2.into())),
        ("newer schema", "m9999_later", |bad| rewrite(bad, "schema", "m9999_later".into())),
        ("the future", "the clock of this host", |bad| {
            rewrite(bad, "made_at", "2999-01-01T00:00:00Z".into())
        }),
        ("another kind", "is damaged", |bad| rewrite(bad, "database", "postgresql".into())),
        ("a bit", "not what was backed up", |bad| flip(&bad.join("fleet.db"))),
        ("a bit of a key", "not what was backed up", |bad| flip(&bad.join("keys/root.key"))),
        ("no root", "root.key", |bad| fs::remove_file(bad.join("keys/root.key")).unwrap()),
        ("a link", "is not a plain file", |bad| {
            fs::rename(bad.join("keys/root.key"), bad.with_extension("moved")).unwrap();
            symlink(bad.with_extension("moved"), bad.join("keys/root.key")).unwrap();
        }),
        ("a link to keys", "is not of the backup", |bad| {
            fs::rename(bad.join("keys"), bad.with_extension("keys")).unwrap();
            symlink(bad.with_extension("keys"), bad.join("keys")).unwrap();
        }),
        ("open", "may be read by others", |bad| chmod(&bad.join("keys/command.key"), 0o644)),
        ("open password", "may be read by others", |bad| chmod(&bad.join("local-agent/identity.key"), 0o640)),
        ("more", "is not of the backup", |bad| fs::write(bad.join("keys/root-2.key"), "").unwrap()),
        ("more beside", "is not of the backup", |bad| fs::write(bad.join("fleet.db-wal"), "").unwrap()),
    ];
    for (name, text, harm) in harms {
        let bad = path("bad");
        copy_tree(&path("good"), &bad);
        harm(&bad);
        let ended = site.fleetd(&["restore", "bad"], "target").await;
        assert!(ended.err().contains(text) && ended.code() != Some(0), "{name}: {ended:#?}");
        assert!(!path("target").exists(), "{name}: something is left");
        fs::remove_dir_all(bad).unwrap();
    }
    // Keys of another installation, and none.
    site.fleetd(&["backup", "bare", "--without-keys"], "first").await.expect(0);
    assert_eq!(names(&path("bare")), ["backup.json", "fleet.db"]);
    let ended = site.fleetd(&["restore", "bare"], "target").await.expect(USAGE);
    assert!(ended.err().contains("--keys"), "{ended:#?}");
    copy_tree(&path("good/keys"), &path("others"));
    for (key, text) in [("command.key", "the command key"), ("root.key", "no root key")] {
        let own = fs::read(path("good/keys").join(key)).unwrap();
        fs::write(path("others").join(key), format!("{}\n", "ab".repeat(32))).unwrap();
        let ended = site.fleetd(&["restore", "bare", "--keys", "others"], "target").await.expect(1);
        assert!(ended.err().contains(text), "{ended:#?}");
        fs::write(path("others").join(key), own).unwrap();
    }
    fs::remove_file(path("others/root.key")).unwrap();
    let ended = site.fleetd(&["restore", "bare", "--keys", "others"], "target").await.expect(1);
    assert!(ended.err().contains("no root key"), "a key that was there is not taken for offline: {ended:#?}");
    assert!(!path("target").exists());
    // The right ones.
    let ended = site.fleetd(&["restore", "bare", "--keys", "good/keys"], "target").await.expect(0);
    assert!(ended.out().contains("The local agent's keys are not here"), "{ended:#?}");
    assert_private(&path("target"));
    site.server("target").await.process.stop().await.expect(0);
    // The whole one, in combined mode again.
    site.fleetd(&["restore", "good"], "whole").await.expect(0);
    let arguments = ["--listen".to_owned(), site.listen.clone()].into_iter().chain(site.place("whole"));
    Server::up(site.home.start(arguments)).await.process.stop().await.expect(0);
    assert_eq!(names(&path("whole")), ["fleet.db", "keys", "local-agent", "lock"]);
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn cut(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn rewrite(backup: &Path, field: &str, value: Value) {
    let path = backup.join("backup.json");
    let mut described: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    described[field] = value;
    fs::write(path, serde_json::to_vec(&described).unwrap()).unwrap();
}

/// `fleetd WORDS` that may write no file above some size: a full disk, or with `dies` a process that is killed there.
async fn limited(site: &Site, words: &[&str], name: &str, dies: bool) -> Ended {
    let trap = if dies { "" } else { "trap '' XFSZ; " };
    let mut command = site.home.command(words);
    let program = command.as_std().get_program().to_owned();
    let mut shell = tokio::process::Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{trap}ulimit -f 60; exec \"$0\" \"$@\"")).arg(program);
    shell.args(words).args(site.place(name)).env_clear().env("HOME", site.home.path());
    shell.current_dir(site.home.path()).kill_on_drop(true);
    shell.stdin(std::process::Stdio::null());
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.stdin(std::process::Stdio::null());
    let mut process = Process::spawn(&mut shell);
    process.close();
    process.ended().await
}

#[tokio::test]
async fn where_something_is_or_nothing_fits_all_stays_as_it_was() {
    let site = combined().await;
    let path = |name: &str| site.home.join(name);
    let before = || entries(site.home.path());

    // Making one.
    let all = before();
    let ended = site.fleetd(&["backup", "good"], "first").await.expect(USAGE);
    assert!(ended.err().contains("exists and is not overwritten"), "{ended:#?}");
    symlink("nowhere", path("link")).unwrap();
    let ended = site.fleetd(&["backup", "link/"], "first").await.expect(USAGE);
    assert!(ended.err().contains("exists and is not overwritten"), "{ended:#?}");
    fs::remove_file(path("link")).unwrap();
    let ended = site.fleetd(&["backup", "missing/new"], "first").await.expect(1);
    assert!(ended.err().contains("No such file or directory"), "{ended:#?}");
    let ended = site.fleetd(&["backup", "new"], "nothing").await.expect(USAGE);
    assert!(ended.err().contains("there is no installation"), "{ended:#?}");
    let ended = limited(&site, &["backup", "new"], "first", false).await.expect(1);
    assert!(ended.err().contains("the database"), "{ended:#?}");
    chmod(&path("first/keys/root.key"), 0o644);
    let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
    assert!(ended.err().contains("may be read by others"), "{ended:#?}");
    chmod(&path("first/keys/root.key"), 0o600);
    fs::rename(path("first/keys/command.key"), path("command")).unwrap();
    let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
    assert!(ended.err().contains("command.key is missing"), "{ended:#?}");
    fs::rename(path("command"), path("first/keys/command.key")).unwrap();
    assert_eq!(before(), all, "nothing is left of any of these");

    // Restoring: what is in the way is named, and stays.
    let target = path("target");
    let occupants: [(&str, &str); 4] = [
        ("fleet.db", "fleet.db is there already"),
        ("fleet.db-wal", "fleet.db-wal is there already"),
        ("keys/root.key", "root.key is there already"),
        ("local-agent/identity.key", "local-agent is there already"),
    ];
    for (name, text) in occupants {
        make_private(&target);
        fs::create_dir_all(target.join(name).parent().unwrap()).unwrap();
        fs::write(target.join(name), "somebody's").unwrap();
        let all = before();
        let ended = site.fleetd(&["restore", "good"], "target").await.expect(USAGE);
        assert!(ended.err().contains(text), "{ended:#?}");
        assert_eq!(before(), all);
        fs::remove_dir_all(&target).unwrap();
    }
    // Somebody else's directory is not closed, and nothing is put there.
    make_private(&target);
    fs::write(target.join("passwd"), "").unwrap();
    chmod(&target, 0o755);
    let ended = site.fleetd(&["restore", "good"], "target").await.expect(1);
    assert!(ended.err().contains("holds other things"), "{ended:#?}");
    assert_eq!((mode(&target), names(&target)), (0o755, vec!["passwd".to_owned()]));
    fs::remove_dir_all(&target).unwrap();

    // A full disk.
    let all = before();
    let ended = limited(&site, &["restore", "good"], "target", false).await.expect(1);
    assert!(ended.err().contains("fleet.db.restoring"), "{ended:#?}");
    assert_eq!(before(), all, "all is taken back");
    // A process that dies there: nobody serves what it left, and nobody restores over it.
    let ended = limited(&site, &["restore", "good"], "target", true).await;
    assert_eq!(ended.signal(), Some(Signal::XFSZ.as_raw()), "{ended:#?}");
    assert!(target.join("restoring").exists() && !target.join("fleet.db").exists());
    for words in [&["restore", "good"][..], &["backup", "new"], &["manifest"]] {
        let ended = site.fleetd(words, "target").await;
        assert!(ended.err().contains("was not finished") && ended.code() != Some(0), "{words:?} {ended:#?}");
    }
    let ended = site.start("target").ended().await.expect(USAGE);
    assert!(ended.err().contains("was not finished"), "{ended:#?}");
    assert!(!target.join("fleet.db").exists(), "no new installation is begun there");
    fs::remove_dir_all(&target).unwrap();

    // A server that runs there.
    let server = site.server("first").await;
    fs::create_dir(path("empty")).unwrap();
    let ended = site.start("first").ended().await.expect(1);
    assert!(ended.err().contains("is in use by process "), "one server on SQLite: {ended:#?}");
    let ended = site.fleetd(&["restore", "good"], "first").await.expect(USAGE);
    assert!(ended.err().contains("is there already"), "{ended:#?}");
    server.process.stop().await.expect(0);
    // One that holds the directory and has nothing there yet.
    make_private(&target);
    let lock = fs::File::create(target.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let ended = site.fleetd(&["restore", "good"], "target").await.expect(LATER);
    assert!(ended.err().contains("is in use by another process"), "{ended:#?}");
    assert_eq!(names(&target), ["lock"]);
    drop(lock);
    // The keys that are there may stay, and then nothing of theirs is written.
    copy_tree(&path("good/keys"), &target.join("keys"));
    let written = target.join("keys/root.key").metadata().unwrap().ino();
    let keys = target.join("keys").display().to_string();
    site.fleetd(&["restore", "good", "--keys", &keys], "target").await.expect(0);
    assert_eq!(target.join("keys/root.key").metadata().unwrap().ino(), written);
    site.server("target").await.process.stop().await.expect(0);
    another_file_system(&site).await;
    another_user(&site).await;
}

/// From one file system to another and back.
async fn another_file_system(site: &Site) {
    let shm = Path::new("/dev/shm");
    let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    if device(shm).is_none() || device(shm) == device(site.home.path()) {
        return skipped("a backup on another file system (there is no other at /dev/shm)");
    }
    let Ok(away) = tempfile::tempdir_in(shm) else {
        return skipped("a backup on another file system (/dev/shm cannot be written)");
    };
    let backup = away.path().join("backup").display().to_string();
    site.fleetd(&["backup", &backup], "first").await.expect(0);
    assert_private(Path::new(&backup));
    site.fleetd(&["restore", &backup], "from-away").await.expect(0);
    assert_private(&site.home.join("from-away"));
}

/// What this user may not read, or what belongs to another.
async fn another_user(site: &Site) {
    let data = site.home.join("first");
    if rustix::process::geteuid().is_root() {
        let nobody = Some(rustix::fs::Uid::from_raw(65534));
        rustix::fs::chown(&data, nobody, None).unwrap();
        let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
        assert!(ended.err().contains("belongs to another user"), "{ended:#?}");
        let key = site.home.join("good/keys/root.key");
        rustix::fs::chown(&key, nobody, None).unwrap();
        let ended = site.fleetd(&["restore", "good"], "new-target").await.expect(1);
        assert!(ended.err().contains("root.key belongs to another user"), "{ended:#?}");
    } else {
        chmod(&data.join("keys"), 0o000);
        let ended = site.fleetd(&["backup", "new"], "first").await.expect(1);
        assert!(ended.err().contains("Permission denied"), "{ended:#?}");
        chmod(&data.join("keys"), 0o700);
        chmod(&site.home.join("good/keys/root.key"), 0o000);
        let ended = site.fleetd(&["restore", "good"], "new-target").await.expect(1);
        assert!(ended.err().contains("Permission denied"), "{ended:#?}");
    }
    assert!(!site.home.join("new").exists() && !site.home.join("new-target").exists());
}
