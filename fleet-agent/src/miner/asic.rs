//! The driver of the miners that asic-rs knows, behind an adapter that does not trust it.
//!
//! From asic-rs come the knowledge of models, where a value is found in an answer, and how it is
//! parsed. What goes over the wire is ours wherever the miner speaks the cgminer API or plain
//! HTTP: asic-rs reads answers of any length, follows redirects, cannot say that a read failed,
//! and answers an error of a WhatsMiner with an attempt to unlock it by its default password. Only
//! constructing a miner is left to it, after the miner has answered the same questions here.
//!
//! | what asic-rs does | what this adapter does |
//! | --- | --- |
//! | a dead miner reads as `is_mining: true` with all else empty | no live value is [`MinerError::NoLiveData`]; a failed call is the error that it was |
//! | an Antminer with a changed password is the same as no miner | its fingerprint (401 with realm `antMiner`, cgminer `version`) is looked for, and reported as [`Found::Locked`] |
//! | default credentials at discovery and on errors | an Antminer is not built without credentials of its own, reads are never "unlocked" |
//! | panics | caught, [`MinerError::Panicked`] |
//! | a handle is kept for an address | the identity is part of every reading, and compared |
//!
//! `revalidate()` and the firmware feature `proto` are never used.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use asic_rs::{
    antminer::firmware::AntMinerStockFirmware,
    bitaxe::firmware::BitaxeFirmware,
    core::{
        data::{
            collector::{DataCollector, DataField},
            command::MinerCommand,
            hashrate::{HashRate, HashRateUnit},
            miner::MinerData,
        },
        traits::{
            auth::MinerAuth,
            entry::FirmwareEntry,
            identification::{FirmwareIdentification as _, WebResponse},
            miner::{APIClient, Miner, MinerInterface},
        },
    },
    whatsminer::firmware::WhatsMinerFirmware,
};
use async_trait::async_trait;
use fleet_core::{
    endpoint::Endpoint,
    telemetry::{BoardSample, MinerStatus},
};
use futures::FutureExt as _;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};

use super::{
    Detail, Found, MinerDriver, MinerError, MinerFuture, MinerInfo, MinerSession, ProtocolViolation, Reading,
    cgminer,
    credentials::Credentials,
    driver::{efficiency, hottest},
    http::{Connection, Security},
    proto::printable,
};

/// The driver's name in discoveries.
pub const DRIVER_NAME: &str = "asic-rs";

const WEB_PORT: u16 = 80;
/// WhatsMiner API version 3.
const FRAMED_PORT: u16 = 4433;
/// How long asic-rs may take to construct a miner.
const BUILD_TIMEOUT: Duration = Duration::from_secs(8);
/// The first firmware (a date) whose WhatsMiners name their model over API version 3 only.
const FRAMED_SINCE: u64 = 20_241_101;

/// Reads WhatsMiner, Antminer and BitAxe.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AsicRsDriver;

impl AsicRsDriver {
    /// The driver.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    async fn find(address: IpAddr, credentials: Option<&Credentials>) -> Result<Option<Found>, MinerError> {
        let Some(family) = Family::fingerprint(address).await? else { return Ok(None) };
        let locked = |refused| Found::Locked {
            address: SocketAddr::new(address, family.port()),
            make: family.make().to_owned(),
            refused,
        };
        match AsicRsSession::start(address, family, credentials).await {
            Ok((_, info)) => Ok(Some(Found::Miner(info))),
            Err(MinerError::AuthNeeded) => Ok(Some(locked(false))),
            Err(MinerError::AuthFailed) => Ok(Some(locked(true))),
            Err(error) => Err(error),
        }
    }

    async fn start(
        miner: &MinerInfo,
        credentials: Option<&Credentials>,
    ) -> Result<AsicRsSession, MinerError> {
        let mismatch = |got| MinerError::IdentityMismatch { expected: miner.endpoint.clone(), got };
        let family = Family::fingerprint(miner.address.ip()).await?.ok_or_else(|| mismatch(None))?;
        let (session, info) = AsicRsSession::start(miner.address.ip(), family, credentials).await?;
        if info.endpoint != miner.endpoint {
            return Err(mismatch(Some(info.endpoint)));
        }
        Ok(session)
    }
}

