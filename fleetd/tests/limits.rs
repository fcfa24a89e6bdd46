//! Who may take how much: by address, by agent and in all, each limit reached over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod limits_support;
mod wire_support;

use std::time::Duration;

use base64::Engine as _;
use fleet_core::telemetry::{Discovery, Event, EventKind};
use fleet_core::time::Clock as _;
use fleet_proto::agentadmin::v1 as admin;
use fleet_proto::agentgateway::v1::{self as gateway};
use fleet_proto::convert::{encode_events, timestamp};
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::rpc::Code;
use fleetd::config::{Limits, Rate};
use http_body_util::BodyExt as _;
use limits_support::{
    HEARTBEAT, Http2, LOGIN, Raw, Said, answer, bench, closed, fields, frame, full, grpc_frame, http2,
    limited, limits, metric, open_body, request, unfounded,
};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wire_support::{Bench, Online, Refused, confirm, eventually, http1, json, register, secret_keys, within};

const REGISTER: &str = "agentgateway.v1.AgentGatewayService/Register";
const BEGIN: &str = "agentgateway.v1.AgentGatewayService/BeginAuthHandshake";
const COMPLETE: &str = "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake";
const RATE: Option<Rate> = Some(Rate { per_second: 10, burst: 50 });

fn heartbeat(bench: &Bench) -> gateway::UploadHeartbeatRequest {
    let sent_at = Some(timestamp(bench.clock.now()));
    gateway::UploadHeartbeatRequest { sent_at, agent_version: "0.1.0".to_owned() }
}

/// A Begin with an api_key that nobody has.
fn guess() -> gateway::BeginAuthHandshakeRequest {
    gateway::BeginAuthHandshakeRequest {
        api_key: format!("fleet_01234567_{}", "x".repeat(43)),
        identity_pubkey: vec![7; 32].into(),
        client_nonce: vec![7; 32].into(),
    }
}

// By address.

/// Guesses until the address has no allowance left.
async fn use_up(bench: &Bench) -> usize {
    for guesses in 0..1000 {
        let status = bench.gateway().begin_auth_handshake(guess()).await.unwrap_err();
        if status.code == Code::ResourceExhausted {
            return guesses;
        }
        Refused::unauthenticated().judge("a guess", &status);
    }
    panic!("a thousand guesses, and none was one too many");
}

#[tokio::test]
async fn a_guesser_behind_the_same_address_does_not_lock_honest_agents_out() {
    let bench = bench(Limits { unauthenticated_rate: RATE, ..limits() }).await;
    let mut site: Vec<Online> = Vec::new();
    for number in 0..30 {
        site.push(bench.online(&format!("agent-{number}")).await);
    }
    let code = bench.code().await;
    bench.advance(Duration::from_secs(60));
    assert_eq!(use_up(&bench).await, 50, "the burst");
    let expected = Refused::with(Code::ResourceExhausted, &["too many calls without credentials"]);
    for (what, guessed) in [
        ("a guessed api_key", bench.gateway().begin_auth_handshake(guess()).await.map(drop)),
        (
            "a guessed code",
            bench
                .gateway()
                .register(register(&format!("fenr1{}", "q".repeat(83)), "x", &secret_keys(9)))
                .await
                .map(drop),
        ),
        (
            "a guessed session",
            bench.gateway_as(&"x".repeat(43)).upload_heartbeat(heartbeat(&bench)).await.map(drop),
        ),
        ("a login", bench.login().await.map(drop)),
    ] {
        let status = guessed.unwrap_err();
        expected.judge(what, &status);
        assert_eq!(status.retry_after, Some(Duration::from_secs(1)), "{what}");
    }
    // The whole site restarts, one enrolls, all are heard: three calls each and none is turned away.
    for agent in &site {
        let online =
            agent.agent.driver.handshake().await.unwrap_or_else(|e| panic!("{}: {e}", agent.agent.name));
        let token = online.session.token.expose().to_owned();
        bench.gateway_as(&token).upload_heartbeat(heartbeat(&bench)).await.unwrap();
    }
    bench.gateway().register(register(&code.code, "new", &secret_keys(9))).await.unwrap();
    bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    assert!(bench.login().await.is_err(), "none of that gave the guesser its allowance back");
    assert!(limited(&bench, "unauthenticated-rate").await >= 6);
}

