//! TLS at the listeners, with a private authority: what `openssl s_client` gets, what the agent's own client takes and
//! refuses, certificates of clients, renewal, and clients that stall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod pki_support;
mod wire_support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use fleet_agent::gateway::{ConnectGateway, Gateway as _};
use fleet_agent::server_url::{AllowInsecure, ServerUrl};
use fleet_agent::tls::{ClientFiles, TlsError, TlsOptions, client_config};
use fleet_core::code::SessionToken;
use fleet_core::random::OsRandom;
use fleet_core::refusal::Code;
use fleet_core::time::UnixMillis;
use fleet_core::transport::TransportError;
use fleetd::config::{ClientAuth, ClientCa, Mode, TlsFiles};
use pki_support::{Kind, LOOPBACK, Life, Pair, Pki};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire_support::{Bench, config, http1, within};

const DAYS: Life = Life::Days(30);

fn files(pair: &Pair, clients: Option<(&Path, ClientAuth)>) -> TlsFiles {
    let clients = clients.map(|(authorities, auth)| ClientCa { authorities: authorities.to_owned(), auth });
    TlsFiles { certificate: pair.certificate.clone(), key: pair.key.clone(), clients }
}

async fn serve(tls: TlsFiles) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), Mode::Server);
    config.tls = Some(tls);
    config.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    Bench::with(config, directory).await
}

