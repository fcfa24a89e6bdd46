//! The clients of others against a real server: connect-node, connect-go, Python's grpcio, `buf curl`; and what probes
//! see. The clients are installed from their registries, once; where that cannot be, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod interop_support;
mod wire_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_core::telemetry::{Discovery, Event, EventKind};
use fleet_core::time::Clock as _;
use fleet_proto::convert::encode_events;
use fleet_proto::fleet::v1 as fleet;
use fleet_proto::grpc::health::v1::health_check_response::ServingStatus;
use fleet_proto::grpc::health::v1::{HealthCheckRequest, HealthClient, HealthListRequest};
use fleet_proto::rpc::Code;
use fleetd::config::Mode;
use interop_support::{CLIENT_WITHIN, buf, descriptors, node, printed, python, run, scripts, skipped};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::process::Command;
use wire_support::{Bench, Online, PASSWORD, Refused, http1, json as call_json, tls_file};

// Health.

#[tokio::test]
async fn probes_need_no_credentials_and_see_the_database_go_and_come_back() {
    let bench = Bench::start(Mode::Server).await;
    let client = HealthClient::new(bench.channel.clone());
    let check = async |service: &str| {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await;
        answer.map(|answer| answer.status())
    };
    let services = [
        "",
        "agentadmin.v1.AgentAdminService",
        "agentgateway.v1.AgentGatewayService",
        "fleet.v1.DeviceService",
        "fleet.v1.OperatorService",
        "fleet.v1.TelemetryService",
        "grpc.health.v1.Health",
    ];
    let all = async |status: ServingStatus| {
        for service in services {
            assert_eq!(check(service).await, Ok(status), "{service:?}");
        }
        let listed = client.list(HealthListRequest {}).await.unwrap().statuses;
        let mut names: Vec<_> = listed.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, services);
        assert!(listed.values().all(|answer| answer.status() == status), "{listed:?}");
    };
    all(ServingStatus::Serving).await;
    for unknown in ["fleet.v1.Nothing", "fleet.v1", " ", "fleet.v1.operatorservice"] {
        let status = check(unknown).await.unwrap_err();
        Refused::with(Code::NotFound, &["no such service"]).judge(unknown, &status);
    }

    let path = bench.directory.path().join("data").join("fleet.db");
    let tables = Database::connect(format!("sqlite://{}?mode=rw", path.display())).await.unwrap();
    tables.execute_unprepared("ALTER TABLE organization RENAME TO elsewhere").await.unwrap();
    all(ServingStatus::NotServing).await;
    let page = http1(bench.address, "GET", "/healthz", &[], b"").await;
    assert_eq!(page.status, 503, "the page says the same: {page:?}");
    tables.execute_unprepared("ALTER TABLE elsewhere RENAME TO organization").await.unwrap();
    all(ServingStatus::Serving).await;
}

