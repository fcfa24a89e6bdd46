//! Messages and their fields.

use super::callers::operator_procedures;
use super::*;

#[tokio::test]
async fn a_field_that_is_not_known_is_refused_to_operators_and_passed_over_for_agents() {
    let bench = Bench::start(Mode::Server).await;
    let agent = bench.online("agent").await;
    for procedure in operator_procedures()
        .into_iter()
        .chain(["fleet.v1.OperatorService/Login", "fleet.v1.OperatorService/SetUp"])
    {
        let call = async {
            let answer = json(bench.address, procedure, Some(&bench.token), r#"{"agnt_id": 1}"#).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.refusal()) }
        };
        let expected = Refused::invalid(&["agnt_id"]);
        bench.refused(&format!("{procedure} with a field that is not known"), &expected, call).await;
    }
    // A newer agent may say more than this server knows.
    let procedure = "agentgateway.v1.AgentGatewayService/UploadHeartbeat";
    let message =
        r#"{"sent_at": "2026-01-01T00:00:00Z", "agent_version": "9.9.9", "battery": {"percent": 5}}"#;
    let answer = json(bench.address, procedure, Some(&agent.token), message).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let listed = bench.admin().get_agent(admin::GetAgentRequest { agent_id: agent.agent_id }).await.unwrap();
    assert_eq!(listed.agent.unwrap().agent_version, "9.9.9");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let bench = Bench::start(Mode::Server).await;
    let who = "fleet.v1.OperatorService/WhoAmI";
    let path = format!("/{who}");
    let bearer = format!("Bearer {}", bench.token);
    for (what, kind, body) in [
        ("half of a JSON object", "application/json", &b"{"[..]),
        ("JSON and more", "application/json", b"{} {}"),
        ("a JSON list", "application/json", b"[]"),
        ("a wire type that there is not", "application/proto", b"\x07"),
        ("a length beyond the end", "application/proto", b"\x0a\x7f"),
    ] {
        let headers = [("content-type", kind), ("authorization", bearer.as_str())];
        let call = async {
            let answer = http1(bench.address, "POST", &path, &headers, body).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.refusal()) }
        };
        bench.refused(what, &Refused::invalid(&["the message is not valid"]), call).await;
    }
}
