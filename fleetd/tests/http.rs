//! What the listeners answer besides calls of agents: pages, health, metrics, and the ways in: HTTP/1.1, HTTP/2
//! without TLS, TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod wire_support;

use std::path::Path;
use std::sync::Arc;

use fleet_core::driver::NoProbe;
use fleet_core::testing::{SeededRandom, VirtualClock};
use fleet_proto::client::Channel;
use fleet_proto::fleet::v1::{self as fleet, OperatorServiceClient};
use fleet_proto::rpc::Code;
use fleetd::config::{Mode, Rate, TlsFiles};
use fleetd::server::{Server, StartError};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire_support::{Answer, Bench, PASSWORD, Refused, config, http1, json, parse, tls_file, trusting};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn get(bench: &Bench, path: &str) -> Answer {
    http1(bench.address, "GET", path, &[], b"").await
}

fn assert_page(what: &str, answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.body.contains(says), "{what}: the page does not say {says:?}: {}", answer.body);
    assert!(!answer.body.contains("<script"), "{what}: pages have no script");
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
        "{what}: {policy}"
    );
    for (header, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(header), value, "{what}: {header}");
    }
}

// Pages.

#[tokio::test]
async fn the_set_up_page_sets_up_once() {
    let mut bench = Bench::unfounded(Mode::Server).await;
    let link = bench.server.set_up_link().unwrap().to_owned();
    let prefix = format!("http://{}/setup/", bench.address);
    assert!(link.starts_with(&prefix), "{link} does not begin with {prefix}");
    let path = format!("/setup/{}", bench.set_up_token());
    let empty = bench.dump().await;

    let page = get(&bench, &path).await;
    assert_page("the form", &page, 200, "<form method=\"post\">");
    assert!(!page.body.contains("role=\"alert\""), "no error before anything was typed");
    let head = http1(bench.address, "HEAD", &path, &[], b"").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""), "HEAD");
    let wrong = format!("/setup/{}", "x".repeat(43));
    assert_page("another token", &get(&bench, &wrong).await, 404, "This link is not valid");
    assert_page("no token", &get(&bench, "/setup/").await, 404, "This link is not valid");
    let put = http1(bench.address, "PUT", &path, &[], b"").await;
    assert_eq!(put.status, 405, "{put:?}");

    let post = async |body: String| http1(bench.address, "POST", &path, &[FORM], body.as_bytes()).await;
    let form = |organization: &str, user: &str, password: &str, again: &str| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("organization", organization).append_pair("user_name", user);
        form.append_pair("password", password).append_pair("again", again).finish()
    };
    for (what, body, says) in [
        ("nothing typed", String::new(), "organization: must be 1 to 255 characters"),
        (
            "a short password",
            form("Acme", "alice", "short", "short"),
            "password: must be 12 to 512 characters, got 5",
        ),
        (
            "two passwords",
            form("Acme", "alice", PASSWORD, "correct horse batterz"),
            "the two passwords differ",
        ),
        ("a name that hides something", form("Acme\u{202e}", "alice", PASSWORD, PASSWORD), "U+202E"),
        (
            "a long name",
            form(&"x".repeat(256), "alice", PASSWORD, PASSWORD),
            "must be 1 to 255 characters, got 256",
        ),
    ] {
        let answer = post(body).await;
        assert_page(what, &answer, 400, says);
        assert!(answer.body.contains("role=\"alert\""), "{what}: the error is not announced");
        assert!(!answer.body.contains(PASSWORD), "{what}: the password stands in the page");
    }
    // What was typed comes back as text, in an attribute as well.
    let evil = "<script>alert('x')</script>\"><b>&";
    let answer = post(form(evil, "\" onfocus=\"x", "short", "short")).await;
    assert_page(
        "markup",
        &answer,
        400,
        "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&gt;&lt;b&gt;&amp;",
    );
    assert!(!answer.body.contains("<b>") && !answer.body.contains("\" onfocus"), "{}", answer.body);
    let large = post(form("Acme", "alice", &"x".repeat(9000), PASSWORD)).await;
    assert_eq!(large.status, 413, "{large:?}");
    assert_eq!(empty.changes(&bench.dump().await), [""; 0], "no refusal stored anything");
    assert_eq!(get(&bench, &path).await.status, 200, "no refusal used the link up");

    let done = post(form("Acme <Mining>", "alice", PASSWORD, PASSWORD)).await;
    assert_page("success", &done, 200, "Acme &lt;Mining&gt; is set up");
    let founded = bench.dump().await;
    assert_page("the used link", &get(&bench, &path).await, 404, "This link is not valid");
    let again = post(form("Acme", "mallory", PASSWORD, PASSWORD)).await;
    assert_page("a second set-up", &again, 404, "This link is not valid");
    assert_eq!(founded.changes(&bench.dump().await), [""; 0], "a second set-up stored something");
    bench.token = bench.login().await.unwrap();
    let who = bench.operators().who_am_i(fleet::WhoAmIRequest {}).await.unwrap();
    assert_eq!((who.user_name.as_str(), who.organization.as_str()), ("alice", "Acme <Mining>"));
}

