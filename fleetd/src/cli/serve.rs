//! The server as a process: configuration, log, signals.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser as _};
use fleet_agent::clock::SystemClock;
use fleet_agent::service_manager;
use fleet_core::random::OsRandom;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Logging, USAGE, report};
use crate::config::{self, Config, Mode};
use crate::server::Server;

/// The options of the server. They are judged together with the environment and the file.
///
/// Those that a command has as well have an id of their own: clap hands the value of a command's global option up to
/// whatever has its id here, of whichever type that is.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// combined (server and local miners), server, or agent [default: combined]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Where to listen; may be given several times [default: 127.0.0.1:8420]
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<String>,
    /// Serve /metrics here as well, without credentials
    #[arg(long, value_name = "IP:PORT")]
    metrics_listen: Option<String>,
    /// Where everything is kept [default: $XDG_STATE_HOME/fleetd, else ~/.local/state/fleetd; with --mode=agent the
    /// same of fleet-agent]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where the server's keys are kept; back them up [default: keys in the data directory]
    #[arg(long, value_name = "DIR")]
    key_dir: Option<String>,
    /// sqlite:///PATH or postgres://... [default: fleet.db in the data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// A file that holds the database URL, for one with a password
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<String>,
    /// The server's certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Ask clients for a certificate of these authorities, PEM
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Whether a client must have one: required or optional [default: required]
    #[arg(long, value_name = "WORD")]
    tls_client_auth: Option<String>,
    /// Listen beyond loopback without TLS, because something in front terminates it
    #[arg(long)]
    allow_plaintext: bool,
    /// A private network whose miners the server reads itself, for example 192.168.1.0/24; may be given several times
    #[arg(long, value_name = "CIDR")]
    scan: Vec<String>,
    /// A port on which Proto rigs answer besides 80 and 443
    #[arg(long, value_name = "PORT")]
    proto_port: Option<String>,
    /// How often each miner is read [default: 5s]
    #[arg(long, value_name = "SECONDS")]
    poll_interval: Option<String>,
    /// For how long readings are kept, 1h to 366d [default: 7d]
    #[arg(long, value_name = "TIME")]
    keep_readings: Option<String>,
    /// For how long roll-ups of readings, and events, are kept, 1d to 3660d [default: 90d]
    #[arg(long, value_name = "TIME")]
    keep_history: Option<String>,
    /// human or json [default: human]
    #[arg(id = "server_log_format", long = "log-format", value_name = "FORM")]
    log_format: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// How long open calls may go on when the server stops [default: 10s]
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<String>,
    /// With --mode=agent: trust only the certificate authorities in this PEM file
    #[arg(id = "server_ca_file", long = "ca-file", value_name = "FILE")]
    ca_file: Option<String>,
    /// With --mode=agent: show this certificate to a server that asks for one, PEM
    #[arg(id = "server_client_cert", long = "client-cert", value_name = "FILE")]
    client_cert: Option<String>,
    /// With --mode=agent: its key, PEM, 0600
    #[arg(id = "server_client_key", long = "client-key", value_name = "FILE")]
    client_key: Option<String>,
    /// With --mode=agent: allow plain HTTP to a host that is not loopback: whoever can read the traffic has the api_key
    #[arg(id = "server_allow_insecure_transport", long = "allow-insecure-transport")]
    allow_insecure_transport: bool,
    /// With --mode=agent: serve the agent's health page here
    #[arg(long, value_name = "IP:PORT")]
    health: Option<String>,
    /// A TOML file with these options
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

