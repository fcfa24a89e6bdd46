//! Services and clients over a real socket on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::time::UnixMillis;
use fleet_proto::agentgateway::v1::{self as gateway, control_stream_request, control_stream_response};
use fleet_proto::client::Channel;
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::rpc::{Broken, Code, Context, Incoming, Limits, Outgoing, Status, serve};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Gateway;

impl gateway::AgentGatewayService for Gateway {
    async fn register(
        &self,
        _: Context,
        _: gateway::RegisterRequest,
    ) -> Result<gateway::RegisterResponse, Status> {
        panic!("a handler that panics");
    }

    async fn begin_auth_handshake(
        &self,
        _: Context,
        _: gateway::BeginAuthHandshakeRequest,
    ) -> Result<gateway::BeginAuthHandshakeResponse, Status> {
        Err(Status {
            retry_after: Some(Duration::from_millis(250)),
            ..Status::new(Code::ResourceExhausted, "slowly")
        })
    }

    async fn complete_auth_handshake(
        &self,
        _: Context,
        _: gateway::CompleteAuthHandshakeRequest,
    ) -> Result<gateway::CompleteAuthHandshakeResponse, Status> {
        // Breaks a rule: the client must notice.
        Ok(gateway::CompleteAuthHandshakeResponse { session_token: "short".into(), expires_at: None })
    }

    async fn upload_telemetry(
        &self,
        _: Context,
        mut requests: Incoming<gateway::UploadTelemetryRequest>,
    ) -> Result<gateway::UploadTelemetryResponse, Status> {
        let mut answer = gateway::UploadTelemetryResponse::default();
        while let Some(request) = requests.next().await {
            answer.durable_sequence = request.map_err(Broken::into_status)?.sequence;
            answer.accepted_count += 1;
        }
        Ok(answer)
    }

    async fn upload_events(
        &self,
        _: Context,
        _: Incoming<gateway::UploadEventsRequest>,
    ) -> Result<gateway::UploadEventsResponse, Status> {
        Ok(gateway::UploadEventsResponse::default())
    }

    async fn upload_heartbeat(
        &self,
        _: Context,
        request: gateway::UploadHeartbeatRequest,
    ) -> Result<gateway::UploadHeartbeatResponse, Status> {
        Ok(gateway::UploadHeartbeatResponse { received_at: request.sent_at })
    }

