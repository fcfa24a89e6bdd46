//! Nothing secret is said, at any level, in either form of the log, and nothing secret lies in the database in clear:
//! everything is run as processes with every library speaking, and what they said is searched for every secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fleet-store/tests/support/cluster.rs"]
#[allow(unreachable_pub, reason = "of a test")]
mod cluster;
mod leaks_support;
mod process_support;

use std::{
    cell::RefCell,
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use cluster::Cluster;
use fleet_agent::{
    sim::{LoopbackBlock, ProtoRig, ProtoRigConfig},
    state::{Access, StateDir},
};
use fleet_core::store::{AgentState, AgentStore as _};
use leaks_support::{Relay, Secret, search};
use process_support::{Ended, Home, ORGANIZATION, PASSWORD, Process, USER, entries, fingerprint, until};
use rustix::process::Pid;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const AGENT: &str = "site-1-of-which-all-may-speak";
const RIG_PASSWORD: &str = "the-rig's-own-web-password-4711";
const MISTYPED: &str = "a-password-of-something-else-entirely";
const DATABASE_PASSWORD: &str = "a-password-of-the-database-only";
const REFUSED: i32 = 77;

/// What the processes said, with who said it.
#[derive(Default)]
struct Said(RefCell<Vec<(String, String)>>);

impl Said {
    fn note(&self, who: &str, text: String) {
        self.0.borrow_mut().push((who.to_owned(), text));
    }

    /// Notes everything; returns the one line of standard output that is meant to be secret.
    fn note_but_shown(&self, who: &str, ended: Ended) -> String {
        self.note(who, ended.err());
        assert_eq!(ended.stdout.len(), 1, "{who}: the secret alone");
        ended.out()
    }

    fn note_all(&self, who: &str, ended: &Ended) {
        self.note(who, ended.out());
        self.note(who, ended.err());
    }
}

/// One installation: the form of its log, whether it speaks TLS, and its database if that is not a file.
struct Site {
    home: Home,
    format: &'static str,
    tls: bool,
    database_url: Option<String>,
    said: Said,
}

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-agent/tests/tls_data").join(name)
}

impl Site {
    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = self.home.command(arguments);
        if self.tls {
            // The host's authorities, to every command alike.
            command.env("SSL_CERT_FILE", tls_file("ca.pem"));
        }
        // Everything that is logged, that of the libraries too.
        Process::spawn(command.env("RUST_LOG", "trace"))
    }

    fn new(format: &'static str) -> Self {
        Self { home: Home::new(), format, tls: false, database_url: None, said: Said::default() }
    }

    fn serve(&self, mode: &[&str]) -> Process {
        let data = self.home.join("server");
        let (certificate, key) = (tls_file("server.pem"), tls_file("server.key"));
        let database = self.home.join("database-url");
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--log-format", self.format, "--mode"];
        arguments.extend(mode);
        if let Some(url) = &self.database_url {
            fs::write(&database, url).unwrap();
            fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
            arguments.extend(["--database-url-file", database.to_str().unwrap()]);
        }
        arguments.extend(["--data-dir", data.to_str().unwrap()]);
        if self.tls {
            arguments.extend(["--tls-cert", certificate.to_str().unwrap()]);
            arguments.extend(["--tls-key", key.to_str().unwrap()]);
        }
        self.start(&arguments)
    }

    /// Runs an operator's command to its end. No part of a line has a blank.
    async fn operator(&self, line: &str, input: &[&str]) -> Ended {
        finish(self.start(&line.split(' ').collect::<Vec<_>>()), input).await
    }

    /// The same, and notes all that it says.
    async fn ok(&self, line: &str, input: &[&str]) -> Ended {
        let ended = self.operator(line, input).await.expect(0);
        self.said.note_all(line, &ended);
        ended
    }

    fn agent(&self, line: &str) -> Process {
        let state = self.home.join("agent");
        let mut arguments = vec!["agent", "--state-dir", state.to_str().unwrap()];
        arguments.extend(line.split(' '));
        self.start(&arguments)
    }

    /// The agent at work, its log in this site's form: the server's binary in the agent's mode has both.
    fn agent_at_work(&self, scan: &str, port: &str) -> Process {
        let state = self.home.join("agent");
        let mut arguments = vec!["--mode", "agent", "--log-format", self.format, "--poll-interval", "1"];
        arguments.extend(["--data-dir", state.to_str().unwrap(), "--scan", scan, "--proto-port", port]);
        self.start(&arguments)
    }

    /// What the agent keeps: its secrets too.
    async fn state(&self) -> AgentState {
        let directory = StateDir::open(&self.home.join("agent"), Access::ReadOnly).unwrap();
        directory.store().load().await.unwrap().unwrap().record
    }

    /// The token of a command line.
    fn session(&self, config: &str) -> String {
        let file = fs::read(self.home.join(config).join("session.json")).unwrap();
        let session: Value = serde_json::from_slice(&file).unwrap();
        session["token"].as_str().unwrap().to_owned()
    }
}