#[tokio::test]
async fn every_other_page_is_plain_and_what_is_not_there_is_said() {
    let bench = Bench::start(Mode::Server).await;
    assert_page("the first page", &get(&bench, "/").await, 200, "fleetd login");
    for path in ["/nothing", "/favicon.ico", "/../etc/passwd", "/setup", "//", "/metrics/x"] {
        assert_page(path, &get(&bench, path).await, 404, "no such page");
    }
    let health = get(&bench, "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert_eq!(health.header("content-type"), "text/plain; charset=utf-8");

    for path in [
        "/fleet.v1.OperatorService/Nothing",
        "/fleet.v2.OperatorService/Login",
        "/nothing",
        "/fleet.v1.OperatorService",
    ] {
        let json = ("content-type", "application/json");
        let answer = http1(bench.address, "POST", path, &[json], b"{}").await;
        assert_eq!(answer.status, 501, "{path}: {answer:?}");
        Refused::with(Code::Unimplemented, &["there is no such method"]).judge(path, &answer.refusal());
    }
    // A method that is called as a page is no page.
    let answer = get(&bench, "/fleet.v1.OperatorService/SetUp").await;
    assert!(answer.status >= 400, "{answer:?}");
}

// Metrics.

#[tokio::test]
async fn metrics_are_the_operators_or_on_an_address_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    let mut bench = Bench::with(config, directory).await;
    bench.found().await;
    let agent = bench.online("agent").await;
    let as_token = async |token: &str| {
        let bearer = format!("Bearer {token}");
        http1(bench.address, "GET", "/metrics", &[("authorization", &bearer)], b"").await
    };

    let nobody = get(&bench, "/metrics").await;
    for (what, answer) in [
        ("nobody", nobody),
        ("an agent's session", as_token(&agent.token).await),
        ("an agent's api_key", as_token(&agent.api_key).await),
        ("garbage", as_token("x").await),
    ] {
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{what}: {answer:?}");
        assert!(!answer.body.contains("fleetd_"), "{what} sees metrics");
    }
    let label = fleet::CreateApiKeyRequest { label: "prometheus".to_owned(), ttl: None };
    let script = bench.operators().create_api_key(label).await.unwrap().api_key;
    let own = bench.server.metrics_address().unwrap();
    assert_ne!(own, bench.address);
    let scraped = http1(own, "GET", "/metrics", &[], b"").await;
    for (what, answer) in [
        ("a login", as_token(&bench.token).await),
        ("a user's api_key", as_token(&script).await),
        ("the address of its own", scraped),
    ] {
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        assert!(
            answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"),
            "{what}"
        );
        assert!(answer.body.ends_with("# EOF\n"), "{what}: {}", answer.body);
        for line in [
            "fleetd_calls_total{procedure=\"agentgateway.v1.AgentGatewayService/Register\",status=\"200\"} 2",
            "fleetd_start_time_seconds 1767225600",
            "fleetd_streams_open{kind=\"control\"} 0",
        ] {
            assert!(answer.body.lines().any(|found| found == line), "{what}: no {line:?} in {}", answer.body);
        }
        for secret in [&bench.token, &agent.token, &agent.api_key, &script] {
            assert!(!answer.body.contains(secret.as_str()), "{what}: a secret in the metrics");
        }
    }
    let health = http1(own, "GET", "/healthz", &[], b"").await;
    assert_eq!(
        (health.status, health.body.as_str()),
        (200, "ok\n"),
        "a probe without a certificate asks here"
    );
    for (method, path) in
        [("GET", "/"), ("GET", "/setup/x"), ("POST", "/metrics"), ("POST", "/fleet.v1.OperatorService/Login")]
    {
        let answer = http1(own, method, path, &[], b"").await;
        assert_eq!(answer.status, 404, "{method} {path} on the metrics address: {answer:?}");
    }
}

// Ways in.