#[tokio::test]
async fn what_a_probe_may_send_is_small() {
    let bench = Bench::start(Mode::Server).await;
    let before = bench.dump().await;
    let check = async |service: &str| {
        let message = format!(r#"{{"service": "{service}"}}"#);
        call_json(bench.address, "grpc.health.v1.Health/Check", None, &message).await
    };
    let fits = check(&"x".repeat(16 * 1024 - 20)).await;
    assert_eq!(fits.refusal().code, Code::NotFound, "{fits:?}");
    let large = check(&"x".repeat(16 * 1024)).await;
    assert_eq!(large.refusal().code, Code::ResourceExhausted, "{large:?}");
    let served = check("").await;
    assert_eq!((served.status, served.body.as_str()), (200, r#"{"status":"SERVING"}"#));
    assert_eq!(before.changes(&bench.dump().await), [""; 0], "a probe stores nothing");
}

// The clients of others.

/// A server, and the session of an agent that kept to the protocol.
struct Given {
    bench: Bench,
    agent: Online,
    tls: bool,
}

impl Given {
    async fn new(tls: bool) -> Self {
        let bench =
            if tls { Bench::start_with_tls(Mode::Server).await } else { Bench::start(Mode::Server).await };
        let agent = bench.online("agent").await;
        Self { bench, agent, tls }
    }

    /// What a client needs to know, in a file.
    fn file(&self) -> PathBuf {
        let given = json!({
            "address": self.bench.address.to_string(),
            "user": "alice",
            "organization": "Acme Mining",
            "password": PASSWORD,
            "session": self.agent.token,
            "now_ms": self.bench.clock.now().value(),
            "descriptors": descriptors(),
            "ca": self.tls.then(|| tls_file("ca.pem")),
        });
        let path = self.bench.directory.path().join("given.json");
        fs::write(&path, given.to_string()).unwrap();
        path
    }

    /// Requires that the server has seen what the clients of these names uploaded, and nothing else.
    async fn require_seen(&self, names: &[&str]) {
        let request = fleet::ListDevicesRequest::default();
        let devices = self.bench.devices().list_devices(request).await.unwrap().devices;
        let mut found: Vec<_> = devices.iter().map(|device| device.endpoint.clone()).collect();
        found.sort();
        let mut expected: Vec<_> = names.iter().map(|name| format!("sn:{name}")).collect();
        expected.sort();
        assert_eq!(found, expected);
        assert!(devices.iter().all(|device| device.seen_by == [self.agent.agent_id]), "{devices:?}");
    }
}

#[tokio::test]
async fn connect_node_calls_in_every_protocol() {
    connect_node(false).await;
}

#[tokio::test]
async fn connect_node_calls_in_every_protocol_over_tls() {
    connect_node(true).await;
}

async fn connect_node(tls: bool) {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("connect-node", &why),
    };
    let given = Given::new(tls).await;
    // Modules are looked for beside the script.
    fs::copy(scripts().join("clients.mjs"), node.join("clients.mjs")).unwrap();
    let mut command = Command::new("node");
    command.arg(node.join("clients.mjs")).arg(given.file());
    let output = run(&mut command, CLIENT_WITHIN).await.unwrap();
    require_every_way(&printed("connect-node", &output), &given).await;
}

#[tokio::test]
async fn connect_go_calls_in_every_protocol() {
    connect_go(false).await;
}

#[tokio::test]
async fn connect_go_calls_in_every_protocol_over_tls() {
    connect_go(true).await;
}

async fn connect_go(tls: bool) {
    let built = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let client = match interop_support::connect_go(built.path()).await {
        Ok(client) => client,
        Err(why) => return skipped("connect-go", &why),
    };
    let given = Given::new(tls).await;
    let output = run(Command::new(client).arg(given.file()), CLIENT_WITHIN).await.unwrap();
    require_every_way(&printed("connect-go", &output), &given).await;
}

/// Requires that a client of Connect has called in all of its ways: HTTP/1.1 has no two directions at once.
async fn require_every_way(said: &str, given: &Given) {
    let both_ways = ["connect-h2", "connect-h2-json", "grpc-h2", "grpc-h2-json", "grpc-web-h2"];
    let one_way = ["connect-h1", "connect-h1-json", "grpc-web-h1"];
    let mut expected = Vec::new();
    for name in both_ways.iter().chain(&one_way) {
        expected.extend(["unary", "refused", "health", "upload"].map(|step| format!("{name} {step}")));
    }
    expected.extend(both_ways.iter().map(|name| format!("{name} control")));
    expected.sort();
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, expected);
    given.require_seen(&[&both_ways[..], &one_way].concat()).await;
}

#[tokio::test]
async fn grpcio_calls_and_reads_the_reflection() {
    grpcio(false).await;
}

#[tokio::test]
async fn grpcio_calls_and_reads_the_reflection_over_tls() {
    grpcio(true).await;
}

async fn grpcio(tls: bool) {
    let python = match python().await {
        Ok(python) => python,
        Err(why) => return skipped("grpcio", &why),
    };
    let given = Given::new(tls).await;
    let mut command = Command::new(python.join("venv/bin/python"));
    command.arg("-B").arg(scripts().join("clients.py")).arg(given.file());
    let output = run(&mut command, CLIENT_WITHIN).await.unwrap();
    let said = printed("grpcio", &output);
    let steps = ["unary", "refused", "health", "upload", "control", "reflection"];
    assert_eq!(said.lines().collect::<Vec<_>>(), steps.map(|step| format!("grpcio {step}")));
    given.require_seen(&["grpcio"]).await;
}

/// One call by `buf curl`.
struct Curl<'a> {
    node: &'a Path,
    given: &'a Given,
    way: &'a [&'a str],
}

impl Curl<'_> {
    async fn call(&self, procedure: &str, token: Option<&str>, messages: &[Value]) -> Output {
        let schema = format!("{}#format=binpb", descriptors().display());
        self.call_by(&["--schema", &schema], procedure, token, messages).await
    }

    async fn call_by(
        &self,
        schema: &[&str],
        procedure: &str,
        token: Option<&str>,
        messages: &[Value],
    ) -> Output {
        let mut command = buf(self.node);
        command.arg("curl").args(schema).args(self.way);
        if let Some(token) = token {
            command.arg("--header").arg(format!("Authorization: Bearer {token}"));
        }
        let data: Vec<_> = messages.iter().map(ToString::to_string).collect();
        command.arg("--data").arg(data.join("\n"));
        let scheme = if self.given.tls { "https" } else { "http" };
        command.arg(format!("{scheme}://{}/{procedure}", self.given.bench.address));
        run(&mut command, CLIENT_WITHIN).await.unwrap()
    }

    fn answer(&self, what: &str, output: &Output) -> Value {
        serde_json::from_str(&printed(&format!("{what} {:?}", self.way), output)).unwrap()
    }

    /// The exit code is that of gRPC, shifted.
    fn assert_refused(&self, code: i32, says: &str, output: &Output) {
        assert_eq!(output.status.code(), Some(code << 3), "{:?}: {output:?}", self.way);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(says), "{:?}: {text}", self.way);
    }
}

