//! Uploads and control streams over real sockets, and the agent half of combined mode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_agent::clock::SystemClock;
use fleet_agent::sim::{LoopbackBlock, WhatsMiner, WhatsMinerConfig, WhatsMinerModel};
use fleet_core::refusal::UNAUTHENTICATED;
use fleet_core::telemetry::{Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::time::{Clock as _, UnixMillis};
use fleet_proto::agentadmin::v1 as admin;
use fleet_proto::agentgateway::v1::{
    self as gateway, AgentGatewayServiceClient, control_stream_request as ask,
    control_stream_response as answer,
};
use fleet_proto::client::{Bidi, Status};
use fleet_proto::convert::{encode_events, encode_samples, timestamp};
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::rpc::Code;
use fleetd::config::Mode;
use futures::channel::mpsc;
use wire_support::{Bench, Online, Refused, config, eventually, within};

// Uploads.

fn now(bench: &Bench) -> UnixMillis {
    bench.clock.now()
}

fn message(
    bench: &Bench,
    sequence: i64,
    payload: impl Into<bytes::Bytes>,
) -> gateway::UploadTelemetryRequest {
    gateway::UploadTelemetryRequest {
        payload: payload.into(),
        captured_at: Some(timestamp(now(bench))),
        sequence,
    }
}

fn sample(bench: &Bench, endpoint: &str) -> Sample {
    let mut sample = Sample::status_only(endpoint.parse().unwrap(), now(bench), MinerStatus::Mining);
    sample.hashrate_hs = Some(1.1e14);
    sample.power_w = Some(3400.0);
    sample.fan_rpm = vec![4200, 4230];
    sample
}

fn reading(bench: &Bench, sequence: i64, endpoint: &str) -> gateway::UploadTelemetryRequest {
    message(bench, sequence, encode_samples(&[sample(bench, endpoint)]))
}

async fn upload(
    gateway: &AgentGatewayServiceClient,
    messages: Vec<gateway::UploadTelemetryRequest>,
) -> Result<(i64, i64, i64), Status> {
    let answer = gateway.upload_telemetry(futures::stream::iter(messages)).await?;
    Ok((answer.accepted_count, answer.rejected_count, answer.durable_sequence))
}

/// The agent says that it sees a miner; the server gives it an id.
async fn discover(bench: &Bench, agent: &Online, sequence: i64, endpoint: &str) -> i64 {
    let discovery = Discovery {
        endpoint: endpoint.parse().unwrap(),
        address: "10.0.0.7:4028".to_owned(),
        make: "WhatsMiner".to_owned(),
        model: "M30S+".to_owned(),
        firmware: "2026".to_owned(),
        serial: None,
        mac: None,
        driver: "asic-rs".to_owned(),
    };
    let event = Event { at: now(bench), kind: EventKind::Discovered(discovery) };
    let request = gateway::UploadEventsRequest {
        payload: encode_events(&[event]),
        captured_at: Some(timestamp(now(bench))),
        sequence,
    };
    let answer =
        bench.gateway_as(&agent.token).upload_events(futures::stream::iter([request])).await.unwrap();
    assert_eq!((answer.accepted_count, answer.rejected_count), (1, 0));
    let devices = bench.devices().list_devices(fleet::ListDevicesRequest::default()).await.unwrap().devices;
    let found = devices.iter().find(|device| device.endpoint == endpoint).unwrap();
    assert!(found.seen_by.contains(&agent.agent_id), "{found:?}");
    found.device_id
}

async fn pair(bench: &Bench, agent_id: i64, device_id: i64) {
    let request = fleet::PairDevicesRequest { agent_id, device_ids: vec![device_id], all: false };
    let paired = bench.devices().pair_devices(request).await.unwrap();
    assert_eq!(paired.paired_device_ids, [device_id], "{paired:?}");
}

const RIG: &str = "mac:001122334455";
const OTHER_RIG: &str = "sn:RIG-B";

#[tokio::test]
async fn only_the_owners_samples_are_stored() {
    let bench = Bench::start(Mode::Server).await;
    let (a, b) = (bench.online("a").await, bench.online("b").await);
    let gateway = bench.gateway_as(&a.token);
    let (rig, other) = (discover(&bench, &a, 1, RIG).await, discover(&bench, &b, 1, OTHER_RIG).await);
    // Agent a has seen b's device too, which gives it no right.
    assert_eq!(discover(&bench, &a, 2, OTHER_RIG).await, other);
    pair(&bench, b.agent_id, other).await;
    let stored = async || bench.dump().await.rows("telemetry").len();

    assert_eq!(upload(&gateway, vec![reading(&bench, 1, RIG)]).await, Ok((0, 1, 1)), "a device of nobody");
    assert_eq!(upload(&gateway, vec![reading(&bench, 2, OTHER_RIG)]).await, Ok((0, 1, 2)), "a device of b");
    assert_eq!(
        upload(&gateway, vec![reading(&bench, 3, "sn:NEVER")]).await,
        Ok((0, 1, 3)),
        "a device unseen"
    );
    let dump = bench.dump().await;
    assert!(dump.rows("telemetry").is_empty() && dump.rows("telemetry_latest").is_empty(), "{dump:?}");
    assert_eq!(dump.rows("device").len(), 2, "a sample makes no device");

    pair(&bench, a.agent_id, rig).await;
    assert_eq!(upload(&gateway, vec![reading(&bench, 4, RIG)]).await, Ok((1, 0, 4)), "paired");
    let mixed = encode_samples(&[sample(&bench, OTHER_RIG), sample(&bench, RIG)]);
    bench.advance(Duration::from_secs(1));
    assert_eq!(
        upload(&gateway, vec![message(&bench, 5, mixed)]).await,
        Ok((1, 0, 5)),
        "one of two is its own"
    );
    assert_eq!(stored().await, 2);
    let latest = fleet::GetLatestReadingRequest { device_id: rig };
    let latest = bench.readings().get_latest_reading(latest).await.unwrap();
    let latest_reading = latest.reading.unwrap();
    assert_eq!((latest_reading.endpoint.as_str(), latest_reading.hashrate_hs), (RIG, Some(1.1e14)));
    assert_eq!(latest_reading.fan_rpm, [4200, 4230]);
    assert_eq!(latest.received_at, Some(timestamp(now(&bench))));
    bench.advance(Duration::from_secs(1));
    let list = |device_id| fleet::ListReadingsRequest { device_id, ..fleet::ListReadingsRequest::default() };
    let readings = bench.readings().list_readings(list(rig)).await.unwrap().readings;
    assert_eq!(readings.len(), 2, "{readings:?}");
    assert!(bench.readings().list_readings(list(other)).await.unwrap().readings.is_empty());

    let unpair = fleet::UnpairDevicesRequest { device_ids: vec![rig] };
    assert_eq!(bench.devices().unpair_devices(unpair).await.unwrap().unpaired_device_ids, [rig]);
    assert_eq!(upload(&gateway, vec![reading(&bench, 6, RIG)]).await, Ok((0, 1, 6)), "unpaired");
    assert_eq!(stored().await, 2, "the history stays and does not grow");
    let readings = bench.readings().list_readings(list(rig)).await.unwrap().readings;
    assert_eq!(readings.len(), 2, "the history can still be read");
}

#[tokio::test]
async fn a_sequence_counts_once_and_only_upwards() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let rig = discover(&bench, &agent, 1, RIG).await;
    pair(&bench, agent.agent_id, rig).await;
    let position = async || {
        let dump = bench.dump().await;
        let row = dump.rows("upload_position").iter().find(|row| row.contains("kind='telemetry'")).cloned();
        row.unwrap_or_default()
    };

    assert_eq!(
        upload(&gateway, Vec::new()).await,
        Ok((0, 0, 0)),
        "an empty stream asks where the server stands"
    );
    let good = |sequence| reading(&bench, sequence, RIG);
    // 20 is undecodable, 30 is of nobody's device: neither is stored, and both are dealt with.
    let messages =
        vec![good(10), message(&bench, 20, &b"\xff\xff\xff"[..]), reading(&bench, 30, "sn:NOBODY"), good(40)];
    assert_eq!(upload(&gateway, messages).await, Ok((2, 2, 40)));
    assert!(position().await.contains("durable_sequence=40"), "{}", position().await);
    let again = vec![good(10), message(&bench, 20, &b"\xff\xff\xff"[..]), good(39), good(40)];
    let before = bench.dump().await;
    assert_eq!(upload(&gateway, again).await, Ok((0, 0, 40)), "duplicates count in neither");
    assert_eq!(before.changes(&bench.dump().await), [""; 0], "a duplicate stores nothing");
    assert_eq!(upload(&gateway, vec![good(40), good(41)]).await, Ok((1, 0, 41)));
    assert_eq!(upload(&gateway, vec![message(&bench, 42, &b"\xff"[..])]).await, Ok((0, 1, 42)));
    assert!(position().await.contains("durable_sequence=42"), "a rejected message at the end is durable too");

    for (what, first, second) in [("the same sequence", 50, 50), ("a lower sequence", 61, 60)] {
        let status = upload(&gateway, vec![good(first), good(second), good(70)]).await.unwrap_err();
        Refused::invalid(&["sequence", &format!("{first}, got {second}")]).judge(what, &status);
        assert!(
            position().await.contains(&format!("durable_sequence={first}")),
            "{what}: the first one stays"
        );
    }
    // The two kinds count each for itself.
    discover(&bench, &agent, 2, OTHER_RIG).await;
}