async fn finish(mut process: Process, input: &[&str]) -> Ended {
    for line in input {
        process.enter(line).await;
    }
    process.close();
    process.ended().await
}

/// A request of somebody who has another client than ours, over HTTP/1.1.
async fn over_http1(address: &str, request: &str, rest: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{rest}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn assert_no_core_dumps(pid: Pid) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
}

/// A server that is set up, its operator signed in.
struct Founded {
    server: Process,
    address: String,
    link: String,
    operator: String,
}

async fn found(site: &Site, mode: &[&str]) -> Founded {
    let mut server = site.serve(mode);
    let scheme = if site.tls { "https" } else { "http" };
    let listening = format!("listening on {scheme}://");
    let address = |line: &str| Some(line.split_once(&listening)?.1.split('"').next()?.to_owned());
    let address = server.err(address).await.expect("the server starts");
    let url = format!("{scheme}://{address}");
    assert_no_core_dumps(server.pid());
    let link = server.out(|line| line.contains("/setup/").then(|| line.trim().to_owned())).await.unwrap();

    if !site.tls {
        // A browser that opens the link.
        let path = link.split_once(&address).unwrap().1;
        over_http1(&address, &format!("GET {path}"), "\r\n").await;
    }
    site.ok("setup", &[&link, ORGANIZATION, USER, PASSWORD]).await;
    let login = format!("login --server {url} --user {USER}");
    let refused = site.operator(&login, &[MISTYPED]).await.expect(REFUSED);
    site.said.note_all("a login that is refused", &refused);
    site.ok(&login, &[PASSWORD]).await;
    let operator = site.session(".config/fleetd");
    if !site.tls {
        // A script with a token.
        let json = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let rest = format!("authorization: Bearer {operator}\r\n{json}");
        over_http1(&address, "POST /fleet.v1.OperatorService/WhoAmI", &rest).await;
    }
    Founded { server, address, link, operator }
}

impl Founded {
    fn secrets(&self, site: &Site) -> Vec<Secret> {
        let mut secrets = vec![
            Secret::text("the operator's password", PASSWORD),
            Secret::text("a mistyped password", MISTYPED),
            Secret::seed("the root key", &site.home.join("server/keys/root.key")),
            Secret::seed("the command key", &site.home.join("server/keys/command.key")),
        ];
        secrets.extend(Secret::token("the set-up token", self.link.rsplit_once('/').unwrap().1));
        secrets.extend(Secret::token("the operator's session", &self.operator));
        let pem = fs::read_to_string(tls_file("server.key")).unwrap();
        secrets.push(Secret::text("the TLS key", pem.lines().nth(1).unwrap()));
        secrets.extend(
            site.database_url.as_ref().map(|_| Secret::text("the database's password", DATABASE_PASSWORD)),
        );
        secrets
    }

    /// Stops the server and notes what it said.
    async fn stop(self, site: &Site) {
        site.ok("logout", &[]).await;
        let ended = self.server.stop().await.expect(0);
        let is_link = |line: &&String| line.trim() == self.link;
        let meant: Vec<_> = ended.stdout.iter().filter(|line| !is_link(line)).cloned().collect();
        assert_eq!(meant.len() + 1, ended.stdout.len(), "the link is printed once");
        site.said.note("the server", meant.join("\n"));
        site.said.note("the server", ended.err());
    }
}

