//! The operator's command line from end to end: a server, an agent and an operator, each a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process_support;

use std::{cell::RefCell, collections::BTreeSet, fs, path::Path};

use fleet_agent::{
    sim::{LoopbackBlock, WhatsMiner, WhatsMinerConfig, WhatsMinerModel},
    state::{Access, StateDir},
};
use fleet_core::{
    store::{AgentState, AgentStore as _},
    telemetry::{Discovery, Event, EventKind},
    time::UnixMillis,
};
use fleet_proto::{
    agentgateway::v1::{AgentGatewayServiceClient, UploadEventsRequest, UploadHeartbeatRequest},
    client::Channel,
    convert::{encode_events, timestamp},
    fleet::v1::{OperatorServiceClient, WhoAmIRequest},
    rpc::Code,
};
use process_support::{
    Ended, Home, ORGANIZATION, PASSWORD, Process, Server, USER, assert_private, containing, fingerprint,
    until,
};
use serde_json::Value;

const AGENT: &str = "site-1";
const USAGE: i32 = 64;
const REFUSED: i32 = 77;

/// Somebody's command line, and everything that it said.
struct Cli<'a> {
    home: &'a Home,
    config: Option<&'static str>,
    said: &'a Said,
}

/// Command lines and what they printed.
#[derive(Default)]
struct Said(RefCell<Vec<(String, String)>>);

impl Said {
    fn note(&self, line: &str, ended: &Ended) {
        self.0.borrow_mut().push((line.to_owned(), format!("{}\n{}", ended.out(), ended.err())));
    }

    /// The command lines whose output holds a text.
    fn holding(&self, text: &str) -> Vec<String> {
        let said = self.0.borrow();
        said.iter().filter(|(_, output)| output.contains(text)).map(|(line, _)| line.clone()).collect()
    }

    /// The commands that were run with `--json`, without their arguments.
    fn with_json(&self) -> BTreeSet<String> {
        let said = self.0.borrow();
        let lines = said.iter().filter(|(line, _)| line.contains(" --json"));
        lines.map(|(line, _)| line.split(" --json").next().unwrap().to_owned()).collect()
    }
}

impl Cli<'_> {
    /// Runs a command and notes what it says. No part of a line has a blank.
    async fn run(&self, line: &str, input: &[&str]) -> Ended {
        let mut arguments: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        if let Some(config) = self.config {
            arguments.extend(["--config-dir".to_owned(), self.home.join(config).display().to_string()]);
        }
        let ended = self.home.run(arguments, input).await;
        let control = |line: &String| line.chars().any(char::is_control);
        assert!(!ended.stdout.iter().chain(&ended.stderr).any(control), "{line}: {ended:#?}");
        self.said.note(line, &ended);
        ended
    }

    /// Runs a command that must work.
    async fn ok(&self, line: &str) -> Ended {
        let ended = self.run(line, &[]).await;
        assert_eq!(ended.code(), Some(0), "{line}: {ended:#?}");
        ended
    }

    /// Runs a command with `--json` after its words, which must work and print JSON alone.
    async fn json(&self, command: &str, rest: &str) -> Value {
        self.ok(format!("{command} --json {rest}").trim_end()).await.json()
    }

    /// The line of a listing that holds a text.
    async fn row(&self, line: &str, text: &str) -> Option<String> {
        self.ok(line).await.stdout.into_iter().find(|line| line.contains(text))
    }

    /// Waits until a listing has a line with both texts.
    async fn shows(&self, line: &str, name: &str, text: &str) {
        let what = format!("{line}: {name} {text}");
        let look = async || self.row(line, name).await.filter(|row| row.contains(text));
        until(&what, look).await;
    }
}

/// The agent's half of a site.
struct AgentHalf<'a> {
    home: &'a Home,
    said: &'a Said,
}

impl AgentHalf<'_> {
    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = self.home.command(["agent", "--state-dir"]);
        Process::spawn(command.arg(self.home.join("agent")).args(arguments))
    }

    fn note(&self, what: &str, ended: &Ended) {
        self.said.note(what, ended);
    }

    /// What it keeps: its secrets too.
    async fn state(&self) -> AgentState {
        let directory = StateDir::open(&self.home.join("agent"), Access::ReadOnly).unwrap();
        directory.store().load().await.unwrap().unwrap().record
    }
}

