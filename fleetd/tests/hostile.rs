//! Five hundred clients that mean no good, all at once, and one honest agent that must not notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod limits_support;
mod wire_support;

use std::net::SocketAddr;

use fleet_core::random::SecureRandom as _;
use fleet_core::testing::SeededRandom;
use fleet_core::time::Clock as _;
use fleet_proto::agentgateway::v1 as gateway;
use fleet_proto::convert::timestamp;
use limits_support::{END_HEADERS, HEADERS, LOGIN, RST_STREAM, bench, call_fields, frame, limits, metric};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire_support::{eventually, http1, within};

const EACH: usize = 100;

/// What a hostile client does with its connection before it holds it for as long as it can.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Garbage,
    SlowHeaders,
    Oversized,
    HalfOpen,
    Resets,
}

const KINDS: [Kind; 5] = [Kind::Garbage, Kind::SlowHeaders, Kind::Oversized, Kind::HalfOpen, Kind::Resets];

impl Kind {
    async fn attack(self, stream: &mut TcpStream, seed: u64) -> std::io::Result<()> {
        match self {
            Self::Garbage => {
                let mut garbage = [0; 4096];
                SeededRandom::new(seed).fill(&mut garbage).unwrap();
                stream.write_all(&garbage).await
            }
            Self::SlowHeaders => stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await,
            Self::Oversized => {
                let head = format!("POST /{LOGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
                stream.write_all(format!("{head}content-length: 1000000000\r\n\r\n").as_bytes()).await?;
                stream.write_all(&vec![b' '; 1 << 20]).await
            }
            Self::HalfOpen => Ok(()),
            Self::Resets => {
                let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
                flood.extend(frame(4, 0, 0, &[]));
                let block = call_fields(LOGIN);
                for number in 0..200 {
                    flood.extend(frame(HEADERS, END_HEADERS, number * 2 + 1, &block));
                    flood.extend(frame(RST_STREAM, 0, number * 2 + 1, &[0; 4]));
                }
                stream.write_all(&flood).await
            }
        }
    }
}

/// A client that connects, attacks, and holds what it has until the server closes it.
async fn hostile(address: SocketAddr, kind: Kind, seed: u64, connected: tokio::sync::mpsc::Sender<()>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have had enough of it in the middle.
    let _ = kind.attack(&mut stream, seed).await;
    let _ = connected.send(()).await;
    let mut said = [0; 1024];
    while stream.read(&mut said).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_agent_is_heard_among_five_hundred_hostile_clients() {
    // Both ends of each connection are in this process.
    let files = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit { current: files.maximum.map_or(Some(4096), |most| Some(most.min(4096))), ..files },
    )
    .unwrap();
    let bench = bench(limits()).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let heartbeat = || gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    };
    gateway.upload_heartbeat(heartbeat()).await.unwrap();

    let (connected, mut ready) = tokio::sync::mpsc::channel(EACH * KINDS.len());
    let mut clients = JoinSet::new();
    for number in 0..EACH {
        for kind in KINDS {
            clients.spawn(hostile(bench.address, kind, number as u64, connected.clone()));
        }
        gateway.upload_heartbeat(heartbeat()).await.expect("a heartbeat while they come");
    }
    for _ in 0..EACH * KINDS.len() {
        within("every client has attacked", ready.recv()).await.unwrap();
    }
    let open = metric(&bench, "fleetd_connections_open").await;
    assert!(open as usize > EACH, "those that only wait are still there: {open}");
    for _ in 0..50 {
        within("a heartbeat", gateway.upload_heartbeat(heartbeat())).await.unwrap();
    }
    // An agent that comes now gets in too.
    bench.online("newcomer").await;
    let health = within("the server answers", http1(bench.address, "GET", "/healthz", &[], b"")).await;
    assert_eq!(health.body, "ok\n");

    clients.shutdown().await;
    eventually("all that they held is given back", async || {
        metric(&bench, "fleetd_connections_open").await <= 3
    })
    .await;
    gateway.upload_heartbeat(heartbeat()).await.unwrap();
    let streams = metric(&bench, "fleetd_streams_open{kind=\"telemetry\"}").await;
    assert_eq!(streams, 0);
    assert!(bench.server.stop().await, "nothing is left that would have to be cut off");
}
