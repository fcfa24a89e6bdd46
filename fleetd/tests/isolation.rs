//! Two organizations on one server. Every procedure of every service is called with the credentials of the one and with
//! every name, id and token-like value of the other: the answer is that for a value which exists nowhere, nothing of
//! the other organization is in it, and no row of the other organization changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod isolation_support;
mod wire_support;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleet_core::code::SecretHash;
use fleet_proto::agentgateway::v1::{self as gateway, control_stream_request as ask};
use fleet_proto::client::Status;
use fleet_proto::fleet::v1::{self as fleet, OperatorServiceClient};
use fleet_proto::rpc::Code;
use isolation_support::{
    SHARED, Side, begin, endpoint, events, heartbeat, identity, readings, status_changed, two,
};
use serde_json::{Value, json};
use wire_support::{
    Bench, Dump, PASSWORD, eventually, json as call_json, login, public_keys, register, register_with,
    secret_keys, within,
};

/// The values that a request can name: those of an organization, or such as exist nowhere.
#[derive(Debug, Clone)]
struct Values {
    org_id: String,
    org_name: String,
    user: String,
    agents: [String; 3],
    enrollments: [String; 4],
    devices: [String; 3],
    digits: [String; 2],
    endpoint: String,
    agent_name: String,
    identity: [u8; 32],
    challenge: Bytes,
}

impl Values {
    async fn of(side: &Side) -> Self {
        let online = &side.online;
        Self {
            org_id: side.org_id.clone(),
            org_name: side.name.to_owned(),
            user: side.user.to_owned(),
            agents: [side.waiting.agent_id, online.agent_id, side.begun.agent_id].map(|id| id.to_string()),
            enrollments: [
                side.waiting.code.pending_enrollment_id,
                online.enrollment_id,
                side.begun.enrollment_id,
                side.unused_enrollment,
            ]
            .map(|id| id.to_string()),
            devices: [side.paired, side.unpaired, side.shared].map(|id| id.to_string()),
            digits: [side.api_key[6..14].to_owned(), online.api_key[6..14].to_owned()],
            endpoint: String::new(),
            agent_name: online.agent.name.clone(),
            identity: identity(online).await,
            challenge: side.challenge.clone(),
        }
    }

    /// As alike as can be: an id is the next one, so that it sorts the same.
    fn nowhere(like: &Self) -> Self {
        let next = |id: &String| (id.parse::<i64>().unwrap() + 1).to_string();
        Self {
            org_id: next(&like.org_id),
            org_name: "Nowhere".to_owned(),
            user: "nobody".to_owned(),
            agents: like.agents.each_ref().map(next),
            enrollments: like.enrollments.each_ref().map(next),
            devices: like.devices.each_ref().map(|id| (id.parse::<i64>().unwrap() + 7_000_000).to_string()),
            digits: ["0badc0de".to_owned(), "0badcafe".to_owned()],
            endpoint: "sn:NOWHERE-RIG".to_owned(),
            agent_name: "nowhere".to_owned(),
            identity: public_keys(&secret_keys(4711))[0],
            challenge: vec![9; 32].into(),
        }
    }

    /// An answer in which each value that was named is replaced by its place.
    fn blind(&self, answer: &str) -> Value {
        let all = [&self.org_id, &self.org_name, &self.user, &self.agent_name]
            .into_iter()
            .chain(&self.agents)
            .chain(&self.enrollments)
            .chain(&self.digits);
        let mut blind = answer.to_owned();
        for (place, value) in all.enumerate() {
            blind = blind.replace(value.as_str(), &format!("<{place}>"));
        }
        for (place, value) in self.devices.iter().enumerate() {
            blind = blind.replace(&format!("\"{value}\""), &format!("\"<device {place}>\""));
        }
        // In which order a map stands in the text says nothing.
        serde_json::from_str(&blind).unwrap_or(Value::String(blind))
    }
}

/// How two answers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// They are the same but for the values that were named.
    Same,
    /// They hold what is new each time, or depend on how ids sort.
    Free,
}

/// A JSON request of an operator, its answers compared so.
type Asked = (Value, Compare);