/// No process of this host shows a secret to whoever lists processes.
fn assert_no_argument_holds(secrets: &[&str]) {
    let mut seen = 0;
    for process in fs::read_dir("/proc").unwrap() {
        // A process may have ended meanwhile.
        let Ok(arguments) = fs::read(process.unwrap().path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments);
        seen += usize::from(arguments.contains(env!("CARGO_BIN_EXE_fleetd")));
        for secret in secrets {
            assert!(!arguments.contains(secret), "a secret in the arguments of a process");
        }
    }
    assert!(seen > 0, "no process of ours was looked at");
}

fn gateway(server: &Server, state: &AgentState) -> AgentGatewayServiceClient {
    let channel = Channel::new(server.url().parse().unwrap(), None);
    AgentGatewayServiceClient::new(channel.with_bearer(state.session.as_ref().unwrap().token.expose()))
}

/// Set-up and login; returns the token of the link.
async fn sign_in(cli: &Cli<'_>, server: &mut Server) -> String {
    let link = server.link().await;
    let (_, token) = link.rsplit_once('/').unwrap();
    let dead = format!("{}/setup/{}", server.url(), "A".repeat(43));
    let ended = cli.run("setup", &[&dead, ORGANIZATION, USER, PASSWORD]).await.expect(USAGE);
    assert!(ended.err().contains("the link is not valid any more"), "{ended:#?}");
    let ended = cli.run("setup", &[&link, ORGANIZATION, USER, "too-short"]).await.expect(USAGE);
    assert!(ended.err().contains("password"), "{ended:#?}");
    let ended = cli.run("setup", &[&link, ORGANIZATION]).await.expect(USAGE);
    assert!(ended.err().contains("standard input ended"), "{ended:#?}");
    let ended = cli.run("setup", &[&link, ORGANIZATION, USER, PASSWORD]).await.expect(0);
    let next = format!("fleetd login --server {} --user {USER}", server.url());
    assert!(ended.out().contains(&next), "{ended:#?}");

    let ended = cli.run("whoami", &[]).await.expect(REFUSED);
    assert!(ended.err().contains("fleetd login"), "{ended:#?}");
    let login = format!("login --server {} --user {USER}", server.url());
    let ended = cli.run(&login, &["not-the-password"]).await.expect(REFUSED);
    assert_eq!(ended.err(), "error: the name or the password is wrong");
    assert!(!cli.home.join(".config").exists(), "nothing is kept of it");
    let ended = cli.run(&login, &[PASSWORD]).await.expect(0);
    assert_eq!(ended.out(), format!("{USER}, {ORGANIZATION}, at {}", server.url()));
    token.to_owned()
}

/// The session token of a command line.
fn session(config: &Path) -> String {
    let session: Value = serde_json::from_slice(&fs::read(config.join("session.json")).unwrap()).unwrap();
    session["token"].as_str().unwrap().to_owned()
}