impl MinerDriver for AsicRsDriver {
    fn name(&self) -> &'static str {
        DRIVER_NAME
    }

    fn ports(&self) -> Vec<u16> {
        vec![cgminer::PORT, WEB_PORT]
    }

    fn probe<'a>(
        &'a self,
        address: IpAddr,
        credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Option<Found>> {
        Box::pin(caught(Self::find(address, credentials)))
    }

    fn open<'a>(
        &'a self,
        miner: &'a MinerInfo,
        credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Box<dyn MinerSession>> {
        Box::pin(async move {
            let session = caught(Self::start(miner, credentials)).await?;
            Ok(Box::new(session) as Box<dyn MinerSession>)
        })
    }
}

/// The firmwares that this driver lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    WhatsMiner,
    Antminer,
    BitAxe,
}

impl Family {
    /// What answers at `address`, by asic-rs's own marks.
    async fn fingerprint(address: IpAddr) -> Result<Option<Self>, MinerError> {
        let mut failure = None;
        let api = SocketAddr::new(address, cgminer::PORT);
        for command in ["devdetails", "version"] {
            match cgminer::call(api, &json!({ "command": command })).await {
                Ok(answer) if cgminer::succeeded(&answer) => {
                    if let Some(family) = Self::by_api(&answer) {
                        return Ok(Some(family));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    // A miner that does not take a connection for one command takes none for the next.
                    let closed = matches!(error, MinerError::Unreachable(_) | MinerError::Timeout { .. });
                    failure = Some(error);
                    if closed {
                        break;
                    }
                }
            }
        }
        match Self::by_web(address).await {
            Ok(Some(family)) => Ok(Some(family)),
            Ok(None) => failure.map_or(Ok(None), Err),
            // Which port was answering badly matters more than which was closed.
            Err(error) => {
                Err(failure.filter(|error| matches!(error, MinerError::Protocol(_))).unwrap_or(error))
            }
        }
    }

    fn by_api(answer: &Value) -> Option<Self> {
        let text = answer.to_string().to_uppercase();
        if WhatsMinerFirmware::default().identify_rpc(&text) {
            return Some(Self::WhatsMiner);
        }
        AntMinerStockFirmware::default().identify_rpc(&text).then_some(Self::Antminer)
    }

    async fn by_web(address: IpAddr) -> Result<Option<Self>, MinerError> {
        let mut connection = Connection::open(SocketAddr::new(address, WEB_PORT), Security::Plain).await?;
        let answer = connection.get("/", None).await?;
        let header =
            |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = String::from_utf8_lossy(&answer.body);
        let response = WebResponse {
            body: &body,
            auth_header: header(header::WWW_AUTHENTICATE.as_str()),
            algo_header: header("algorithm"),
            redirect_header: header(header::LOCATION.as_str()),
            status: answer.status.as_u16(),
        };
        Ok(Self::by_web_response(&response))
    }

    /// WhatsMiners are not told by their web page: routers have the same, and a WhatsMiner whose
    /// API is closed cannot be read.
    fn by_web_response(response: &WebResponse<'_>) -> Option<Self> {
        if AntMinerStockFirmware::default().identify_web(response) {
            return Some(Self::Antminer);
        }
        BitaxeFirmware::default().identify_web(response).then_some(Self::BitAxe)
    }

    const fn port(self) -> u16 {
        match self {
            Self::WhatsMiner => cgminer::PORT,
            Self::Antminer | Self::BitAxe => WEB_PORT,
        }
    }

    const fn make(self) -> &'static str {
        match self {
            Self::WhatsMiner => "WhatsMiner",
            Self::Antminer => "Antminer",
            Self::BitAxe => "BitAxe",
        }
    }

