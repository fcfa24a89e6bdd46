//! Nothing secret is said, at any level, in either form of the log, and nothing secret lies in the database in clear:
//! everything is run as processes with every library speaking, and what they said is searched for every secret.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use fleet_agent::{
    sim::{LoopbackBlock, ProtoRig, ProtoRigConfig},
    state::{Access, StateDir},
};
use fleet_core::store::{AgentState, AgentStore as _};
use process_support::{Ended, Home, ORGANIZATION, PASSWORD, Process, USER, entries, fingerprint, until};
use rustix::process::Pid;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const AGENT: &str = "site-1";
const RIG_PASSWORD: &str = "the-rig's-own-web-password-4711";
const MISTYPED: &str = "a-password-of-something-else-entirely";
const REFUSED: i32 = 77;

/// Bytes that nobody may say.
#[derive(Clone)]
struct Secret {
    name: &'static str,
    patterns: Vec<(&'static str, String)>,
}

/// Text in which every byte is one character, so that any bytes can be searched as text.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn decimal(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// As `Debug` of the `bytes` crate has it.
fn byte_string(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' | b'"' => text.extend(['\\', char::from(byte)]),
            b'\0' => text.push_str("\\0"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

/// What base64 of anything that has these bytes after `shift` others, modulo 3, contains.
fn base64_within(engine: &impl base64::Engine, bytes: &[u8], shift: usize) -> String {
    let whole = engine.encode([&vec![0; shift], bytes].concat());
    whole[(8 * shift).div_ceil(6)..8 * (shift + bytes.len()) / 6].to_owned()
}

impl Secret {
    fn new(name: &'static str, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 16, "{name} is short enough to be found by chance");
        let hex = hex::encode(bytes);
        let quoted = byte_string(bytes);
        let lossy = String::from_utf8_lossy(bytes);
        let mut patterns = vec![
            ("raw", latin1(bytes)),
            ("text", latin1(lossy.as_bytes())),
            ("upper hex", hex.to_uppercase()),
            ("hex", hex),
            ("decimal", decimal(bytes)),
            // A quoted text in JSON is quoted once more.
            ("quoted in JSON", quoted.replace('\\', "\\\\").replace('"', "\\\"")),
            ("quoted", quoted),
        ];
        for shift in 0..3 {
            patterns.push(("base64", base64_within(&STANDARD_NO_PAD, bytes, shift)));
            patterns.push(("base64url", base64_within(&URL_SAFE_NO_PAD, bytes, shift)));
        }
        let mut seen = BTreeSet::new();
        patterns.retain(|(_, pattern)| seen.insert(pattern.clone()));
        Self { name, patterns }
    }

    fn text(name: &'static str, text: &str) -> Self {
        Self::new(name, text.as_bytes())
    }

    /// A token that stands for random bytes: they are as good.
    fn token(name: &'static str, text: &str) -> [Self; 2] {
        let random = &text[text.len() - 43..];
        [Self::text(name, text), Self::new(name, &URL_SAFE_NO_PAD.decode(random).unwrap())]
    }

    /// The seed in a key file: a line of hex digits.
    fn seed(name: &'static str, file: &Path) -> Self {
        let line = fs::read_to_string(file).unwrap();
        Self::new(name, &hex::decode(line.trim_end()).unwrap())
    }
}

/// Searches bytes; says which secrets are there and in what form, and never the secret.
fn search(said: &[u8], secrets: &[Secret]) -> Vec<String> {
    let said = latin1(said);
    // `Debug` puts a blank or a line break between numbers, and a log may escape the latter.
    let mut bare = said.replace("\\n", "");
    bare.retain(|c| !c.is_ascii_whitespace());
    let mut found = BTreeSet::new();
    for secret in secrets {
        for (form, pattern) in &secret.patterns {
            let place = if *form == "decimal" { &bare } else { &said };
            if let Some(at) = place.find(pattern) {
                let line = place[..at].rsplit(['\n', '{']).next().unwrap();
                found.insert(format!("{} in {form}, after: {line}", secret.name));
            }
        }
    }
    found.into_iter().collect()
}

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

/// One installation: the form of its log, and whether it speaks TLS.
struct Site {
    home: Home,
    format: &'static str,
    tls: bool,
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

    fn serve(&self) -> Process {
        let data = self.home.join("server");
        let (certificate, key) = (tls_file("server.pem"), tls_file("server.key"));
        let mut arguments = vec!["--mode", "server", "--listen", "127.0.0.1:0", "--log-format", self.format];
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

/// The whole of it, from set-up to revocation. Returns every secret that was used.
async fn vertical(site: &Site) -> Vec<Secret> {
    let mut server = site.serve();
    let scheme = if site.tls { "https" } else { "http" };
    let listening = format!("listening on {scheme}://");
    let address = |line: &str| Some(line.split_once(&listening)?.1.split('"').next()?.to_owned());
    let address = server.err(address).await.expect("the server starts");
    let url = format!("{scheme}://{address}");
    assert_no_core_dumps(server.pid());
    let link = server.out(|line| line.contains("/setup/").then(|| line.trim().to_owned())).await.unwrap();
    let link_token = link.rsplit_once('/').unwrap().1.to_owned();

    if !site.tls {
        // A browser that opens the link.
        over_http1(&address, &format!("GET /setup/{link_token}"), "\r\n").await;
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
    let database = database(&site.home.join("server"));
    site.ok(&format!("agents revoke {AGENT} --yes"), &[]).await;
    site.said.note_all("a refresh that is refused", &site.agent("refresh").ended().await.expect(REFUSED));

    let mut secrets = vec![
        Secret::text("the operator's password", PASSWORD),
        Secret::text("a mistyped password", MISTYPED),
        Secret::text("the code", &code),
        Secret::text("the miner's password", RIG_PASSWORD),
        Secret::seed("the root key", &site.home.join("server/keys/root.key")),
        Secret::seed("the command key", &site.home.join("server/keys/command.key")),
        Secret::seed("the identity key", &site.home.join("agent/identity.key")),
        Secret::seed("the miner-signing key", &site.home.join("agent/miner-signing.key")),
        Secret::seed("the sealing key", &site.home.join("agent/sealing.key")),
    ];
    secrets.extend(Secret::token("the set-up token", &link_token));
    secrets.extend(Secret::token("the operator's session", &operator));
    secrets.extend(Secret::token("the agent's api_key", third.api_key.as_ref().unwrap().expose()));
    secrets.extend(Secret::token("the user's api_key", &user_key));
    secrets.extend(tokens.into_iter().flat_map(|token| Secret::token("a session of the agent", token)));
    secrets.extend(rig_tokens.iter().map(|token| Secret::text("a session at the miner", token)));
    let pem = fs::read_to_string(tls_file("server.key")).unwrap();
    secrets.push(Secret::text("the TLS key", pem.lines().nth(1).unwrap()));

    for (file, content) in database {
        assert_eq!(search(&content, &secrets), Vec::<String>::new(), "{}", file.display());
    }
    site.ok("logout", &[]).await;
    let ended = server.stop().await.expect(0);
    let meant = ended.stdout.iter().filter(|line| line.trim() != link).cloned().collect::<Vec<_>>();
    assert_eq!(meant.len() + 1, ended.stdout.len(), "the link is printed once");
    site.said.note("the server", meant.join("\n"));
    site.said.note("the server", ended.err());
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

async fn nothing_leaks(format: &'static str, tls: bool) {
    let site = Site { home: Home::new(), format, tls, said: Said::default() };
    let secrets = vertical(&site).await;
    let said = site.said.0.borrow();
    for (who, text) in said.iter() {
        assert_eq!(search(text.as_bytes(), &secrets), Vec::<String>::new(), "{who}");
    }
    let all: String = said.iter().map(|(_, text)| text.as_str()).collect();
    // That they were silent is worth nothing if they were asked to be.
    let mut libraries = vec!["h2::", "hyper_util::", "TRACE"];
    libraries.extend(tls.then_some("rustls::"));
    for library in libraries {
        assert!(all.contains(library), "{library} said nothing");
    }
    // The store turns the log of statements off, whatever RUST_LOG says.
    assert!(!all.contains("sqlx::query"), "statements are logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_in_the_form_for_people() {
    nothing_leaks("human", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_said_in_json_and_over_tls() {
    nothing_leaks("json", true).await;
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