/// Enrolls the agent; returns the code and the fingerprint.
async fn enroll(cli: &Cli<'_>, agent: &AgentHalf<'_>, server: &Server) -> (String, String) {
    let made = cli.ok("agents code --ttl 10m").await;
    assert_eq!(made.stdout.len(), 1, "the code alone: {made:#?}");
    let code = made.out();
    assert!(code.starts_with("fenr1") && code.len() == 88, "{code}");
    assert!(made.err().contains("10 min"), "{made:#?}");

    let mut enrolling = agent.start(&["enroll", "--server", &server.url(), "--name", AGENT]);
    enrolling.enter(&code).await;
    enrolling.enter("yes").await;
    let shown = enrolling.out(fingerprint).await.expect("it shows its fingerprint");
    enrolling.out(containing("Waiting for confirmation")).await.unwrap();
    assert_no_argument_holds(&[&code, PASSWORD]);

    // The operator must get it from the agent.
    cli.shows("agents list", AGENT, "waits for confirmation").await;
    assert_eq!(cli.json("agents list", "").await["agents"][0]["status"], "ENROLLMENT_STATUS_PENDING");
    assert!(cli.row("agents enrollments", AGENT).await.unwrap().contains("awaiting confirmation"));
    cli.json("agents enrollments", "--all").await;
    cli.ok("activity").await;
    cli.json("activity", "--limit 1000").await;
    let ended = cli.run(&format!("agents revoke {AGENT} --yes"), &[]).await.expect(1);
    assert!(ended.err().contains("cancel"), "what to do instead: {ended:#?}");
    for form in [shown.clone(), shown.replace('-', ""), shown.to_lowercase()] {
        assert_eq!(cli.said.holding(&form), Vec::<String>::new());
    }

    let ended = cli.run(&format!("agents confirm {AGENT}"), &["no-fingerprint"]).await.expect(USAGE);
    assert!(ended.err().contains("fingerprint"), "{ended:#?}");
    let wrong = "QGGE8-9TNQY-6HKEZ-0ZZ86-PSP5R";
    let ended = cli.run(&format!("agents confirm {AGENT} --fingerprint {wrong}"), &[]).await;
    assert_ne!(ended.code(), Some(0));
    assert!(ended.err().contains("fingerprint") && !ended.err().contains(&shown), "{ended:#?}");
    cli.shows("agents list", AGENT, "waits for confirmation").await;
    let ended = cli.run(&format!("agents confirm {AGENT}"), &[&shown.to_lowercase()]).await.expect(0);
    assert_eq!(ended.out(), format!("{AGENT} is confirmed"));

    let ended = enrolling.ended().await.expect(0);
    assert!(ended.out().contains(&format!("Agent {AGENT} of {ORGANIZATION} is online")), "{ended:#?}");
    agent.note("agent enroll", &ended);
    let again = cli.run(&format!("agents confirm {AGENT} --fingerprint {shown}"), &[]).await.expect(USAGE);
    assert!(again.err().contains("does not wait for confirmation"), "{again:#?}");
    (code, shown)
}