/// What `openssl s_client` says, and whether it was content.
async fn s_client<S: AsRef<std::ffi::OsStr>>(
    bench: &Bench,
    arguments: impl IntoIterator<Item = S>,
) -> (bool, String) {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-connect", &bench.address.to_string(), "-verify_return_error"]);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ran = within("s_client", command.output()).await.unwrap();
    (ran.status.success(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

/// What the agent's own client gets: `Ok` if the server answered, else the error as the agent's log has it.
async fn agent(bench: &Bench, host: &str, tls: &TlsOptions) -> Result<(), String> {
    let url = format!("https://{host}:{}", bench.address.port());
    let url = ServerUrl::parse(&url, AllowInsecure::No).unwrap();
    let gateway = ConnectGateway::new(&url, AllowInsecure::No, tls).unwrap();
    let token = SessionToken::generate(&OsRandom).unwrap();
    let beat = within("a call", gateway.heartbeat(&token, UnixMillis::EPOCH)).await;
    match beat {
        // The server knows no such session, and says so: it was reached.
        Err(TransportError::Refused(refusal)) if refusal.code == Code::Unauthenticated => Ok(()),
        Err(TransportError::Unreachable(error)) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(": ");
                text.push_str(&cause.to_string());
                source = cause.source();
            }
            Err(text)
        }
        other => panic!("{other:?}"),
    }
}

fn trusting(ca: &Path) -> TlsOptions {
    TlsOptions { anchors: Some(ca.to_owned()).into(), client: None }
}

fn showing(ca: &Path, pair: &Pair) -> TlsOptions {
    let client = ClientFiles { certificate: pair.certificate.clone(), key: pair.key.clone() };
    TlsOptions { client: Some(client), ..trusting(ca) }
}

#[track_caller]
fn assert_refused(what: &str, outcome: Result<(), String>, says: &str) {
    match outcome {
        Ok(()) => panic!("{what}: was let in"),
        Err(error) => assert!(error.contains(says), "{what}: {error:?} does not say {says:?}"),
    }
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken_and_no_older_one() {
    let Some(pki) = Pki::new("TLS by s_client") else { return };
    let root = pki.authority("root");
    let middle = pki.issue(&root, "middle", Kind::Authority, DAYS);
    let leaf = pki.issue(&middle, "fleet", LOOPBACK, DAYS);
    let chain = pki.joined("chain.pem", &[&leaf.certificate, &middle.certificate]);
    let bench = serve(files(&leaf.with_chain(chain), None)).await;
    let root = root.certificate.to_str().unwrap();

    for (version, protocol) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for alpn in ["h2", "http/1.1"] {
            let (content, said) =
                s_client(&bench, [version, "-alpn", alpn, "-CAfile", root, "-verify_ip", "127.0.0.1"]).await;
            assert!(content, "{version} {alpn}: {said}");
            for line in [&format!("New, {protocol}, Cipher is"), &format!("ALPN protocol: {alpn}")] {
                assert!(said.contains(line.as_str()), "{version} {alpn}: no {line:?} in {said}");
            }
            assert!(said.contains("CN = fleet") && said.contains("Verify return code: 0 (ok)"), "{said}");
        }
    }
    // Without lowering its own guard, openssl would refuse by itself.
    let (content, said) =
        s_client(&bench, ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-CAfile", root]).await;
    assert!(!content && said.contains("SSL alert number"), "TLS 1.1: {said}");
    let (content, said) = s_client(&bench, ["-alpn", "spdy/1", "-CAfile", root]).await;
    assert!(!content && said.contains("no application protocol"), "another ALPN: {said}");
    let other = pki.authority("other");
    let (content, said) = s_client(&bench, ["-CAfile", other.certificate.to_str().unwrap()]).await;
    assert!(!content && said.contains("unable to get local issuer certificate"), "another root: {said}");
    let (content, said) = s_client(&bench, ["-CAfile", root, "-verify_ip", "127.0.0.2"]).await;
    assert!(!content && said.contains("IP address mismatch"), "another address: {said}");
}

#[tokio::test]
async fn an_agent_takes_no_certificate_that_is_not_this_servers() {
    let Some(pki) = Pki::new("what an agent takes for its server's certificate") else { return };
    let root = pki.authority("root");
    let other = pki.authority("other");
    let middle = pki.issue(&root, "middle", Kind::Authority, DAYS);
    let root = root.certificate.clone();

    let leaf = pki.issue(&middle, "fleet", LOOPBACK, DAYS);
    let chain = pki.joined("chain.pem", &[&leaf.certificate, &middle.certificate]);
    let bench = serve(files(&leaf.with_chain(chain), None)).await;
    agent(&bench, "127.0.0.1", &trusting(&root)).await.unwrap();
    let both = pki.joined("both.pem", &[&other.certificate, &root]);
    agent(&bench, "127.0.0.1", &trusting(&both)).await.expect("one of several authorities is enough");
    let refused = agent(&bench, "127.0.0.1", &trusting(&other.certificate)).await;
    assert_refused("another authority", refused, "UnknownIssuer");
    let refused = agent(&bench, "localhost", &trusting(&root)).await;
    assert_refused("another name", refused, "certificate not valid for name \"localhost\"");
    let refused = agent(&bench, "127.0.0.1", &TlsOptions::default()).await;
    assert_refused("the system's authorities", refused, "UnknownIssuer");

    let bench = serve(files(&leaf, None)).await;
    let refused = agent(&bench, "127.0.0.1", &trusting(&root)).await;
    assert_refused("a chain without its middle", refused, "UnknownIssuer");
    let over = pki.issue(&middle, "over", LOOPBACK, Life::Over);
    let chain = pki.joined("over-chain.pem", &[&over.certificate, &middle.certificate]);
    let bench = serve(files(&over.with_chain(chain), None)).await;
    let refused = agent(&bench, "127.0.0.1", &trusting(&root)).await;
    assert_refused("a certificate that has ended", refused, "certificate expired");
    let client = pki.issue(&middle, "client", Kind::Client, DAYS);
    let chain = pki.joined("client-chain.pem", &[&client.certificate, &middle.certificate]);
    let bench = serve(files(&client.with_chain(chain), None)).await;
    let refused = agent(&bench, "127.0.0.1", &trusting(&root)).await;
    assert_refused("a certificate of a client", refused, "invalid peer certificate");
}

#[test]
fn files_of_the_agent_that_cannot_be_used_are_named() {
    let Some(pki) = Pki::new("the agent's TLS files") else { return };
    let root = pki.authority("root");
    let (one, two) =
        (pki.issue(&root, "one", Kind::Client, DAYS), pki.issue(&root, "two", Kind::Client, DAYS));
    let (empty, garbage) = (pki.path("empty.pem"), pki.path("garbage.pem"));
    fs::write(&empty, "").unwrap();
    fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n").unwrap();
    let refused = |options: &TlsOptions| client_config(options).unwrap_err();

    let error = refused(&trusting(&empty));
    assert!(matches!(error, TlsError::NoCertificate { .. }) && error.to_string().contains("empty.pem"));
    let error = refused(&trusting(&garbage));
    assert!(matches!(error, TlsError::Pem { .. }) && error.to_string().contains("garbage.pem"), "{error}");
    let error = refused(&trusting(&pki.path("nothing.pem")));
    assert!(matches!(error, TlsError::Io { .. }) && error.to_string().contains("nothing.pem"), "{error}");

    client_config(&showing(&root.certificate, &one)).unwrap();
    let mixed = Pair { certificate: one.certificate.clone(), key: two.key };
    let error = refused(&showing(&root.certificate, &mixed));
    let text = error.to_string();
    assert!(text.contains("one.pem") && text.contains("two.key"), "both are named: {text}");
    assert!(matches!(error, TlsError::Pair { .. }), "{error:?}");
    let mode =
        |mode| fs::set_permissions(&one.key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    for open in [0o640, 0o604, 0o666] {
        mode(open);
        let error = refused(&showing(&root.certificate, &one));
        assert!(matches!(error, TlsError::Exposed { mode, .. } if mode == open), "{error:?}");
        assert!(error.to_string().contains("one.key"), "{error}");
    }
    mode(0o400);
    client_config(&showing(&root.certificate, &one)).unwrap();
}

#[tokio::test]
async fn a_client_shows_a_certificate_where_it_must() {
    let Some(pki) = Pki::new("certificates of clients") else { return };
    let root = pki.authority("root");
    let server = pki.issue(&root, "fleet", LOOPBACK, DAYS);
    let clients = pki.authority("clients");
    let middle = pki.issue(&clients, "middle", Kind::Authority, DAYS);
    let right = pki.issue(&clients, "right", Kind::Client, DAYS);
    let below = pki.issue(&middle, "below", Kind::Client, DAYS);
    let chain = pki.joined("below-chain.pem", &[&below.certificate, &middle.certificate]);
    let chained = below.with_chain(chain);
    let over = pki.issue(&clients, "over", Kind::Client, Life::Over);
    let strange = pki.issue(&root, "strange", Kind::Client, DAYS);
    let of_a_server = pki.issue(&clients, "of-a-server", LOOPBACK, DAYS);
    let root = root.certificate.clone();

    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let bench = serve(files(&server, Some((&clients.certificate, auth)))).await;
        let call = async |pair: &Pair| agent(&bench, "127.0.0.1", &showing(&root, pair)).await;
        call(&right).await.unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        call(&chained).await.unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        let none = agent(&bench, "127.0.0.1", &trusting(&root)).await;
        match auth {
            ClientAuth::Optional => none.unwrap(),
            ClientAuth::Required => assert_refused("none", none, "the server requires a client certificate"),
        }
        for (what, pair, says) in [
            ("of another authority", &strange, "does not accept this client certificate: UnknownCA"),
            ("without its middle", &below, "does not accept this client certificate: UnknownCA"),
            ("one that has ended", &over, "does not accept this client certificate: CertificateExpired"),
            ("of a server", &of_a_server, "does not accept this client certificate"),
        ] {
            assert_refused(what, call(pair).await, says);
        }
        // TLS 1.2 asks within the handshake. Whoever shows one gets no ticket to come back without it.
        let [root, pem, key] = [&root, &right.certificate, &right.key].map(|path| path.to_str().unwrap());
        for version in ["-tls1_2", "-tls1_3"] {
            let shown = [version, "-CAfile", root, "-cert", pem, "-key", key];
            let (content, said) = s_client(&bench, shown).await;
            assert!(content, "{auth:?} {version}: {said}");
            assert!(!said.contains("TLS session ticket:") && !said.contains("Session-ID: 0"), "{said}");
            let (_, said) = s_client(&bench, [version, "-CAfile", root]).await;
            let refused = said.contains("handshake failure") || said.contains("certificate required");
            // In TLS 1.3 s_client may be done before it hears of it.
            let heard = version == "-tls1_2" && auth == ClientAuth::Required;
            assert!(refused == heard || version == "-tls1_3", "{auth:?} {version}: {said}");
        }
        let probe = http1(bench.server.metrics_address().unwrap(), "GET", "/healthz", &[], b"").await;
        assert_eq!(probe.status, 200, "a probe has no certificate");
    }
}

#[tokio::test]
async fn a_renewed_pair_is_taken_up_whole_or_not_at_all() {
    let Some(pki) = Pki::new("renewal of a certificate") else { return };
    let [first, second] = ["first", "second"].map(|name| pki.authority(name));
    let [old, new] =
        [(&first, "old"), (&second, "new")].map(|(by, name)| pki.issue(by, name, LOOPBACK, DAYS));
    let used = Pair { certificate: pki.path("used.pem"), key: pki.path("used.key") };
    fs::copy(&old.certificate, &used.certificate).unwrap();
    fs::copy(&old.key, &used.key).unwrap();
    let bench = serve(files(&used, None)).await;
    let shows = async |ca: &Pair| {
        let told = agent(&bench, "127.0.0.1", &trusting(&ca.certificate)).await;
        bench.server.renew_certificate();
        told.is_ok()
    };
    assert!(shows(&first).await);

    // The certificate is there, its key not yet.
    fs::copy(&new.certificate, &used.certificate).unwrap();
    bench.server.renew_certificate();
    assert!(shows(&first).await && !shows(&second).await, "half a renewal");
    fs::copy(&new.key, &used.key).unwrap();
    bench.server.renew_certificate();
    assert!(shows(&second).await && !shows(&first).await, "the whole of it");

    // Back, the key first, with the times of before: nothing but what the files hold is another.
    let time = fs::metadata(&used.key).unwrap().modified().unwrap();
    let back = |from: &Path, to: &Path| {
        fs::copy(from, to).unwrap();
        fs::File::options().append(true).open(to).unwrap().set_modified(time).unwrap();
    };
    back(&old.key, &used.key);
    bench.server.renew_certificate();
    assert!(shows(&second).await, "the key alone");
    fs::remove_file(&used.certificate).unwrap();
    bench.server.renew_certificate();
    assert!(shows(&second).await, "no certificate for a moment");
    back(&old.certificate, &used.certificate);
    bench.server.renew_certificate();
    assert!(shows(&first).await, "the same times and sizes");
}

#[tokio::test]
async fn links_that_are_turned_to_another_directory_are_a_renewal() {
    let Some(pki) = Pki::new("renewal by links") else { return };
    let [first, second] = ["first", "second"].map(|name| pki.authority(name));
    let clients = pki.authority("clients");
    let now = SystemTime::now();
    for (by, name) in [(&first, "1"), (&second, "2")] {
        let pair = pki.issue(by, &format!("leaf-{name}"), LOOPBACK, DAYS);
        let directory = pki.path(name);
        fs::create_dir(&directory).unwrap();
        for (from, to) in
            [(&pair.certificate, "tls.crt"), (&pair.key, "tls.key"), (&clients.certificate, "ca.crt")]
        {
            fs::copy(from, directory.join(to)).unwrap();
            // All written in the same tick.
            fs::File::options().append(true).open(directory.join(to)).unwrap().set_modified(now).unwrap();
        }
    }
    // As volumes of secrets are laid out: tls.crt -> ..data/tls.crt, ..data -> 1.
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, pki.path(at)).unwrap();
    link("1", "..data");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        link(&format!("..data/{name}"), name);
    }
    let used = Pair { certificate: pki.path("tls.crt"), key: pki.path("tls.key") };
    let bench = serve(files(&used, Some((&pki.path("ca.crt"), ClientAuth::Optional)))).await;
    agent(&bench, "127.0.0.1", &trusting(&first.certificate)).await.unwrap();
    link("2", "..data_tmp");
    fs::rename(pki.path("..data_tmp"), pki.path("..data")).unwrap();
    bench.server.renew_certificate();
    agent(&bench, "127.0.0.1", &trusting(&second.certificate)).await.unwrap();
}

