//! An installation is backed up while it runs, lost, and restored: server, agents and operator are processes of their
//! own, on SQLite and, where there is one, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backup_support;
mod process_support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backup_support::{LATER, REFUSED, Site, USAGE, copy_tree, in_its_time, postgres, tool};
use fleet_agent::sim::{WhatsMiner, WhatsMinerConfig, WhatsMinerModel};
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
use process_support::{PASSWORD, Process, Server, USER, admin, assert_private, fingerprint, until};
use rustix::process::Signal;
use serde_json::Value;

/// What section 5 of the protocol has an agent say.
const ROLLBACK: &str = "the server was restored from a backup and must issue a new manifest";
const DB_PASSWORD: &str = "hunter:2\\";

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
    let kept = now();
    let waiting = async || site.health().await?["telemetry"]["waiting"].as_u64();
    let before = in_its_time("the agent says what waits", waiting).await;
    let more = async || (waiting().await? > before).then_some(());
    in_its_time("the agent keeps what it reads without a server", more).await;

    // Restored by the command.
    site.create_database("restored").await;
    let ended = site.fleetd(&["restore", "backup"], "restored").await.expect(0);
    let out = ended.out();
    let made_at = described["made_at"].as_str().unwrap();
    for text in [
        made_at,
        USER,
        "are operators again",
        "kept (id ",
        "revoked (id ",
        "Revoke each again",
        "not known",
        "A new manifest of",
    ] {
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
    assert!(readings.iter().any(|taken| *taken > kept && *taken < after), "{kept:?} {after:?} {readings:?}");
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
    for words in [&["backup", "new"][..], &["manifest"], &["orgs", "list"]] {
        let mut command = site.home.command(words);
        command.args(["--data-dir", "other"]).env("FLEETD_DATABASE_URL", site.url("second"));
        let ended = Process::spawn(&mut command).ended().await.expect(USAGE);
        assert!(ended.err().contains("a restore into this database was not finished"), "{ended:#?}");
    }
    // With all of it gone it works.
    fs::remove_dir_all(site.home.join("second")).unwrap();
    site.create_database("second").await;
    site.fleetd(&["restore", "backup"], "second").await.expect(0);
    site.server("second").await.process.stop().await.expect(0);

    // Once the database may be served nothing is taken back, even if the data directory's mark cannot be removed.
    let mark = site.home.join("third/restoring");
    let real = tool("pg_restore").display().to_string();
    let script = format!("#!/bin/sh\nrm {mark} && mkdir {mark}\nexec {real} \"$@\"\n", mark = mark.display());
    fs::write(tools.join("pg_restore"), script).unwrap();
    site.create_database("third").await;
    let mut command = site.home.command(["restore", "backup"]);
    command.args(site.place("third")).env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
    let ended = Process::spawn(&mut command).ended().await.expect(1);
    assert!(ended.err().contains("all is restored, but") && ended.err().contains("by hand"), "{ended:#?}");
    assert_eq!(site.number("third", "SELECT COUNT(*) AS n FROM organization").await, 1);
    fs::remove_dir(mark).unwrap();
    site.server("third").await.process.stop().await.expect(0);
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
