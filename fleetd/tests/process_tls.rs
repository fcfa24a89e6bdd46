//! Server, agent and operator as processes behind TLS with a private authority and certificates of clients, from set-up
//! to a certificate that is renewed under a running agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod pki_support;
mod process_support;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use pki_support::{Kind, LOOPBACK, Life, Pair, Pki};
use process_support::{Ended, Home, ORGANIZATION, PASSWORD, Process, USER, containing, fingerprint};
use rustix::process::Signal;

const DAYS: Life = Life::Days(30);

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn path(option: &str, path: &Path) -> [OsString; 2] {
    [option.into(), path.into()]
}

/// How an agent or an operator reaches the server.
fn showing(root: &Path, pair: &Pair) -> Vec<OsString> {
    let options = [("--ca-file", root), ("--client-cert", &pair.certificate), ("--client-key", &pair.key)];
    options.into_iter().flat_map(|(option, file)| path(option, file)).collect()
}

/// Starts a server; its URL.
async fn start(home: &Home, pair: &Pair, more: Vec<OsString>) -> (Process, String) {
    let mut command = home.command(["--mode", "server", "--listen", "127.0.0.1:0"]);
    command.args(path("--data-dir", &home.join("server")));
    command.args(path("--tls-cert", &pair.certificate)).args(path("--tls-key", &pair.key)).args(more);
    let mut server = Process::spawn(&mut command);
    let url = |line: &str| line.split_once("listening on ").map(|(_, url)| url.trim().to_owned());
    let url = server.err(url).await.expect("it listens");
    assert!(url.starts_with("https://"), "{url}");
    (server, url)
}