    /// Has asic-rs construct the miner, which names its model.
    async fn build(
        self,
        address: IpAddr,
        credentials: Option<&Credentials>,
    ) -> Result<Arc<dyn Miner>, MinerError> {
        let auth = credentials.map(|entered| MinerAuth::new(entered.user(), entered.password()));
        let entry: Box<dyn FirmwareEntry> = match self {
            Self::WhatsMiner => {
                // asic-rs asks the same, without a bound on the answer.
                self.precheck(address).await?;
                Box::new(WhatsMinerFirmware::default())
            }
            // Without credentials asic-rs would try the default ones.
            Self::Antminer if auth.is_none() => return Err(MinerError::AuthNeeded),
            Self::Antminer => Box::new(AntMinerStockFirmware::default()),
            Self::BitAxe => Box::new(BitaxeFirmware::default()),
        };
        let building = timeout(BUILD_TIMEOUT, entry.build_miner(address, auth.as_ref()));
        match building.await {
            Ok(Ok(miner)) => Ok(Arc::from(miner)),
            // asic-rs does not say why. An Antminer has just shown its realm, so it is the password.
            Ok(Err(_)) if self == Self::Antminer => Err(MinerError::AuthFailed),
            Ok(Err(_)) => Err(ProtocolViolation::Missing { field: "model" }.into()),
            Err(_) => Err(MinerError::Timeout { after: BUILD_TIMEOUT }),
        }
    }

    async fn precheck(self, address: IpAddr) -> Result<(), MinerError> {
        let api = SocketAddr::new(address, cgminer::PORT);
        let version = cgminer::call(api, &json!({ "command": "get_version" })).await?;
        let date = version
            .pointer("/Msg/fw_ver")
            .and_then(Value::as_str)
            .and_then(|version| version.split('.').next()?.parse::<u64>().ok());
        if date.is_some_and(|date| date >= FRAMED_SINCE) {
            let api = SocketAddr::new(address, FRAMED_PORT);
            cgminer::call_framed(api, &json!({ "cmd": "get.device.info", "param": "miner" })).await?;
        }
        Ok(())
    }

    /// People enter a password alone; the firmware has one user whose it is.
    fn with_usual_user(self, entered: &Credentials) -> Result<Credentials, MinerError> {
        let user = match self {
            Self::WhatsMiner => "admin",
            Self::Antminer => "root",
            Self::BitAxe => "",
        };
        if !entered.user().is_empty() || user.is_empty() {
            return Ok(entered.clone());
        }
        Credentials::new(user, entered.password()).map_err(|_| MinerError::AuthFailed)
    }
}

struct AsicRsSession {
    address: IpAddr,
    family: Family,
    endpoint: Endpoint,
    credentials: Option<Credentials>,
    miner: Arc<dyn Miner>,
}

impl fmt::Debug for AsicRsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsicRsSession")
            .field("address", &self.address)
            .field("family", &self.family)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl AsicRsSession {
    /// Constructs the miner and has it say who it is.
    async fn start(
        address: IpAddr,
        family: Family,
        credentials: Option<&Credentials>,
    ) -> Result<(Self, MinerInfo), MinerError> {
        let credentials = credentials.map(|entered| family.with_usual_user(entered)).transpose()?;
        let miner = family.build(address, credentials.as_ref()).await?;
        let transport = Transport { address, family, credentials: credentials.as_ref() };
        let (data, failure) = transport.collect(miner.as_ref(), &IDENTITY_FIELDS).await?;
        let endpoint = endpoint_of(&data).ok_or_else(|| unnamed(failure))?;
        let by_mac = matches!(endpoint, Endpoint::Mac(_));
        let info = MinerInfo {
            endpoint: endpoint.clone(),
            address: SocketAddr::new(address, family.port()),
            make: family.make().to_owned(),
            model: model_name(&printable(&data.device_info.model, "unknown")),
            firmware: printable(data.firmware_version.as_deref().unwrap_or_default(), ""),
            serial: data.serial_number.as_deref().filter(|_| by_mac).map(|serial| printable(serial, "")),
            mac: None,
            driver: DRIVER_NAME,
            certificate: None,
            login_by_address: family == Family::Antminer,
        };
        Ok((Self { address, family, endpoint, credentials, miner }, info))
    }

    async fn read_once(&self, detail: Detail) -> Result<Reading, MinerError> {
        let fields: &[DataField] = match detail {
            Detail::Fast => &FAST_FIELDS,
            Detail::Full => &FULL_FIELDS,
        };
        let transport =
            Transport { address: self.address, family: self.family, credentials: self.credentials.as_ref() };
        let (data, failure) = transport.collect(self.miner.as_ref(), fields).await?;
        let reading = interpret(&data);
        if !reading.is_live() {
            return Err(MinerError::NoLiveData);
        }
        match endpoint_of(&data) {
            Some(got) if got == self.endpoint => Ok(reading),
            Some(got) => {
                Err(MinerError::IdentityMismatch { expected: self.endpoint.clone(), got: Some(got) })
            }
            None => Err(unnamed(failure)),
        }
    }
}