#[tokio::test]
async fn every_kind_of_guess_counts_and_so_does_rubbish() {
    let bench =
        bench(Limits { unauthenticated_rate: Some(Rate { per_second: 1, burst: 20 }), ..limits() }).await;
    bench.advance(Duration::from_secs(60));
    let zeros = |bytes| base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
    let challenge = format!(r#"{{"challenge": "{}", "signature": "{}"}}"#, zeros(32), zeros(64));
    let long = format!(r#"{{"apiKey": "{}"}}"#, "x".repeat(17 * 1024));
    let calls = [
        ("a challenge never made", COMPLETE, challenge.as_str(), 401),
        ("no field at all", REGISTER, "{}", 400),
        ("no JSON at all", BEGIN, "rubbish", 400),
        ("more than anybody may send", BEGIN, &long, 429),
    ];
    for _ in 0..5 {
        for (what, procedure, message, status) in calls {
            let answer = json(bench.address, procedure, None, message).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            assert_eq!(answer.header("retry-after"), "", "{what}: not by the allowance: {answer:?}");
        }
    }
    for (what, procedure, message, _) in calls {
        let answer = json(bench.address, procedure, None, message).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "1"), "{what}: {answer:?}");
    }
    let health = "grpc.health.v1.Health/Check";
    assert_eq!(json(bench.address, health, None, "{}").await.status, 429, "a probe, before any work");
    assert_eq!(http1(bench.address, "GET", "/healthz", &[], b"").await.status, 429);
    bench.advance(Duration::from_secs(1));
    assert_eq!(http1(bench.address, "GET", "/healthz", &[], b"").await.status, 200);
}

/// Register answers a repeat also to an agent that was revoked. That it is known does not make it welcome.
#[tokio::test]
async fn a_revoked_agents_repeats_count_and_a_waiting_ones_do_not() {
    let rate = Some(Rate { per_second: 1, burst: 20 });
    let bench = bench(Limits { unauthenticated_rate: rate, ..limits() }).await;
    let (code, keys) = (bench.code().await, secret_keys(5));
    let repeat = async || bench.gateway().register(register(&code.code, "agent", &keys)).await;
    let registered = repeat().await.unwrap();
    let fingerprint = registered.identity_fingerprint.parse().unwrap();
    bench.admin().confirm_agent(confirm(registered.agent_id, &code, &fingerprint)).await.unwrap();
    bench.advance(Duration::from_secs(60));
    for _ in 0..40 {
        repeat().await.unwrap();
        bench.advance(Duration::from_secs(1));
    }
    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: registered.agent_id }).await.unwrap();
    let mut answered = 0;
    let refused = loop {
        match repeat().await {
            Ok(answer) => {
                assert_eq!(answer.enrollment_status(), gateway::EnrollmentStatus::Revoked);
                answered += 1;
            }
            Err(status) if status.message.contains("credentials") => break status,
            // At most once a second.
            Err(status) => {
                assert_eq!(status.code, Code::ResourceExhausted, "{status:?}");
                answered += 1;
            }
        }
        assert!(answered <= 20, "its calls count");
    };
    assert_eq!(refused.code, Code::ResourceExhausted);
    assert_eq!(answered, 20);
}