#[tokio::test]
async fn a_payload_may_have_a_mebibyte_and_not_a_byte_more() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let largest = message(&bench, 1, vec![0xff; 1 << 20]);
    assert_eq!(upload(&gateway, vec![largest]).await, Ok((0, 1, 1)), "taken and found to be rubbish");
    let messages = vec![
        message(&bench, 2, vec![0xff; 1 << 10]),
        message(&bench, 3, vec![0xff; (1 << 20) + 1]),
        message(&bench, 4, vec![0xff; 1 << 10]),
    ];
    let status = upload(&gateway, messages).await.unwrap_err();
    let says = "payload: must be 1 to 1048576 bytes, got 1048577";
    Refused::invalid(&[says]).judge("a payload of 1 MiB + 1", &status);
    assert_eq!(upload(&gateway, Vec::new()).await, Ok((0, 0, 2)), "the stream ended there");
    // What is larger than any message is not read at all.
    let messages = vec![message(&bench, 5, vec![0xff; (1 << 20) + (128 << 10)])];
    let status = upload(&gateway, messages).await.unwrap_err();
    assert_eq!(status.code, Code::ResourceExhausted, "{status:?}");
    assert_eq!(upload(&gateway, Vec::new()).await, Ok((0, 0, 2)));
}

#[tokio::test]
async fn a_newer_upload_ends_the_older_of_its_kind_only() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let (mut older, messages) = mpsc::channel(4);
    let older_call = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.upload_telemetry(messages).await }
    });
    older.try_send(message(&bench, 1, &b"x"[..])).unwrap();
    bench.until("the older stream is open", |dump| !dump.rows("upload_position").is_empty()).await;
    // One of the other kind, and one of another agent, disturb nobody.
    discover(&bench, &agent, 1, RIG).await;
    let other = bench.online("other").await;
    upload(&bench.gateway_as(&other.token), vec![message(&bench, 9, &b"x"[..])]).await.unwrap();
    older.try_send(message(&bench, 2, &b"x"[..])).unwrap();
    bench
        .until("the older stream goes on", |dump| {
            dump.rows("upload_position").iter().any(|row| row.contains("durable_sequence=2 "))
        })
        .await;

    assert_eq!(upload(&gateway, vec![message(&bench, 3, &b"x"[..])]).await, Ok((0, 1, 3)));
    let status = within("the older stream ends", older_call).await.unwrap().unwrap_err();
    Refused::with(Code::Aborted, &["a newer stream of this agent took over"])
        .judge("the older stream", &status);
}