    async fn control_stream(
        &self,
        _: Context,
        mut requests: Incoming<gateway::ControlStreamRequest>,
    ) -> Result<Outgoing<gateway::ControlStreamResponse>, Status> {
        let (mut sender, receiver) = futures::channel::mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let reason = match request {
                    Ok(_) => "good".to_owned(),
                    Err(Broken::Message(status)) => status.message,
                    Err(Broken::Stream(_)) => return,
                };
                let kind = control_stream_response::Kind::Goaway(gateway::ControlGoaway { reason });
                if sender.send(Ok(gateway::ControlStreamResponse { kind: Some(kind) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Box::pin(receiver))
    }
}

struct Telemetry;

impl fleet::TelemetryService for Telemetry {
    async fn get_latest_reading(
        &self,
        _: Context,
        _: fleet::GetLatestReadingRequest,
    ) -> Result<fleet::GetLatestReadingResponse, Status> {
        Ok(fleet::GetLatestReadingResponse::default())
    }

    async fn list_readings(
        &self,
        _: Context,
        _: fleet::ListReadingsRequest,
    ) -> Result<fleet::ListReadingsResponse, Status> {
        Ok(fleet::ListReadingsResponse::default())
    }

    async fn device_history(
        &self,
        _: Context,
        _: fleet::DeviceHistoryRequest,
    ) -> Result<fleet::DeviceHistoryResponse, Status> {
        Ok(fleet::DeviceHistoryResponse::default())
    }

    async fn fleet_history(
        &self,
        _: Context,
        _: fleet::FleetHistoryRequest,
    ) -> Result<fleet::FleetHistoryResponse, Status> {
        Ok(fleet::FleetHistoryResponse::default())
    }
}

async fn start() -> SocketAddr {
    let services = serve(
        vec![
            Box::new(gateway::AgentGatewayServiceServer::new(Arc::new(Gateway))),
            Box::new(fleet::TelemetryServiceServer::new(Arc::new(Telemetry))),
        ],
        Limits::default(),
    )
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let services = services.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let services = services.clone();
                    async move { Ok::<_, std::convert::Infallible>(services.call(request).await) }
                });
                let builder =
                    hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn client(address: SocketAddr) -> gateway::AgentGatewayServiceClient {
    gateway::AgentGatewayServiceClient::new(Channel::new(format!("http://{address}").parse().unwrap(), None))
}

fn now() -> Option<prost_types::Timestamp> {
    Some(timestamp(UnixMillis::new(1_764_000_000_123).unwrap()))
}

#[tokio::test]
async fn calls_go_there_and_back() {
    let client = client(start().await);
    let heartbeat = gateway::UploadHeartbeatRequest { sent_at: now(), agent_version: "0.1.0".into() };
    assert_eq!(client.upload_heartbeat(heartbeat).await.unwrap().received_at, now());

    let uploads = (1..=5).map(|sequence| gateway::UploadTelemetryRequest {
        payload: vec![7; 100_000].into(),
        captured_at: now(),
        sequence,
    });
    let answer = client.upload_telemetry(futures::stream::iter(uploads)).await.unwrap();
    assert_eq!((answer.accepted_count, answer.durable_sequence), (5, 5));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_name_on_either_side() {
    let client = client(start().await);
    let heartbeat = gateway::UploadHeartbeatRequest { sent_at: now(), agent_version: "x".repeat(65) };
    let status = client.upload_heartbeat(heartbeat).await.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument);
    assert_eq!(status.message, "agent_version: must be 1 to 64 characters, got 65");

    let complete = gateway::CompleteAuthHandshakeRequest {
        challenge: vec![1; 32].into(),
        signature: vec![1; 64].into(),
    };
    let status = client.complete_auth_handshake(complete).await.unwrap_err();
    assert_eq!(status.code, Code::DataLoss);
    assert!(status.message.contains("session_token: must be exactly 43 characters, got 5"), "{status}");
}

#[tokio::test]
async fn a_limit_says_when_to_come_back() {
    let client = client(start().await);
    let begin = gateway::BeginAuthHandshakeRequest {
        api_key: "k".repeat(20),
        identity_pubkey: vec![1; 32].into(),
        client_nonce: vec![1; 32].into(),
    };
    let status = client.begin_auth_handshake(begin).await.unwrap_err();
    assert_eq!(status.code, Code::ResourceExhausted);
    // Whole seconds on the wire, rounded up.
    assert_eq!(status.retry_after, Some(Duration::from_secs(1)));
}

#[tokio::test]
async fn a_panic_is_internal_and_the_connection_lives() {
    let client = client(start().await);
    let register = gateway::RegisterRequest {
        enrollment_token: "t".repeat(88),
        name: "a".into(),
        identity_pubkey: vec![1; 32].into(),
        miner_signing_pubkey: vec![2; 32].into(),
        sealing_pubkey: vec![3; 32].into(),
        identity_proof: vec![1; 64].into(),
        miner_signing_proof: vec![1; 64].into(),
    };
    assert!(!format!("{register:?}").contains("tttt"), "a code in Debug");
    let status = client.register(register).await.unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (Code::Internal, "internal error"));
    let heartbeat = gateway::UploadHeartbeatRequest { sent_at: now(), agent_version: "0.1.0".into() };
    client.upload_heartbeat(heartbeat).await.unwrap();
}

#[tokio::test]
async fn a_bad_message_does_not_end_a_stream() {
    let mut stream = client(start().await).control_stream().await.unwrap();
    let hello = |agent_version: &str| gateway::ControlStreamRequest {
        kind: Some(control_stream_request::Kind::Hello(gateway::ControlHello {
            agent_version: agent_version.into(),
        })),
    };
    for (request, expected) in [
        (gateway::ControlStreamRequest { kind: None }, "kind: is required"),
        (hello(""), "hello.agent_version: must be 1 to 64 characters, got 0"),
        (hello("1"), "good"),
    ] {
        stream.send(request).await.unwrap();
        let answer = stream.message().await.unwrap().unwrap();
        let Some(control_stream_response::Kind::Goaway(goaway)) = answer.kind else { panic!("{answer:?}") };
        assert_eq!(goaway.reason, expected);
    }
    stream.close_send();
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn an_unknown_json_field_is_refused_on_operator_services_only() {
    let address = start().await;
    let heartbeat = r#"{"sentAt": "2026-01-01T00:00:00Z", "agentVersion": "1", "colour": "blue"}"#;
    let (status, body) =
        post(address, "agentgateway.v1.AgentGatewayService/UploadHeartbeat", heartbeat).await;
    assert_eq!((status, body.as_str()), (200, r#"{"receivedAt":"2026-01-01T00:00:00Z"}"#));

    let path = "fleet.v1.TelemetryService/GetLatestReading";
    assert_eq!(post(address, path, r#"{"deviceId": "1"}"#).await.0, 200);
    let (status, body) = post(address, path, r#"{"deviceId": "1", "colour": "blue"}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("invalid_argument") && body.contains("colour"), "{body}");
    let (status, body) = post(address, path, r#"{"deviceId": "0"}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("device_id: must be 1 to 9007199254740991, got 0"), "{body}");
    assert_eq!(post(address, path, "{} {}").await.0, 400);
}

/// A call as curl makes it: HTTP/1.1 and JSON.
async fn post(address: SocketAddr, path: &str, json: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