#[tokio::test]
async fn calls_go_in_json_over_http_1() {
    let bench = Bench::start(Mode::Server).await;
    let message = format!(r#"{{"userName": "Alice", "password": "{PASSWORD}"}}"#);
    let login = json(bench.address, "fleet.v1.OperatorService/Login", None, &message).await;
    assert_eq!((login.status, login.header("content-type")), (200, "application/json"), "{login:?}");
    assert!(login.headers.contains_key("content-length"), "{login:?}");
    let login: serde_json::Value = serde_json::from_str(&login.body).unwrap();
    assert_eq!(login["expiresAt"], "2026-01-01T12:00:00Z");
    let token = login["sessionToken"].as_str().unwrap();
    let who = json(bench.address, "fleet.v1.OperatorService/WhoAmI", Some(token), "{}").await;
    let who: serde_json::Value = serde_json::from_str(&who.body).unwrap();
    assert_eq!((&who["userName"], &who["organization"]), (&"alice".into(), &"Acme Mining".into()));
    // 64-bit numbers are strings in protobuf's JSON.
    assert!(who["orgId"].as_str().unwrap().parse::<i64>().unwrap() > 0);
}

#[tokio::test]
async fn a_body_that_nobody_wants_does_not_cost_the_client_its_answer() {
    let bench = Bench::start(Mode::Server).await;
    let body = vec![b'x'; 64 * 1024];
    let head = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    for path in [
        "/fleet.v1.OperatorService/WhoAmI",
        "/agentgateway.v1.AgentGatewayService/UploadHeartbeat",
        "/nothing",
    ] {
        // Kept alive: the second answer on this connection shows that the body was read to its end.
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        for round in 0..2 {
            stream.write_all(head(path, body.len()).as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let answer = read_one(&mut stream).await;
            let expected = if path == "/nothing" { 501 } else { 401 };
            assert_eq!(answer.status, expected, "{path}, round {round}: {answer:?}");
        }
    }
}

/// Reads one answer with a length from a connection that stays open.
async fn read_one(stream: &mut TcpStream) -> Answer {
    let mut read = Vec::new();
    loop {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&some[..count]);
        if read.windows(4).any(|w| w == b"\r\n\r\n") {
            let answer = parse(&read);
            if answer.body.len() == answer.header("content-length").parse::<usize>().unwrap() {
                return answer;
            }
        }
    }
}

#[tokio::test]
async fn http_2_is_spoken_without_being_asked_for() {
    let bench = Bench::start(Mode::Server).await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    // The preface and an empty SETTINGS frame (RFC 9113 section 3.4).
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]), "the first frame is SETTINGS: {frame:?}");
}

#[tokio::test]
async fn tls_is_served_with_the_configured_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.tls =
        Some(TlsFiles { certificate: tls_file("server.pem"), key: tls_file("server.key"), clients: None });
    let bench = Bench::with(config, directory).await;
    assert!(bench.server.set_up_link().unwrap().starts_with(&format!("https://{}/setup/", bench.address)));
    let server: http::Uri = format!("https://{}", bench.address).parse().unwrap();
    let login = || wire_support::login("alice", PASSWORD);

    let trusted = OperatorServiceClient::new(Channel::new(server.clone(), Some(trusting("ca.pem", b"h2"))));
    Refused::unauthenticated().judge("a call over TLS", &trusted.login(login()).await.unwrap_err());
    let other = OperatorServiceClient::new(Channel::new(server, Some(trusting("other-ca.pem", b"h2"))));
    let status = other.login(login()).await.unwrap_err();
    assert_eq!(status.code, Code::Unavailable, "a client that trusts another CA: {status:?}");
    let clear = OperatorServiceClient::new(bench.channel.clone());
    let status = clear.login(login()).await.unwrap_err();
    assert!(status.code != Code::Unauthenticated, "a client without TLS was answered: {status:?}");

    let connector = tokio_rustls::TlsConnector::from(trusting("ca.pem", b"http/1.1"));
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(bench.address).await.unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(parse(&answer).body, "ok\n", "HTTP/1.1 over TLS");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let make = |certificate: &Path, key: &Path| {
        let subject = [
            "-subj",
            "/CN=fleet",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        let kind = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ];
        let mut made = std::process::Command::new("openssl");
        made.args(kind).args(subject).arg("-keyout").arg(key).arg("-out").arg(certificate).output()
    };
    if let Err(error) = make(&certificate, &key) {
        // Not eprintln!, which is shown only for tests that fail.
        let text = format!("SKIPPED: renewal of a certificate, which openssl makes ({error})\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
        return;
    }
    let mut config = config(directory.path(), Mode::Server);
    config.tls = Some(TlsFiles { certificate: certificate.clone(), key: key.clone(), clients: None });
    let bench = Bench::with(config, directory).await;
    let trusts = |path: &Path| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        tokio_rustls::TlsConnector::from(Arc::new(config.with_no_client_auth()))
    };
    let is_shown = |connector: tokio_rustls::TlsConnector| async move {
        let stream = TcpStream::connect(bench.address).await.unwrap();
        connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.is_ok()
    };
    let first = trusts(&certificate);
    assert!(is_shown(first.clone()).await);

    std::fs::write(&certificate, "half a certificate").unwrap();
    bench.server.renew_certificate();
    assert!(is_shown(first.clone()).await, "a broken file changes nothing");

    make(&certificate, &key).unwrap();
    bench.server.renew_certificate();
    assert!(is_shown(trusts(&certificate)).await, "the new one is shown");
    assert!(!is_shown(first).await, "and the old one no more");
}