// Control streams.

type Control = Bidi<gateway::ControlStreamRequest, gateway::ControlStreamResponse>;

fn hello(version: &str) -> gateway::ControlStreamRequest {
    let hello = gateway::ControlHello { agent_version: version.to_owned() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Hello(hello)) }
}

fn ack(command_id: &str) -> gateway::ControlStreamRequest {
    let ack = gateway::ControlAck { command_id: command_id.to_owned(), ..gateway::ControlAck::default() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Ack(ack)) }
}

async fn control(bench: &Bench, token: &str) -> Control {
    let mut stream = bench.gateway_as(token).control_stream().await.unwrap();
    stream.send(hello("0.1.0")).await.unwrap();
    match stream.message().await.unwrap().unwrap().kind {
        Some(answer::Kind::Accepted(accepted)) => {
            assert_eq!(accepted.server_time, Some(timestamp(now(bench))));
        }
        other => panic!("not accepted: {other:?}"),
    }
    stream
}

/// The reason of the goaway that comes next, and then how the stream ends.
async fn goaway(stream: &mut Control) -> (String, Result<(), Status>) {
    let reason = match within("goaway", stream.message()).await.unwrap().unwrap().kind {
        Some(answer::Kind::Goaway(goaway)) => goaway.reason,
        other => panic!("no goaway: {other:?}"),
    };
    let end = within("the end after goaway", stream.message()).await.map(|end| assert_eq!(end, None));
    (reason, end)
}