/// What an operator of `own` can say about `other`, by procedure; `None` for what is not called in JSON.
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn asked(procedure: &str, own: &Side, other: &Side, it: &Values) -> Option<Vec<Asked>> {
    use Compare::{Free, Same};
    let same = |values: Vec<Value>| values.into_iter().map(|value| (value, Same)).collect::<Vec<_>>();
    let free = |values: Vec<Value>| values.into_iter().map(|value| (value, Free)).collect::<Vec<_>>();
    let fingerprint = other.waiting.enrolling.fingerprint().to_string();
    let own_waiting = own.waiting.agent_id.to_string();
    let own_enrollment = own.waiting.code.pending_enrollment_id.to_string();
    let confirm = |agent: &str, enrollment: &str| json!({"agentId": agent, "pendingEnrollmentId": enrollment, "fingerprint": fingerprint});
    let pages = |tokens: &[String]| -> Vec<Value> {
        tokens.iter().map(|token| json!({"pageToken": token, "pageSize": 1000})).collect()
    };
    let of_agents = |make: &dyn Fn(&String) -> Value| same(it.agents.iter().map(make).collect());
    let of_devices = |make: &dyn Fn(&String) -> Value| same(it.devices.iter().map(make).collect());
    let key = STANDARD.encode([1; 32]);
    let (service, method) = procedure.split_once('/').unwrap();
    Some(match (service, method) {
        ("agentadmin.v1.AgentAdminService", "CreateEnrollmentCode") => {
            // A code's hash is as hard to guess as the code.
            let hash = STANDARD.encode(SecretHash::of(&other.unused_code).as_bytes());
            free(vec![json!({}), json!({"codeSha256": hash})])
        }
        ("agentadmin.v1.AgentAdminService", "CancelEnrollment") => {
            same(it.enrollments.iter().map(|id| json!({"pendingEnrollmentId": id})).collect())
        }
        ("agentadmin.v1.AgentAdminService", "ListEnrollments") => {
            let mut all = vec![(json!({"includeEnded": true}), Free)];
            all.extend(
                it.enrollments.iter().map(|id| (json!({"pageToken": id, "includeEnded": true}), Same)),
            );
            all
        }
        ("agentadmin.v1.AgentAdminService", "ListAgents") => {
            let mut all = vec![(json!({}), Free)];
            all.extend(same(pages(&it.agents)));
            all
        }
        ("agentadmin.v1.AgentAdminService", "GetAgent" | "RevokeAgent") => {
            of_agents(&|id| json!({"agentId": id}))
        }
        ("agentadmin.v1.AgentAdminService", "ConfirmAgent") => {
            let certificate = json!({
                "orgId": it.org_id, "agentId": it.agents[0], "name": it.agent_name, "identityPubkey": key,
                "minerSigningPubkey": key, "sealingPubkey": key, "keyEpoch": "1",
                "issuedAt": "2026-01-01T00:00:00Z", "signature": STANDARD.encode([1; 64]),
            });
            let mut with_certificate = confirm(&it.agents[0], &it.enrollments[0]);
            with_certificate["agentCertificate"] = certificate;
            same(vec![
                confirm(&it.agents[0], &it.enrollments[0]),
                confirm(&it.agents[1], &it.enrollments[1]),
                confirm(&own_waiting, &it.enrollments[0]),
                confirm(&it.agents[0], &own_enrollment),
                with_certificate,
            ])
        }
        ("fleet.v1.OperatorService", "SetUp") => same(vec![json!({
            "setupToken": "x".repeat(43), "organization": it.org_name, "userName": it.user, "password": PASSWORD,
        })]),
        ("fleet.v1.OperatorService", "Login") => same(vec![
            json!({"userName": own.user, "password": PASSWORD, "organization": it.org_name}),
            json!({"userName": own.user, "password": PASSWORD, "organization": it.org_name.to_uppercase()}),
            json!({"userName": own.user, "password": PASSWORD, "organization": it.org_id}),
            json!({"userName": it.user, "password": "not the password"}),
            json!({"userName": it.user, "password": "not the password", "organization": own.name}),
        ]),
        ("fleet.v1.OperatorService", "SelectOrganization") => same(vec![
            json!({"organization": it.org_name}),
            json!({"organization": it.org_name.to_lowercase()}),
            json!({"organization": it.org_id}),
        ]),
        ("fleet.v1.OperatorService", "ChangePassword") => {
            same(vec![json!({"oldPassword": "not the password", "newPassword": PASSWORD})])
        }
        ("fleet.v1.OperatorService", "WhoAmI" | "ListApiKeys") => same(vec![json!({})]),
        ("fleet.v1.OperatorService", "CreateApiKey") => free(vec![json!({"label": "another"})]),
        ("fleet.v1.OperatorService", "RevokeApiKey") => {
            same(it.digits.iter().map(|digits| json!({"digits": digits})).collect())
        }
        // Lines are numbered over all organizations, so that a number of one's own stands for any.
        ("fleet.v1.OperatorService", "ListActivity") => {
            free(vec![json!({"pageSize": 1000}), json!({"pageSize": 1000, "pageToken": "1000000"})])
        }
        ("fleet.v1.DeviceService", "PairDevices") => {
            let own_agent = own.online.agent_id.to_string();
            let own_device = own.unpaired.to_string();
            same(vec![
                json!({"agentId": it.agents[1], "deviceIds": [own_device]}),
                json!({"agentId": it.agents[1], "deviceIds": it.devices}),
                json!({"agentId": it.agents[1], "all": true}),
                json!({"agentId": it.agents[0], "all": true}),
                json!({"agentId": own_agent, "deviceIds": it.devices}),
            ])
        }
        ("fleet.v1.DeviceService", "UnpairDevices") => same(vec![json!({"deviceIds": it.devices})]),
        ("fleet.v1.DeviceService", "ListDevices") => {
            let mut all = of_agents(&|id| json!({"agentId": id, "pageSize": 1000}));
            all.extend(free(pages(&["1".to_owned(), it.devices[0].clone(), it.devices[2].clone()])));
            all.push((json!({"paired": true}), Free));
            all.push((json!({}), Free));
            all
        }
        ("fleet.v1.TelemetryService", "GetLatestReading" | "ListReadings") => {
            of_devices(&|id| json!({"deviceId": id}))
        }
        ("fleet.v1.TelemetryService", "DeviceHistory") => {
            let mut all = of_devices(&|id| json!({"deviceId": id}));
            all.extend(of_devices(&|id| json!({"deviceId": id, "step": "10s"})));
            all
        }
        ("fleet.v1.TelemetryService", "FleetHistory") => {
            let mut all = of_agents(&|id| json!({"agentId": id}));
            all.push((json!({}), Free));
            all
        }
        // Nothing of anybody is named or answered.
        ("grpc.health.v1.Health", "Check") => same(vec![
            json!({}),
            json!({"service": "fleet.v1.DeviceService"}),
            json!({"service": it.org_name}),
        ]),
        ("grpc.health.v1.Health", "List") => same(vec![json!({})]),
        _ => return None,
    })
}