fn keys_of_agent(directory: &Path) -> [Secret; 3] {
    [
        Secret::seed("an identity key", &directory.join("identity.key")),
        Secret::seed("a miner-signing key", &directory.join("miner-signing.key")),
        Secret::seed("a sealing key", &directory.join("sealing.key")),
    ]
}

/// The whole of it, from set-up to revocation. Returns every secret that was used.
async fn vertical(site: &Site) -> Vec<Secret> {
    let founded = found(site, &["server"]).await;
    // The agent's talk is in clear, but for TLS: all that is said there is sought.
    let relay = if site.tls { None } else { Some(Relay::to(founded.address.parse().unwrap()).await) };
    let url = match &relay {
        Some(relay) => format!("http://{}", relay.address),
        None => format!("https://{}", founded.address),
    };
    let code = site.operator("agents code", &[]).await.expect(0);
    let code = site.said.note_but_shown("agents code", code);
    let mut enrolling = site.agent(&format!("enroll --server {url} --name {AGENT}"));
    enrolling.enter(&code).await;
    enrolling.enter("yes").await;
    let shown = enrolling.out(fingerprint).await.expect("it shows its fingerprint");
    assert_no_core_dumps(enrolling.pid());
    site.ok(&format!("agents confirm {AGENT}"), &[&shown]).await;
    site.said.note_all("agent enroll", &enrolling.ended().await.expect(0));
    let first = site.state().await;

    let block = LoopbackBlock::reserve().unwrap();
    let config = ProtoRigConfig::new(7, RIG_PASSWORD);
    let rig = ProtoRig::start((block.address().unwrap(), 0).into(), config).await.unwrap();
    let miner = rig.endpoint().unwrap().to_string();
    let kept = finish(site.agent(&format!("miner login {miner}")), &[RIG_PASSWORD]).await.expect(0);
    site.said.note_all("agent miner login", &kept);
    let running = site.agent_at_work(&block.cidr(), &rig.address().port().to_string());
    let shows = async |text: &str| {
        let look = async || {
            let listed = site.ok("devices list", &[]).await;
            listed.stdout.into_iter().find(|row| row.contains(&miner) && row.contains(text))
        };
        until(text, look).await
    };
    shows("not paired").await;
    site.ok(&format!("devices pair {AGENT} --all"), &[]).await;
    shows("mining").await;
    assert!(rig.logins() > 0, "the miner was told its password");
    let rig_tokens: Vec<String> =
        (1..=rig.logins()).map(|login| format!("token-PROTO-SIM-00000007-{login}")).collect();

    let made = site.operator("api-keys create ci", &[]).await.expect(0);
    let user_key = site.said.note_but_shown("api-keys create", made);
    let script = format!("--config-dir {}", site.home.join("script").display());
    site.ok(&format!("login --server {url} --api-key {script}"), &[&user_key]).await;
    site.ok(&format!("whoami {script}"), &[]).await;

    assert_no_core_dumps(running.pid());
    let second = site.state().await;
    running.signal(rustix::process::Signal::TERM);
    site.said.note_all("agent run", &running.ended().await.expect(0));
    site.said.note_all("agent refresh", &site.agent("refresh").ended().await.expect(0));
    let third = site.state().await;
    let tokens = [&first, &second, &third].map(|state| state.session.as_ref().unwrap().token.expose());
    assert_ne!(tokens[1], tokens[2], "the session was renewed");
    // The write-ahead log is still beside it.
    let database = match site.database_url {
        None => database(&site.home.join("server")),
        Some(_) => Vec::new(),
    };
    site.ok(&format!("agents revoke {AGENT} --yes"), &[]).await;
    site.said.note_all("a refresh that is refused", &site.agent("refresh").ended().await.expect(REFUSED));

    let mut secrets = founded.secrets(site);
    secrets.push(Secret::text("the code", &code));
    secrets.push(Secret::text("the miner's password", RIG_PASSWORD));
    secrets.extend(keys_of_agent(&site.home.join("agent")));
    let api_key = third.api_key.as_ref().unwrap().expose();
    secrets.extend(Secret::token("the agent's api_key", api_key));
    secrets.extend(Secret::token("the user's api_key", &user_key));
    secrets.extend(tokens.into_iter().flat_map(|token| Secret::token("a session of the agent", token)));
    secrets.extend(rig_tokens.iter().map(|token| Secret::text("a session at the miner", token)));

    for (file, content) in database {
        assert_eq!(search(&content, &secrets), Vec::<String>::new(), "{}", file.display());
    }
    if let Some(relay) = relay {
        // What went by is stored in part, and is said in none.
        for text in [code.as_str(), api_key, tokens[0], tokens[2]] {
            assert!(relay.saw(text), "the relay sees the agent's talk");
        }
        let went_by = relay.secrets();
        assert!(went_by.len() > 30, "{} fields went by", went_by.len());
        secrets.extend(went_by);
    }
    founded.stop(site).await;
    secrets
}