/// Named ways of calling, each with its options.
type Ways<'a> = [(&'a str, &'a [&'a str])];

#[tokio::test]
async fn buf_curl_calls_in_every_protocol() {
    let ways: &Ways<'_> = &[
        ("connect-h1", &["--protocol=connect"]),
        ("connect-h2", &["--protocol=connect", "--http2-prior-knowledge"]),
        ("grpc", &["--protocol=grpc"]),
        ("grpcweb-h1", &["--protocol=grpcweb"]),
        ("grpcweb-h2", &["--protocol=grpcweb", "--http2-prior-knowledge"]),
    ];
    buf_curl(false, ways).await;
}

#[tokio::test]
async fn buf_curl_calls_in_every_protocol_over_tls() {
    // The version of HTTP is what the two agree on in the TLS handshake.
    let ca = format!("--cacert={}", tls_file("ca.pem").display());
    let ways = ["connect", "grpc", "grpcweb"].map(|name| (name, [format!("--protocol={name}"), ca.clone()]));
    let ways = ways.each_ref().map(|(name, way)| (*name, way.each_ref().map(String::as_str)));
    buf_curl(true, &ways.each_ref().map(|(name, way)| (*name, way.as_slice()))).await;
}

async fn buf_curl(tls: bool, ways: &Ways<'_>) {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf curl", &why),
    };
    let given = Given::new(tls).await;
    let now = given.bench.clock.now();
    let mut sequence = 0;
    for &(name, way) in ways {
        let curl = Curl { node: &node, given: &given, way };
        let login = json!({"userName": "alice", "password": PASSWORD});
        let login = curl.call("fleet.v1.OperatorService/Login", None, &[login]).await;
        let login = curl.answer("login", &login);
        let token = login["sessionToken"].as_str().unwrap();
        let whoami = "fleet.v1.OperatorService/WhoAmI";
        let reflected = ["--reflect", "--reflect-header=*"];
        for schema in [None, Some(&reflected)] {
            let who = match schema {
                None => curl.call(whoami, Some(token), &[json!({})]).await,
                // Which takes HTTP/2, whatever the call takes.
                Some(schema) => curl.call_by(schema, whoami, Some(token), &[json!({})]).await,
            };
            assert_eq!(curl.answer("who am I", &who)["userName"], "alice");
        }
        curl.assert_refused(16, "unauthenticated", &curl.call(whoami, None, &[json!({})]).await);

        let health = "grpc.health.v1.Health/Check";
        let served = curl.call(health, None, &[json!({})]).await;
        assert_eq!(curl.answer("health", &served)["status"], "SERVING");
        let nothing = curl.call(health, None, &[json!({"service": "fleet.v1.Nothing"})]).await;
        curl.assert_refused(5, "no such service", &nothing);

        let discovery = Discovery {
            endpoint: format!("sn:{name}").parse().unwrap(),
            address: "10.0.0.7:80".to_owned(),
            make: String::new(),
            model: String::new(),
            firmware: String::new(),
            serial: None,
            mac: None,
            driver: "proto".to_owned(),
        };
        let payload = encode_events(&[Event { at: now, kind: EventKind::Discovered(discovery) }]);
        let uploads = [1, 2].map(|step| {
            let payload = STANDARD.encode(&payload);
            json!({"payload": payload, "capturedAt": "2026-01-01T00:00:00Z", "sequence": sequence + step})
        });
        sequence += 2;
        let session = Some(given.agent.token.as_str());
        let uploaded = curl.call("agentgateway.v1.AgentGatewayService/UploadEvents", session, &uploads).await;
        let uploaded = curl.answer("upload", &uploaded);
        assert_eq!(
            uploaded,
            json!({"acceptedCount": "2", "durableSequence": sequence.to_string()}),
            "{name}"
        );

        let hello = json!({"hello": {"agentVersion": "0.1.0"}});
        let control = curl.call("agentgateway.v1.AgentGatewayService/ControlStream", session, &[hello]).await;
        assert!(
            curl.answer("control", &control)["accepted"]["serverTime"].is_string(),
            "{name}: {control:?}"
        );
    }
    let names: Vec<_> = ways.iter().map(|(name, _)| *name).collect();
    given.require_seen(&names).await;
}
