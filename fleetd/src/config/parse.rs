//! Values judged, every problem collected.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fleet_agent::miner::scan::{AllowList, ScanRange};
use fleet_agent::tls::ClientFiles;
use fleet_store::DatabaseUrl;

use super::layer::{self, AGENT_ONLY, Given, Layer, MINERS_ONLY, SERVER_ONLY};
use super::{ClientAuth, ClientCa, Config, LogFormat, Mode, Retention, TlsFiles};

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 86_400;
const DEFAULT_LISTEN: &str = "127.0.0.1:8420";

/// What is wrong with the configuration, all of it.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
            let mut source = std::error::Error::source(problem);
            while let Some(cause) = source {
                write!(f, ": {cause}")?;
                source = cause.source();
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such setting.
    #[error("{key}: there is no such setting")]
    Unknown {
        /// The variable, or the key and its file.
        key: String,
    },
    /// The value is not UTF-8.
    #[error("{key}: the value is not UTF-8")]
    NotText {
        /// Where it stands.
        key: String,
    },
    /// The value is of another type.
    #[error("{key}: must be text, a number, true or false, or, where several are allowed, an array of texts")]
    WrongType {
        /// Where it stands.
        key: String,
    },
    /// The file cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML. The parser's own error quotes the line, which may hold a secret.
    #[error("{}: line {line} is not TOML: {message}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says of it, which is one of its own phrases.
        message: Box<str>,
    },
    /// The value is not what the setting takes. The value itself may be a secret and is not shown.
    #[error("{key}: {expected}")]
    Invalid {
        /// Where it stands.
        key: String,
        /// What it takes.
        expected: String,
    },
    /// Two settings exclude each other.
    #[error("{first} and {second}: only one of the two may be given")]
    Both {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// One setting needs another.
    #[error("{given} needs --{missing} as well")]
    Needs {
        /// What is given.
        given: String,
        /// What is missing.
        missing: &'static str,
    },
    /// Everybody on the way could read along.
    #[error(
        "{key}: {address} is not loopback, and without TLS everybody on the way can read along; give --tls-cert and \
         --tls-key, or --allow-plaintext if something in front terminates TLS"
    )]
    Plaintext {
        /// Where it stands.
        key: String,
        /// The address.
        address: SocketAddr,
    },
    /// The mode does not use it.
    #[error("{key}: --mode={mode} does not use it")]
    NotForMode {
        /// Where it stands.
        key: String,
        /// The mode.
        mode: &'static str,
    },
    /// A password would stand in the list of processes, for everybody on the host to read.
    #[error(
        "{key}: a password does not belong on a command line; put the URL into a file and give --database-url-file"
    )]
    Password {
        /// Where it stands.
        key: String,
    },
    /// There is no directory to keep things in.
    #[error("--data-dir: neither XDG_STATE_HOME nor HOME is set, so say where things are kept")]
    NoHome,
}

/// Reads and judges the configuration.
///
/// # Errors
/// [`ConfigErrors`], every problem at once.
pub fn load(
    arguments: Vec<(&'static str, Vec<String>)>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let variables: Vec<_> = variables.into_iter().collect();
    let home = |program: &str| home(&variables, program);
    let arguments = layer::arguments(arguments);
    let environment = layer::environment(variables.iter().cloned(), &mut problems);
    let file = match layer::file_of([&arguments, &environment]) {
        Some(path) => layer::file(&path, &mut problems),
        None => Layer::new(),
    };
    let merged = layer::merge([arguments, environment, file]);
    let config = Judge { given: &merged, problems: &mut problems }.config(home);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => Err(ConfigErrors(problems)),
    }
}

/// `$XDG_STATE_HOME/PROGRAM`, else `~/.local/state/PROGRAM`.
fn home(variables: &[(OsString, OsString)], program: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let found = variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join(program))
}