/// A server that reads miners itself.
async fn combined(site: &Site) -> Vec<Secret> {
    let block = LoopbackBlock::reserve().unwrap();
    let config = ProtoRigConfig::new(8, RIG_PASSWORD);
    let rig = ProtoRig::start((block.address().unwrap(), 0).into(), config).await.unwrap();
    let (range, port) = (block.cidr(), rig.address().port().to_string());
    let mode = ["combined", "--scan", &range, "--proto-port", &port, "--poll-interval", "1"];
    let founded = found(site, &mode).await;
    let local = site.home.join("server/local-agent");
    let miner = rig.endpoint().unwrap().to_string();
    let login = format!("agent --state-dir {} miner login {miner}", local.display());
    site.ok(&login, &[RIG_PASSWORD]).await;
    let shows = async |text: &str| {
        let look = async || {
            let listed = site.ok("devices list", &[]).await;
            listed.stdout.into_iter().find(|row| row.contains(&miner) && row.contains(text))
        };
        until(text, look).await
    };
    shows("not paired").await;
    site.ok("agents list", &[]).await;
    site.ok("devices pair local --all", &[]).await;
    shows("mining").await;
    assert!(rig.logins() > 0, "the miner was told its password");
    let mut secrets = founded.secrets(site);
    secrets.push(Secret::text("the miner's password", RIG_PASSWORD));
    secrets.extend(keys_of_agent(&local));
    for login in 1..=rig.logins() {
        secrets.push(Secret::text("a session at the miner", &format!("token-PROTO-SIM-00000008-{login}")));
    }
    founded.stop(site).await;
    secrets
}

/// The files of a database, as they are now.
fn database(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = entries(directory).into_iter().filter(|path| path.is_file());
    let files = files.filter(|path| path.extension().is_none_or(|extension| extension != "key"));
    let files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for name in ["fleet.db", "fleet.db-wal"] {
        let file = files.iter().find(|(path, _)| path.ends_with(name));
        assert!(file.is_some_and(|(_, content)| !content.is_empty()), "{name} is looked at");
    }
    files
}