impl MinerSession for AsicRsSession {
    fn read(&mut self, detail: Detail) -> MinerFuture<'_, Reading> {
        Box::pin(caught(self.read_once(detail)))
    }
}

const IDENTITY_FIELDS: [DataField; 3] = [DataField::Mac, DataField::SerialNumber, DataField::FirmwareVersion];

const FAST_FIELDS: [DataField; 8] = [
    DataField::Mac,
    DataField::SerialNumber,
    DataField::Hashboards,
    DataField::Hashrate,
    DataField::Fans,
    DataField::Wattage,
    DataField::Uptime,
    DataField::IsMining,
];

const FULL_FIELDS: [DataField; 11] = [
    DataField::Mac,
    DataField::SerialNumber,
    DataField::Hashboards,
    DataField::Chips,
    DataField::Hashrate,
    DataField::Fans,
    DataField::PsuFans,
    DataField::Wattage,
    DataField::Uptime,
    DataField::IsMining,
    DataField::OperatingState,
];

/// Runs something of asic-rs's: its panic is an error like any other.
async fn caught<T>(call: impl Future<Output = Result<T, MinerError>> + Send) -> Result<T, MinerError> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or(Err(MinerError::Panicked))
}

/// Why a miner has not said who it is: the command that asks was refused, or has no answer.
fn unnamed(failure: Option<MinerError>) -> MinerError {
    failure.unwrap_or_else(|| ProtocolViolation::Missing { field: "MAC address or serial" }.into())
}

/// How one miner is reached.
#[derive(Debug, Clone, Copy)]
struct Transport<'a> {
    address: IpAddr,
    family: Family,
    credentials: Option<&'a Credentials>,
}

impl Transport<'_> {
    /// Fetches what the fields need and has asic-rs parse it. Fails if not one command succeeded;
    /// otherwise the refusal of a command comes along.
    async fn collect(
        self,
        miner: &dyn Miner,
        fields: &[DataField],
    ) -> Result<(MinerData, Option<MinerError>), MinerError> {
        let interface: &dyn MinerInterface = miner;
        let client = BoundedClient { transport: self, progress: Mutex::new(Progress::default()) };
        let data = DataCollector::new_with_client(interface, &client).collect(fields).await;
        let progress = client.progress.into_inner();
        match progress.failure {
            Some(error) if progress.answered == 0 || is_broken(&error) => Err(error),
            failure => Ok((miner.parse_data(data), failure)),
        }
    }
}

/// Whether the miner is gone or breaks its protocol, as against refusing one command that its
/// firmware does not have.
const fn is_broken(error: &MinerError) -> bool {
    !matches!(error, MinerError::Rejected { .. } | MinerError::Unsupported)
}

/// The transport under asic-rs's parsers: one command at a time, bounded answers, and nothing
/// more to a miner that has failed to answer once.
struct BoundedClient<'a> {
    transport: Transport<'a>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    answered: usize,
    failure: Option<MinerError>,
}