/// A code that is cancelled, and one whose agent a script confirms and whose api_key it wants. Returns the codes and
/// the api_key.
async fn enrollments(cli: &Cli<'_>, server: &Server) -> [String; 3] {
    let made = cli.json("agents code", "").await;
    let id = made["pendingEnrollmentId"].as_str().unwrap();
    cli.json("agents cancel", id).await;
    assert!(cli.row("agents enrollments --all", id).await.unwrap().contains("cancelled"));
    assert_eq!(cli.row("agents enrollments", id).await, None, "it is over");

    let code = cli.ok("agents code --ttl 1m").await.out();
    let mut command = cli.home.command(["agent", "enroll", "--yes", "--no-wait", "--name", "site-2"]);
    command.args(["--server", &server.url(), "--state-dir"]).arg(cli.home.join("agent-2"));
    let mut agent = Process::spawn(&mut command);
    agent.enter(&code).await;
    let shown = agent.out(fingerprint).await.expect("it shows its fingerprint");
    let ended = agent.ended().await.expect(0);
    assert!(ended.out().contains("Run the same command again with the same code"), "{ended:#?}");
    cli.said.note("agent enroll --no-wait", &ended);
    let confirmed =
        cli.json("agents confirm", &format!("site-2 --print-api-key --fingerprint {shown}")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    [text(&made["code"]), code, text(&confirmed["apiKey"])]
}

/// A miner that calls itself what moves cursors.
async fn discover_a_hostile_miner(server: &Server, state: &AgentState) {
    let at = UnixMillis::new(1_700_000_000_000).unwrap();
    let discovery = Discovery {
        endpoint: "mac:02000000beef".parse().unwrap(),
        address: "127.0.0.9:80".to_owned(),
        make: "Evil\u{7}".to_owned(),
        model: "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nsite-2".to_owned(),
        firmware: "\u{9b}31m".to_owned(),
        serial: None,
        mac: None,
        driver: "proto".to_owned(),
    };
    let event = Event { at, kind: EventKind::Discovered(discovery) };
    let request = UploadEventsRequest {
        payload: encode_events(&[event]),
        captured_at: Some(timestamp(at)),
        sequence: 1,
    };
    let stream = futures::stream::iter([request]);
    let stored = gateway(server, state).upload_events(stream).await.unwrap();
    assert_eq!((stored.accepted_count, stored.durable_sequence), (1, 1));
}

async fn devices(cli: &Cli<'_>, miner: &str) {
    cli.shows("devices list", miner, "not paired").await;
    cli.shows("agents list", AGENT, "online").await;
    let hostile = cli.row("devices list", "mac:02000000beef").await.unwrap();
    // Every command's output is looked at for control characters; here is something to find.
    assert!(hostile.contains("Evil") && hostile.contains("[2J"), "{hostile}");
    let listed = cli.json("devices list", "--unpaired").await;
    assert_eq!(listed["devices"].as_array().unwrap().len(), 2, "{listed:#}");

    let ended = cli.ok(&format!("devices pair {AGENT} --all")).await;
    assert_eq!(ended.out(), format!("2 devices paired with {AGENT}"));
    cli.ok("devices unpair mac:02000000beef").await;
    cli.shows("devices list", miner, "mining").await;
    let row = cli.row(&format!("devices list --agent {AGENT}"), miner).await.unwrap();
    assert!(row.contains(AGENT) && row.contains(" TH/s ") && row.contains(" W "), "{row}");
    let listed = cli.json("devices list", "").await;
    let found = listed["devices"].as_array().unwrap().iter().find(|device| device["endpoint"] == miner);
    assert_eq!(found.unwrap()["latest"]["status"], "MINER_STATUS_MINING");
    assert_eq!(cli.row("devices list --unpaired", miner).await, None);

    cli.shows(&format!("devices readings {miner}"), "TH/s", "mining").await;
    let readings = cli.json("devices readings", &format!("{miner} --limit 1")).await;
    assert_eq!(readings["readings"].as_array().unwrap().len(), 1, "{readings:#}");
    let ended = cli.run("devices readings sn:nobody", &[]).await.expect(USAGE);
    assert!(ended.err().contains("there is no device sn:nobody"), "{ended:#?}");

    cli.shows(&format!("devices history {miner} --step 5m"), "TH/s", "100 %").await;
    let history = cli.json("devices history", &format!("{miner} --since 1h --step 1s")).await;
    assert_eq!(history["source"], "HISTORY_SOURCE_READINGS", "{history:#}");
    assert!(history["points"][0]["hashrateHs"]["average"].as_f64().unwrap() > 1e12, "{history:#}");
    let ended = cli.run(&format!("devices history {miner} --since 24"), &[]).await.expect(USAGE);
    assert!(ended.err().contains("must be a number and s, m, h or d"), "{ended:#?}");
    let ended = cli.run(&format!("devices history {miner} --since 90d --step 5m"), &[]).await.expect(USAGE);
    assert!(ended.err().contains("at most 10000"), "{ended:#?}");
    cli.shows("history --since 2h", "TH/s", "1").await;
    let history = cli.json("history", &format!("--agent {AGENT}")).await;
    let last = history["points"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["devicesReporting"], &last["devicesMining"]),
        (&"1".into(), &"1".into()),
        "{history:#}"
    );

    let unpaired = cli.json("devices unpair", miner).await;
    assert_eq!(unpaired["unpairedDeviceIds"].as_array().unwrap().len(), 1);
    let row = cli.row("devices list --unpaired", miner).await.unwrap();
    assert!(row.contains("not paired") && !row.contains("mining"), "what it did before is no news: {row}");
    let paired = cli.json("devices pair", &format!("{AGENT} {miner}")).await;
    assert_eq!(paired["pairedDeviceIds"].as_array().unwrap().len(), 1);
}

/// api_keys, each shown once; returns them.
async fn api_keys(cli: &Cli<'_>, script: &Cli<'_>, server: &Server) -> Vec<String> {
    let made = cli.ok("api-keys create ci --days 7").await;
    let key = made.out();
    let digits = key[6..14].to_owned();
    assert!(made.stdout.len() == 1 && key.starts_with("fleet_") && made.stderr.is_empty(), "{made:#?}");
    let other = cli.json("api-keys create", "other").await["apiKey"].as_str().unwrap().to_owned();
    assert!(cli.row("api-keys list", &digits).await.unwrap().contains("ci"));
    cli.json("api-keys list", "").await;

    let login = format!("login --server {} --api-key", server.url());
    let wrong = format!("fleet_00000000_{}", "A".repeat(43));
    let ended = script.run(&login, &[&wrong]).await.expect(REFUSED);
    assert_eq!(ended.err(), "error: the api_key is not valid");
    let ended = script.run(&login, &[&key]).await.expect(0);
    assert!(ended.out().contains(&format!("by api_key {digits}")), "{ended:#?}");
    assert_eq!(script.json("whoami", "").await["apiKeyDigits"], *digits);
    assert_private(&script.home.join(script.config.unwrap()));

    cli.json("api-keys revoke", &digits).await;
    assert_eq!(cli.row("api-keys list", &digits).await, None);
    script.run("whoami", &[]).await.expect(REFUSED);
    assert_eq!(script.ok("logout").await.out(), "signed out");
    vec![key, other]
}