#[tokio::test]
async fn whatever_is_asked_for_without_credentials_counts() {
    let bench =
        bench(Limits { unauthenticated_rate: Some(Rate { per_second: 1, burst: 9 }), ..limits() }).await;
    bench.advance(Duration::from_secs(60));
    let asked = [("GET", "/", 200), ("GET", "/nothing", 404), ("POST", "/nothing", 501)];
    let ask = async |method: &str, path: &str| {
        let kind = ("content-type", "application/json");
        http1(bench.address, method, path, &[kind], b"{}").await
    };
    for _ in 0..3 {
        for (method, path, status) in asked {
            assert_eq!(ask(method, path).await.status, status, "{method} {path}");
        }
    }
    for (method, path, _) in asked {
        assert_eq!(ask(method, path).await.status, 429, "{method} {path}");
    }
    assert_eq!(ask("POST", "/nothing").await.header("retry-after"), "1");
    bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_is_nobodys_guess() {
    let bench =
        bench(Limits { unauthenticated_rate: Some(Rate { per_second: 1, burst: 3 }), ..limits() }).await;
    bench.advance(Duration::from_secs(60));
    let path = bench.directory.path().join("data").join("fleet.db");
    let tables = sea_orm::Database::connect(format!("sqlite://{}", path.display())).await.unwrap();
    let rename = async |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sea_orm::ConnectionTrait::execute_unprepared(&tables, &sql).await.unwrap();
    };
    rename("user_session", "gone").await;
    let bearer = format!("Bearer {}", bench.token);
    let metrics =
        async || http1(bench.address, "GET", "/metrics", &[("authorization", &bearer)], b"").await.status;
    for number in 0..10 {
        assert_eq!(metrics().await, 503, "{number}");
    }
    rename("gone", "user_session").await;
    assert_eq!(metrics().await, 200);
    // None of that was taken from the allowance.
    for _ in 0..3 {
        assert_eq!(http1(bench.address, "GET", "/metrics", &[], b"").await.status, 401);
    }
    assert_eq!(http1(bench.address, "GET", "/metrics", &[], b"").await.status, 429);
}

#[tokio::test]
async fn a_call_that_is_cut_off_before_its_answer_counts() {
    let bench =
        bench(Limits { unauthenticated_rate: Some(Rate { per_second: 1, burst: 5 }), ..limits() }).await;
    bench.advance(Duration::from_secs(60));
    for _ in 0..5 {
        // The body never comes, the client goes.
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        let head = format!("POST /{BEGIN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).await.unwrap();
    }
    eventually("the allowance is used up", async || {
        json(bench.address, COMPLETE, None, "{}").await.header("retry-after") == "1"
    })
    .await;
}

#[tokio::test]
async fn what_an_address_gets_into_the_log_ends_with_its_allowance() {
    let said = Said::default();
    let _speaking = said.listen();
    let bench =
        bench(Limits { unauthenticated_rate: Some(Rate { per_second: 1, burst: 9 }), ..limits() }).await;
    bench.advance(Duration::from_secs(60));
    said.take();
    let session = format!("{}A", "x".repeat(42));
    for _ in 0..50 {
        bench.gateway().begin_auth_handshake(guess()).await.unwrap_err();
        bench.gateway_as(&session).upload_heartbeat(heartbeat(&bench)).await.unwrap_err();
    }
    let lines = said.take();
    let refused = lines.iter().filter(|line| line.contains("a call was refused")).count();
    assert_eq!(refused, 9, "the burst: {lines:#?}");
    let reached = lines.iter().filter(|line| line.contains("a limit was reached")).count();
    assert_eq!((reached, lines.len()), (1, 10), "and one for all the others: {lines:#?}");
}

#[tokio::test]
async fn without_an_allowance_the_log_is_bounded_still() {
    let said = Said::default();
    let _speaking = said.listen();
    let bench = bench(limits()).await;
    let agent = bench.online("agent").await;
    bench.advance(Duration::from_secs(600));
    let refused = |lines: Vec<String>| lines.iter().filter(|line| line.contains("was refused")).count();
    said.take();
    for _ in 0..100 {
        bench.gateway().begin_auth_handshake(guess()).await.unwrap_err();
    }
    assert_eq!(refused(said.take()), 60);
    // Nor is it otherwise with good credentials.
    agent.agent.driver.handshake().await.unwrap();
    for _ in 0..10 {
        agent.agent.driver.handshake().await.unwrap_err();
    }
    assert_eq!(refused(said.take()), 0);
    bench.advance(Duration::from_secs(60));
    for _ in 0..10 {
        bench.gateway().begin_auth_handshake(guess()).await.unwrap_err();
    }
    assert_eq!(refused(said.take()), 1, "one a minute");
}

#[tokio::test]
async fn what_an_agent_gets_into_the_log_is_bounded_and_the_rest_is_counted() {
    let said = Said::default();
    let _speaking = said.listen();
    let bench = bench(limits()).await;
    let agent = bench.online("agent").await;
    bench.advance(Duration::from_secs(60));
    said.take();
    let captured_at = Some(timestamp(bench.clock.now()));
    let rubbish =
        move |sequence| gateway::UploadEventsRequest { payload: vec![0xff; 4].into(), captured_at, sequence };
    let gateway = bench.gateway_as(&agent.token);
    let answer = gateway.upload_events(futures::stream::iter((1..=200).map(rubbish))).await.unwrap();
    assert_eq!(answer.rejected_count, 200, "all are dealt with");
    let rejected = said.take().iter().filter(|line| line.contains("an upload was rejected")).count();
    assert_eq!(rejected, 120);
    let control = async |count: usize| {
        let mut stream = gateway.control_stream().await.unwrap();
        let hello = gateway::ControlHello { agent_version: "0.1.0".to_owned() };
        for _ in 0..=count {
            let kind = Some(gateway::control_stream_request::Kind::Hello(hello.clone()));
            stream.send(gateway::ControlStreamRequest { kind }).await.unwrap();
        }
        stream.message().await.unwrap().unwrap();
        stream.close_send();
        assert_eq!(within("the end", stream.message()).await, Ok(None));
        said.take()
    };
    let refused = |lines: &[String]| {
        lines.iter().filter(|line| line.contains("WARN") && line.contains("hello comes once")).count()
    };
    // What it uploaded keeps no control message out of the log.
    assert_eq!(refused(&control(200).await), 120);
    bench.advance(Duration::from_secs(60));
    let lines = control(10).await;
    assert!(refused(&lines) == 1 && lines.iter().any(|line| line.contains("left_out=80")), "{lines:#?}");
    // Nor may it open and close streams to fill the log.
    let mut opened = 0;
    for _ in 0..150 {
        opened += control(0).await.iter().filter(|line| line.contains("is online")).count();
    }
    assert!(opened <= 60, "{opened}");
}

/// google.rpc.Status and google.rpc.RetryInfo, as the standard has them.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

fn unpadded(text: &str) -> Vec<u8> {
    let text = text.trim().trim_end_matches('=');
    base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).unwrap()
}

