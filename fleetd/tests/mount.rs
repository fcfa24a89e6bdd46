//! The server on a listener of somebody else's: beside routes of theirs, with the server's own limits on connections.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fleet_core::driver::NoProbe;
use fleet_core::testing::{SeededRandom, VirtualClock};
use fleet_proto::client::Channel;
use fleet_proto::fleet::v1::{OperatorServiceClient, SetUpRequest, WhoAmIRequest};
use fleet_proto::rpc::{Code, ResponseBody};
use fleetd::config::Mode;
use fleetd::server::{Mount, Server};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wire_support::{PASSWORD, config};

/// Whoever has the listener: answers what is not the server's with `mine`.
async fn listen(mount: Mount) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let Some(connection) = mount.connection(peer) else { continue };
            tokio::spawn(async move {
                let fleet = connection.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let fleet = Mount::serves(request.uri().path()).then(|| fleet.clone());
                    async move {
                        match fleet {
                            Some(fleet) => fleet.call(request).await,
                            None => {
                                let mine: ResponseBody = Full::new(Bytes::from("mine")).boxed_unsync();
                                Ok::<_, Infallible>(Response::new(mine))
                            }
                        }
                    }
                });
                let builder = Builder::new(TokioExecutor::new());
                tokio::select! {
                    _ = builder.serve_connection(TokioIo::new(stream), service) => {}
                    () = connection.closing() => {}
                }
            });
        }
    });
    address
}

async fn start(strangers: usize) -> (Server, SocketAddr, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.listen = Vec::new();
    config.limits.unauthenticated_connections = strangers;
    let clock = Arc::new(VirtualClock::default());
    let server = Server::start(&config, clock, Arc::new(SeededRandom::new(1)), Arc::new(NoProbe));
    let server = server.await.unwrap();
    assert!(server.addresses().is_empty(), "it listens nowhere");
    let address = listen(server.mount()).await;
    (server, address, directory)
}

async fn get(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
}

/// Reads until the end of what was asked for has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        assert!(stream.read_buf(&mut said).await.unwrap() > 0, "{}", String::from_utf8_lossy(&said));
    }
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn calls_and_routes_of_somebody_elses_share_a_connection() {
    let (server, address, _directory) = start(64).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    get(&mut stream, "/").await;
    assert!(read_until(&mut stream, "mine").await.starts_with("HTTP/1.1 200"));
    get(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "ok\n").await.starts_with("HTTP/1.1 200"));

    // The link to set it up by has no address, as nobody told the server one.
    let link = server.set_up_link().unwrap().to_owned();
    let setup_token = link.strip_prefix("/setup/").unwrap().to_owned();
    get(&mut stream, &link).await;
    assert!(read_until(&mut stream, "</html>\n").await.contains("<form"));

    let channel = Channel::new(format!("http://{address}").parse().unwrap(), None);
    let operators = OperatorServiceClient::new(channel);
    let set_up = SetUpRequest {
        setup_token,
        organization: "Acme Mining".to_owned(),
        user_name: "alice".to_owned(),
        password: PASSWORD.to_owned(),
    };
    operators.set_up(set_up).await.unwrap();
    let refused = operators.who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated, "guards are in front of the calls here too");
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_strangers_connection_makes_room_for_the_next() {
    let (server, address, _directory) = start(1).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    get(&mut first, "/healthz").await;
    read_until(&mut first, "ok\n").await;
    let mut second = TcpStream::connect(address).await.unwrap();
    get(&mut second, "/healthz").await;
    read_until(&mut second, "ok\n").await;
    assert_eq!(first.read(&mut [0; 16]).await.unwrap(), 0, "the first was closed for the second");
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_server_that_was_stopped_serves_nothing_any_more() {
    let (server, address, _directory) = start(64).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    get(&mut stream, "/healthz").await;
    read_until(&mut stream, "ok\n").await;
    assert!(server.stop().await);
    get(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "reached\n").await.starts_with("HTTP/1.1 503"));
    get(&mut stream, "/").await;
    read_until(&mut stream, "mine").await;
}