async fn is_online(bench: &Bench, agent_id: i64) -> bool {
    let agent = bench.admin().get_agent(admin::GetAgentRequest { agent_id }).await.unwrap();
    agent.agent.unwrap().online
}

#[tokio::test]
async fn a_control_stream_begins_with_hello() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    gateway.upload_heartbeat(heartbeat(&bench)).await.unwrap();
    let call = async {
        let mut stream = gateway.control_stream().await?;
        stream.send(ack("c")).await?;
        stream.message().await
    };
    let expected = Refused::invalid(&["hello: must be the first message"]);
    bench.refused("an ack before hello", &expected, call).await;
    let call = async {
        let mut stream = gateway.control_stream().await?;
        stream.close_send();
        stream.message().await
    };
    assert_eq!(call.await, Ok(None), "an agent that says nothing and goes");
}

fn heartbeat(bench: &Bench) -> gateway::UploadHeartbeatRequest {
    gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(now(bench))),
        agent_version: "0.1.0".to_owned(),
    }
}

#[tokio::test]
async fn a_control_stream_outlives_what_it_does_not_understand() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    assert!(!is_online(&bench, agent.agent_id).await);
    let log = Log::start();
    let mut stream = control(&bench, &agent.token).await;
    assert!(is_online(&bench, agent.agent_id).await);
    let before = bench.dump().await;
    for (what, message) in [
        ("a second hello", hello("0.2.0")),
        ("a hello that breaks a rule", hello(&"x".repeat(65))),
        ("an ack of a command never sent", ack("never")),
        ("an ack without an id", ack("")),
        ("an ack with a long id", ack(&"x".repeat(129))),
        ("nothing at all", gateway::ControlStreamRequest { kind: None }),
    ] {
        stream.send(message).await.unwrap_or_else(|status| panic!("{what} ended the stream: {status}"));
    }
    assert!(is_online(&bench, agent.agent_id).await, "the stream lives");
    assert_eq!(before.changes(&bench.dump().await), [""; 0], "nothing of it is stored");
    stream.close_send();
    // Everything was read before the end was: the end is orderly.
    assert_eq!(within("the end", stream.message()).await, Ok(None));
    eventually("the agent is offline", async || !is_online(&bench, agent.agent_id).await).await;
    for line in [
        "hello comes once",
        "hello.agent_version: must be 1 to 64 characters, got 65",
        "an ack of a command never sent",
        "ack.command_id: must be 1 to 128 characters, got 0",
        "ack.command_id: must be 1 to 128 characters, got 129",
        "kind: ",
    ] {
        let seen = format!("agent_id={}", agent.agent_id);
        let found = log
            .lines()
            .iter()
            .any(|found| found.contains("WARN") && found.contains(&seen) && found.contains(line));
        assert!(found, "no line of the log says {line:?}: {:#?}", log.lines());
    }
    for secret in [&agent.token, &agent.api_key, &agent.code, &bench.token] {
        assert!(!log.lines().iter().any(|line| line.contains(secret.as_str())), "a secret in the log");
    }
}

