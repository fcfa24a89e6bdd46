//! How a server process stops: what is told to agents, what may end and what is cut off, and that its last line says
//! which way it went.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use fleet_agent::state::{Access, StateDir};
use fleet_core::store::AgentStore as _;
use fleet_proto::agentadmin::v1::{ConfirmAgentRequest, CreateEnrollmentCodeRequest, ListAgentsRequest};
use fleet_proto::agentgateway::v1::{
    AgentGatewayServiceClient, ControlHello, ControlStreamRequest, ControlStreamResponse,
    control_stream_request, control_stream_response,
};
use fleet_proto::client::{Bidi, Channel};
use fleet_proto::fleet::v1::{OperatorServiceClient, WhoAmIRequest};
use process_support::{Home, PATIENCE, Process, Server, admin, containing, fingerprint};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};
use tokio::time::timeout;

type Control = Bidi<ControlStreamRequest, ControlStreamResponse>;

/// Enrolls an agent and opens a control stream under its session, on a connection of its own.
async fn control(home: &Home, server: &Server, operator: &Channel) -> (Control, Channel) {
    let admin = admin(operator);
    let code = admin.create_enrollment_code(CreateEnrollmentCodeRequest::default()).await.unwrap();
    let mut command =
        home.command(["agent", "enroll", "--yes", "--name", "site-1", "--server", &server.url()]);
    let mut agent = Process::spawn(command.arg("--state-dir").arg(home.join("agent")));
    agent.enter(&code.code).await;
    agent.close();
    let shown = agent.out(fingerprint).await.expect("it shows its fingerprint");
    let listed = admin.list_agents(ListAgentsRequest::default()).await.unwrap().agents;
    let found = listed.iter().find(|agent| agent.name == "site-1").unwrap();
    let request = ConfirmAgentRequest {
        agent_id: found.agent_id,
        pending_enrollment_id: found.pending_enrollment_id,
        fingerprint: shown,
        agent_certificate: None,
    };
    admin.confirm_agent(request).await.unwrap();
    agent.ended().await.expect(0);
    let directory = StateDir::open(&home.join("agent"), Access::ReadOnly).unwrap();
    let session = directory.store().load().await.unwrap().unwrap().record.session.unwrap();
    let channel = Channel::new(server.url().parse().unwrap(), None).with_bearer(session.token.expose());
    let mut stream = AgentGatewayServiceClient::new(channel.clone()).control_stream().await.unwrap();
    let hello = control_stream_request::Kind::Hello(ControlHello { agent_version: "test".to_owned() });
    stream.send(ControlStreamRequest { kind: Some(hello) }).await.unwrap();
    let first = next(&mut stream).await.expect("an answer");
    assert!(matches!(first, control_stream_response::Kind::Accepted(_)), "{first:?}");
    (stream, channel)
}

async fn next(stream: &mut Control) -> Option<control_stream_response::Kind> {
    let message = timeout(PATIENCE, stream.message()).await.expect("in time");
    message.unwrap().map(|message| message.kind.unwrap())
}

/// A call that has begun and waits for its body.
async fn begun(server: &Server) -> TcpStream {
    let mut call = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /fleet.v1.OperatorService/Login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    call.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    call.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    call
}

#[track_caller]
fn assert_last_line(ended: &process_support::Ended, says: &str) {
    assert!(ended.stderr.last().is_some_and(|line| line.contains(says)), "{says}: {ended:#?}");
}

#[tokio::test]
async fn agents_are_told_calls_end_and_nothing_new_begins() {
    let home = Home::new();
    // Combined mode, so that the local half stops too.
    let mut server = Server::spawn(&home, &["--listen", "127.0.0.1:0"], &[], None).await;
    let operator = server.found().await;
    let (mut stream, agent) = control(&home, &server, &operator).await;
    let mut call = begun(&server).await;
    let who = OperatorServiceClient::new(operator);
    who.who_am_i(WhoAmIRequest {}).await.unwrap();

    server.process.signal(Signal::TERM);
    let told = next(&mut stream).await;
    assert!(matches!(told, Some(control_stream_response::Kind::Goaway(_))), "{told:?}");
    assert_eq!(next(&mut stream).await, None, "and the stream ends");
    server.process.err(containing("stopping")).await.unwrap();
    // The listener closes at once, so this is refused as soon as that is seen.
    process_support::until("new connections are refused", async || {
        TcpStream::connect(server.address).await.err().map(drop)
    })
    .await;
    let refused = timeout(PATIENCE, AgentGatewayServiceClient::new(agent).control_stream()).await.unwrap();
    match refused {
        Err(_) => {}
        Ok(mut stream) => {
            let hello = control_stream_request::Kind::Hello(ControlHello::default());
            let sent = stream.send(ControlStreamRequest { kind: Some(hello) }).await;
            let said = timeout(PATIENCE, stream.message()).await.unwrap();
            assert!(sent.is_err() || said.is_err(), "a stream was opened while stopping: {said:?}");
        }
    }
    // The call that had begun ends well: a login that is wrong is an answer.
    call.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    call.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");

    let ended = server.process.ended().await.expect(0);
    assert_last_line(&ended, "stopped, every call had ended");
    assert!(who.who_am_i(WhoAmIRequest {}).await.is_err());
}