#[tokio::test]
async fn tls_files_that_do_not_do_stop_the_start() {
    for (what, certificate, key) in [
        ("no certificate", "README.md", "server.key"),
        ("no key", "server.pem", "README.md"),
        ("a file that is not there", "nothing.pem", "server.key"),
        ("a certificate of another key", "ca.pem", "server.key"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path(), Mode::Server);
        config.tls = Some(TlsFiles { certificate: tls_file(certificate), key: tls_file(key), clients: None });
        let random = Arc::new(SeededRandom::new(1));
        let started =
            Server::start(&config, Arc::new(VirtualClock::default()), random, Arc::new(NoProbe)).await;
        let error = started.expect_err(what);
        assert!(matches!(error, StartError::Tls(_)) && error.is_configuration(), "{what}: {error:?}");
        assert!(
            !directory.path().join("data").join("fleet.db").exists(),
            "{what}: judged before anything is opened"
        );
    }
}

#[tokio::test]
async fn the_services_describe_themselves() {
    let bench = Bench::start(Mode::Server).await;
    let bearer = format!("Bearer {}", bench.token);
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // One gRPC-Web frame: ServerReflectionRequest { list_services: "" }.
        let body = [&[0, 0, 0, 0, 2][..], &[0x3a, 0]].concat();
        let kind = ("content-type", "application/grpc-web+proto");
        // Not to everybody: it is a stream, which somebody could hold open.
        let answer = http1(bench.address, "POST", &path, &[kind], &body).await;
        assert!(answer.body.contains("grpc-status: 16"), "{answer:?}");
        let credentials = ("authorization", bearer.as_str());
        let answer = http1(bench.address, "POST", &path, &[kind, credentials], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for service in [
            "agentgateway.v1.AgentGatewayService",
            "agentadmin.v1.AgentAdminService",
            "fleet.v1.OperatorService",
            "fleet.v1.DeviceService",
            "fleet.v1.TelemetryService",
        ] {
            assert!(answer.body.contains(service), "{version}: {service} is not listed: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_address_that_calls_too_often_without_credentials_is_told_when_to_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.limits.unauthenticated_rate = Some(Rate { per_second: 10, burst: 50 });
    let mut bench = Bench::with(config, directory).await;
    bench.found().await;
    let json = ("content-type", "application/json");
    let login = ("/fleet.v1.OperatorService/Login", r#"{"userName": "alice", "password": ""}"#);
    let whoami = ("/fleet.v1.OperatorService/WhoAmI", "{}");
    // Set-up and login were two.
    for turn in 0..48 {
        let ((path, body), status) = if turn % 2 == 0 { (login, 400) } else { (whoami, 401) };
        assert_eq!(http1(bench.address, "POST", path, &[json], body.as_bytes()).await.status, status);
    }
    for (path, body) in [login, whoami] {
        let answer = http1(bench.address, "POST", path, &[json], body.as_bytes()).await;
        assert_eq!(answer.status, 429, "{answer:?}");
        assert_eq!(answer.headers["retry-after"], "1");
        assert!(answer.body.contains("resource_exhausted"), "{answer:?}");
    }
    assert_eq!(http1(bench.address, "GET", "/metrics", &[], b"").await.status, 429);
    assert_eq!(http1(bench.address, "GET", "/setup/guess", &[], b"").await.status, 429);
    assert_eq!(http1(bench.address, "GET", "/healthz", &[], b"").await.status, 429);
    // Whoever has credentials is not counted, from the same address.
    let bearer = format!("Bearer {}", bench.token);
    for _ in 0..100 {
        let credentials = ("authorization", bearer.as_str());
        let answer = http1(bench.address, "POST", whoami.0, &[json, credentials], whoami.1.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    bench.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(http1(bench.address, "POST", whoami.0, &[json], b"{}").await.status, 401);
}
