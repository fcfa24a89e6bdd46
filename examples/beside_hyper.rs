//! The whole server beside routes of your own: one hyper server, at one address, answers `/hello` by itself and gives
//! whatever is the fleet's to a `fleetd` that listens nowhere. An operator sets it up through that address, and an agent
//! enrolls and comes online through it.
//!
//! TLS, if there is to be any, is that of the hyper server.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use fleet_agent::clock::SystemClock;
use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, EnrollmentProgress, NoProbe};
use fleet_core::store::{MemoryAgentStore, MemoryKeyStore};
use fleet_core::{name::Name, random::OsRandom};
use fleet_proto::agentadmin::v1::{
    AgentAdminServiceClient, ConfirmAgentRequest, CreateEnrollmentCodeRequest,
};
use fleet_proto::client::{Channel, GatewayTransport};
use fleet_proto::fleet::v1::{LoginRequest, OperatorServiceClient, SetUpRequest};
use fleet_proto::rpc::ResponseBody;
use fleet_store::DatabaseUrl;
use fleetd::config::{Config, DRAIN_TIMEOUT, Limits, LogFormat, Mode, Retention};
use fleetd::server::{Mount, Server};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A route of your own.
fn own(request: &Request<Incoming>) -> Response<ResponseBody> {
    let (status, text) = match request.uri().path() {
        "/hello" => (200, "hello from the program around it\n"),
        _ => (404, "there is no such page\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

async fn serve(listener: TcpListener, mount: Mount) {
    while let Ok((stream, peer)) = listener.accept().await {
        // No room for it: dropped, it is closed, and its peer tries again later.
        let Some(connection) = mount.connection(peer) else { continue };
        tokio::spawn(async move {
            let fleet = connection.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let fleet = Mount::serves(request.uri().path()).then(|| fleet.clone());
                async move {
                    match fleet {
                        Some(fleet) => fleet.call(request).await,
                        None => Ok::<_, Infallible>(own(&request)),
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
}

fn config(directory: &Path) -> Config {
    Config {
        mode: Mode::Server,
        listen: Vec::new(),
        metrics_listen: None,
        data_dir: directory.join("data"),
        key_dir: directory.join("data/keys"),
        database: DatabaseUrl::sqlite_file(directory.join("data/fleet.db")),
        tls: None,
        scan: Vec::new(),
        proto_port: None,
        poll_interval: Duration::from_secs(5),
        log_format: LogFormat::Human,
        limits: Limits::default(),
        drain_timeout: DRAIN_TIMEOUT,
        retention: Retention::DEFAULT,
        ca_file: None,
        client: None,
        allow_insecure_transport: false,
        health: None,
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
    let server =
        Server::start(&config(directory.path()), clock.clone(), random.clone(), Arc::new(NoProbe)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(serve(listener, server.mount()));

    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    println!("GET /hello: {}", said.lines().last().unwrap_or_default());

    // The operator: sets the server up, signs in, makes a code.
    let channel = Channel::new(format!("http://{address}").parse()?, None);
    let operators = OperatorServiceClient::new(channel.clone());
    let link = server.set_up_link().context("the server is new")?;
    let setup_token = link.rsplit('/').next().unwrap_or_default().to_owned();
    let (user_name, password) = ("alice".to_owned(), "correct horse battery".to_owned());
    let (organization, user) = ("Acme Mining".to_owned(), user_name.clone());
    operators
        .set_up(SetUpRequest { setup_token, organization, user_name: user, password: password.clone() })
        .await?;
    let login = operators.login(LoginRequest { user_name, password, organization: String::new() }).await?;
    let admin = AgentAdminServiceClient::new(channel.with_bearer(&login.session_token));
    let code = admin.create_enrollment_code(CreateEnrollmentCodeRequest::default()).await?;

    // The agent registers, the operator confirms what it shows, the agent asks again and comes online.
    let (store, keys) = (Arc::new(MemoryAgentStore::new()), Arc::new(MemoryKeyStore::new()));
    let driver = AgentDriver::new(store, keys, Arc::new(GatewayTransport::new(channel)), clock, random);
    let url = format!("http://{address}");
    let mut enrolling = driver.enroll(EnrollmentCode::parse(&code.code)?, &url, Name::new("site-1")?).await?;
    enrolling.poll().await?;
    enrolling.join().await?;
    let fingerprint = enrolling.fingerprint().to_string();
    let agents = admin.list_agents(Default::default()).await?.agents;
    let agent_id = agents.first().context("the agent is listed")?.agent_id;
    let pending_enrollment_id = code.pending_enrollment_id;
    let confirm =
        ConfirmAgentRequest { agent_id, pending_enrollment_id, fingerprint, agent_certificate: None };
    admin.confirm_agent(confirm).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(enrolling.poll().await? == EnrollmentProgress::Enrolled, "the agent is enrolled");
    driver.handshake().await?;
    println!("agent {agent_id} is online, beside it");

    // Nothing is accepted any more, then the server lets go of what is open.
    serving.abort();
    ensure!(server.stop().await, "all that was open has ended");
    Ok(())
}