#[tokio::test]
async fn when_to_come_back_is_said_in_every_protocol() {
    let rate = Some(Rate { per_second: 4, burst: 1 });
    let bench = unfounded(Limits { unauthenticated_rate: rate, ..limits() }).await;
    assert_eq!(json(bench.address, LOGIN, None, "{}").await.status, 400, "the burst");
    let delay = Some(prost_types::Duration { seconds: 0, nanos: 250_000_000 });

    let connect = json(bench.address, LOGIN, None, "{}").await;
    assert_eq!(connect.header("retry-after"), "1", "whole seconds, rounded up: {connect:?}");
    let detail: serde_json::Value = serde_json::from_str(&connect.body).unwrap();
    let detail = &detail["details"][0];
    assert_eq!(detail["type"], "google.rpc.RetryInfo", "{connect:?}");
    let info = RetryInfo::decode(unpadded(detail["value"].as_str().unwrap()).as_slice()).unwrap();
    assert_eq!(info.retry_delay, delay, "Connect");

    let message = grpc_frame(false, &[]);
    let mut sender = http2(bench.address).await;
    let grpc = request(bench.address, LOGIN, "application/grpc+proto", None, full(message.clone()));
    let grpc = answer(&mut sender, grpc).await;
    assert_eq!((grpc.status.as_u16(), grpc.header("grpc-status")), (200, "8"), "{grpc:?}");
    let status = RpcStatus::decode(unpadded(grpc.header("grpc-status-details-bin")).as_slice()).unwrap();
    assert_eq!(
        (status.code, status.details[0].type_url.as_str()),
        (8, "type.googleapis.com/google.rpc.RetryInfo")
    );
    assert_eq!(RetryInfo::decode(status.details[0].value.as_slice()).unwrap().retry_delay, delay, "gRPC");

    let kind = ("content-type", "application/grpc-web+proto");
    let web = http1(bench.address, "POST", &format!("/{LOGIN}"), &[kind], &message).await;
    assert!(web.body.contains("grpc-status: 8"), "{web:?}");
    let detail = web.body.lines().find_map(|line| line.strip_prefix("grpc-status-details-bin:")).unwrap();
    let status = RpcStatus::decode(unpadded(detail).as_slice()).unwrap();
    assert_eq!(RetryInfo::decode(status.details[0].value.as_slice()).unwrap().retry_delay, delay, "gRPC-Web");
}

// Sessions.

