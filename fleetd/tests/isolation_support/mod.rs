//! Two organizations on one real server, each with everything that there can be of one.
#![allow(unreachable_pub, reason = "each test uses a part of it")]

use std::sync::Arc;

use bytes::Bytes;
use fleet_core::name::Name;
use fleet_core::telemetry::{Discovery, Event, EventKind, MinerStatus, Sample};
use fleet_core::testing::SeededRandom;
use fleet_core::time::Clock as _;
use fleet_proto::agentgateway::v1::{self as gateway, control_stream_request as ask};
use fleet_proto::client::{Bidi, Status};
use fleet_proto::convert::{encode_events, encode_samples, timestamp};
use fleet_proto::fleet::v1::{self as fleet, OperatorServiceClient};
use fleetd::config::Mode;
use fleetd::server::host::Host;
use zeroize::Zeroizing;

use crate::wire_support::{Bench, Online, PASSWORD, Waiting, config, login};

/// A miner that both organizations have: it was sold from the one to the other.
pub const SHARED: &str = "sn:SHARED-RIG";

pub type Control = Bidi<gateway::ControlStreamRequest, gateway::ControlStreamResponse>;

/// One organization, with everything that there can be of one.
pub struct Side {
    pub name: &'static str,
    pub user: &'static str,
    pub token: String,
    pub api_key: String,
    pub org_id: String,
    pub user_id: String,
    pub waiting: Waiting,
    /// Confirmed, with a control stream that is open.
    pub online: Online,
    /// Confirmed, with a handshake that is half done.
    pub begun: Online,
    pub challenge: Bytes,
    pub unused_code: String,
    pub unused_enrollment: i64,
    pub paired: i64,
    pub unpaired: i64,
    pub shared: i64,
    /// Ids, names and the like that must not be seen by anybody else.
    pub marks: Vec<String>,
    _control: Control,
}

pub fn endpoint(side: &str, rig: u32) -> String {
    format!("sn:{}-RIG-{rig}", side.to_uppercase())
}

pub fn discovered(bench: &Bench, endpoint: &str, mark: &str) -> Event {
    let discovery = Discovery {
        endpoint: endpoint.parse().unwrap(),
        address: "10.0.0.7:4028".to_owned(),
        make: format!("{mark}-make"),
        model: format!("{mark}-model"),
        firmware: format!("{mark}-firmware"),
        serial: None,
        mac: None,
        driver: "asic-rs".to_owned(),
    };
    Event { at: bench.clock.now(), kind: EventKind::Discovered(discovery) }
}

pub fn status_changed(bench: &Bench, endpoint: &str) -> Event {
    let endpoint = endpoint.parse().unwrap();
    let kind = EventKind::StatusChanged { endpoint, from: Some(MinerStatus::Mining), to: MinerStatus::Idle };
    Event { at: bench.clock.now(), kind }
}

pub fn events(bench: &Bench, sequence: i64, events: &[Event]) -> gateway::UploadEventsRequest {
    gateway::UploadEventsRequest {
        payload: encode_events(events),
        captured_at: Some(timestamp(bench.clock.now())),
        sequence,
    }
}

pub fn readings(bench: &Bench, sequence: i64, endpoints: &[&str]) -> gateway::UploadTelemetryRequest {
    let sample = |endpoint: &&str| {
        Sample::status_only(endpoint.parse().unwrap(), bench.clock.now(), MinerStatus::Mining)
    };
    gateway::UploadTelemetryRequest {
        payload: encode_samples(&endpoints.iter().map(sample).collect::<Vec<_>>()),
        captured_at: Some(timestamp(bench.clock.now())),
        sequence,
    }
}

pub fn heartbeat(bench: &Bench) -> gateway::UploadHeartbeatRequest {
    gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    }
}

pub async fn begin(bench: &Bench, api_key: &str, identity: [u8; 32]) -> Result<Bytes, Status> {
    let request = gateway::BeginAuthHandshakeRequest {
        api_key: api_key.to_owned(),
        identity_pubkey: Bytes::copy_from_slice(&identity),
        client_nonce: Bytes::copy_from_slice(&[7; 32]),
    };
    Ok(bench.gateway().begin_auth_handshake(request).await?.challenge)
}

pub async fn identity(agent: &Online) -> [u8; 32] {
    agent.agent.keys.open().await.unwrap().unwrap().identity.public_key()
}