/// Every change is a row of `own`, and none is one of `other`.
fn assert_no_row_of(what: &str, before: &Dump, after: &Dump, own: &Side, other: &Side, allowed: &[&str]) {
    let agents_of = |side: &Side| -> BTreeSet<String> {
        let org = format!("org_id={} ", side.org_id);
        let rows = after.rows("agent").iter().filter(|row| row.contains(&org));
        rows.map(|row| row.split(' ').next().unwrap().trim_start_matches("id=").to_owned()).collect()
    };
    let ids = |side: &Side| -> Vec<String> {
        agents_of(side).into_iter().chain([side.org_id.clone(), side.user_id.clone()]).collect()
    };
    let (own_ids, other_ids) = (ids(own), ids(other));
    for change in before.changes(after) {
        let is_other = other_ids.iter().any(|id| change.contains(id.as_str()));
        let is_own = own_ids.iter().any(|id| change.contains(id.as_str()));
        let is_allowed = allowed.iter().any(|allowed| change.starts_with(allowed));
        assert!(
            is_allowed || (is_own && !is_other),
            "{what}: a row of the other organization changed: {change}"
        );
    }
}

fn assert_no_mark(what: &str, answer: &str, request: &str, other: &Side) {
    for mark in &other.marks {
        // What the caller said itself is no news.
        let is_said = request.contains(mark.as_str());
        assert!(is_said || !answer.contains(mark.as_str()), "{what}: {mark} in {answer}");
    }
    assert!(!answer.contains(&other.unused_code), "{what}");
}