#[tokio::test]
async fn sessions_beyond_the_rate_are_told_to_come_one_after_the_other_and_lose_nothing() {
    let bench = bench(Limits { session_rate: Some(Rate { per_second: 1, burst: 2 }), ..limits() }).await;
    let mut site = Vec::new();
    for name in ["a", "b", "c", "d"] {
        site.push(bench.online(name).await);
    }
    bench.advance(Duration::from_secs(60));
    // Whoever has no credentials does not use the room up, however often it asks.
    for _ in 0..20 {
        Refused::unauthenticated()
            .judge("a guess", &bench.gateway().begin_auth_handshake(guess()).await.unwrap_err());
    }
    for agent in &site[..2] {
        agent.agent.driver.handshake().await.unwrap();
    }
    let begin = async |agent: &Online| gateway::BeginAuthHandshakeRequest {
        api_key: agent.api_key.clone(),
        identity_pubkey: bytes::Bytes::copy_from_slice(&identity(agent).await),
        client_nonce: vec![1; 32].into(),
    };
    let expected = Refused::with(Code::ResourceExhausted, &["too many agents begin sessions"]);
    for (agent, wait) in [(&site[2], 1), (&site[3], 2)] {
        let gateway = bench.gateway();
        let call = gateway.begin_auth_handshake(begin(agent).await);
        let status = bench.refused(&agent.agent.name, &expected, call).await;
        assert_eq!(status.retry_after, Some(Duration::from_secs(wait)), "{}", agent.agent.name);
    }
    bench.advance(Duration::from_secs(1));
    site[2].agent.driver.handshake().await.expect("at the time it was told");
    assert!(site[3].agent.driver.handshake().await.is_err());
    bench.advance(Duration::from_secs(1));
    site[3].agent.driver.handshake().await.expect("at the time it was told");
    // The sessions that there are do not suffer.
    for agent in &site {
        bench.gateway_as(&agent.token).upload_heartbeat(heartbeat(&bench)).await.unwrap();
    }
    assert_eq!(limited(&bench, "session-rate").await, 3);
}

async fn identity(agent: &Online) -> [u8; 32] {
    let keyring = agent.agent.keys.open().await.unwrap().unwrap();
    *keyring.public().unwrap().identity().as_bytes()
}

