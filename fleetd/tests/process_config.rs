//! The server as a process: what it is told, what it refuses to start with, and how it starts and stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use fleet_proto::{
    client::Channel,
    fleet::v1::{OperatorServiceClient, SetUpRequest, WhoAmIRequest},
    rpc::Code,
};
use process_support::{Ended, Home, ORGANIZATION, PASSWORD, Process, Server, USER, containing, mode};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const COMBINED: [&str; 2] = ["--listen", "127.0.0.1:0"];
const USAGE: i32 = 64;

/// The status and the body of a page.
async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn text(home: &Home, name: &str, content: &str) -> String {
    let path = home.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What must not be said is said nowhere.
#[track_caller]
fn assert_unsaid(ended: &Ended, secret: &str) {
    assert!(!ended.out().contains(secret) && !ended.err().contains(secret), "{ended:#?}");
}

#[track_caller]
fn assert_says(ended: &Ended, texts: &[&str]) {
    for text in texts {
        assert!(ended.err().contains(text), "{text} is not in {ended:#?}");
    }
}

#[tokio::test]
async fn every_bad_setting_is_named_at_once_and_nothing_is_made() {
    let home = Home::new();
    let file = text(&home, "fleetd.toml", "color = \"blue\"\nproto-port = 4.5\nlog-format = \"xml\"\n");
    let before = home.entries();
    let mut command = home.command(["--mode", "both", "--listen", "localhost:8420", "--config", &file]);
    command
        .args(["--tls-key", "key.pem", "--scan", "8.8.8.0/24", "--database-url", "mysql://u:hunter2@db/x"])
        .args(["--metrics-listen", "8422"])
        .env("FLEETD_DATADIR", "/nowhere")
        .env("FLEETD_POLL_INTERVAL", "never")
        .env("FLEETD_KEY_DIR", "");
    let ended = Process::spawn(&mut command).ended().await.expect(USAGE);
    let expected = [
        "--mode: must be one of combined, server, agent",
        "--listen: must be an IP address and a port",
        "--tls-key needs --tls-cert as well",
        "--scan: 8.8.8.0/24",
        "--database-url: ",
        "--metrics-listen: ",
        "FLEETD_DATADIR: there is no such setting",
        "FLEETD_POLL_INTERVAL: must be whole seconds",
        "FLEETD_KEY_DIR: must be a path",
        "color in ",
        "proto-port in ",
        "log-format in ",
    ];
    assert_says(&ended, &expected);
    assert_says(&ended, &[&format!("the configuration has {} problems:", expected.len())]);
    assert_eq!(ended.stderr.len(), expected.len() + 1, "one line each: {ended:#?}");
    assert_unsaid(&ended, "hunter2");
    assert!(ended.stdout.is_empty(), "{ended:#?}");
    assert_eq!(home.entries(), before, "nothing was made");
}

#[tokio::test]
async fn a_secret_in_a_database_url_is_never_said() {
    const SECRET: &str = "hunter2";
    let home = Home::new();
    // A port on which nobody listens: it was this test's a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let unreachable = format!("postgres://fleet:{SECRET}@127.0.0.1:{port}/fleet");
    // Its port is none, and the part before a stray slash would be the host.
    let malformed = [
        format!("postgres://fleet:{SECRET}@127.0.0.1:port/fleet"),
        format!("postgres://fleet:{SECRET}/2@127.0.0.1/fleet"),
    ];
    let mut runs = Vec::new();
    let mut turn = 0;
    for (number, url) in [&unreachable].into_iter().chain(&malformed).enumerate() {
        let mut given = |arguments: &[&str]| {
            let mut command = home.command(COMBINED);
            turn += 1;
            let data = home.join(&format!("data-{turn}"));
            // Everything that is logged is looked at, that of the libraries too.
            command.arg("--data-dir").arg(data).args(arguments).env("RUST_LOG", "trace");
            command
        };
        let mut by_variable = given(&[]);
        by_variable.env("FLEETD_DATABASE_URL", url);
        let file = text(&home, &format!("url-{number}"), &format!("{url}\n"));
        let toml = text(&home, &format!("{number}.toml"), &format!("database-url = \"{url}\"\n"));
        let by_argument = given(&["--database-url", url]);
        let by_file = given(&["--database-url-file", &file]);
        let code = if *url == unreachable { 1 } else { USAGE };
        let by_toml = given(&["--config", &toml]);
        // On the command line it is said already, to everybody on the host: that is refused.
        for (mut command, code) in
            [(by_argument, USAGE), (by_variable, code), (by_file, code), (by_toml, code)]
        {
            runs.push(async move { Process::spawn(&mut command).ended().await.expect(code) });
        }
    }
    // Together, because an unreachable database is tried for a while.
    for ended in futures::future::join_all(runs).await {
        assert_unsaid(&ended, SECRET);
        assert_says(&ended, &["database"]);
    }
    // A file that is not TOML is named, with the line, and not quoted.
    for line in [
        format!("database-url = {unreachable}"),
        format!("database-url = \"{unreachable}"),
        format!("database-url = \"{unreachable}\" oops"),
        format!("database-url = [\"{unreachable}\""),
        format!("database-url = \"{unreachable}\"\ndatabase-url = \"{unreachable}\""),
        unreachable.clone(),
    ] {
        let toml = text(&home, "fleetd.toml", &format!("mode = \"server\"\n{line}\n"));
        let ended = home.run(["--config", &toml], &[]).await.expect(USAGE);
        assert_unsaid(&ended, SECRET);
        let expected = format!("{toml}: line ");
        assert!(ended.stderr.len() == 2 && ended.stderr[1].contains(&expected), "{ended:#?}");
        assert!(["line 2 ", "line 3 "].iter().any(|line| ended.stderr[1].contains(line)), "{ended:#?}");
    }
}

#[tokio::test]
async fn beyond_loopback_it_takes_tls_or_an_explicit_word() {
    let home = Home::new();
    let beyond = ["--listen", "0.0.0.0:0", "--mode", "server"];
    let ended = home.run(beyond, &[]).await.expect(USAGE);
    assert_says(&ended, &["--listen: 0.0.0.0:0 is not loopback", "--tls-cert", "--allow-plaintext"]);
    assert!(home.entries().is_empty(), "nothing was made");

    // Nothing is sent to it.
    let mut server = Server::spawn(&home, &beyond, &["--allow-plaintext"], None).await;
    assert!(server.link().await.contains("http://127.0.0.1:"), "a link that this host can open");
    server.process.stop().await.expect(0);
}

#[tokio::test]
async fn keys_that_are_not_the_organizations_are_refused_and_left_alone() {
    let home = Home::new();
    let mut server = Server::spawn(&home, &COMBINED, &[], None).await;
    server.found().await;
    server.process.stop().await.expect(0);

    let keys = home.join("server/keys");
    let data = home.join("server");
    let start = || home.start([&COMBINED[..], &["--data-dir", data.to_str().unwrap()]].concat());
    for name in ["command", "root"] {
        let path = keys.join(format!("{name}.key"));
        let right = fs::read_to_string(&path).unwrap();

        let fresh = format!("{}\n", "5a".repeat(32));
        fs::write(&path, &fresh).unwrap();
        let ended = start().ended().await.expect(USAGE);
        assert_says(&ended, &[&format!("the {name} key {}", path.display()), "manifest"]);
        assert_unsaid(&ended, &right.trim()[..16]);
        assert_eq!(fs::read_to_string(&path).unwrap(), fresh, "it is left for a person to look at");

        fs::write(&path, &right[..40]).unwrap();
        let ended = start().ended().await.expect(USAGE);
        assert_says(&ended, &[&format!("{name}.key is not a key")]);
        assert_unsaid(&ended, &right[..16]);

        fs::remove_file(&path).unwrap();
        let ended = start().ended().await.expect(USAGE);
        assert_says(
            &ended,
            &[&format!("{name}.key is missing, and the organization in this database was made with it")],
        );
        assert!(!path.exists(), "no other key is made in its place");

        fs::write(&path, &right).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let ended = start().ended().await.expect(USAGE);
        assert_says(&ended, &[&format!("{name}.key may be read by others")]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    // Both gone is no first start: new keys would speak for nobody.
    let aside = home.join("aside");
    fs::rename(&keys, &aside).unwrap();
    assert_says(&start().ended().await.expect(USAGE), &["root.key is missing"]);
    assert!(!keys.exists(), "nothing is made in its place");
    fs::rename(&aside, &keys).unwrap();
    Server::up(start()).await.process.stop().await.expect(0);
}

#[tokio::test]
async fn help_names_the_first_steps_and_an_unknown_option_is_wrong_use() {
    let home = Home::new();
    let ended = home.run(["--help"], &[]).await.expect(0);
    for step in ["fleetd demo ", "fleetd  ", "fleetd setup ", "fleetd login "] {
        assert!(ended.stdout.iter().any(|line| line.trim_start().starts_with(step)), "{step}: {ended:#?}");
    }
    assert!(ended.stderr.is_empty());
    home.run(["--version"], &[]).await.expect(0);
    for wrong in [&["--lsiten", "127.0.0.1:0"][..], &["serve"], &["agents", "lst"], &["--mode"]] {
        let ended = home.run(wrong, &[]).await.expect(USAGE);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:#?}");
    }
    let mut typo = home.command(COMBINED);
    let ended = Process::spawn(typo.env("FLEETD_LSITEN", "127.0.0.1:1")).ended().await.expect(USAGE);
    assert_says(&ended, &["FLEETD_LSITEN: there is no such setting"]);
    assert!(home.entries().is_empty(), "nothing was made");
}

#[tokio::test]
async fn settings_come_from_the_file_the_environment_and_the_command_line() {
    let home = Home::new();
    let data = home.join("from-the-file");
    let database = home.join("database/fleet.sqlite");
    fs::create_dir(home.join("database")).unwrap();
    let url = text(&home, "url", &format!("sqlite://{}\n", database.display()));
    let toml = format!(
        "listen = [\"127.0.0.1:0\"]\nmode = \"combined\"\nlog-format = \"json\"\ndata-dir = \"{}\"\n\
         database-url-file = \"{url}\"\n",
        data.display()
    );
    let toml = text(&home, "fleetd.toml", &toml);
    let mut command = home.command(["--mode", "server"]);
    command.env("FLEETD_CONFIG", &toml).env("FLEETD_KEY_DIR", home.join("from-the-environment"));
    let server = Server::up(Process::spawn(&mut command)).await;
    assert_eq!(page(server.address, "/healthz").await, (200, "ok\n".to_owned()));
    let ended = server.process.stop().await.expect(0);
    for line in &ended.stderr {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert_eq!(mode(&data), 0o700);
    assert!(!data.join("local-agent").exists() && !data.join("fleet.db").exists(), "as server, elsewhere");
    assert!(database.is_file());
    assert!(home.join("from-the-environment/command.key").is_file());
}

#[tokio::test]
async fn a_data_directory_that_is_a_link_or_shared_is_refused_and_left_alone() {
    let home = Home::new();
    fs::create_dir(home.join("real")).unwrap();
    symlink(home.join("real"), home.join("link")).unwrap();
    let link = home.join("link").display().to_string();
    for data in [link.clone(), format!("{link}/"), format!("{link}/.")] {
        let ended = home.run([&COMBINED[..], &["--data-dir", &data]].concat(), &[]).await.expect(USAGE);
        assert_says(&ended, &["the data directory", "link is a symbolic link"]);
    }
    assert_eq!(home.entries(), ["link", "real"], "nothing was made");

    let real = home.join("real");
    fs::write(real.join("passwd"), "").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
    let data = real.to_str().unwrap();
    let ended = home.run([&COMBINED[..], &["--data-dir", data]].concat(), &[]).await.expect(USAGE);
    assert_says(&ended, &["the data directory", "may be entered by others"]);
    assert_eq!(mode(&real), 0o755, "others use it");
    assert_eq!(home.entries(), ["link", "real", "real/passwd"], "nothing was made");
}

#[tokio::test]
async fn sigterm_lets_calls_end_and_says_so() {
    let home = Home::new();
    let mut server = Server::start(&home, &[]).await;
    let channel = server.found().await;
    let who = OperatorServiceClient::new(channel.clone()).who_am_i(WhoAmIRequest {}).await.unwrap();
    assert_eq!(who.organization, ORGANIZATION);

    // A call of which the server has read the head: it asks for the body.
    let body = format!(r#"{{"userName":"{USER}","password":"{PASSWORD}"}}"#);
    let mut call = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /fleet.v1.OperatorService/Login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        server.address,
        body.len()
    );
    call.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    call.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.process.signal(Signal::TERM);
    server.process.err(containing("stopping")).await.expect("it says that it stops");
    call.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    call.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("sessionToken"), "{answer}");

    let ended = server.process.ended().await.expect(0);
    assert_says(&ended, &["SIGTERM", "stopped, every call had ended"]);
    drop(channel);
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_or_port_is_told_why_not() {
    let home = Home::new();
    let mut server = Server::spawn(&home, &COMBINED, &[], None).await;
    server.found().await;
    let pid = server.process.pid().as_raw_nonzero();
    let data = home.join("server");
    let second = [&COMBINED[..], &["--data-dir", data.to_str().unwrap()]].concat();
    let ended = home.run(second, &[]).await.expect(1);
    assert_says(&ended, &[&format!("process {pid} is using {};", data.display())]);
    assert_eq!(page(server.address, "/healthz").await.0, 200, "the first is not disturbed");

    let other = home.join("other");
    let address = server.address.to_string();
    let same_port = ["--listen", &address, "--data-dir", other.to_str().unwrap()];
    let ended = home.run(same_port, &[]).await.expect(1);
    assert_says(&ended, &[&format!("cannot listen on {address}"), "in use"]);
    server.process.stop().await.expect(0);
}

#[tokio::test]
async fn the_set_up_link_is_new_with_each_start_and_gone_with_the_set_up() {
    let home = Home::new();
    let mut server = Server::spawn(&home, &COMBINED, &[], None).await;
    let old = server.link().await;
    assert!(old.starts_with(&format!("{}/setup/", server.url())));
    let path = |link: &str| link[link.find("/setup/").unwrap()..].to_owned();
    assert_eq!(page(server.address, &path(&old)).await.0, 200);
    let ended = server.process.stop().await.expect(0);
    assert!(!ended.err().contains(old.rsplit_once('/').unwrap().1), "the log is no place for it");

    let mut server = Server::spawn(&home, &COMBINED, &[], None).await;
    let new = server.link().await;
    assert_ne!(path(&old), path(&new));
    assert_eq!(page(server.address, &path(&old)).await.0, 404);
    let set_up = |link: &str| SetUpRequest {
        setup_token: link.rsplit_once('/').unwrap().1.to_owned(),
        organization: ORGANIZATION.to_owned(),
        user_name: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let client = OperatorServiceClient::new(Channel::new(server.url().parse().unwrap(), None));
    let refused = client.set_up(set_up(&old)).await.unwrap_err();
    assert_eq!(refused.code, Code::Unauthenticated);
    client.set_up(set_up(&new)).await.unwrap();
    assert_eq!(page(server.address, &path(&new)).await.0, 404);
    assert_eq!(client.set_up(set_up(&new)).await.unwrap_err().code, Code::Unauthenticated);
    server.process.stop().await.expect(0);

    let server = Server::spawn(&home, &COMBINED, &[], None).await;
    let ended = server.process.stop().await.expect(0);
    assert!(ended.stdout.is_empty(), "it is set up: {ended:#?}");
}