/// The JSON calls of a procedure; whether it is one that is called in JSON.
async fn walk_json(bench: &Bench, procedure: &str, own: &Side, other: &Side) -> bool {
    let theirs = Values::of(other).await;
    let nowhere = Values::nowhere(&theirs);
    let Some(requests) = asked(procedure, own, other, &theirs) else { return false };
    let shadows = asked(procedure, own, other, &nowhere).unwrap();
    for ((request, compare), (shadow, _)) in requests.into_iter().zip(shadows) {
        for (kind, token) in [("login", &own.token), ("api_key", &own.api_key)] {
            let what = format!("{procedure} {request} by {kind} of {}", own.name);
            let before = bench.dump().await;
            let answer = call_json(bench.address, procedure, Some(token), &request.to_string()).await;
            let shadow_answer = call_json(bench.address, procedure, Some(token), &shadow.to_string()).await;
            let after = bench.dump().await;
            assert_no_row_of(&what, &before, &after, own, other, &[]);
            assert_no_mark(&what, &answer.body, &request.to_string(), other);
            assert!(!answer.body.contains("internal"), "{what}: {answer:?}");
            if compare == Compare::Same {
                let seen = (answer.status, theirs.blind(&answer.body));
                let nothing = (shadow_answer.status, nowhere.blind(&shadow_answer.body));
                assert_eq!(seen, nothing, "{what}: it can be told from {shadow}, which exists nowhere");
            }
        }
    }
    true
}

fn outcome<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(status) => format!("{:?}: {}", status.code, status.message),
    }
}

