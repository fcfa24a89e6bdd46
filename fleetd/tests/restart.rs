//! Many agents and a server that is restarted under them, as a process: by SIGTERM, then by SIGKILL. All come back,
//! without a handshake: sessions are in the database. How long that took is printed; nothing depends on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;
mod wire_support;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_agent::clock::SystemClock;
use fleet_agent::control;
use fleet_agent::gateway::{ConnectGateway, Gateway};
use fleet_agent::heartbeat;
use fleet_agent::keeper::{Keeper, SessionHandle, SessionState};
use fleet_agent::refusals::CountingTransport;
use fleet_agent::server_url::{AllowInsecure, ServerUrl};
use fleet_agent::sim::LoopbackBlock;
use fleet_agent::tls::TlsOptions;
use fleet_core::driver::AgentDriver;
use fleet_core::store::MemoryKeyStore;
use fleet_core::testing::SeededRandom;
use fleet_core::time::Clock;
use fleetd::config::Mode;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use process_support::{Home, Process, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire_support::{Bench, Honest, config};

/// Unless `FLEET_RESTART_AGENTS` says otherwise. Unoptimized, heartbeats and handshakes of five hundred would keep two
/// cores busy that run other tests as well.
const AGENTS: usize = if cfg!(debug_assertions) { 100 } else { 500 };
/// So many come for their first session at once.
const AT_FIRST: usize = 25;
/// Past this it is broken, however slow the machine.
const AT_MOST: Duration = Duration::from_secs(60);

/// The part of an agent that is towards the server, as `fleet-agent run` has it.
struct Running {
    sessions: SessionHandle,
    connected: watch::Receiver<bool>,
}

impl Running {
    fn start(number: u64, agent: Honest, server: &ServerUrl, tasks: &mut JoinSet<()>) -> Self {
        let gateway = ConnectGateway::new(server, AllowInsecure::No, TlsOptions::default()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random = Arc::new(SeededRandom::new(number));
        let transport = Arc::new(CountingTransport::new(gateway.transport(), Arc::clone(&clock)));
        let driver = AgentDriver::new(
            agent.store,
            agent.keys,
            Arc::clone(&transport) as _,
            Arc::clone(&clock),
            random.clone(),
        );
        let keeper = Keeper::new(driver, transport, Arc::clone(&clock), random.clone());
        let sessions = keeper.handle();
        let gateway: Arc<dyn Gateway> = Arc::new(gateway);
        let (control_in, connected) = watch::channel(false);
        tasks.spawn(async move { panic!("the keeper stopped: {}", keeper.run().await) });
        tasks.spawn(control::run(Arc::clone(&gateway), sessions.clone(), random, control_in));
        tasks.spawn(heartbeat::run(gateway, sessions.clone(), clock, watch::channel(None).0));
        Self { sessions, connected }
    }

    fn session(&self) -> u64 {
        match self.sessions.state() {
            SessionState::Online(session) => session.number,
            SessionState::Offline { .. } | _ => 0,
        }
    }
}

/// Waits until every agent's control stream is open, or none is.
async fn all(agents: &mut [Running], open: bool) {
    let wait = async {
        for agent in agents.iter_mut() {
            agent.connected.wait_for(|connected| *connected == open).await.unwrap();
        }
    };
    let waited = tokio::time::timeout(AT_MOST, wait).await;
    let are = agents.iter().filter(|agent| *agent.connected.borrow() == open).count();
    let problem =
        agents.iter().find(|agent| *agent.connected.borrow() != open).map(|agent| agent.sessions.state());
    assert!(waited.is_ok(), "{are} of {} have their control stream {open}: {problem:?}", agents.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_come_back_after_a_restart() {
    let count = std::env::var("FLEET_RESTART_AGENTS").map_or(AGENTS, |text| text.parse().unwrap());
    // Both ends of each connection are in this process while agents are made.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum }).unwrap();

    let home = Home::new();
    let directory = tempfile::tempdir_in(home.path()).unwrap();
    let data = directory.path().to_owned();
    // Agents are made on a clock that can be advanced: the protocol bounds how often an agent may ask.
    let bench = Bench::with(config(directory.path(), Mode::Server), directory).await;
    let mut bench = bench;
    bench.found().await;
    let made: Vec<Honest> = stream::iter(0..count)
        .map(|number| {
            let bench = &bench;
            async move {
                let keys = Arc::new(MemoryKeyStore::new());
                Ok::<_, std::convert::Infallible>(
                    bench.online_with(&format!("site-{number}"), keys).await.agent,
                )
            }
        })
        .buffered(8)
        .try_collect()
        .await
        .unwrap();
    let Bench { server, directory, .. } = bench;
    assert!(server.stop().await);

    // An address of this test's own, so that the port stays free while the server is down.
    let block = LoopbackBlock::reserve().unwrap();
    let listen = format!("{}:8420", block.address().unwrap());
    let start = async |more: &[&str]| {
        let mut command = home.command(["--mode", "server", "--listen", &listen]);
        command.arg("--data-dir").arg(data.join("data")).arg("--key-dir").arg(data.join("keys")).args(more);
        Server::up(Process::spawn(&mut command)).await
    };
    // All at once and behind one address: who has no session yet would have to wait.
    let server = start(&["--unauthenticated-rate", "off"]).await;
    let url = ServerUrl::parse(&server.url(), AllowInsecure::No).unwrap();
    let mut tasks = JoinSet::new();
    let mut agents: Vec<Running> = Vec::new();
    let mut made = made.into_iter();
    let begun = Instant::now();
    while agents.len() < count {
        let before = agents.len();
        for agent in made.by_ref().take(AT_FIRST) {
            let number = u64::try_from(agents.len()).unwrap();
            agents.push(Running::start(number, agent, &url, &mut tasks));
        }
        all(&mut agents[before..], true).await;
    }
    let first = begun.elapsed();
    let sessions: Vec<u64> = agents.iter().map(Running::session).collect();

    let mut figures = vec![format!("at first, {AT_FIRST} at a time, {:.1} s", first.as_secs_f64())];
    let mut server = server;
    for signal in ["SIGTERM", "SIGKILL"] {
        let begun = Instant::now();
        if signal == "SIGTERM" {
            let ended = server.process.stop().await.expect(0);
            assert!(ended.err().contains("stopped, every call had ended"), "{ended:#?}");
        } else {
            server.process.kill().await;
        }
        all(&mut agents, false).await;
        // Whoever has a session needs no allowance, and all of them have.
        server = start(&[]).await;
        let listening = Instant::now();
        all(&mut agents, true).await;
        let (since, after) = (begun.elapsed().as_secs_f64(), listening.elapsed().as_secs_f64());
        figures.push(format!("after {signal} {since:.1} s, {after:.1} s from listening"));
        assert_eq!(
            agents.iter().map(Running::session).collect::<Vec<_>>(),
            sessions,
            "no handshake was needed"
        );
    }
    tasks.shutdown().await;
    server.process.stop().await.expect(0);
    drop(directory);
    // Not eprintln!, which is shown only for tests that fail.
    let text = format!("{count} agents were online: {}\n", figures.join("; "));
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