#[tokio::test]
async fn an_agent_begins_as_often_as_configured() {
    let bench = bench(Limits { begin_rate: Some(1), ..limits() }).await;
    let (agent, other) = (bench.online("agent").await, bench.online("other").await);
    agent.agent.driver.handshake().await.unwrap();
    bench.advance(Duration::from_millis(999));
    let error = agent.agent.driver.handshake().await.unwrap_err();
    assert!(chain(&error).contains("too soon"), "{error:?}");
    other.agent.driver.handshake().await.expect("each agent for itself");
    bench.advance(Duration::from_millis(1));
    agent.agent.driver.handshake().await.unwrap();
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

// By agent.

#[tokio::test]
async fn an_agent_has_so_many_calls_open_and_another_has_its_own() {
    let bench = bench(Limits { calls_per_agent: 3, ..limits() }).await;
    let (agent, other) = (bench.online("agent").await, bench.online("other").await);
    let call = |body| request(bench.address, HEARTBEAT, "application/proto", Some(&agent.token), body);
    let message = heartbeat(&bench).encode_to_vec();
    let mut sender = http2(bench.address).await;
    let mut bodies = Vec::new();
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let (body_sender, body) = open_body();
        bodies.push(body_sender);
        calls.spawn(sender.send_request(call(body)));
    }
    // None of the four has an end: the one that is answered is the one too many.
    let answered = within("one too many", calls.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(
        (answered.status().as_u16(), &answered.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    let text = String::from_utf8(answered.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("resource_exhausted") && text.contains("may have 3 calls open at once"), "{text}");
    let one_more = async || {
        let mut sender = http2(bench.address).await;
        answer(&mut sender, call(full(message.clone()))).await.status
    };
    assert_eq!(one_more().await, 429, "over another connection too");
    bench.gateway_as(&other.token).upload_heartbeat(heartbeat(&bench)).await.unwrap();
    // Once they are answered there is room.
    for body in bodies {
        // The body of the call that was refused is gone.
        let _ = body.unbounded_send(message.clone().into());
    }
    for answered in within("the three", calls.join_all()).await {
        assert_eq!(answered.unwrap().status(), 200);
    }
    eventually("there is room", async || one_more().await == 200).await;
    // Those that are broken off make room too.
    let (bodies, streams): (Vec<_>, Vec<_>) = (0..4).map(|_| open_body()).unzip();
    let mut calls = JoinSet::new();
    for body in streams {
        calls.spawn(sender.send_request(call(body)));
    }
    let refused = within("one too many", calls.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(refused.status(), 429);
    calls.shutdown().await;
    eventually("there is room again", async || one_more().await == 200).await;
    drop(bodies);
}

#[tokio::test]
async fn devices_beyond_the_bound_are_rejected_and_stored_nowhere() {
    let bench = bench(Limits { devices_per_agent: 2, ..limits() }).await;
    let agent = bench.online("agent").await;
    let discovered = |number: u8| {
        let discovery = Discovery {
            endpoint: format!("mac:0011223344{number:02x}").parse().unwrap(),
            address: "10.0.0.7:4028".to_owned(),
            make: "WhatsMiner".to_owned(),
            model: "M30S+".to_owned(),
            firmware: "2026".to_owned(),
            serial: None,
            mac: None,
            driver: "asic-rs".to_owned(),
        };
        Event { at: bench.clock.now(), kind: EventKind::Discovered(discovery) }
    };
    let upload = async |sequence, numbers: &[u8]| {
        let events: Vec<_> = numbers.iter().map(|number| discovered(*number)).collect();
        let request = gateway::UploadEventsRequest {
            payload: encode_events(&events),
            captured_at: Some(timestamp(bench.clock.now())),
            sequence,
        };
        let gateway = bench.gateway_as(&agent.token);
        let answer = gateway.upload_events(futures::stream::iter([request])).await.unwrap();
        (answer.accepted_count, answer.rejected_count, answer.durable_sequence)
    };
    assert_eq!(upload(1, &[1, 2, 3]).await, (1, 0, 1), "some of a message are stored");
    assert_eq!(upload(2, &[4]).await, (0, 1, 2), "dealt with, so that the agent does not send it again");
    assert_eq!(upload(3, &[1, 2]).await, (1, 0, 3), "what it has reported goes on");
    let devices = bench.devices().list_devices(fleet::ListDevicesRequest::default()).await.unwrap().devices;
    let endpoints: Vec<_> = devices.iter().map(|device| device.endpoint.as_str()).collect();
    assert_eq!(endpoints, ["mac:001122334401", "mac:001122334402"]);
    assert_eq!(bench.dump().await.rows("agent_sighting").len(), 2);
    assert_eq!(limited(&bench, "max-devices-per-agent").await, 2);
}

// Connections.

#[tokio::test]
async fn strangers_of_an_address_make_room_for_the_next_and_never_an_agent() {
    let bench = bench(Limits { unauthenticated_connections: 3, ..limits() }).await;
    let agent = bench.online("agent").await;
    let mut known = http2(bench.address).await;
    let beat = |token: &str| {
        let body = full(heartbeat(&bench).encode_to_vec());
        request(bench.address, HEARTBEAT, "application/proto", Some(token), body)
    };
    assert_eq!(answer(&mut known, beat(&agent.token)).await.status, 200);
    let mut idle = std::collections::VecDeque::new();
    for _ in 0..3 {
        idle.push_back(TcpStream::connect(bench.address).await.unwrap());
    }
    for number in 0..10 {
        // An honest newcomer from the same address gets in, and the oldest of those that only wait goes.
        let mut newcomer = http2(bench.address).await;
        assert_eq!(answer(&mut newcomer, beat(&agent.token)).await.status, 200, "{number}");
        closed("the oldest stranger", idle.pop_front().unwrap()).await;
        idle.push_back(TcpStream::connect(bench.address).await.unwrap());
    }
    assert_eq!(answer(&mut known, beat(&agent.token)).await.status, 200, "the connection that is known");
    assert!(limited(&bench, "max-unauthenticated-connections").await >= 10);
    assert_eq!(limited(&bench, "max-connections").await, 0);
}

#[tokio::test]
async fn a_full_server_closes_strangers_first_and_then_who_comes() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = wire_support::config(directory.path(), fleetd::config::Mode::Server);
    config.limits = Limits { connections: 2, ..limits() };
    config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    let mut bench = Bench::with(config, directory).await;
    // It has the one connection of the bench, which is known from its login on.
    bench.found().await;
    bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    let stranger = TcpStream::connect(bench.address).await.unwrap();
    let mut second = http2(bench.address).await;
    closed("the stranger", stranger).await;
    let who = || {
        request(
            bench.address,
            "fleet.v1.OperatorService/WhoAmI",
            "application/json",
            Some(&bench.token),
            full("{}"),
        )
    };
    assert_eq!(answer(&mut second, who()).await.status, 200);
    // Two that are known: nobody else gets in, and is told at once.
    let refused = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(closed("one too many", refused).await, b"");
    assert_eq!(answer(&mut second, who()).await.status, 200);
    bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    // Metrics have connections of their own.
    let own = bench.server.metrics_address().unwrap();
    let scraped = http1(own, "GET", "/metrics", &[], b"").await;
    let line = |body: &str| {
        body.lines().any(|line| line.starts_with("fleetd_limited_total{limit=\"max-connections\"} "))
    };
    assert!(scraped.status == 200 && line(&scraped.body), "{scraped:?}");
    drop(second);
    eventually("there is room", async || {
        let stream = TcpStream::connect(bench.address).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let _ = write.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut said = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut said).await;
        said.starts_with(b"HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn a_stranger_cannot_hold_many_messages_open() {
    let bench = bench(limits()).await;
    let mut sender = http2(bench.address).await;
    let call = |body| request(bench.address, BEGIN, "application/json", None, body);
    let (bodies, streams): (Vec<_>, Vec<_>) = (0..9).map(|_| open_body()).unzip();
    let mut calls = JoinSet::new();
    for body in streams {
        calls.spawn(sender.send_request(call(body)));
    }
    // None of the nine has an end.
    let refused = within("one too many", calls.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(answer(&mut sender, call(full("{}"))).await.status, 429);
    // Another connection has its own.
    assert_eq!(answer(&mut http2(bench.address).await, call(full("{}"))).await.status, 400);
    calls.shutdown().await;
    eventually("there is room", async || answer(&mut sender, call(full("{}"))).await.status == 400).await;
    assert!(limited(&bench, "unauthenticated-calls").await >= 2);
    drop(bodies);
}

#[tokio::test]
async fn a_connection_without_credentials_does_not_stay_and_an_agents_does() {
    let short = Duration::from_secs(2);
    let bench = bench(Limits { idle_timeout: short, request_timeout: short, ..limits() }).await;
    let agent = bench.online("agent").await;
    let body = || full(heartbeat(&bench).encode_to_vec());
    let beat = || request(bench.address, HEARTBEAT, "application/proto", Some(&agent.token), body());
    let mut known = http2(bench.address).await;
    assert_eq!(answer(&mut known, beat()).await.status, 200);
    // These come later, and all are gone before the agent says its next word.
    let mut silent = Raw::open(bench.address).await;
    let mut half = Raw::open(bench.address).await;
    half.send(&frame(1, 0, 1, &fields(&[(":method", "POST")]))).await.unwrap();
    let mut guessing = http2(bench.address).await;
    let guess = request(bench.address, HEARTBEAT, "application/proto", Some("guess"), body());
    assert_eq!(answer(&mut guessing, guess).await.status, 401);
    silent.goaway().await;
    half.goaway().await;
    within("the guesser's connection ends", async {
        while guessing.ready().await.is_ok() && !guessing.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(answer(&mut known, beat()).await.status, 200, "the agent's connection");
    assert_eq!(limited(&bench, "idle-timeout").await, 3);
    eventually("nothing is left of them", async || metric(&bench, "fleetd_connections_open").await <= 3)
        .await;
}

/// Waits until the server has ended a connection.
async fn gone(what: &str, sender: &mut Http2) {
    within(what, async {
        while sender.ready().await.is_ok() && !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_of_an_agent_that_is_revoked_or_refused_does_not_stay() {
    let short = Duration::from_secs(2);
    let bench = bench(Limits { idle_timeout: short, request_timeout: short, ..limits() }).await;
    let (revoked, refused) = (bench.online("revoked").await, bench.online("refused").await);
    let stays = bench.online("stays").await;
    let beat = |token: &str| {
        let body = full(heartbeat(&bench).encode_to_vec());
        request(bench.address, HEARTBEAT, "application/proto", Some(token), body)
    };
    let mut connections = Vec::new();
    for agent in [&revoked, &refused, &stays] {
        let mut sender = http2(bench.address).await;
        assert_eq!(answer(&mut sender, beat(&agent.token)).await.status, 200, "{}", agent.agent.name);
        connections.push(sender);
    }
    let [mut of_revoked, mut of_refused, mut of_stays] = <[Http2; 3]>::try_from(connections).ok().unwrap();
    // A stranger that comes after them and is gone shows that they had their time.
    let mut stranger = http2(bench.address).await;
    gone("a stranger", &mut stranger).await;
    assert!(!of_revoked.is_closed() && !of_refused.is_closed(), "they are known");
    let revoke = admin::RevokeAgentRequest { agent_id: revoked.agent_id };
    bench.admin().revoke_agent(revoke).await.unwrap();
    assert_eq!(answer(&mut of_refused, beat("guess")).await.status, 401);
    gone("the connection of the agent that was revoked", &mut of_revoked).await;
    gone("the connection whose credentials were refused", &mut of_refused).await;
    assert_eq!(limited(&bench, "idle-timeout").await, 3);
    assert_eq!(answer(&mut of_stays, beat(&stays.token)).await.status, 200);
}

#[tokio::test]
async fn one_agent_cannot_take_all_the_connections() {
    let bench = bench(Limits { connections: 80, ..limits() }).await;
    let (hoarder, honest) = (bench.online("hoarder").await, bench.online("honest").await);
    let beat = |token: &str| {
        let body = full(heartbeat(&bench).encode_to_vec());
        request(bench.address, HEARTBEAT, "application/proto", Some(token), body)
    };
    let mut hoard = Vec::new();
    for number in 0..100 {
        let mut sender = http2(bench.address).await;
        assert_eq!(answer(&mut sender, beat(&hoarder.token)).await.status, 200, "{number}");
        hoard.push(sender);
    }
    let mut newcomers = Vec::new();
    for number in 0..10 {
        let mut sender = http2(bench.address).await;
        assert_eq!(answer(&mut sender, beat(&honest.token)).await.status, 200, "{number}");
        newcomers.push(sender);
    }
    for sender in &mut newcomers {
        assert_eq!(answer(sender, beat(&honest.token)).await.status, 200, "it stays");
    }
    let kept = hoard.iter().filter(|sender| !sender.is_closed()).count();
    assert!((64..80).contains(&kept), "{kept}");
}

#[tokio::test]
async fn streams_count_as_calls_of_an_agent() {
    let bench = bench(Limits { calls_per_agent: 3, ..limits() }).await;
    let agent = bench.online("agent").await;
    let prefix = "agentgateway.v1.AgentGatewayService";
    let mut sender = http2(bench.address).await;
    let mut open = Vec::new();
    let mut answers = JoinSet::new();
    for (method, kind) in
        [("UploadTelemetry", "telemetry"), ("UploadEvents", "events"), ("ControlStream", "control")]
    {
        let (body, stream) = open_body();
        let json = "application/connect+json";
        let call = request(bench.address, &format!("{prefix}/{method}"), json, Some(&agent.token), stream);
        answers.spawn(sender.send_request(call));
        if kind == "control" {
            let hello = grpc_frame(false, br#"{"hello":{"agentVersion":"0.1.0"}}"#);
            body.unbounded_send(hello.into()).unwrap();
        }
        open.push(body);
        let gauge = format!("fleetd_streams_open{{kind=\"{kind}\"}}");
        eventually(method, async || metric(&bench, &gauge).await == 1).await;
    }
    let one_more = async || bench.gateway_as(&agent.token).upload_heartbeat(heartbeat(&bench)).await;
    let status = one_more().await.unwrap_err();
    assert!(status.message.contains("may have 3 calls open at once"), "{status:?}");
    // One that ends makes room, those that are held do not.
    open.pop();
    eventually("there is room", async || one_more().await.is_ok()).await;
    open.clear();
    answers.shutdown().await;
}
