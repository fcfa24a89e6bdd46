//! The clients of others against a real server: connect-node, Python's grpcio, `buf curl`; and what probes and `buf
//! lint` say. The clients are installed from their registries, once; where that cannot be, the test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

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
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::process::Command;
use wire_support::{Bench, Online, PASSWORD, Refused, http1, json as call_json};

/// The longest that a client may take, and an installation.
const CLIENT_WITHIN: Duration = Duration::from_secs(120);
const INSTALL_WITHIN: Duration = Duration::from_secs(300);

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

/// The directory of the scripts.
fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join("interop")
}

fn protos() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fleet-proto").canonicalize().unwrap()
}

fn descriptors() -> PathBuf {
    protos().join("src/generated/descriptors.bin")
}

/// Not eprintln!, which is shown only for tests that fail.
fn skipped(what: &str, why: &str) {
    let text = format!("SKIPPED: {what}: {}\n", why.lines().next().unwrap_or("for no reason"));
    io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Runs a program to its end; `None` if there is no such program.
async fn run(command: &mut Command, within: Duration) -> Option<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let ended = tokio::time::timeout(within, child.wait_with_output()).await;
    Some(ended.unwrap_or_else(|_| panic!("it did not end within {within:?}: {command:?}")).unwrap())
}

/// What it printed, if it succeeded.
fn printed(what: &str, output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    out
}

/// Installs what `files` pin into a directory that the next run finds again. The error says why it cannot be.
async fn installed(
    name: &str,
    files: &[&str],
    steps: impl FnOnce(&Path) -> Vec<Command>,
) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    fs::create_dir_all(&root).unwrap();
    let directory = root.join(name);
    // Tests run side by side, as processes too.
    let lock = File::create(root.join(format!("{name}.lock"))).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    let wanted: String = files.iter().map(|file| fs::read_to_string(scripts().join(file)).unwrap()).collect();
    // Written last: half an installation is none.
    let marker = directory.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir(&directory).unwrap();
    for file in files {
        fs::copy(scripts().join(file), directory.join(file)).unwrap();
    }
    for mut step in steps(&directory) {
        let program = step.as_std().get_program().to_string_lossy().into_owned();
        let Some(output) = run(step.current_dir(&directory), INSTALL_WITHIN).await else {
            return Err(format!("there is no {program}"));
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!text.contains("EUSAGE"), "package-lock.json is not that of package.json: {text}");
            let is_error =
                |line: &&str| ["npm error", "ERROR", "Error"].iter().any(|start| line.starts_with(start));
            let mut lines = text.lines().filter(is_error);
            let says = lines.next().unwrap_or("it does not say why");
            return Err(format!("it cannot be installed: {says}"));
        }
    }
    fs::write(marker, wanted).unwrap();
    drop(lock);
    Ok(directory)
}

async fn node() -> Result<PathBuf, String> {
    let mut version = Command::new("node");
    let Some(version) = run(version.arg("--version"), CLIENT_WITHIN).await else {
        return Err("there is no node".to_owned());
    };
    let version = printed("node --version", &version);
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 20) {
        return Err(format!("node must be 20 or later, and is {version}"));
    }
    installed("node", &["package.json", "package-lock.json"], |_| {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.args(["--fetch-retries=1", "--fetch-timeout=30000"]);
        vec![npm]
    })
    .await
}

async fn python() -> Result<PathBuf, String> {
    installed("python", &["requirements.txt"], |directory| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "venv"]);
        let mut pip = Command::new(directory.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--retries=1", "--timeout=30", "--only-binary=:all:"]);
        pip.args(["--disable-pip-version-check", "--no-deps", "-r", "requirements.txt"]);
        vec![venv, pip]
    })
    .await
}

fn buf(node: &Path) -> Command {
    let mut buf = Command::new(node.join("node_modules/.bin/buf"));
    buf.env("BUF_CACHE_DIR", node.join("buf-cache"));
    buf
}

/// A server, and the session of an agent that kept to the protocol.
struct Given {
    bench: Bench,
    agent: Online,
}

impl Given {
    async fn new() -> Self {
        let bench = Bench::start(Mode::Server).await;
        let agent = bench.online("agent").await;
        Self { bench, agent }
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
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("connect-node", &why),
    };
    let given = Given::new().await;
    // Modules are looked for beside the script.
    fs::copy(scripts().join("clients.mjs"), node.join("clients.mjs")).unwrap();
    let mut command = Command::new("node");
    command.arg(node.join("clients.mjs")).arg(given.file());
    let output = run(&mut command, CLIENT_WITHIN).await.unwrap();
    let said = printed("connect-node", &output);

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
    let python = match python().await {
        Ok(python) => python,
        Err(why) => return skipped("grpcio", &why),
    };
    let given = Given::new().await;
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
        command.arg(format!("http://{}/{procedure}", self.given.bench.address));
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

#[tokio::test]
async fn buf_curl_calls_in_every_protocol() {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf curl", &why),
    };
    let given = Given::new().await;
    let ways: [(&str, &[&str]); 5] = [
        ("connect-h1", &["--protocol=connect"]),
        ("connect-h2", &["--protocol=connect", "--http2-prior-knowledge"]),
        ("grpc", &["--protocol=grpc"]),
        ("grpcweb-h1", &["--protocol=grpcweb"]),
        ("grpcweb-h2", &["--protocol=grpcweb", "--http2-prior-knowledge"]),
    ];
    let now = given.bench.clock.now();
    let mut sequence = 0;
    for (name, way) in ways {
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
    given.require_seen(&ways.map(|(name, _)| name)).await;
}

#[tokio::test]
async fn connect_go_is_not_called_yet() {
    // Said out loud, so that what is missing stands in every run's list.
    let go = run(Command::new("go").arg("version"), CLIENT_WITHIN).await;
    let why = if go.is_none() { "there is no go" } else { "go is here, and no client is written for it" };
    skipped("connect-go", why);
}

// The .proto files.

#[tokio::test]
async fn buf_lint_finds_nothing() {
    let node = match node().await {
        Ok(node) => node,
        Err(why) => return skipped("buf lint", &why),
    };
    let output = run(buf(&node).arg("lint").current_dir(protos()), CLIENT_WITHIN).await.unwrap();
    assert_eq!(printed("buf lint", &output), "");
    // It can find something: without the exceptions of buf.yaml, the .proto files of others have faults.
    let strict = r#"{"version": "v2", "modules": [{"path": "proto"}, {"path": "vendor"}]}"#;
    let output =
        run(buf(&node).args(["lint", "--config", strict]).current_dir(protos()), CLIENT_WITHIN).await;
    let output = output.unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(found.contains("vendor/grpc/health/v1/health.proto"), "{output:?}");
}