/// The calls of a procedure that are not made in JSON, with values of `other` and such as exist nowhere.
async fn walk_typed(bench: &Bench, procedure: &str, own: &Side, other: &Side, sequence: i64) {
    let rig = endpoint(other.waiting.agent.name.split('-').next().unwrap(), 1);
    let theirs = Values { endpoint: rig, ..Values::of(other).await };
    let nowhere = Values::nowhere(&theirs);
    let gateway = bench.gateway_as(&own.online.token);
    let (mut answers, mut allowed) = (Vec::new(), Vec::new());
    let before = bench.dump().await;
    for (turn, it) in [&theirs, &nowhere].into_iter().enumerate() {
        let sequence = sequence + i64::try_from(turn).unwrap();
        answers.push(match procedure {
            // A sample of a device that another organization's agent owns, or of one that nobody has.
            "agentgateway.v1.AgentGatewayService/UploadTelemetry" => {
                let sent = readings(bench, sequence, &[&it.endpoint]);
                let answer = gateway.upload_telemetry(futures::stream::iter([sent])).await;
                assert_eq!(answer.as_ref().map(|answer| answer.rejected_count), Ok(1), "{answer:?}");
                outcome(answer).replace(&sequence.to_string(), "SEQUENCE")
            }
            "agentgateway.v1.AgentGatewayService/UploadEvents" => {
                let sent = events(bench, sequence, &[status_changed(bench, &it.endpoint)]);
                let answer = gateway.upload_events(futures::stream::iter([sent])).await;
                outcome(answer).replace(&sequence.to_string(), "SEQUENCE")
            }
            "agentgateway.v1.AgentGatewayService/UploadHeartbeat" => {
                outcome(gateway.upload_heartbeat(heartbeat(bench)).await)
            }
            "agentgateway.v1.AgentGatewayService/ControlStream" => {
                let mut stream = bench.gateway_as(&own.begun.token).control_stream().await.unwrap();
                let hello = gateway::ControlHello { agent_version: it.agent_name.clone() };
                let hello = gateway::ControlStreamRequest { kind: Some(ask::Kind::Hello(hello)) };
                stream.send(hello).await.unwrap();
                let accepted = outcome(stream.message().await);
                let ack = gateway::ControlAck { command_id: it.agents[1].clone(), ..Default::default() };
                let ack = gateway::ControlStreamRequest { kind: Some(ask::Kind::Ack(ack)) };
                stream.send(ack).await.unwrap();
                stream.close_send();
                accepted + &outcome(within("the end of the stream", stream.message()).await)
            }
            // A key of another organization's agent proves nothing here.
            "agentgateway.v1.AgentGatewayService/Register" => {
                let keys = secret_keys(10_000 + u64::try_from(sequence).unwrap());
                let mut stolen = public_keys(&keys);
                stolen[0] = it.identity;
                let request =
                    register_with(&bench.code().await.code, "x", stolen, &keys.identity, &keys.miner_signing);
                outcome(bench.gateway().register(request).await)
            }
            "agentgateway.v1.AgentGatewayService/BeginAuthHandshake" => {
                bench.advance(Duration::from_secs(1));
                let own_key = begin(bench, &own.online.api_key, it.identity).await;
                let digits = format!("fleet_{}_{}", it.digits[1], &own.online.api_key[15..]);
                let mixed = begin(bench, &digits, identity(&own.online).await).await;
                outcome(own_key) + &outcome(mixed)
            }
            // Whoever has a challenge has read along; it works once, whatever comes of it (protocol section 5).
            "agentgateway.v1.AgentGatewayService/CompleteAuthHandshake" => {
                allowed = vec!["- agent_auth_challenge:"];
                let signer = own.online.agent.keys.open().await.unwrap().unwrap().identity;
                let signature = signer.sign(&it.challenge).await.unwrap().to_bytes();
                let request = gateway::CompleteAuthHandshakeRequest {
                    challenge: it.challenge.clone(),
                    signature: Bytes::copy_from_slice(&signature),
                };
                outcome(bench.gateway().complete_auth_handshake(request).await)
            }
            // Ends the login that makes the call and no other.
            "fleet.v1.OperatorService/Logout" => {
                let operators = OperatorServiceClient::new(bench.channel.clone());
                let token = operators.login(login(own.user, PASSWORD)).await.unwrap().session_token;
                let call = OperatorServiceClient::new(bench.channel.with_bearer(&token));
                outcome(call.logout(fleet::LogoutRequest {}).await)
            }
            "grpc.health.v1.Health/Watch" => {
                let answer = call_json(bench.address, procedure, Some(&own.token), "{}").await;
                assert_ne!(answer.status, 200);
                answer.status.to_string()
            }
            other => panic!("{other} has no case: say what another organization's values come to there"),
        });
    }
    let after = bench.dump().await;
    assert_no_row_of(procedure, &before, &after, own, other, &allowed);
    let said = format!("{theirs:?}");
    answers.iter().for_each(|answer| assert_no_mark(procedure, answer, &said, other));
    assert_eq!(answers[0], answers[1], "{procedure}: what is another's can be told from what exists nowhere");
}

#[tokio::test]
async fn no_procedure_shows_or_changes_anything_of_another_organization() {
    let (mut bench, first, second) = two().await;
    // A wrong password is in the log of its user's organizations, once a minute: let that be over.
    for user in [first.user, second.user] {
        let call = OperatorServiceClient::new(bench.channel.clone());
        assert_eq!(call.login(login(user, "wrong")).await.unwrap_err().code, Code::Unauthenticated);
    }
    let failed = |line: &&String| line.contains("kind='login_failed'");
    eventually("both failed logins are logged", async || {
        bench.dump().await.rows("activity").iter().filter(failed).count() == 2
    })
    .await;
    let ours = ["agentadmin.v1", "agentgateway.v1", "fleet.v1", "grpc.health.v1"];
    let services = || fleet_proto::DESCRIPTORS.services().filter(|one| ours.contains(&one.package_name()));
    let mut walked = 0;
    for (own, other) in [(&first, &second), (&second, &first)] {
        bench.token.clone_from(&own.token);
        for method in services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let procedure = format!("{}/{}", method.parent_service().full_name(), method.name());
            walked += 1;
            if !walk_json(&bench, &procedure, own, other).await {
                walk_typed(&bench, &procedure, own, other, 100 + 2 * walked).await;
            }
        }
    }
    assert!(walked > 60, "only {walked} procedures were found");
    // What both had is there, and works.
    for side in [&first, &second] {
        bench.token.clone_from(&side.token);
        let gateway = bench.gateway_as(&side.online.token);
        gateway.upload_heartbeat(heartbeat(&bench)).await.expect("the other side ended nothing");
        let agent_id = side.online.agent_id;
        let request = fleet_proto::agentadmin::v1::GetAgentRequest { agent_id };
        assert!(bench.admin().get_agent(request).await.unwrap().agent.unwrap().online);
    }
}

