//! The agent at work over the real wire, with a simulated miner: uploads, restarts of the server,
//! the health page, stopping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use fleet_agent::{
    clock::SystemClock,
    counters::UploadKind,
    gateway::ConnectGateway,
    miner::scan::AllowList,
    run::{RunError, RunOptions, Stopped, run},
    server_url::AllowInsecure,
    sim::{LoopbackBlock, WhatsMiner, WhatsMinerConfig, WhatsMinerModel},
    state::{Access, StateDir},
    tls::TrustAnchors,
};
use fleet_core::{
    driver::{AgentDriver, EnrollmentProgress},
    id::AgentId,
    name::Name,
    random::OsRandom,
    telemetry::{EventKind, MinerStatus},
};
use support::Running;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// Enrolls an agent without waiting for anybody.
async fn enrolled(server: &Running, path: &Path) -> AgentId {
    let directory = StateDir::open(path, Access::Exclusive).unwrap();
    let gateway = ConnectGateway::new(&server.url(), AllowInsecure::No, &TrustAnchors::System).unwrap();
    let driver = AgentDriver::new(
        Arc::new(directory.store()),
        Arc::new(directory.keys()),
        gateway.transport(),
        Arc::new(SystemClock),
        Arc::new(OsRandom),
    );
    let (new, code) = server.stub.create_code().await;
    let name = Name::new("site-1").unwrap();
    let mut enrolling = driver.enroll(code, server.url().as_str(), name).await.unwrap();
    enrolling.poll().await.unwrap();
    enrolling.join().await.unwrap();
    server.stub.confirm(&new, *enrolling.fingerprint()).await.unwrap();
    loop {
        // At most once a second an agent.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Ok(EnrollmentProgress::Enrolled) = enrolling.poll().await {
            return server.stub.agent_of(&new).await;
        }
    }
}

struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Stopped, RunError>>,
}