#[async_trait]
impl APIClient for BoundedClient<'_> {
    async fn get_api_result(&self, command: &MinerCommand) -> anyhow::Result<Value> {
        // Held while the command runs: asic-rs asks for all of them at once.
        let mut progress = self.progress.lock().await;
        anyhow::ensure!(!progress.failure.as_ref().is_some_and(is_broken), "the miner has stopped answering");
        match self.transport.call(command).await {
            Ok(answer) => {
                progress.answered += 1;
                Ok(answer)
            }
            Err(error) => {
                let text = error.to_string();
                progress.failure = Some(error);
                Err(anyhow::Error::msg(text))
            }
        }
    }
}

impl Transport<'_> {
    async fn call(&self, command: &MinerCommand) -> Result<Value, MinerError> {
        match command {
            // Only WhatsMiner API version 3 has dots in its commands.
            MinerCommand::RPC { command, parameters } if command.contains('.') => {
                let request = with_parameters(json!({ "cmd": command }), "param", parameters.as_ref());
                let answer =
                    cgminer::call_framed(SocketAddr::new(self.address, FRAMED_PORT), &request).await?;
                let succeeded = answer.get("code").and_then(Value::as_i64) == Some(0);
                if succeeded { Ok(answer) } else { Err(MinerError::Rejected { status: None }) }
            }
            MinerCommand::RPC { command, parameters } => {
                let request =
                    with_parameters(json!({ "command": command }), "parameter", parameters.as_ref());
                let answer = cgminer::call(SocketAddr::new(self.address, cgminer::PORT), &request).await?;
                let succeeded = cgminer::succeeded(&answer);
                if succeeded { Ok(answer) } else { Err(MinerError::Rejected { status: None }) }
            }
            MinerCommand::WebAPI { command, parameters: None } => self.get(command).await,
            MinerCommand::WebAPI { .. }
            | MinerCommand::GRPC { .. }
            | MinerCommand::GraphQL { .. }
            | MinerCommand::SSH { .. } => Err(MinerError::Unsupported),
        }
    }

    async fn get(&self, command: &str) -> Result<Value, MinerError> {
        let web = SocketAddr::new(self.address, WEB_PORT);
        let mut connection = Connection::open(web, Security::Plain).await?;
        let answer = match self.family {
            Family::Antminer => {
                let credentials = self.credentials.ok_or(MinerError::AuthNeeded)?;
                connection.get_with_digest(&format!("/cgi-bin/{command}.cgi"), credentials).await?
            }
            Family::WhatsMiner | Family::BitAxe => connection.get(&format!("/api/{command}"), None).await?,
        };
        match answer.status {
            status if status.is_success() => answer.json(),
            StatusCode::UNAUTHORIZED => Err(MinerError::AuthFailed),
            status => Err(MinerError::Rejected { status: Some(status.as_u16()) }),
        }
    }
}

/// A command's parameters as the miner takes them: an object is merged into the request, anything
/// else has a key of its own.
fn with_parameters(mut request: Value, key: &str, parameters: Option<&Value>) -> Value {
    if let Some(request) = request.as_object_mut() {
        match parameters {
            Some(Value::Object(parameters)) => request.extend(parameters.clone()),
            Some(parameters) => {
                request.insert(key.to_owned(), parameters.clone());
            }
            None => {}
        }
    }
    request
}

/// `mac:` where the miner reports one, else `sn:` (protocol section 9).
fn endpoint_of(data: &MinerData) -> Option<Endpoint> {
    let mac = data.mac.and_then(|mac| <[u8; 6]>::try_from(mac.as_bytes()).ok());
    mac.and_then(|mac| Endpoint::mac(mac).ok())
        .or_else(|| Endpoint::serial(data.serial_number.as_deref()?.trim()).ok())
}