/// What callers may take of the server.
#[derive(Debug, Args)]
struct LimitArgs {
    /// How often an address may call without good credentials: calls a second, and how many at once; or off, behind a
    /// proxy that has limits of its own [default: 10/50]
    #[arg(long, value_name = "RATE/BURST")]
    unauthenticated_rate: Option<String>,
    /// How many sessions agents may begin: a second, and how many at once; or off [default: 100/200]
    #[arg(long, value_name = "RATE/BURST")]
    session_rate: Option<String>,
    /// How often one agent may begin a handshake, a second; or off [default: 4]
    #[arg(long, value_name = "RATE")]
    begin_rate: Option<String>,
    /// Connections at once; fewer if the limit on open files is lower [default: 20000]
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<String>,
    /// Connections at once from one address that have shown no good credentials [default: 1000]
    #[arg(long, value_name = "NUMBER")]
    max_unauthenticated_connections: Option<String>,
    /// Calls and streams at once of one agent [default: 32]
    #[arg(long, value_name = "NUMBER")]
    max_calls_per_agent: Option<String>,
    /// Devices that one agent may report [default: 65536]
    #[arg(long, value_name = "NUMBER")]
    max_devices_per_agent: Option<String>,
    /// The longest message; it may be lowered only [default: 1114112]
    #[arg(long, value_name = "BYTES")]
    max_message_bytes: Option<String>,
    /// The headers of one request [default: 16384]
    #[arg(long, value_name = "BYTES")]
    max_header_bytes: Option<String>,
    /// How long a TLS handshake and the headers of an HTTP/1.1 request may take [default: 10s]
    #[arg(long, value_name = "SECONDS")]
    handshake_timeout: Option<String>,
    /// How long a call with one message may take, the time to receive it included [default: 30s]
    #[arg(long, value_name = "SECONDS")]
    request_timeout: Option<String>,
    /// How long a connection without good credentials may go on without a new request [default: 60s]
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<String>,
}

impl LimitArgs {
    fn given(self) -> [(&'static str, Option<String>); 12] {
        [
            ("unauthenticated-rate", self.unauthenticated_rate),
            ("session-rate", self.session_rate),
            ("begin-rate", self.begin_rate),
            ("max-connections", self.max_connections),
            ("max-unauthenticated-connections", self.max_unauthenticated_connections),
            ("max-calls-per-agent", self.max_calls_per_agent),
            ("max-devices-per-agent", self.max_devices_per_agent),
            ("max-message-bytes", self.max_message_bytes),
            ("max-header-bytes", self.max_header_bytes),
            ("handshake-timeout", self.handshake_timeout),
            ("request-timeout", self.request_timeout),
            ("idle-timeout", self.idle_timeout),
        ]
    }
}

impl ServeArgs {
    fn given(self) -> Vec<(&'static str, Vec<String>)> {
        let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let limits = self.limits.given().map(|(name, value)| (name, one(value)));
        let mut given = vec![
            ("mode", one(self.mode)),
            ("listen", self.listen),
            ("metrics-listen", one(self.metrics_listen)),
            ("data-dir", one(self.data_dir)),
            ("key-dir", one(self.key_dir)),
            ("database-url", one(self.database_url)),
            ("database-url-file", one(self.database_url_file)),
            ("tls-cert", one(self.tls_cert)),
            ("tls-key", one(self.tls_key)),
            ("tls-client-ca", one(self.tls_client_ca)),
            ("tls-client-auth", one(self.tls_client_auth)),
            ("allow-plaintext", one(self.allow_plaintext.then(|| "true".to_owned()))),
            ("scan", self.scan),
            ("proto-port", one(self.proto_port)),
            ("poll-interval", one(self.poll_interval)),
            ("keep-readings", one(self.keep_readings)),
            ("keep-history", one(self.keep_history)),
            ("log-format", one(self.log_format)),
            ("drain-timeout", one(self.drain_timeout)),
            ("ca-file", one(self.ca_file)),
            ("client-cert", one(self.client_cert)),
            ("client-key", one(self.client_key)),
            ("allow-insecure-transport", one(self.allow_insecure_transport.then(|| "true".to_owned()))),
            ("health", one(self.health)),
            ("config", one(self.config)),
        ];
        given.extend(limits);
        given
    }
}

pub(super) fn run(args: ServeArgs, logging: impl FnOnce(Logging), runtime: &Runtime) -> ExitCode {
    let config = match config::load(args.given(), std::env::vars_os()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("error: {errors}");
            return ExitCode::from(USAGE);
        }
    };
    logging(Logging { format: config.log_format, default_filter: "info,sea_orm_migration=warn,sqlx=warn" });
    match config.mode {
        Mode::Agent => runtime.block_on(agent(&config)),
        Mode::Combined | Mode::Server => runtime.block_on(serve(&config)),
    }
}