impl Agent {
    fn start(path: &Path, change: impl FnOnce(&mut RunOptions)) -> Self {
        let mut options = RunOptions::new(path);
        options.poll_interval = Duration::from_secs(1);
        change(&mut options);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(run(options, async {
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    async fn stop(self) -> Result<Stopped, RunError> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn what_miners_say_arrives_once_and_in_order_through_a_restart_of_the_server() {
    let mut server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    let block = LoopbackBlock::reserve().unwrap();
    let address = block.address().unwrap();
    let miner = WhatsMiner::start(address, WhatsMinerConfig::new(WhatsMinerModel::M50S, 1)).await.unwrap();
    let agent = Agent::start(home.path(), |options| {
        options.scan = AllowList::parse([format!("{address}/32").as_str()]).unwrap();
    });
    let stub = Arc::clone(&server.stub);
    let seen = stub
        .until("readings, a discovery, a heartbeat and a control stream", |seen| {
            seen.samples.iter().any(|sample| sample.status == MinerStatus::Mining)
                && seen.events.iter().any(|event| matches!(event.kind, EventKind::Discovered(_)))
                && seen.heartbeats > 0
                && seen.controls > 0
        })
        .await;
    assert!(seen.samples.iter().any(|sample| sample.hashrate_hs.is_some_and(|hs| hs > 1e12)));

    // The server is gone for a while; the miners are read on.
    server.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.revive().await;
    let before = stub.seen();
    let after = stub
        .until("readings and a control stream after the restart", |seen| {
            seen.samples.len() > before.samples.len() + 2 && seen.controls > before.controls
        })
        .await;
    for kind in [UploadKind::Telemetry, UploadKind::Events] {
        let of_kind = after.sequences.iter().filter(|(of, _)| *of == kind).map(|(_, sequence)| *sequence);
        assert!(of_kind.collect::<Vec<_>>().is_sorted_by(|a, b| a < b), "{kind} ascends");
    }
    let times: Vec<_> = after.samples.iter().map(|sample| sample.taken_at).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "each reading arrives once, none twice");
    let longest = times.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap();
    assert!(longest < Duration::from_secs(10), "the miner was read while there was no server: {longest:?}");

    // Asked to open another control stream, it does.
    let controls = stub.seen().controls;
    stub.goaway().await;
    stub.until("another control stream", |seen| seen.controls > controls).await;

    let state = StateDir::open(home.path(), Access::ReadOnly).unwrap();
    assert!(state.holder().is_some(), "run holds the lock and status works beside it");
    assert!(state.public_state().unwrap().is_some());
    assert_eq!(agent.stop().await.unwrap(), Stopped::Drained);
    assert!(state.holder().is_none());
    drop(miner);
}

#[tokio::test]
async fn an_agent_that_was_restored_from_a_backup_numbers_anew_and_loses_nothing() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    let ahead = i64::try_from(u64::MAX >> 20).unwrap();
    server.stub.is_ahead(UploadKind::Telemetry, ahead);
    server.stub.is_ahead(UploadKind::Events, ahead);
    let block = LoopbackBlock::reserve().unwrap();
    let address = block.address().unwrap();
    let _miner = WhatsMiner::start(address, WhatsMinerConfig::new(WhatsMinerModel::M50S, 1)).await.unwrap();
    let agent = Agent::start(home.path(), |options| {
        options.scan = AllowList::parse([format!("{address}/32").as_str()]).unwrap();
    });
    let seen = server
        .stub
        .until("the discovery, though the server is ahead", |seen| {
            seen.events.iter().any(|event| matches!(event.kind, EventKind::Discovered(_)))
                && !seen.samples.is_empty()
        })
        .await;
    assert!(seen.sequences.iter().all(|(_, sequence)| *sequence > ahead));
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_found_later() {
    let mut server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    server.kill().await;
    let agent = Agent::start(home.path(), |_| {});
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.revive().await;
    server.stub.until("a heartbeat", |seen| seen.heartbeats > 0).await;
    assert_eq!(agent.stop().await.unwrap(), Stopped::Drained);
}

#[tokio::test]
async fn what_cannot_be_uploaded_in_time_is_counted_as_lost() {
    let mut server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    server.kill().await;
    let block = LoopbackBlock::reserve().unwrap();
    let address = block.address().unwrap();
    let _miner = WhatsMiner::start(address, WhatsMinerConfig::new(WhatsMinerModel::M50S, 1)).await.unwrap();
    let health = free_address().await;
    let agent = Agent::start(home.path(), |options| {
        options.scan = AllowList::parse([format!("{address}/32").as_str()]).unwrap();
        options.health = Some(health);
    });
    let report = until_health(health, |report| report["telemetry"]["waiting"].as_u64() > Some(0)).await;
    assert_eq!(report["online"], false);
    assert!(report["problem"].as_str().unwrap().contains("cannot be reached"), "{report}");
    let miner = &report["miners"][0];
    assert_eq!(miner["address"], format!("{address}:4028"));
    assert!(matches!(agent.stop().await.unwrap(), Stopped::Lost(1..)));
}

#[tokio::test]
async fn the_health_page_refuses_names_and_shows_no_secret() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    let health = free_address().await;
    let agent = Agent::start(home.path(), |options| options.health = Some(health));
    until_health(health, |report| report["online"] == true).await;
    let secrets: Vec<String> = ["api-key", "session", "identity.key"]
        .iter()
        .flat_map(|name| {
            let text = std::fs::read_to_string(home.path().join(name)).unwrap();
            let lines: Vec<String> =
                text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
            // The first line of a file beside the state is the public identity key.
            if *name == "identity.key" { lines } else { lines[1..2].to_vec() }
        })
        .collect();
    assert_eq!(secrets.len(), 3);
    for path in ["/", "/health.json", "/metrics"] {
        let (status, body) = get(health, path, &health.to_string()).await;
        assert_eq!(status, 200, "{path}");
        assert!(body.contains("fleet") || body.contains("site-1"));
        assert!(secrets.iter().all(|secret| !body.contains(secret.as_str())), "{path}");
        assert_eq!(get(health, path, "evil.example").await.0, 421);
    }
    assert_eq!(get(health, "/state.yaml", "localhost").await.0, 404);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn two_processes_on_one_state_directory_and_one_that_is_not_enrolled() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    let agent = Agent::start(home.path(), |_| {});
    server.stub.until("a session", |seen| seen.controls > 0).await;
    let second = run(RunOptions::new(home.path()), std::future::pending()).await;
    assert!(matches!(second, Err(RunError::StateDir(_))));
    agent.stop().await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    let error = run(RunOptions::new(empty.path()), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, RunError::NotEnrolled));
}

#[tokio::test]
async fn a_revoked_agent_asks_on_for_a_while_before_it_believes_it() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    let agent_id = enrolled(&server, home.path()).await;
    server.stub.revoke(agent_id).await;
    let agent = Agent::start(home.path(), |_| {});
    // When it gives up is a matter of ten minutes: that is tested on virtual time.
    server.stub.until("two refused Begins", |seen| seen.begins >= 2).await;
    assert!(!agent.task.is_finished());
    drop(agent.stop().await);
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn run_can_be_spawned() {
    let future = is_send(run(RunOptions::new("/nonexistent/fleet-agent"), std::future::pending()));
    drop(future);
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn get(address: SocketAddr, path: &str, host: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn until_health(address: SocketAddr, done: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let asked = async {
        loop {
            if TcpStream::connect(address).await.is_ok() {
                let (_, body) = get(address, "/health.json", &address.to_string()).await;
                let report: serde_json::Value = serde_json::from_str(&body).unwrap();
                if done(&report) {
                    return report;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("the page shows it within 30 s")
}

#[tokio::test]
async fn of_an_agent_that_is_dropped_nothing_goes_on() {
    let server = Running::start().await;
    let home = tempfile::tempdir().unwrap();
    enrolled(&server, home.path()).await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let agent = Agent::start(home.path(), |_| {});
    server
        .stub
        .until("a heartbeat and a control stream", |seen| seen.heartbeats > 0 && seen.controls > 0)
        .await;
    agent.task.abort();
    assert!(agent.task.await.unwrap_err().is_cancelled());
    // Its tasks, and the server's for its connections.
    let ended = async {
        while alive() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("tasks of the agent go on");
    drop(StateDir::open(home.path(), Access::Exclusive).unwrap());
}