/// A revoked agent that runs: it is offline at once, nothing of it is taken, and it keeps asking, which protocol
/// section 11 wants of it for 10 minutes.
async fn revoke(cli: &Cli<'_>, server: &Server, agent: &AgentHalf<'_>, mut running: Process, miner: &str) {
    let before = agent.state().await;
    let heartbeat = || UploadHeartbeatRequest {
        sent_at: Some(timestamp(UnixMillis::new(1_700_000_000_000).unwrap())),
        agent_version: "1".to_owned(),
    };
    gateway(server, &before).upload_heartbeat(heartbeat()).await.unwrap();
    let question = cli.run(&format!("agents revoke {AGENT}"), &["no"]).await.expect(USAGE);
    assert!(question.err().contains("Revoke site-1 for good?"), "{question:#?}");
    cli.shows("agents list", AGENT, "online").await;
    let said = running.stderr().len();
    assert_eq!(cli.json("agents revoke", &format!("{AGENT} --yes")).await, serde_json::json!({}));

    let row = cli.row("agents list", AGENT).await.unwrap();
    assert!(row.contains("revoked") && !row.contains("online"), "{row}");
    let refused = gateway(server, &before).upload_heartbeat(heartbeat()).await;
    assert_eq!(refused.unwrap_err().code, Code::Unauthenticated);
    let readings = async || cli.json("devices readings", &format!("{miner} --limit 10000")).await;
    let at_revocation = readings().await;
    assert!(cli.row("devices list --unpaired", miner).await.is_some(), "its devices have no owner");
    let warned = |line: &str| (line.contains("WARN") && line.contains("no session; trying on")).then_some(());
    running.err_after(said, warned).await.expect("whoever looks after it is told, and it tries on");
    assert_eq!(readings().await, at_revocation, "nothing more was taken");

    assert_no_argument_holds(&[before.session.as_ref().unwrap().token.expose()]);
    let ended = running.stop().await;
    agent.note("agent run", &ended);
    let ended = agent.start(&["refresh"]).ended().await.expect(REFUSED);
    agent.note("agent refresh", &ended);
}