#[tokio::test]
async fn authorities_of_clients_are_renewed_and_a_client_reads_its_own_anew() {
    let Some(pki) = Pki::new("renewal of the authorities of clients") else { return };
    let root = pki.authority("root");
    let server = pki.issue(&root, "fleet", LOOPBACK, DAYS);
    let [first, second] = ["first", "second"].map(|name| pki.authority(name));
    let [old, new] =
        [(&first, "old"), (&second, "new")].map(|(by, name)| pki.issue(by, name, Kind::Client, DAYS));
    let authorities = pki.joined("authorities.pem", &[&first.certificate]);
    let bench = serve(files(&server, Some((&authorities, ClientAuth::Required)))).await;
    let shown = Pair { certificate: pki.path("shown.pem"), key: pki.path("shown.key") };
    let show = |pair: &Pair| {
        fs::copy(&pair.certificate, &shown.certificate).unwrap();
        fs::copy(&pair.key, &shown.key).unwrap();
    };
    show(&old);
    // One configuration for the whole of the test, as a running agent has.
    let tls = client_config(&showing(&root.certificate, &shown)).unwrap();
    let connect = async || {
        let connector = tokio_rustls::TlsConnector::from(tls.clone());
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = TcpStream::connect(bench.address).await.unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        // The preface of HTTP/2: a server that lets the client in answers with its settings.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.ok();
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.map(|_| stream)
    };
    let mut open = connect().await.unwrap();

    fs::copy(&second.certificate, &authorities).unwrap();
    bench.server.renew_certificate();
    let error = connect().await.unwrap_err().to_string();
    assert!(error.contains("UnknownCA"), "the old certificate is nobody's any more: {error}");
    // Half a renewal at the client: the last pair that fits is shown, which the server does not take.
    fs::copy(&new.certificate, &shown.certificate).unwrap();
    assert!(connect().await.unwrap_err().to_string().contains("UnknownCA"));
    show(&new);
    connect().await.expect("the client shows its new certificate");
    // The connection of before lives on: a ping (RFC 9113 section 6.7) is answered.
    open.write_all(b"\0\0\0\x04\x01\0\0\0\0\0\0\x08\x06\0\0\0\0\0pingpong").await.unwrap();
    let mut rest = Vec::new();
    let ponged = async {
        while !rest.windows(8).any(|bytes| bytes == b"pingpong") {
            let mut some = [0; 256];
            let count = open.read(&mut some).await.unwrap();
            assert!(count > 0, "closed");
            rest.extend_from_slice(&some[..count]);
        }
    };
    within("a pong", ponged).await;
}