/// Fills an organization. `mark` is in everything that it calls its own.
pub async fn fill(bench: &mut Bench, name: &'static str, user: &'static str, mark: &'static str) -> Side {
    let operators = OperatorServiceClient::new(bench.channel.clone());
    bench.token = operators.login(login(user, PASSWORD)).await.unwrap().session_token;
    let label = format!("{mark}-label");
    let key = fleet::CreateApiKeyRequest { label: label.clone(), ttl: None };
    let api_key = bench.operators().create_api_key(key).await.unwrap().api_key;
    let who = bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    let online = bench.online(&format!("{mark}-online")).await;
    let begun = bench.online(&format!("{mark}-begun")).await;
    let waiting = bench.waiting(&format!("{mark}-waiting")).await;
    let unused = bench.code().await;

    let gateway = bench.gateway_as(&online.token);
    let rigs = [endpoint(mark, 1), endpoint(mark, 2), SHARED.to_owned()];
    let seen: Vec<Event> = rigs.iter().map(|rig| discovered(bench, rig, mark)).collect();
    gateway.upload_events(futures::stream::iter([events(bench, 1, &seen)])).await.unwrap();
    let listed = bench.devices().list_devices(fleet::ListDevicesRequest::default()).await.unwrap().devices;
    let id = |endpoint: &str| listed.iter().find(|device| device.endpoint == endpoint).unwrap().device_id;
    let [paired, unpaired, shared] = [id(&rigs[0]), id(&rigs[1]), id(SHARED)];
    let pair =
        fleet::PairDevicesRequest { agent_id: online.agent_id, device_ids: vec![paired, shared], all: false };
    bench.devices().pair_devices(pair).await.unwrap();
    let stored = gateway.upload_telemetry(futures::stream::iter([readings(bench, 1, &[&rigs[0], SHARED])]));
    assert_eq!(stored.await.unwrap().accepted_count, 1);
    let changed = events(bench, 2, &[status_changed(bench, &rigs[0])]);
    gateway.upload_events(futures::stream::iter([changed])).await.unwrap();
    gateway.upload_heartbeat(heartbeat(bench)).await.unwrap();
    let mut control = gateway.control_stream().await.unwrap();
    let hello = gateway::ControlHello { agent_version: format!("{mark}-version") };
    control.send(gateway::ControlStreamRequest { kind: Some(ask::Kind::Hello(hello)) }).await.unwrap();
    control.message().await.unwrap().unwrap();
    let challenge = begin(bench, &begun.api_key, identity(&begun).await).await.unwrap();

    let marks = [mark.to_uppercase(), mark.to_owned(), name.to_owned(), user.to_owned()]
        .into_iter()
        .chain([who.org_id, who.user_id].map(|id| id.to_string()))
        .chain([online.agent_id, begun.agent_id, waiting.agent_id].map(|id| id.to_string()))
        .chain([online.enrollment_id, begun.enrollment_id].map(|id| id.to_string()))
        .chain([waiting.code.pending_enrollment_id, unused.pending_enrollment_id].map(|id| id.to_string()))
        .chain([&api_key, &online.api_key, &begun.api_key].map(|key| key[6..14].to_owned()))
        .chain([online.fingerprint, begun.fingerprint].map(|fingerprint| fingerprint.to_string()));
    let marks = marks.collect();
    Side {
        name,
        user,
        token: bench.token.clone(),
        api_key,
        org_id: who.org_id.to_string(),
        user_id: who.user_id.to_string(),
        waiting,
        online,
        begun,
        challenge,
        unused_code: unused.code,
        unused_enrollment: unused.pending_enrollment_id,
        paired,
        unpaired,
        shared,
        marks,
        _control: control,
    }
}

/// A server with two organizations, the second made while it runs.
pub async fn two() -> (Bench, Side, Side) {
    let mut bench = Bench::start(Mode::Server).await;
    let host = Host::open(
        config(bench.directory.path(), Mode::Server),
        bench.clock.clone(),
        Arc::new(SeededRandom::new(2)),
    );
    let host = host.await.unwrap();
    let zoe = host.new_account("zoe.walker", Zeroizing::new(PASSWORD.to_owned())).await.unwrap();
    host.create(Name::new("Zenith Hash").unwrap(), zoe).await.unwrap();
    host.close().await;
    let first = fill(&mut bench, "Acme Mining", "alice", "quokka").await;
    let second = fill(&mut bench, "Zenith Hash", "zoe.walker", "wombat").await;
    (bench, first, second)
}