/// `fleet-agent run` with what the configuration says.
async fn agent(config: &Config) -> ExitCode {
    let mut arguments =
        vec!["fleet-agent".into(), "--state-dir".into(), config.data_dir.clone().into_os_string()];
    arguments.push("run".into());
    for range in &config.scan {
        arguments.extend(["--scan".into(), range.to_string().into()]);
    }
    if let Some(port) = config.proto_port {
        arguments.extend(["--proto-port".into(), port.to_string().into()]);
    }
    arguments.extend(["--poll-interval".into(), format!("{}s", config.poll_interval.as_secs()).into()]);
    if let Some(file) = &config.ca_file {
        arguments.extend(["--ca-file".into(), file.clone().into_os_string()]);
    }
    if let Some(client) = &config.client {
        arguments.extend(["--client-cert".into(), client.certificate.clone().into_os_string()]);
        arguments.extend(["--client-key".into(), client.key.clone().into_os_string()]);
    }
    if config.allow_insecure_transport {
        arguments.push("--allow-insecure-transport".into());
    }
    if let Some(address) = config.health {
        arguments.extend(["--health".into(), address.to_string().into()]);
    }
    match fleet_agent::cli::Cli::try_parse_from(arguments) {
        Ok(cli) => fleet_agent::cli::execute(cli.agent).await,
        Err(error) => {
            report(&error);
            ExitCode::from(USAGE)
        }
    }
}

async fn serve(config: &Config) -> ExitCode {
    // Before anything is opened, so that a signal in between is not lost.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let probe = fleet_agent::probe::from_environment();
    let starting = Server::start(config, Arc::new(SystemClock), Arc::new(OsRandom), probe);
    let started = tokio::select! {
        started = starting => started,
        signal = signals.received() => {
            // Whatever is written is written whole, so that this may end anywhere.
            tracing::info!(signal, "stopped before it had started");
            return ExitCode::SUCCESS;
        }
    };
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            report(&error);
            return if error.is_configuration() { ExitCode::from(USAGE) } else { ExitCode::FAILURE };
        }
    };
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    for address in server.addresses() {
        tracing::info!("listening on {scheme}://{address}");
    }
    if let Some(address) = server.metrics_address() {
        tracing::info!("metrics on http://{address}/metrics");
    }
    if config.mode == Mode::Combined && config.scan.is_empty() {
        tracing::info!("no miners are read here: --scan CIDR names the networks that may be scanned");
    }
    if let Some(link) = server.set_up_link() {
        // A closed pipe must not stop the server; the link can be had by a restart.
        let _ = writeln!(
            std::io::stdout(),
            "Set up this server, once, in a browser or with fleetd setup:\n\n  {link}\n"
        );
    }
    service_manager::ready();
    let signal = loop {
        tokio::select! {
            signal = signals.received() => break signal,
            _ = hangups.recv() => reload(&server),
        }
    };
    tracing::info!(signal, "stopping");
    service_manager::stopping();
    let drained = tokio::select! {
        drained = server.stop() => drained,
        signal = signals.received() => {
            tracing::warn!(signal, "stopped at once, at the second signal");
            return ExitCode::FAILURE;
        }
    };
    if drained {
        tracing::info!("stopped, every call had ended");
    } else {
        tracing::warn!("stopped, some calls were cut off");
    }
    ExitCode::SUCCESS
}

/// Takes up changed certificates. The service manager waits until that is done.
fn reload(server: &Server) {
    service_manager::reloading();
    server.renew_certificate();
    service_manager::ready();
}

/// The signals that stop a process.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