pub(super) struct Judge<'a> {
    given: &'a Layer,
    problems: &'a mut Vec<Problem>,
}

impl Judge<'_> {
    fn config(mut self, home: impl Fn(&str) -> Option<PathBuf>) -> Option<Config> {
        let mode = self.choice(
            "mode",
            &[("combined", Mode::Combined), ("server", Mode::Server), ("agent", Mode::Agent)],
        );
        let log_format = self.choice("log-format", &[("human", LogFormat::Human), ("json", LogFormat::Json)]);
        let tls = self.tls();
        let listen = self.listen(tls.is_some());
        let metrics_listen = self.metrics_listen();
        // The agent's directory is fleet-agent's own, so that both binaries find the same agent.
        let program = if mode == Some(Mode::Agent) { "fleet-agent" } else { "fleetd" };
        let data_dir = self.path("data-dir").or_else(|| home(program));
        if data_dir.is_none() {
            self.problems.push(Problem::NoHome);
        }
        let database = self.database(data_dir.as_ref());
        let key_dir = self.path("key-dir").or_else(|| data_dir.as_ref().map(|dir| dir.join("keys")));
        let scan = self.scan();
        let proto_port = self.parsed("proto-port", "must be a port, 1 to 65535").map(NonZeroU16::get);
        let poll_interval = self.seconds("poll-interval", 1, 600).unwrap_or(Duration::from_secs(5));
        let drain_timeout = self.seconds("drain-timeout", 0, 600).unwrap_or(super::DRAIN_TIMEOUT);
        let retention = self.retention();
        let client =
            self.pair("client-cert", "client-key").map(|(certificate, key)| ClientFiles { certificate, key });
        let ca_file = self.path("ca-file");
        let allow_insecure_transport = self.switch("allow-insecure-transport");
        let health = self.parsed("health", "must be an IP address and a port, for example 127.0.0.1:8421");
        let limits = self.limits();
        self.unused(mode.unwrap_or(Mode::Combined));
        Some(Config {
            limits,
            drain_timeout,
            ca_file,
            client,
            allow_insecure_transport,
            health,
            mode: mode.unwrap_or(Mode::Combined),
            listen,
            metrics_listen,
            data_dir: data_dir?,
            key_dir: key_dir?,
            database: database?,
            tls,
            scan,
            proto_port,
            poll_interval,
            retention,
            log_format: log_format.unwrap_or(LogFormat::Human),
        })
    }

    fn unused(&mut self, mode: Mode) {
        let (mode, unused): (_, Vec<&str>) = match mode {
            Mode::Combined => ("combined", AGENT_ONLY.to_vec()),
            Mode::Server => ("server", [&AGENT_ONLY[..], &MINERS_ONLY].concat()),
            Mode::Agent => ("agent", SERVER_ONLY.to_vec()),
        };
        for given in unused.into_iter().filter_map(|name| self.given.get(name)) {
            self.problems.push(Problem::NotForMode { key: given.source.clone(), mode });
        }
    }

    fn metrics_listen(&mut self) -> Option<SocketAddr> {
        let address =
            self.parsed("metrics-listen", "must be an IP address and a port, for example 127.0.0.1:8422")?;
        let address: SocketAddr = address;
        if !address.ip().is_loopback() && !self.switch("allow-plaintext") {
            // TLS on the other listener does not cover this one.
            let key = self.one("metrics-listen").map_or_else(String::new, |(_, given)| given.source.clone());
            self.problems.push(Problem::Plaintext { key, address });
        }
        Some(address)
    }

    pub(super) fn one(&self, name: &str) -> Option<(&str, &Given)> {
        let given = self.given.get(name)?;
        given.values.first().map(|value| (value.as_str(), given))
    }

    pub(super) fn invalid(&mut self, key: &str, expected: impl Into<String>) {
        self.problems.push(Problem::Invalid { key: key.to_owned(), expected: expected.into() });
    }

    fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let (value, given) = self.one(name)?;
        let found = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let source = given.source.clone();
            self.invalid(&source, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let (value, given) = self.one(name)?;
        let parsed = value.parse().ok();
        if parsed.is_none() {
            let source = given.source.clone();
            self.invalid(&source, expected);
        }
        parsed
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        let (value, given) = self.one(name)?;
        if value.is_empty() {
            let source = given.source.clone();
            self.invalid(&source, "must be a path");
            return None;
        }
        // Without a slash or dot at its end, by which a symbolic link would be followed.
        Some(PathBuf::from(value).components().collect())
    }

    fn switch(&mut self, name: &str) -> bool {
        self.choice(name, &[("true", true), ("false", false)]).unwrap_or(false)
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let pair = self.pair("tls-cert", "tls-key");
        let authorities = self.path("tls-client-ca");
        let auth = self.choice(
            "tls-client-auth",
            &[("required", ClientAuth::Required), ("optional", ClientAuth::Optional)],
        );
        let needs = [
            ("tls-client-ca", "tls-cert", authorities.is_some() && !self.given.contains_key("tls-cert")),
            ("tls-client-auth", "tls-client-ca", auth.is_some() && authorities.is_none()),
        ];
        for (name, missing, _) in needs.into_iter().filter(|(_, _, lacks)| *lacks) {
            let given = self.source(name);
            self.problems.push(Problem::Needs { given, missing });
        }
        let clients = authorities
            .map(|authorities| ClientCa { authorities, auth: auth.unwrap_or(ClientAuth::Required) });
        pair.map(|(certificate, key)| TlsFiles { certificate, key, clients })
    }

    fn source(&self, name: &str) -> String {
        self.given.get(name).map_or_else(String::new, |given| given.source.clone())
    }

    /// A certificate and its key: both or neither.
    fn pair(&mut self, certificate: &'static str, key: &'static str) -> Option<(PathBuf, PathBuf)> {
        let (given, missing) = match (self.path(certificate), self.path(key)) {
            (Some(certificate), Some(key)) => return Some((certificate, key)),
            (None, None) => return None,
            (Some(_), None) => (certificate, key),
            (None, Some(_)) => (key, certificate),
        };
        // A path that cannot be one was complained about already.
        if !self.given.contains_key(missing) {
            let given = self.source(given);
            self.problems.push(Problem::Needs { given, missing });
        }
        None
    }

    fn listen(&mut self, tls: bool) -> Vec<SocketAddr> {
        let plaintext = tls || self.switch("allow-plaintext");
        let default = Given { values: vec![DEFAULT_LISTEN.to_owned()], source: "--listen".to_owned() };
        let given = self.given.get("listen").cloned().unwrap_or(default);
        let mut addresses = Vec::new();
        if given.values.is_empty() {
            self.invalid(&given.source, "must name at least one address");
        }
        for value in &given.values {
            match value.parse::<SocketAddr>() {
                Ok(address) if plaintext || address.ip().is_loopback() => addresses.push(address),
                Ok(address) => {
                    self.problems.push(Problem::Plaintext { key: given.source.clone(), address });
                }
                Err(_) => self
                    .invalid(&given.source, "must be an IP address and a port, for example 127.0.0.1:8420"),
            }
        }
        addresses
    }

    fn database(&mut self, data_dir: Option<&PathBuf>) -> Option<DatabaseUrl> {
        let url = self.one("database-url").map(|(value, given)| (value.to_owned(), given.source.clone()));
        let file =
            self.one("database-url-file").map(|(value, given)| (PathBuf::from(value), given.source.clone()));
        let (text, source) = match (url, file) {
            (Some((_, first)), Some((_, second))) => {
                self.problems.push(Problem::Both { first, second });
                return None;
            }
            (Some(given), None) => given,
            (None, Some((path, source))) => match std::fs::read_to_string(&path) {
                Ok(text) => (text.trim().to_owned(), source),
                Err(error) => {
                    self.problems.push(Problem::Unreadable { path, source: error });
                    return None;
                }
            },
            (None, None) => return data_dir.map(|dir| DatabaseUrl::sqlite_file(dir.join("fleet.db"))),
        };
        let on_command_line = source.starts_with("--") && source != "--database-url-file";
        if on_command_line && url::Url::parse(&text).is_ok_and(|url| url.password().is_some()) {
            self.problems.push(Problem::Password { key: source });
            return None;
        }
        match text.parse::<DatabaseUrl>() {
            // Whoever connects would find that out, but only once files are made, and without the setting's name.
            Ok(url) if text.starts_with("postgres") && url::Url::parse(&url.to_string()).is_err() => {
                self.invalid(&source, fleet_store::DatabaseUrlError::NoHost.to_string());
                None
            }
            Ok(url) => Some(url),
            Err(error) => {
                self.invalid(&source, error.to_string());
                None
            }
        }
    }

    fn scan(&mut self) -> Vec<ScanRange> {
        let Some(given) = self.given.get("scan").cloned() else { return Vec::new() };
        let mut ranges = Vec::new();
        for value in &given.values {
            match value.parse() {
                Ok(range) => ranges.push(range),
                Err(error) => {
                    let error: fleet_agent::miner::scan::ScanRangeError = error;
                    self.invalid(&given.source, format!("{value}: {error}"));
                }
            }
        }
        if let Err(error) = AllowList::new(ranges.iter().copied()) {
            self.invalid(&given.source, error.to_string());
        }
        ranges
    }

    fn retention(&mut self) -> Retention {
        let Retention { readings, history } = Retention::DEFAULT;
        let year = 366 * DAY_S;
        let readings = self.age("keep-readings", readings, (HOUR_S, year), "1h to 366d, for example 7d");
        let history = self.age("keep-history", history, (DAY_S, 10 * year), "1d to 3660d, for example 90d");
        if history < readings {
            let given = self.given.get("keep-history").or_else(|| self.given.get("keep-readings"));
            let source = given.map_or_else(String::new, |given| given.source.clone());
            self.invalid(&source, "readings must not be kept for longer than the history of them");
        }
        Retention { readings, history }
    }

    fn age(&mut self, name: &str, default: Duration, (least, most): (u64, u64), expected: &str) -> Duration {
        let Some((value, given)) = self.one(name) else { return default };
        let age = crate::duration::parse(value).filter(|age| (least..=most).contains(&age.as_secs()));
        if let Some(age) = age {
            return age;
        }
        let source = given.source.clone();
        self.invalid(&source, format!("must be {expected}"));
        default
    }

    /// Whole seconds, with or without an `s`.
    pub(super) fn seconds(&mut self, name: &str, least: u64, most: u64) -> Option<Duration> {
        let (value, given) = self.one(name)?;
        let seconds = value.strip_suffix('s').unwrap_or(value).parse::<u64>().ok();
        if let Some(seconds) = seconds.filter(|seconds| (least..=most).contains(seconds)) {
            return Some(Duration::from_secs(seconds));
        }
        let source = given.source.clone();
        self.invalid(&source, format!("must be whole seconds, {least} to {most}, for example 5s"));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Rate};
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let home = std::iter::once(&("HOME", "/home/operator"));
        home.chain(pairs).map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    fn arguments(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, Vec<String>)> {
        pairs.iter().map(|(name, value)| (*name, vec![(*value).to_owned()])).collect()
    }

    #[test]
    fn nothing_given_is_combined_mode_on_loopback() {
        let config = load(Vec::new(), variables(&[])).unwrap();
        assert_eq!(config.mode, Mode::Combined);
        assert_eq!(config.listen, ["127.0.0.1:8420".parse().unwrap()]);
        assert_eq!(config.data_dir, PathBuf::from("/home/operator/.local/state/fleetd"));
        assert_eq!(config.key_dir, config.data_dir.join("keys"));
        assert_eq!(config.poll_interval, Duration::from_secs(5));
        assert!(config.scan.is_empty() && config.tls.is_none());
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleetd.toml");
        std::fs::write(
            &file,
            "mode = \"agent\"\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\npoll-interval = 7\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let config = load(
            arguments(&[("mode", "combined"), ("config", file)]),
            variables(&[("FLEETD_MODE", "server"), ("FLEETD_SCAN", "127.0.1.0/30, 127.0.2.0/30")]),
        );
        let config = config.unwrap();
        assert_eq!(config.mode, Mode::Combined);
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.scan.len(), 2);
        assert_eq!(config.poll_interval, Duration::from_secs(7));
    }

    #[test]
    fn every_problem_is_reported_at_once_and_no_value_of_a_url_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleetd.toml");
        std::fs::write(&file, "colour = \"blue\"\nmode = 3.5\n").unwrap();
        let errors = load(
            arguments(&[
                ("config", file.to_str().unwrap()),
                ("listen", "0.0.0.0:8420"),
                ("tls-cert", "cert.pem"),
                ("database-url", "mysql://fleet:hunter2@db/fleet"),
                ("scan", "8.8.8.0/24"),
                ("poll-interval", "0"),
            ]),
            variables(&[("FLEETD_LSITEN", "127.0.0.1:1")]),
        );
        let errors = errors.unwrap_err();
        let text = errors.to_string();
        for expected in [
            "FLEETD_LSITEN: there is no such setting",
            "colour in ",
            "mode in ",
            "--listen: 0.0.0.0:8420 is not loopback",
            "--tls-cert needs --tls-key as well",
            "--database-url: ",
            "--scan: 8.8.8.0/24",
            "--poll-interval: must be whole seconds",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        assert_eq!(errors.0.len(), 8, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn beyond_loopback_it_takes_tls_or_an_explicit_word() {
        let beyond = ("listen", "192.168.1.1:8420");
        assert!(load(arguments(&[beyond]), variables(&[])).is_err());
        assert!(load(arguments(&[beyond, ("allow-plaintext", "true")]), variables(&[])).is_ok());
        assert!(load(arguments(&[beyond, ("tls-cert", "c"), ("tls-key", "k")]), variables(&[])).is_ok());
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        let default = Limits::default();
        assert_eq!(load(Vec::new(), variables(&[])).unwrap().limits, default);
        let limits =
            |name, value: &str| load(arguments(&[(name, value)]), variables(&[])).map(|config| config.limits);
        let hundred = Some(Rate { per_second: 100, burst: 500 });
        for (name, value, expected) in [
            ("unauthenticated-rate", "100/500", Limits { unauthenticated_rate: hundred, ..default.clone() }),
            ("unauthenticated-rate", "off", Limits { unauthenticated_rate: None, ..default.clone() }),
            ("session-rate", "100/500", Limits { session_rate: hundred, ..default.clone() }),
            ("session-rate", "off", Limits { session_rate: None, ..default.clone() }),
            ("begin-rate", "1", Limits { begin_rate: Some(1), ..default.clone() }),
            ("begin-rate", "off", Limits { begin_rate: None, ..default.clone() }),
            ("max-connections", "16", Limits { connections: 16, ..default.clone() }),
            (
                "max-unauthenticated-connections",
                "1",
                Limits { unauthenticated_connections: 1, ..default.clone() },
            ),
            ("max-calls-per-agent", "8", Limits { calls_per_agent: 8, ..default.clone() }),
            ("max-devices-per-agent", "1", Limits { devices_per_agent: 1, ..default.clone() }),
            ("max-message-bytes", "655360", Limits { message_bytes: 655_360, ..default.clone() }),
            ("max-header-bytes", "262144", Limits { header_bytes: 262_144, ..default.clone() }),
            (
                "handshake-timeout",
                "60s",
                Limits { handshake_timeout: Duration::from_secs(60), ..default.clone() },
            ),
            (
                "request-timeout",
                "600",
                Limits { request_timeout: Duration::from_secs(600), ..default.clone() },
            ),
            ("idle-timeout", "10", Limits { idle_timeout: Duration::from_secs(10), ..default.clone() }),
        ] {
            assert_eq!(limits(name, value).unwrap(), expected, "{name} {value}");
            assert_ne!(expected, default, "{name} {value}");
        }
        for (name, values) in [
            ("unauthenticated-rate", ["10", "0/5", "5/0", "-1/5", "1/2/3", "", "1.5/3"].as_slice()),
            ("session-rate", &["on", "100"]),
            ("begin-rate", &["0", "1001", "4/4"]),
            ("max-connections", &["15", "1000001", "off", "-1"]),
            ("max-unauthenticated-connections", &["0"]),
            ("max-calls-per-agent", &["7"]),
            ("max-devices-per-agent", &["0"]),
            // Agents' own messages must fit, and the protocol allows no longer ones.
            ("max-message-bytes", &["655359", "1114113"]),
            ("max-header-bytes", &["8191", "262145"]),
            ("handshake-timeout", &["0", "61"]),
            ("request-timeout", &["0", "601", "1m"]),
            ("idle-timeout", &["9", "3601"]),
        ] {
            for value in values {
                let errors = limits(name, value).expect_err(value).to_string();
                assert!(errors.contains(&format!("--{name}: must be ")), "{errors}");
            }
        }
    }

    #[test]
    fn certificates_of_clients_need_a_server_with_one() {
        let problems = |pairs: &[(&'static str, &str)]| load(arguments(pairs), variables(&[]));
        let tls = [("tls-cert", "c"), ("tls-key", "k")];
        let config = problems(&[&tls[..], &[("tls-client-ca", "ca")]].concat()).unwrap();
        let clients = config.tls.unwrap().clients.unwrap();
        assert_eq!((clients.authorities, clients.auth), (PathBuf::from("ca"), ClientAuth::Required));
        let optional = [&tls[..], &[("tls-client-ca", "ca"), ("tls-client-auth", "optional")]].concat();
        assert_eq!(problems(&optional).unwrap().tls.unwrap().clients.unwrap().auth, ClientAuth::Optional);
        for (pairs, says) in [
            (&[("tls-client-ca", "ca")][..], "--tls-client-ca needs --tls-cert as well"),
            (
                &[tls[0], tls[1], ("tls-client-auth", "optional")],
                "--tls-client-auth needs --tls-client-ca as well",
            ),
            (&[("mode", "agent"), ("client-cert", "c")], "--client-cert needs --client-key as well"),
            (&[("mode", "agent"), ("client-key", "k")], "--client-key needs --client-cert as well"),
            (&[("client-key", "k"), ("client-cert", "c")], "--client-cert: --mode=combined does not use it"),
        ] {
            let errors = problems(pairs).unwrap_err().to_string();
            assert!(errors.contains(says), "{errors}");
        }
    }

    #[test]
    fn timeouts_have_bounds() {
        let timeout = |name, value: &str| load(arguments(&[(name, value)]), variables(&[]));
        assert_eq!(timeout("drain-timeout", "0").unwrap().drain_timeout, Duration::ZERO);
        assert_eq!(
            timeout("handshake-timeout", "3s").unwrap().limits.handshake_timeout,
            Duration::from_secs(3)
        );
        for (name, value) in
            [("drain-timeout", "601"), ("handshake-timeout", "0"), ("handshake-timeout", "1m")]
        {
            let errors = timeout(name, value).unwrap_err().to_string();
            assert!(errors.contains(&format!("--{name}: must be whole seconds")), "{errors}");
        }
    }

    #[test]
    fn what_is_kept_is_read_and_bounded() {
        let kept =
            |pairs: &[(&'static str, &str)]| load(arguments(pairs), variables(&[])).map(|c| c.retention);
        let days = |days: u64| Duration::from_secs(days * DAY_S);
        assert_eq!(kept(&[]).unwrap(), Retention { readings: days(7), history: days(90) });
        let given = kept(&[("keep-readings", "36h"), ("keep-history", "2d")]).unwrap();
        assert_eq!(given, Retention { readings: Duration::from_secs(36 * HOUR_S), history: days(2) });
        let edges = kept(&[("keep-readings", "366d"), ("keep-history", "3660d")]).unwrap();
        assert_eq!(edges, Retention { readings: days(366), history: days(3660) });
        assert!(kept(&[("keep-readings", "1h"), ("keep-history", "1d")]).is_ok());
        for (name, value) in [
            ("keep-readings", "59m"),
            ("keep-readings", "367d"),
            ("keep-readings", "7"),
            ("keep-readings", ""),
            ("keep-history", "23h"),
            ("keep-history", "3661d"),
            ("keep-history", "-1d"),
        ] {
            let text = kept(&[(name, value)]).unwrap_err().to_string();
            assert!(text.contains(&format!("--{name}: must be 1")), "{text}");
        }
        for pairs in [&[("keep-history", "6d")][..], &[("keep-readings", "91d")]] {
            let text = kept(pairs).unwrap_err().to_string();
            assert!(text.contains(&format!("--{}: readings must not be kept", pairs[0].0)), "{text}");
        }
    }

    #[test]
    fn what_a_mode_does_not_use_is_not_swallowed() {
        for (mode, given) in [("server", "scan"), ("agent", "tls-cert"), ("combined", "ca-file")] {
            let value = if given == "scan" { "127.0.1.0/30" } else { "file" };
            let errors = load(arguments(&[("mode", mode), (given, value)]), variables(&[])).unwrap_err();
            let text = format!("--{given}: --mode={mode} does not use it");
            assert!(errors.to_string().contains(&text), "{errors}");
        }
        let agent = load(arguments(&[("mode", "agent"), ("ca-file", "ca.pem")]), variables(&[])).unwrap();
        assert_eq!(agent.data_dir, PathBuf::from("/home/operator/.local/state/fleet-agent"));
    }

    #[test]
    fn metrics_beyond_loopback_take_an_explicit_word_too_and_an_empty_list_is_none() {
        let beyond = ("metrics-listen", "192.168.1.1:8422");
        assert!(load(arguments(&[beyond, ("tls-cert", "c"), ("tls-key", "k")]), variables(&[])).is_err());
        assert!(load(arguments(&[beyond, ("allow-plaintext", "true")]), variables(&[])).is_ok());
        assert!(load(Vec::new(), variables(&[("FLEETD_LISTEN", "")])).is_err());
        assert!(load(arguments(&[("proto-port", "0")]), variables(&[])).is_err());
    }

    #[test]
    fn a_password_does_not_stand_in_the_list_of_processes() {
        let url = "postgres://fleet:hunter2@127.0.0.1/fleet";
        let errors = load(arguments(&[("database-url", url)]), variables(&[])).unwrap_err();
        assert!(errors.to_string().contains("--database-url-file"), "{errors}");
        assert!(load(Vec::new(), variables(&[("FLEETD_DATABASE_URL", url)])).is_ok());
    }

    #[test]
    fn a_database_url_may_stand_in_a_file_but_not_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        std::fs::write(&file, "sqlite:///var/lib/fleet.db\n").unwrap();
        let file = file.to_str().unwrap();
        assert!(load(arguments(&[("database-url-file", file)]), variables(&[])).is_ok());
        let both = arguments(&[("database-url-file", file), ("database-url", "sqlite::memory:")]);
        assert!(load(both, variables(&[])).unwrap_err().to_string().contains("only one of the two"));
    }
}