fn interpret(data: &MinerData) -> Reading {
    let hashrate_hs = data.hashrate.as_ref().map(hashes_per_second);
    let power_w = data.wattage.map(|power| power.as_watts());
    let boards: Vec<BoardSample> = data
        .hashboards
        .iter()
        .map(|board| {
            let chips = board.chips.iter().map(|chip| chip.temperature);
            let sensors =
                [board.board_temperature, board.inlet_chip_temperature, board.outlet_chip_temperature];
            let temperatures = sensors.into_iter().chain(chips).flatten();
            BoardSample {
                index: u32::from(board.position),
                hashrate_hs: board.hashrate.as_ref().map(hashes_per_second),
                temperature_c: hottest(temperatures.map(|temperature| temperature.as_celsius())),
                working_chips: board.working_chips.map(u32::from),
            }
        })
        .collect();
    let hashing = data.is_mining && hashrate_hs.is_some_and(|rate| rate > 0.0);
    Reading {
        status: if hashing { MinerStatus::Mining } else { MinerStatus::Idle },
        hashrate_hs,
        power_w,
        efficiency_j_per_th: efficiency(power_w, hashrate_hs),
        temperature_c: hottest(boards.iter().filter_map(|board| board.temperature_c)),
        fan_rpm: data.fans.iter().filter_map(|fan| fan.rpm).map(|rpm| whole(rpm.as_rpm())).collect(),
        boards,
        uptime_s: data.uptime.map(|uptime| uptime.as_secs()),
    }
}

fn hashes_per_second(hashrate: &HashRate) -> f64 {
    hashrate.clone().as_unit(HashRateUnit::Hash).value
}

/// A speed as a whole number; the cast saturates and takes not-a-number for 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn whole(value: f64) -> u32 {
    value.round() as u32
}

/// A model as its maker writes it: asic-rs writes `M30SPlusPlusVH40` for the M30S++ VH40.
fn model_name(model: &str) -> String {
    let model = model.replace("Plus", "+");
    let is_revision = |(at, _): &(usize, char)| {
        let mut rest = model.get(at.saturating_add(1)..).unwrap_or_default().chars();
        let digits = rest.clone().last().is_some_and(|c| c.is_ascii_digit());
        *at > 0 && digits && rest.all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let is_whatsminer = model.starts_with('M') && model.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    match model.char_indices().filter(|(_, c)| *c == 'V').find(is_revision) {
        Some((at, _)) if is_whatsminer => {
            let (name, revision) = model.split_at(at);
            format!("{name} {revision}")
        }
        Some(_) | None => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_written_as_their_makers_do() {
        for (given, expected) in [
            ("M30SPlusPlusVH40", "M30S++ VH40"),
            ("M50SVJ10", "M50S VJ10"),
            ("M20SV10", "M20S V10"),
            ("M30SPlus", "M30S+"),
            ("S19", "S19"),
            ("unknown", "unknown"),
        ] {
            assert_eq!(model_name(given), expected);
        }
    }

    fn web<'a>(status: u16, body: &'a str, auth_header: &'a str) -> WebResponse<'a> {
        WebResponse { body, auth_header, algo_header: "", redirect_header: "", status }
    }

    #[test]
    fn an_antminer_that_wants_a_password_is_an_antminer() {
        let response = web(401, "", r#"Digest realm="antMiner Configuration", qop="auth""#);
        assert_eq!(Family::by_web_response(&response), Some(Family::Antminer));
        let version = json!({ "VERSION": [{ "Type": "Antminer S19 Pro" }] });
        assert_eq!(Family::by_api(&version), Some(Family::Antminer));
    }

    #[test]
    fn a_router_is_no_miner() {
        assert_eq!(Family::by_web_response(&web(401, "", r#"Basic realm="router""#)), None);
        assert_eq!(Family::by_web_response(&web(200, "<a href='/cgi-bin/luci'>", "")), None);
    }

    #[test]
    fn parameters_are_merged_or_wrapped() {
        let request = || json!({ "cmd": "x" });
        let merged = with_parameters(request(), "param", Some(&json!({ "new_api": true })));
        assert_eq!(merged, json!({ "cmd": "x", "new_api": true }));
        let wrapped = with_parameters(request(), "param", Some(&json!("miner")));
        assert_eq!(wrapped, json!({ "cmd": "x", "param": "miner" }));
        assert_eq!(with_parameters(request(), "param", None), request());
    }
}
