//! What the server is told: command line, `FLEETD_` variables and a TOML file, in this order of precedence.
//!
//! Everything is read and judged before anything is opened or bound, and every problem is reported at once.

mod layer;
mod limits;
mod parse;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_agent::miner::scan::ScanRange;
use fleet_agent::tls::ClientFiles;
use fleet_store::DatabaseUrl;

pub use layer::{Kind, SETTINGS, Setting};
pub use limits::{Limits, Rate};
pub use parse::{ConfigErrors, Problem, load};

/// Which halves run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every mode")]
pub enum Mode {
    /// The server and, for miners that it reaches itself, an agent half.
    Combined,
    /// The server alone: no miner I/O.
    Server,
    /// The agent alone, as `fleet-agent run`.
    Agent,
}

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the server's certificate first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// Whose certificates clients show; without it they show none.
    pub clients: Option<ClientCa>,
}

/// By which authorities certificates of clients are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the two settings")]
pub struct ClientCa {
    /// PEM.
    pub authorities: PathBuf,
    /// Whether a client must have one.
    pub auth: ClientAuth,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle both")]
pub enum ClientAuth {
    /// A client without one is refused.
    Required,
    /// A client without one is let in; one with a wrong one is refused.
    Optional,
}

/// How long open calls may go on when the server stops, unless configured otherwise.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what is read of miners is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the two ages")]
pub struct Retention {
    /// Readings, 1 hour to 1 year.
    pub readings: Duration,
    /// Roll-ups of readings, and events, 1 day to 10 years; not less than readings.
    pub history: Duration,
}

impl Retention {
    /// What is kept unless configured otherwise: readings for 7 days, roll-ups and events for 90.
    pub const DEFAULT: Self =
        Self { readings: Duration::from_secs(7 * 86_400), history: Duration::from_secs(90 * 86_400) };
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a caller must handle every form")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The server's configuration, judged.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which halves run.
    pub mode: Mode,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Where metrics are served without credentials, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Where everything that is not a key is kept.
    pub data_dir: PathBuf,
    /// Where the server's keys are kept.
    pub key_dir: PathBuf,
    /// The database.
    pub database: DatabaseUrl,
    /// TLS; in clear without.
    pub tls: Option<TlsFiles>,
    /// The ranges that the agent half may scan.
    pub scan: Vec<ScanRange>,
    /// A port on which Proto rigs answer besides their own.
    pub proto_port: Option<u16>,
    /// How often the agent half reads each miner.
    pub poll_interval: Duration,
    /// How long readings, roll-ups and events are kept.
    pub retention: Retention,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What callers may take.
    pub limits: Limits,
    /// How long open calls may go on when the server stops.
    pub drain_timeout: Duration,
    /// With [`Mode::Agent`]: the only certificate authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// With [`Mode::Agent`]: the certificate to show to a server that asks for one.
    pub client: Option<ClientFiles>,
    /// With [`Mode::Agent`]: whether plain HTTP to another host is allowed.
    pub allow_insecure_transport: bool,
    /// With [`Mode::Agent`]: where the health page is served.
    pub health: Option<SocketAddr>,
}