#[tokio::test]
async fn everything_works_behind_certificates_of_clients_and_through_a_renewal() {
    let Some(pki) = Pki::new("processes behind TLS") else { return };
    let home = Home::new();
    let root = pki.authority("root");
    let clients = pki.authority("clients");
    let server_pair = pki.issue(&root, "fleet", LOOPBACK, DAYS);
    let renewed = pki.issue(&root, "renewed", LOOPBACK, DAYS);
    let client = pki.issue(&clients, "site-1", Kind::Client, DAYS);
    let over = pki.issue(&clients, "over", Kind::Client, Life::Over);
    let root = root.certificate.clone();
    let (mut server, url) =
        start(&home, &server_pair, path("--tls-client-ca", &clients.certificate).to_vec()).await;

    // The operator.
    let tls = showing(&root, &client);
    let operator = async |line: &[&str], tls: &[OsString], input: &[&str]| -> Ended {
        let config = path("--config-dir", &home.join("operator"));
        home.run([&words(line), tls, &config[..]].concat(), input).await
    };
    let link = server.out(|line| line.contains("/setup/").then(|| line.trim().to_owned())).await.unwrap();
    let setup = ["setup", "--organization", ORGANIZATION, "--user", USER];
    let ended = operator(&setup, &path("--ca-file", &root), &[&link, PASSWORD]).await.expect(75);
    assert!(ended.err().contains("the server requires a client certificate"), "{ended:#?}");
    server.err(containing("a client was refused: it shows no certificate")).await.unwrap();
    operator(&setup, &tls, &[&link, PASSWORD]).await.expect(0);
    operator(&["login", "--server", &url, "--user", USER], &tls, &[PASSWORD]).await.expect(0);
    let code = operator(&["agents", "code"], &tls, &[]).await.expect(0).out();

    // The agent.
    let agent = |line: &[&str], tls: &[OsString]| {
        let state = path("--state-dir", &home.join("agent"));
        let mut command = home.command([&words(&["agent"])[..], &state, &words(line), tls].concat());
        Process::spawn(command.env("RUST_LOG", "info"))
    };
    let enroll = ["enroll", "--server", &url, "--name", "site-1", "--yes"];
    let none = path("--ca-file", &root).to_vec();
    for (what, tls, says) in [
        ("none", &none, "the server requires a client certificate"),
        (
            "one that has ended",
            &showing(&root, &over),
            "does not accept this client certificate: CertificateExpired",
        ),
    ] {
        let mut enrolling = agent(&enroll, tls);
        enrolling.enter(&code).await;
        enrolling.close();
        enrolling.err(containing(says)).await.unwrap_or_else(|| panic!("{what}: it gave up"));
        // It goes on trying: somebody may be about to mend it.
        enrolling.kill().await;
    }
    server.err(containing("its certificate is not valid")).await.unwrap();
    fs::set_permissions(&client.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut enrolling = agent(&enroll, &tls);
    enrolling.close();
    let ended = enrolling.ended().await.expect(64);
    assert!(ended.err().contains("site-1.key") && ended.err().contains("mode is 644"), "{ended:#?}");
    fs::set_permissions(&client.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();

    let mut enrolling = agent(&enroll, &tls);
    enrolling.enter(&code).await;
    enrolling.close();
    let shown = enrolling.out(fingerprint).await.expect("it shows its fingerprint");
    operator(&["agents", "confirm", "site-1", "--fingerprint", &shown], &tls, &[]).await.expect(0);
    enrolling.ended().await.expect(0);
    agent(&["refresh"], &tls).ended().await.expect(0);
    let mut running = agent(&["run"], &tls);
    running.err(containing("the control stream is open")).await.expect("it is online");

    // Renewed under it.
    fs::copy(&renewed.certificate, &server_pair.certificate).unwrap();
    fs::copy(&renewed.key, &server_pair.key).unwrap();
    server.signal(Signal::HUP);
    server.err(containing("the TLS certificate was read anew")).await.unwrap();
    let mut s_client = tokio::process::Command::new("openssl");
    s_client.args(["s_client", "-connect", url.strip_prefix("https://").unwrap(), "-CAfile"]).arg(&root);
    s_client.arg("-cert").arg(&client.certificate).arg("-key").arg(&client.key);
    let said = s_client.stdin(std::process::Stdio::null()).output().await.unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("CN = renewed"), "{said:?}");
    let agents = operator(&["agents", "list"], &tls, &[]).await.expect(0);
    let row = agents.stdout.iter().find(|row| row.contains("site-1")).unwrap();
    assert!(row.contains("online"), "the old connection lives: {agents:#?}");
    let log = running.stderr();
    let opened = log.iter().filter(|line| line.contains("the control stream is open")).count();
    assert_eq!(opened, 1, "nothing was opened anew: {log:#?}");

    let ended = running.stop().await.expect(0);
    assert!(ended.err().contains("stopped; everything was uploaded"), "{ended:#?}");
    let ended = server.stop().await.expect(0);
    assert!(ended.err().contains("stopped, every call had ended"), "{ended:#?}");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_warned_of() {
    let Some(pki) = Pki::new("warnings of a certificate's end") else { return };
    let root = pki.authority("root");
    for (name, life, says) in [
        ("soon", Life::Days(10), Some("the TLS certificate ends in 9 d 23 h; renew it")),
        ("over", Life::Over, Some("the TLS certificate has ended: no client takes it; renew it")),
        ("fresh", Life::Days(20), None),
    ] {
        let home = Home::new();
        let pair = pki.issue(&root, name, LOOPBACK, life);
        let (server, _) = start(&home, &pair, Vec::new()).await;
        let ended = server.stop().await.expect(0);
        let warned =
            ended.stderr.iter().find(|line| line.contains("WARN") && line.contains("TLS certificate"));
        match says {
            Some(says) => assert!(warned.is_some_and(|line| line.contains(says)), "{name}: {ended:#?}"),
            None => assert_eq!(warned, None, "{name}"),
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_said_at_the_start() {
    let Some(pki) = Pki::new("TLS files that cannot be used") else { return };
    let home = Home::new();
    let root = pki.authority("root");
    let pair = pki.issue(&root, "fleet", LOOPBACK, DAYS);
    let other = pki.issue(&root, "other", LOOPBACK, DAYS);
    let empty = pki.path("empty.pem");
    fs::write(&empty, "").unwrap();
    let gone = pki.path("gone.pem");
    let mixed = Pair { key: other.key.clone(), ..pair.clone() };
    for (pair, more, says) in [
        (&pair, path("--tls-client-ca", &empty).to_vec(), &["empty.pem", "no certificate"][..]),
        (&pair, path("--tls-client-ca", &gone).to_vec(), &["gone.pem", "No such file"]),
        (&pair, path("--tls-client-ca", &pair.key).to_vec(), &["fleet.key", "no certificate"]),
        (&mixed, Vec::new(), &["fleet.pem", "other.key"]),
        (
            &pair,
            words(&["--tls-client-auth", "optional"]),
            &["--tls-client-auth needs --tls-client-ca as well"],
        ),
    ] {
        let mut command = home.command(["--mode", "server", "--listen", "127.0.0.1:0"]);
        command.args(path("--data-dir", &home.join("server")));
        command.args(path("--tls-cert", &pair.certificate)).args(path("--tls-key", &pair.key)).args(more);
        let ended = Process::spawn(&mut command).ended().await.expect(64);
        assert!(says.iter().all(|part| ended.err().contains(part)), "{says:?}: {ended:#?}");
    }
}