#[tokio::test]
async fn a_call_that_hangs_is_cut_off_when_its_time_is_up() {
    let home = Home::new();
    let server = Server::start(&home, &["--drain-timeout", "1"]).await;
    let mut call = begun(&server).await;
    let ended = server.process.stop().await.expect(0);
    assert_last_line(&ended, "stopped, some calls were cut off");
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, call.read_to_end(&mut answer)).await.expect("it is over");
    assert!(answer.is_empty(), "{:?}", String::from_utf8_lossy(&answer));

    let server = Server::start(&home, &["--drain-timeout", "0s"]).await;
    let _call = begun(&server).await;
    assert_last_line(&server.process.stop().await.expect(0), "stopped, some calls were cut off");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let mut server = Server::start(&home, &["--drain-timeout", "600"]).await;
    let _call = begun(&server).await;
    server.process.signal(Signal::TERM);
    server.process.err(containing("stopping")).await.unwrap();
    server.process.signal(Signal::INT);
    let ended = server.process.ended().await.expect(1);
    assert_last_line(&ended, "stopped at once, at the second signal");
}

#[tokio::test]
async fn it_stops_before_it_is_set_up_and_while_it_starts() {
    let home = Home::new();
    let mut server = Server::start(&home, &[]).await;
    server.link().await;
    assert_last_line(&server.process.stop().await.expect(0), "stopped, every call had ended");

    // A database that takes the connection and says nothing.
    let database = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://fleet@{}/fleet", database.local_addr().unwrap());
    let mut command = home.command(["--mode", "server", "--listen", "127.0.0.1:0", "--database-url", &url]);
    let process = Process::spawn(command.arg("--data-dir").arg(home.join("other")));
    let _held = timeout(PATIENCE, database.accept()).await.unwrap().unwrap();
    assert_last_line(&process.stop().await.expect(0), "stopped before it had started");
}

#[tokio::test]
async fn every_line_of_the_log_is_an_object_if_that_is_asked_for() {
    let home = Home::new();
    let mut server = Server::start(&home, &["--log-format", "json"]).await;
    let operator = server.found().await;
    let (_stream, _) = control(&home, &server, &operator).await;
    // The service manager of the agent, who is told as the server's is.
    let manager = UnixDatagram::bind(home.join("notify")).unwrap();
    let told = async || {
        let mut bytes = [0; 256];
        let count = timeout(PATIENCE, manager.recv(&mut bytes)).await.unwrap().unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap().trim().to_owned()
    };
    let mut command = home.command(["agent", "--log-format", "json", "run", "--health", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", home.join("notify")).arg("--state-dir").arg(home.join("agent"));
    let mut agent = Process::spawn(&mut command);
    assert_eq!(told().await, "READY=1");
    agent.err(containing("the control stream is open")).await.expect("it is online");
    let agent = agent.stop().await.expect(0);
    assert_eq!(told().await, "STOPPING=1");
    let server = server.process.stop().await.expect(0);
    let mut mode = home.command(["--mode", "agent", "--log-format", "json"]);
    mode.env("NOTIFY_SOCKET", home.join("notify")).arg("--data-dir").arg(home.join("agent"));
    let mut mode = Process::spawn(&mut mode);
    assert_eq!(told().await, "READY=1");
    mode.err(containing("no session")).await.expect("it tries");
    let mode = mode.stop().await.expect(0);
    assert_eq!(told().await, "STOPPING=1");
    for (what, ended, last) in [
        ("the server", server, "stopped, every call had ended"),
        ("the agent", agent, "stopped; everything was uploaded"),
        ("the agent by mode", mode, "stopped; everything was uploaded"),
    ] {
        assert!(ended.stderr.len() > 3, "{what}: {ended:#?}");
        for line in &ended.stderr {
            let line: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}"));
            for key in ["timestamp", "level", "target"] {
                assert!(line[key].is_string(), "{what}: no {key}: {line}");
            }
            assert!(line["fields"]["message"].is_string(), "{what}: {line}");
        }
        assert_last_line(&ended, last);
    }

    // For people, and without colors where nobody sees them.
    let server = Server::start(&home, &[]).await;
    let ended = server.process.stop().await.expect(0);
    assert!(ended.stderr.iter().all(|line| !line.contains('\u{1b}') && !line.starts_with('{')), "{ended:#?}");
    assert!(ended.stderr.iter().any(|line| line.contains(" INFO ")), "{ended:#?}");
}
