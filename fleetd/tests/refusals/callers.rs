//! Who may call what, and until when.

use super::*;

const OPEN: [&str; 5] = [
    "agentgateway.v1.AgentGatewayService/Register",
    "agentgateway.v1.AgentGatewayService/BeginAuthHandshake",
    "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake",
    "fleet.v1.OperatorService/SetUp",
    "fleet.v1.OperatorService/Login",
];

fn agent_procedures() -> Vec<&'static str> {
    AGENT_GATEWAY_SERVICE_PROCEDURES.into_iter().filter(|procedure| !OPEN.contains(procedure)).collect()
}

pub(super) fn operator_procedures() -> Vec<&'static str> {
    let services: [&[&'static str]; 4] = [
        &AGENT_ADMIN_SERVICE_PROCEDURES,
        &OPERATOR_SERVICE_PROCEDURES,
        &DEVICE_SERVICE_PROCEDURES,
        &TELEMETRY_SERVICE_PROCEDURES,
    ];
    services.into_iter().flatten().copied().filter(|procedure| !OPEN.contains(procedure)).collect()
}

/// A call with `{}` as its message, failed or not.
async fn call_json(bench: &Bench, procedure: &str, token: Option<&str>) -> Result<(), Status> {
    let answer = json(bench.address, procedure, token, "{}").await;
    let refusal = (answer.status != 200).then(|| answer.refusal());
    if refusal.as_ref().is_some_and(|status| status.code == Code::Unauthenticated) {
        assert_eq!(answer.status, 401, "{procedure}");
    }
    refusal.map_or(Ok(()), Err)
}

#[tokio::test]
async fn every_procedure_is_refused_to_everybody_else() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let label = fleet::CreateApiKeyRequest { label: "script".to_owned(), ttl: None };
    let script = bench.operators().create_api_key(label).await.unwrap().api_key;
    assert_eq!((agent_procedures().len(), operator_procedures().len()), (4, 22));

    let garbage = "x".repeat(43);
    let nobodys = [
        ("no token", None),
        ("an empty token", Some("")),
        ("a token of the right form that was never made", Some(garbage.as_str())),
        ("an enrollment code", Some(agent.code.as_str())),
        ("an agent's api_key", Some(agent.api_key.as_str())),
    ];
    let of_agent = [("an agent's session token", Some(agent.token.as_str()))];
    let of_operator =
        [("an operator's login", Some(bench.token.as_str())), ("a user's api_key", Some(&script))];
    let no = Refused::unauthenticated();
    for (procedures, wrong) in
        [(agent_procedures(), of_operator.as_slice()), (operator_procedures(), of_agent.as_slice())]
    {
        for procedure in procedures {
            for (what, token) in nobodys.iter().chain(wrong) {
                let call = call_json(&bench, procedure, *token);
                bench.refused(&format!("{procedure} with {what}"), &no, call).await;
            }
        }
    }
    // The walk is no walk of closed doors: the right tokens open them.
    for (procedures, token) in [(agent_procedures(), &agent.token), (operator_procedures(), &script)] {
        for procedure in procedures {
            let path = format!("/{procedure}");
            let bearer = format!("bearer {token}");
            let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
            let answer = http1(bench.address, "POST", &path, &headers, b"{}").await;
            assert!(answer.status != 401 && answer.status != 404, "{procedure}: {answer:?}");
        }
    }
    let basic = [("content-type", "application/json"), ("authorization", &format!("Basic {}", bench.token))];
    let answer = http1(bench.address, "POST", "/fleet.v1.OperatorService/WhoAmI", &basic, b"{}").await;
    assert_eq!(answer.status, 401, "another scheme than Bearer");
}

#[tokio::test]
async fn a_refusal_before_the_body_speaks_the_callers_protocol() {
    let bench = Bench::start(Mode::Server).await;
    for procedure in agent_procedures().into_iter().chain(operator_procedures()) {
        let path = format!("/{procedure}");
        let post = async |kind: &str| {
            http1(bench.address, "POST", &path, &[("content-type", kind), ("te", "trailers")], &[0; 5]).await
        };
        for kind in ["application/proto", "application/json"] {
            let answer = post(kind).await;
            assert_eq!(answer.status, 401, "{procedure} {kind}");
            Refused::unauthenticated().judge(procedure, &answer.refusal());
        }
        for kind in ["application/connect+proto", "application/connect+json"] {
            let answer = post(kind).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{procedure}");
            assert!(answer.body.contains("\"unauthenticated\""), "{procedure} {kind}: {answer:?}");
        }
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"] {
            let answer = post(kind).await;
            let status = if answer.body.contains("grpc-status") {
                answer.body.contains("grpc-status: 16") || answer.body.contains("grpc-status:16")
            } else {
                answer.header("grpc-status") == "16"
            };
            assert!(answer.status == 200 && status, "{procedure} {kind}: {answer:?}");
        }
    }
}