/// Searches what was said; `libraries` must have said something. The same search must find `planted`, which the
/// processes do say: what they said is what is looked at.
fn assert_unsaid(site: &Site, secrets: &[Secret], libraries: &[&str], planted: &str) {
    let said = site.said.0.borrow();
    let planted = [Secret::text("planted", planted)];
    let found = said.iter().any(|(_, text)| !search(text.as_bytes(), &planted).is_empty());
    assert!(found, "what was planted is not found");
    for (who, text) in said.iter() {
        assert_eq!(search(text.as_bytes(), secrets), Vec::<String>::new(), "{who}");
    }
    let all: String = said.iter().map(|(_, text)| text.as_str()).collect();
    // That they were silent is worth nothing if they were asked to be.
    for library in ["TRACE", "h2::", "hyper_util::", "sqlx::query", "INSERT INTO"].iter().chain(libraries) {
        assert!(all.contains(library), "{library} said nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_in_the_form_for_people() {
    let site = Site::new("human");
    let secrets = vertical(&site).await;
    assert_unsaid(&site, &secrets, &[], AGENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_in_json_and_over_tls() {
    let site = Site { tls: true, ..Site::new("json") };
    let secrets = vertical(&site).await;
    assert_unsaid(&site, &secrets, &["rustls::"], AGENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_with_postgresql() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        // Not eprintln!, which is shown only for tests that fail.
        Err(why) => {
            return io::stderr()
                .write_all(format!("SKIPPED: leaks on PostgreSQL: {why}\n").as_bytes())
                .unwrap();
        }
    };
    let name = format!("fleet_test_leaks_{}", std::process::id());
    let maintenance = Database::connect(format!("{}/postgres", cluster.url)).await.unwrap();
    maintenance.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    // Who is trusted is not asked for it, and it is a password all the same.
    let url = cluster.url.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
    let site = Site { database_url: Some(format!("{url}/{name}")), ..Site::new("human") };
    let secrets = vertical(&site).await;
    assert_unsaid(&site, &secrets, &["sqlx_postgres::"], AGENT);
    maintenance.execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_where_the_server_reads_miners_itself() {
    let site = Site::new("json");
    let secrets = combined(&site).await;
    assert_unsaid(&site, &secrets, &[], "PROTO-SIM-00000008");
}

/// Every form that a secret may be said in, made another way than the search makes it.
fn planted(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let within = |before: &str| [before.as_bytes(), bytes, b" and more"].concat();
    let quoted = format!("{:?}", bytes::Bytes::copy_from_slice(bytes));
    let listed = format!("{bytes:#?}");
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("lossy text", String::from_utf8_lossy(bytes).into_owned().into_bytes()),
        ("hex", hex::encode(bytes).into_bytes()),
        ("upper hex", hex::encode_upper(bytes).into_bytes()),
        ("decimal", format!("{bytes:?}").into_bytes()),
        ("decimal in JSON", serde_json::to_vec(&listed).unwrap()),
        ("decimal over lines", listed.into_bytes()),
        ("quoted in JSON", serde_json::to_vec(&quoted).unwrap()),
        ("quoted", quoted.into_bytes()),
        ("base64", STANDARD.encode(bytes).into_bytes()),
        ("base64 without padding", STANDARD_NO_PAD.encode(bytes).into_bytes()),
        ("base64url", URL_SAFE.encode(bytes).into_bytes()),
        ("base64url without padding", URL_SAFE_NO_PAD.encode(bytes).into_bytes()),
    ];
    for before in ["", "1", "22", "333"] {
        forms.push(("base64 of a message", STANDARD.encode(within(before)).into_bytes()));
        forms.push(("base64url of a message", URL_SAFE_NO_PAD.encode(within(before)).into_bytes()));
    }
    forms
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    let seed: Vec<u8> = (0..32).map(|i: u8| i.wrapping_mul(37).wrapping_add(200)).collect();
    let awkward = b"\0\t\r\n\\\"'\x7f\xff\x1b[2J~~~???>>>".to_vec();
    let token = URL_SAFE_NO_PAD.encode(&seed);
    let api_key = format!("fleet_0123abcd_{token}");
    for secret in [seed.as_slice(), &awkward, token.as_bytes(), PASSWORD.as_bytes(), RIG_PASSWORD.as_bytes()]
    {
        let sought = [Secret::new("planted", secret), Secret::text("absent", "is-not-in-any-of-the-lines")];
        for (form, planted) in planted(secret) {
            let line = |middle: &[u8]| {
                [b"TRACE h2::codec: frame=", middle, b" rem=0\nDEBUG next".as_slice()].concat()
            };
            let found = search(&line(&planted), &sought);
            assert!(!found.is_empty(), "{form} of {secret:?} is not found");
            assert!(found.iter().all(|found| found.starts_with("planted in ")), "{found:?}");
            assert_eq!(search(&line(b""), &sought), Vec::<String>::new());
            // All but one of its bytes is something else.
            assert_eq!(search(&line(&secret[1..]), &sought), Vec::<String>::new());
        }
    }
    // The random bytes that a token stands for are sought as well.
    let sought = Secret::token("api_key", &api_key);
    for said in [api_key.clone(), token, hex::encode(&seed), format!("{seed:?}")] {
        assert!(!search(said.as_bytes(), &sought).is_empty(), "{said}");
    }
    assert_eq!(search(b"ApiKey(fleet_0123abcd_..)", &sought), Vec::<String>::new());
}