#[tokio::test]
async fn the_end_of_the_certificate_is_a_metric() {
    let Some(pki) = Pki::new("the end of a certificate") else { return };
    let root = pki.authority("root");
    let over = pki.issue(&root, "over", LOOPBACK, Life::Over);
    let used = Pair { certificate: pki.path("used.pem"), key: pki.path("used.key") };
    fs::copy(&over.certificate, &used.certificate).unwrap();
    fs::copy(&over.key, &used.key).unwrap();
    let bench = serve(files(&used, None)).await;
    let end = async || {
        let metrics = http1(bench.server.metrics_address().unwrap(), "GET", "/metrics", &[], b"").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("fleetd_tls_certificate_end_seconds "));
        line.unwrap_or_else(|| panic!("{metrics}")).parse::<u64>().unwrap()
    };
    // 2020-01-03T00:00:00Z.
    assert_eq!(end().await, 1_578_009_600);
    let fresh = pki.issue(&root, "fresh", LOOPBACK, Life::Days(90));
    fs::copy(&fresh.certificate, &used.certificate).unwrap();
    fs::copy(&fresh.key, &used.key).unwrap();
    bench.server.renew_certificate();
    let left = end().await - SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((89..=90).contains(&(left / 86_400)), "{left}");
}

#[tokio::test]
async fn a_client_that_stalls_is_cut_off() {
    let Some(pki) = Pki::new("handshakes that stall") else { return };
    let root = pki.authority("root");
    let server = pki.issue(&root, "fleet", LOOPBACK, DAYS);
    let started = async |tls| {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path(), Mode::Server);
        config.tls = tls;
        config.limits.handshake_timeout = Duration::from_millis(50);
        Bench::with(config, directory).await
    };
    // The record of a ClientHello that says it has 512 bytes, and the first of them.
    let half_a_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for (what, tls, bytes) in [
        ("half a ClientHello", true, &half_a_hello[..]),
        ("nothing at all over TLS", true, b""),
        ("half a preface", false, b"PRI * HTT"),
        ("nothing at all", false, b""),
        ("half the headers", false, b"GET / HTTP/1.1\r\nhost: somewhere.example\r\nx:"),
    ] {
        let bench = started(tls.then(|| files(&server, None))).await;
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // An end or a reset, but an end.
        let _ = within(what, stream.read_to_end(&mut rest)).await;
        assert!(rest.len() < 200, "{what}: {:?}", String::from_utf8_lossy(&rest));
    }
}