fn heartbeat(bench: &Bench) -> gateway::UploadHeartbeatRequest {
    use fleet_core::time::Clock as _;
    gateway::UploadHeartbeatRequest {
        sent_at: Some(timestamp(bench.clock.now())),
        agent_version: "0.1.0".to_owned(),
    }
}

fn upload(sequence: i64) -> gateway::UploadTelemetryRequest {
    let at = fleet_core::time::UnixMillis::new(1_767_225_600_000).unwrap();
    let rig = "sn:RIG1".parse().unwrap();
    let sample =
        fleet_core::telemetry::Sample::status_only(rig, at, fleet_core::telemetry::MinerStatus::Mining);
    gateway::UploadTelemetryRequest {
        payload: fleet_proto::convert::encode_samples(&[sample]),
        captured_at: Some(timestamp(at)),
        sequence,
    }
}

fn hello() -> gateway::ControlStreamRequest {
    let hello = gateway::ControlHello { agent_version: "0.1.0".to_owned() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Hello(hello)) }
}

fn ack() -> gateway::ControlStreamRequest {
    let ack = gateway::ControlAck { command_id: "c".to_owned(), ..gateway::ControlAck::default() };
    gateway::ControlStreamRequest { kind: Some(ask::Kind::Ack(ack)) }
}

#[tokio::test]
async fn a_revoked_agent_is_cut_off_in_the_middle_and_stores_nothing_more() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    gateway.upload_heartbeat(heartbeat(&bench)).await.unwrap();
    let mut control = gateway.control_stream().await.unwrap();
    control.send(hello()).await.unwrap();
    let first = control.message().await.unwrap().unwrap();
    assert!(matches!(first.kind, Some(answer::Kind::Accepted(_))), "{first:?}");
    let (mut sender, messages) = futures::channel::mpsc::channel(4);
    let uploading = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.upload_telemetry(messages).await }
    });
    sender.try_send(upload(1)).unwrap();
    bench.until("the first message is dealt with", |dump| dump.rows("upload_position").len() == 1).await;

    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: agent.agent_id }).await.unwrap();
    let revoked = bench.dump().await;
    assert!(revoked.rows("agent_session").is_empty() && revoked.rows("agent_auth_challenge").is_empty());
    let goaway = within("goaway", control.message()).await.unwrap().unwrap();
    match goaway.kind {
        Some(answer::Kind::Goaway(goaway)) => assert_eq!(goaway.reason, "the agent was revoked"),
        other => panic!("the control stream of a revoked agent: {other:?}"),
    }
    let no = Refused::unauthenticated();
    no.judge(
        "the control stream of a revoked agent",
        &within("the end of the stream", control.message()).await.unwrap_err(),
    );
    // Whatever it still sends comes too late.
    let _ = sender.try_send(upload(2));
    no.judge(
        "the upload of a revoked agent",
        &within("the end of the upload", uploading).await.unwrap().unwrap_err(),
    );
    bench.refused("the heartbeat of a revoked agent", &no, gateway.upload_heartbeat(heartbeat(&bench))).await;
    let call = gateway.upload_telemetry(futures::stream::iter([upload(3)]));
    bench.refused("a new upload of a revoked agent", &no, call).await;
    let call = async {
        let mut stream = gateway.control_stream().await?;
        stream.send(hello()).await?;
        stream.message().await
    };
    bench.refused("a new control stream of a revoked agent", &no, call).await;
    assert_eq!(revoked.changes(&bench.dump().await), [""; 0], "something was stored after the revocation");

    // Register's repeat may say so, and says nothing else.
    bench.advance(seconds(2));
    let repeat = register(&agent.code, "agent", &secret_keys(1));
    let call = bench.gateway();
    let call = call.register(repeat);
    bench.refused("somebody else under its code", &no.leaving(Trace::SecondUse), call).await;
}

#[tokio::test]
async fn a_session_that_is_over_opens_nothing() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    let gateway = bench.gateway_as(&agent.token);
    let no = Refused::unauthenticated();
    let mut control = gateway.control_stream().await.unwrap();
    control.send(hello()).await.unwrap();
    control.message().await.unwrap().unwrap();
    bench.advance(seconds(3600));
    bench
        .refused("the heartbeat of a session that is over", &no, gateway.upload_heartbeat(heartbeat(&bench)))
        .await;
    let call = gateway.upload_telemetry(futures::stream::iter([upload(1)]));
    bench.refused("an upload of a session that is over", &no, call).await;
    // Each message is judged anew.
    let call = async {
        control.send(ack()).await?;
        control.message().await
    };
    bench.refused("a message on a stream whose session is over", &no, call).await;
}