/// What is logged on this thread, on which a test's server runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> Started {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Started { log, _guard: tracing::subscriber::set_default(subscriber) }
    }
}

struct Started {
    log: Log,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Started {
    fn lines(&self) -> Vec<String> {
        let bytes = self.log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_newest_control_stream_wins() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let mut older = control(&bench, &agent.token).await;
    let mut newer = control(&bench, &agent.token).await;
    let (reason, end) = goaway(&mut older).await;
    assert_eq!((reason.as_str(), end), ("a newer stream of this agent took over", Ok(())));
    assert!(is_online(&bench, agent.agent_id).await, "the older one's end is not the newer one's");
    newer.send(ack("c")).await.unwrap();
    newer.close_send();
    assert_eq!(within("the end", newer.message()).await, Ok(None));
}

#[tokio::test]
async fn a_new_session_ends_its_predecessor_by_its_control_stream_or_after_a_minute() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let handshake = async || {
        bench.advance(Duration::from_secs(1));
        agent.agent.driver.handshake().await.unwrap().session.token.expose().to_owned()
    };
    let alive = async |token: &str| bench.gateway_as(token).upload_heartbeat(heartbeat(&bench)).await.is_ok();

    let first = agent.token.clone();
    let mut stream = control(&bench, &first).await;
    let second = handshake().await;
    assert!(alive(&first).await && alive(&second).await, "both sessions are good for now");
    let mut newer = control(&bench, &second).await;
    let (reason, end) = goaway(&mut stream).await;
    assert_eq!((reason.as_str(), end), ("a newer stream of this agent took over", Ok(())));
    assert!(!alive(&first).await && alive(&second).await, "the new session took over");

    let third = handshake().await;
    // The predecessor may open its stream anew; it ends no session but those before it.
    let mut again = control(&bench, &second).await;
    goaway(&mut newer).await.1.unwrap();
    assert!(alive(&second).await && alive(&third).await, "an older session ended a newer one");
    bench.advance(Duration::from_millis(59_999));
    assert!(alive(&second).await && alive(&third).await);
    bench.advance(Duration::from_millis(1));
    assert!(!alive(&second).await && alive(&third).await, "a minute is over");
    // A message under the session that is over ends its stream.
    again.send(ack("c")).await.unwrap();
    let status = within("the stream ends", again.message()).await.unwrap_err();
    Refused::unauthenticated().judge("a stream of the predecessor", &status);

    let (fourth, fifth) = (handshake().await, handshake().await);
    assert!(!alive(&third).await && alive(&fourth).await && alive(&fifth).await, "never more than two");
}

#[tokio::test]
async fn a_control_stream_ends_with_its_session() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    // The handshake was a second ago, the session lasts an hour: its timer has a millisecond to run.
    bench.advance(Duration::from_millis(3_598_999));
    let mut stream = control(&bench, &agent.token).await;
    let (reason, end) = goaway(&mut stream).await;
    let end = end.unwrap_err();
    assert_eq!((reason.as_str(), end.code), ("the session is over", Code::Unauthenticated));
    assert_eq!(end.message, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_server_that_stops_says_goaway() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let mut stream = control(&bench, &agent.token).await;
    let gateway = bench.gateway_as(&agent.token);
    let (mut sender, messages) = mpsc::channel(4);
    let uploading = tokio::spawn(async move { gateway.upload_telemetry(messages).await });
    sender.try_send(message(&bench, 1, &b"x"[..])).unwrap();
    bench.until("the upload is open", |dump| !dump.rows("upload_position").is_empty()).await;

    let Bench { server, .. } = bench;
    let stopping = tokio::spawn(server.stop());
    let (reason, end) = goaway(&mut stream).await;
    assert_eq!((reason.as_str(), end), ("the server stops", Ok(())));
    let status = within("the upload ends", uploading).await.unwrap().unwrap_err();
    assert_eq!(status.code, Code::Unavailable, "{status:?}");
    drop((stream, sender));
    assert!(within("the server stops", stopping).await.unwrap(), "everything ended in time");
}

// Combined mode.

#[tokio::test]
async fn combined_mode_reads_its_own_miners_and_cannot_revoke_itself() {
    let block = LoopbackBlock::reserve().unwrap();
    let mut miners = Vec::new();
    for (seed, model) in [(1, WhatsMinerModel::M30SPlusPlus), (2, WhatsMinerModel::M50S)] {
        miners.push(
            WhatsMiner::start(block.address().unwrap(), WhatsMinerConfig::new(model, seed)).await.unwrap(),
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Combined);
    config.scan = vec![block.cidr().parse().unwrap()];
    config.poll_interval = Duration::from_millis(50);
    let mut bench = Bench::with_clock(config, directory, Arc::new(SystemClock)).await;
    bench.found().await;

    let agents = bench.admin().list_agents(admin::ListAgentsRequest::default()).await.unwrap().agents;
    let [local] = agents.as_slice() else { panic!("one agent, the local one: {agents:?}") };
    assert_eq!((local.kind(), local.name.as_str()), (admin::AgentKind::Local, "local"));
    assert!(local.online && !local.identity_fingerprint.is_empty(), "{local:?}");
    let id = local.agent_id;

    let devices =
        async || bench.devices().list_devices(fleet::ListDevicesRequest::default()).await.unwrap().devices;
    eventually("both miners are discovered", async || devices().await.len() == 2).await;
    let mut endpoints: Vec<_> = devices().await.into_iter().map(|device| device.endpoint).collect();
    let mut expected: Vec<_> = miners.iter().map(|miner| miner.endpoint().unwrap().to_string()).collect();
    endpoints.sort();
    expected.sort();
    assert_eq!(endpoints, expected);
    assert!(
        bench.dump().await.rows("telemetry").is_empty(),
        "nothing is stored of a device that is not paired"
    );

    let request = fleet::PairDevicesRequest { agent_id: id, device_ids: Vec::new(), all: true };
    let paired = bench.devices().pair_devices(request).await.unwrap();
    assert_eq!((paired.paired_device_ids.len(), paired.skipped.len()), (2, 0), "{paired:?}");
    let dump = bench.dump().await;
    assert!(dump.rows("agent_device").is_empty(), "a device of the local half has no row");
    for device in devices().await {
        assert_eq!((device.agent_id, device.seen_by.as_slice()), (id, [id].as_slice()), "{device:?}");
        let request = fleet::GetLatestReadingRequest { device_id: device.device_id };
        eventually("a reading of each", async || {
            let latest = bench.readings().get_latest_reading(request).await.unwrap().reading;
            latest.is_some_and(|reading| reading.hashrate_hs.is_some_and(|hashrate| hashrate > 1e12))
        })
        .await;
    }

    let revoke = bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: id }).await.unwrap_err();
    let expected = Refused::with(Code::FailedPrecondition, &["the local agent", "cannot be revoked"]);
    expected.judge("revoking the local agent", &revoke);
    let dump = bench.dump().await;
    assert!(dump.rows("agent")[0].contains("status='confirmed'"), "{dump:?}");
    // Agents of their own are served as well.
    let Bench { server, .. } = bench;
    assert!(server.stop().await, "the local half stops with the server");
}