#[tokio::test]
async fn a_name_of_another_organizations_agent_is_free() {
    let (mut bench, first, second) = two().await;
    for (own, other) in [(&first, &second), (&second, &first)] {
        bench.token.clone_from(&own.token);
        let code = bench.code().await.code;
        let keys = secret_keys(10_000 + u64::try_from(own.online.agent_id).unwrap());
        let before = bench.dump().await;
        bench.gateway().register(register(&code, &other.online.agent.name, &keys)).await.unwrap();
        assert_no_row_of("a name", &before, &bench.dump().await, own, other, &[]);
    }
}

/// The one thing that shows: a public key is taken once on a server (protocol section 4), and whoever knows a sealing
/// key, which nobody but its agent and the server has, learns that it is in use.
#[tokio::test]
async fn a_key_of_another_organization_is_in_use_and_no_more_is_said() {
    let (mut bench, first, second) = two().await;
    bench.token.clone_from(&first.token);
    let keys = secret_keys(10_000);
    let mut mixed = public_keys(&keys);
    mixed[2] = second.online.agent.keys.open().await.unwrap().unwrap().sealing.public_key();
    let code = bench.code().await.code;
    let before = bench.dump().await;
    let request = register_with(&code, "mine", mixed, &keys.identity, &keys.miner_signing);
    let refused = bench.gateway().register(request).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (Code::FailedPrecondition, "sealing_pubkey is in use")
    );
    assert_eq!(before.changes(&bench.dump().await), Vec::<String>::new());
}

#[tokio::test]
async fn one_miner_in_two_organizations_is_two_devices() {
    let (mut bench, first, second) = two().await;
    assert_ne!(first.shared, second.shared);
    for (own, other) in [(&first, &second), (&second, &first)] {
        bench.token.clone_from(&own.token);
        let listed = bench.devices().list_devices(fleet::ListDevicesRequest::default()).await.unwrap();
        let shared: Vec<_> = listed.devices.iter().filter(|device| device.endpoint == SHARED).collect();
        assert_eq!(shared.len(), 1);
        assert_eq!((shared[0].device_id, shared[0].agent_id), (own.shared, own.online.agent_id));
        assert_eq!(shared[0].seen_by, [own.online.agent_id]);
        assert!(shared[0].latest.is_some());
        assert_eq!(listed.devices.len(), 3);
        // A reading of it is its own organization's, and the other's is as it was.
        let of_other = |dump: &Dump| -> Vec<String> {
            let id = format!("device_id={} ", other.shared);
            let tables = ["telemetry", "telemetry_latest", "telemetry_rollup"];
            tables
                .iter()
                .flat_map(|table| dump.rows(table))
                .filter(|row| row.contains(&id))
                .cloned()
                .collect()
        };
        let before = of_other(&bench.dump().await);
        bench.advance(Duration::from_secs(1));
        let sent = readings(&bench, 50, &[SHARED]);
        let stored =
            bench.gateway_as(&own.online.token).upload_telemetry(futures::stream::iter([sent])).await;
        assert_eq!(stored.unwrap().accepted_count, 1);
        assert_eq!(of_other(&bench.dump().await), before);
        assert!(!before.is_empty());
    }
}