#[tokio::test]
async fn an_operator_does_everything_from_the_command_line() {
    let (home, said) = (Home::new(), Said::default());
    let mut server = Server::start(&home, &[]).await;
    let cli = Cli { home: &home, config: None, said: &said };
    let script = Cli { home: &home, config: Some("script"), said: &said };
    let agent = AgentHalf { home: &home, said: &said };

    let link_token = sign_in(&cli, &mut server).await;
    let config = home.join(".config/fleetd");
    let login_token = session(&config);
    assert_private(&config);
    assert_eq!(cli.json("whoami", "").await["userName"], USER);
    cli.ok("whoami").await;

    let (code, shown) = enroll(&cli, &agent, &server).await;
    let [cancelled, second, pasted] = enrollments(&cli, &server).await;
    let state = agent.state().await;
    discover_a_hostile_miner(&server, &state).await;

    let block = LoopbackBlock::reserve().unwrap();
    let miner = WhatsMinerConfig::new(WhatsMinerModel::M50S, 7);
    let _miner = WhatsMiner::start(block.address().unwrap(), miner).await.unwrap();
    let running = agent.start(&["run", "--scan", &block.cidr(), "--poll-interval", "1s"]);
    devices(&cli, "mac:c40828000007").await;
    let keys = api_keys(&cli, &script, &server).await;
    assert_no_argument_holds(&[&keys[0], &keys[1], &login_token, &code, PASSWORD]);
    let last = agent.state().await;
    revoke(&cli, &server, &agent, running, "mac:c40828000007").await;

    assert_eq!(cli.ok("logout").await.out(), "signed out");
    assert!(!config.join("session.json").exists());
    cli.run("agents list", &[]).await.expect(REFUSED);
    let channel = Channel::new(server.url().parse().unwrap(), None).with_bearer(&login_token);
    let dead = OperatorServiceClient::new(channel).who_am_i(WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(dead.code, Code::Unauthenticated, "the token is dead, not only forgotten");
    assert_eq!(cli.ok("logout").await.out(), "nobody was signed in");

    let ended = server.process.stop().await.expect(0);
    assert!(ended.out().contains(&link_token) && !ended.err().contains(&link_token));
    said.note("the server", &Ended { stdout: Vec::new(), ..ended });
    // Each secret is said where it was asked for, and nowhere else.
    for (secret, line) in [
        (&code, "agents code --ttl 10m"),
        (&cancelled, "agents code --json"),
        (&second, "agents code --ttl 1m"),
        (&keys[0], "api-keys create ci --days 7"),
        (&keys[1], "api-keys create --json other"),
    ] {
        assert_eq!(said.holding(secret), [line]);
    }
    let pasted = said.holding(&pasted);
    assert!(pasted.len() == 1 && pasted[0].starts_with("agents confirm --json site-2"), "{pasted:?}");
    let sessions = [&state, &last].map(|state| state.session.as_ref().unwrap().token.expose());
    let agent_key = state.api_key.as_ref().unwrap().expose();
    for secret in [&link_token, &login_token, PASSWORD, agent_key, sessions[0], sessions[1]] {
        assert_eq!(said.holding(secret), Vec::<String>::new());
    }
    let shown_by = said.holding(&shown);
    assert!(shown_by.contains(&"agent enroll".to_owned()), "the agent alone showed it: {shown_by:?}");
    assert_eq!(commands_with_json(&home).await, said.with_json());
}

/// The commands that take `--json`, by what `--help` says.
async fn commands_with_json(home: &Home) -> BTreeSet<String> {
    // No answer of the server to show; some are no commands of an operator, or not all of them is.
    let others = [
        "setup", "login", "logout", "passwd", "orgs", "agent", "demo", "backup", "restore", "manifest",
        "help",
    ];
    let mut found = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(command) = open.pop() {
        let words = command.split(' ').filter(|word| !word.is_empty());
        let help = home.run(words.chain(["--help"]), &[]).await.expect(0);
        let below = help.stdout.iter().skip_while(|line| *line != "Commands:").skip(1);
        let below: Vec<String> = below
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned))
            .filter(|name| !others.contains(&name.as_str()))
            .collect();
        if below.is_empty() {
            assert!(help.out().contains("--json"), "{command} has no --json");
            found.insert(command);
        } else {
            open.extend(below.into_iter().map(|name| format!("{command} {name}").trim().to_owned()));
        }
    }
    found
}

#[tokio::test]
async fn a_session_that_was_tampered_with_is_named_and_not_used() {
    let (home, said) = (Home::new(), Said::default());
    let config = home.join("xdg/fleetd");
    fs::create_dir_all(&config).unwrap();
    for content in [
        "{",
        "",
        "{\"server\":\"http://127.0.0.1:1\"}",
        "[]",
        "{\"server\":\"http://127.0.0.1:1\",\"token\":\"secret-token\",\"x\":1}",
    ] {
        fs::write(config.join("session.json"), content).unwrap();
        let mut command = home.command(["whoami"]);
        let ended = Process::spawn(command.env("XDG_CONFIG_HOME", home.join("xdg"))).ended().await.expect(1);
        assert!(
            ended.err().contains("session.json is damaged; sign in again with fleetd login"),
            "{ended:#?}"
        );
        assert!(!ended.err().contains("secret-token"), "{ended:#?}");
    }
    // A server that is not loopback: the token does not leave in clear.
    let elsewhere = "{\"server\":\"http://0.0.0.0:1\",\"token\":\"secret-token\"}";
    fs::write(config.join("session.json"), elsewhere).unwrap();
    let cli = Cli { home: &home, config: Some("xdg/fleetd"), said: &said };
    let ended = cli.run("whoami", &[]).await.expect(USAGE);
    assert!(ended.err().contains("URL") && !ended.err().contains("secret-token"), "{ended:#?}");
}
