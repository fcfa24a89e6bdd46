//! The native driver of Proto rigs (protocol section 12).
//!
//! A rig speaks HTTP or HTTPS under `/api/v1`. `pairing/info` and `system` are open; status and
//! telemetry need a Bearer token, which a login with the web password gives. Order of messages in
//! a reading, on one connection: `pairing/info`, whose serial must be the one expected; then, and
//! only then, requests that carry the token.
//!
//! What can go wrong: no password is stored (`auth needed`), the password is refused (`auth
//! failed`), the rig still has its default password and answers 403 to everything but a change of
//! it, the token has expired (one new login), another rig answers (identity mismatch), the
//! certificate is not the pinned one.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use ::http::StatusCode;
use fleet_core::{
    endpoint::Endpoint,
    telemetry::{BoardSample, MinerStatus},
};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    CertificateFingerprint, Detail, Found, MinerDriver, MinerError, MinerFuture, MinerInfo, MinerSession,
    ProtocolViolation, Reading,
    credentials::Credentials,
    driver::{efficiency, hottest},
    http::{Answer, Connection, Security},
};

/// The driver's name in discoveries.
pub const DRIVER_NAME: &str = "proto";

const PAIRING_INFO: &str = "/api/v1/pairing/info";
const SYSTEM: &str = "/api/v1/system";
const SYSTEM_STATUS: &str = "/api/v1/system/status";
const LOGIN: &str = "/api/v1/auth/login";
const MINING: &str = "/api/v1/mining";
const TELEMETRY: &str = "/api/v1/telemetry?level=miner,hashboard";
const COOLING: &str = "/api/v1/cooling";

/// Reads Proto rigs.
#[derive(Debug, Clone)]
pub struct ProtoDriver {
    listeners: Vec<Listener>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    port: u16,
    tls: bool,
}

impl ProtoDriver {
    /// Rigs on their ordinary ports, 443 (TLS) and 80.
    #[must_use]
    pub fn new() -> Self {
        Self { listeners: vec![Listener { port: 443, tls: true }, Listener { port: 80, tls: false }] }
    }

    /// Rigs on one port, with or without TLS.
    #[must_use]
    pub fn on_port(port: u16) -> Self {
        Self { listeners: vec![Listener { port, tls: true }, Listener { port, tls: false }] }
    }

    async fn find(&self, address: IpAddr) -> Result<Option<Found>, MinerError> {
        let mut failure = None;
        for listener in &self.listeners {
            let address = SocketAddr::new(address, listener.port);
            let security = if listener.tls { Security::AnyCertificate } else { Security::Plain };
            let Ok(mut connection) = Connection::open(address, security).await else { continue };
            match describe(&mut connection, address).await {
                Ok(Some(info)) => return Ok(Some(Found::Miner(info))),
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn start(miner: &MinerInfo, credentials: Option<&Credentials>) -> Result<ProtoSession, MinerError> {
        if let Some(expected) = credentials.and_then(Credentials::certificate)
            && miner.certificate != Some(expected)
        {
            return Err(MinerError::CertificateMismatch { expected, got: miner.certificate });
        }
        let target = Target {
            endpoint: miner.endpoint.clone(),
            address: miner.address,
            certificate: miner.certificate,
        };
        let mut connection = target.connect().await?;
        let Some(credentials) = credentials else {
            return Err(why_locked(&mut connection).await?);
        };
        let token = log_in(&mut connection, credentials).await?;
        Ok(ProtoSession { target, credentials: credentials.clone(), token })
    }
}

impl Default for ProtoDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl MinerDriver for ProtoDriver {
    fn name(&self) -> &'static str {
        DRIVER_NAME
    }

    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.listeners.iter().map(|listener| listener.port).collect();
        ports.dedup();
        ports
    }

    fn probe<'a>(
        &'a self,
        address: IpAddr,
        _credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Option<Found>> {
        Box::pin(self.find(address))
    }

    fn open<'a>(
        &'a self,
        miner: &'a MinerInfo,
        credentials: Option<&'a Credentials>,
    ) -> MinerFuture<'a, Box<dyn MinerSession>> {
        Box::pin(async move {
            let session = Self::start(miner, credentials).await?;
            Ok(Box::new(session) as Box<dyn MinerSession>)
        })
    }
}

/// Which rig, where, and with which certificate.
#[derive(Debug, Clone)]
struct Target {
    endpoint: Endpoint,
    address: SocketAddr,
    certificate: Option<CertificateFingerprint>,
}

impl Target {
    /// A connection to the rig, after it has said that it is the one.
    async fn connect(&self) -> Result<Connection, MinerError> {
        let security = self.certificate.map_or(Security::Plain, Security::Pinned);
        let mut connection = Connection::open(self.address, security).await?;
        let answer = connection.get(PAIRING_INFO, None).await?;
        let got = if answer.status.is_success() { serial(&answer.json()?) } else { None };
        if got.as_ref() == Some(&self.endpoint) {
            return Ok(connection);
        }
        Err(MinerError::IdentityMismatch { expected: self.endpoint.clone(), got })
    }
}

/// A rig that has given a token.
struct ProtoSession {
    target: Target,
    credentials: Credentials,
    token: Zeroizing<String>,
}

impl fmt::Debug for ProtoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtoSession").field("target", &self.target).finish_non_exhaustive()
    }
}

impl MinerSession for ProtoSession {
    fn read(&mut self, _detail: Detail) -> MinerFuture<'_, Reading> {
        Box::pin(async move {
            let mut connection = self.target.connect().await?;
            let mining = self.authenticated(&mut connection, MINING).await?;
            let telemetry = self.authenticated(&mut connection, TELEMETRY).await?;
            let cooling = self.authenticated(&mut connection, COOLING).await?;
            interpret(&mining, &telemetry, &cooling)
        })
    }
}

impl ProtoSession {
    /// GET with the token; once more with a new one if it has expired.
    async fn authenticated(&mut self, connection: &mut Connection, path: &str) -> Result<Value, MinerError> {
        let mut answer = connection.get(path, Some(&self.token)).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.token = log_in(connection, &self.credentials).await?;
            answer = connection.get(path, Some(&self.token)).await?;
        }
        accepted(answer)?.json()
    }
}

/// What answers to `pairing/info` and `system`; `None` if that is no Proto rig.
async fn describe(connection: &mut Connection, address: SocketAddr) -> Result<Option<MinerInfo>, MinerError> {
    let answer = connection.get(PAIRING_INFO, None).await?;
    if !answer.status.is_success() {
        return Ok(None);
    }
    // Many devices answer a path that they do not know with a page and status 200.
    let Ok(pairing) = answer.json() else { return Ok(None) };
    if pairing.get("cb_sn").is_none() {
        return Ok(None);
    }
    let endpoint = serial(&pairing).ok_or(ProtocolViolation::Missing { field: "cb_sn" })?;
    let system = accepted(connection.get(SYSTEM, None).await?)?.json()?;
    let text = |pointer: &str| system.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(Some(MinerInfo {
        endpoint,
        address,
        make: printable(text("/system-info/manufacturer"), "Proto"),
        model: printable(text("/system-info/model"), "Rig"),
        firmware: printable(text("/system-info/os/version"), ""),
        serial: None,
        mac: pairing.get("mac").and_then(Value::as_str).and_then(parse_mac),
        driver: DRIVER_NAME,
        certificate: connection.certificate(),
        login_by_address: false,
    }))
}

fn serial(pairing: &Value) -> Option<Endpoint> {
    Endpoint::serial(pairing.get("cb_sn")?.as_str()?).ok()
}

/// Why a rig without stored credentials cannot be read.
async fn why_locked(connection: &mut Connection) -> Result<MinerError, MinerError> {
    let answer = connection.get(SYSTEM_STATUS, None).await?;
    let status = if answer.status.is_success() { answer.json()? } else { Value::Null };
    let is_default = status.get("default_password_active").and_then(Value::as_bool).unwrap_or(false);
    Ok(if is_default { MinerError::DefaultPassword } else { MinerError::AuthNeeded })
}

#[derive(Serialize)]
struct LoginRequest<'a> {
    password: &'a str,
}

/// Logs in with the web password. The connection's rig has just said who it is.
async fn log_in(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<Zeroizing<String>, MinerError> {
    let request = LoginRequest { password: credentials.password() };
    let body = Zeroizing::new(serde_json::to_vec(&request).map_err(ProtocolViolation::Json)?);
    let answer = accepted(connection.post(LOGIN, &body).await?)?.json()?;
    let token = answer.get("access_token").and_then(Value::as_str);
    let token = token.ok_or(ProtocolViolation::Missing { field: "access_token" })?;
    Ok(Zeroizing::new(token.to_owned()))
}

/// The answer, if its status is one of success.
fn accepted(answer: Answer) -> Result<Answer, MinerError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(MinerError::AuthFailed);
    }
    let body = answer.json().unwrap_or_default();
    if status == StatusCode::FORBIDDEN
        && body.pointer("/error/code").and_then(Value::as_str) == Some("DEFAULT_PASSWORD_ACTIVE")
    {
        return Err(MinerError::DefaultPassword);
    }
    Err(MinerError::Rejected { status: Some(status.as_u16()) })
}

fn interpret(mining: &Value, telemetry: &Value, cooling: &Value) -> Result<Reading, MinerError> {
    let mining = mining.get("mining-status").ok_or(ProtocolViolation::Missing { field: "mining-status" })?;
    let number = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_f64);

    let boards: Vec<BoardSample> =
        telemetry.get("hashboards").and_then(Value::as_array).into_iter().flatten().map(board).collect();
    let hashrate_hs = telemetry
        .pointer("/miner/hashrate")
        .and_then(hashes_per_second)
        .or_else(|| Some(number(mining, "/hashrate_ghs")? * 1e9));
    let power_w = number(telemetry, "/miner/power/value").or_else(|| number(mining, "/power_usage_watts"));
    let temperature_c = hottest(boards.iter().filter_map(|board| board.temperature_c))
        .or_else(|| number(telemetry, "/miner/temperature/value"));
    let fan_rpm = cooling
        .pointer("/cooling-status/fans")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|fan| u32::try_from(fan.get("rpm")?.as_u64()?).ok())
        .collect();
    let uptime_s = ["reboot_uptime_s", "mining_uptime_s"]
        .into_iter()
        .find_map(|field| mining.get(field).and_then(Value::as_u64));

    let reading = Reading {
        status: status(mining.get("status").and_then(Value::as_str), hashrate_hs),
        hashrate_hs,
        power_w,
        efficiency_j_per_th: efficiency(power_w, hashrate_hs),
        temperature_c,
        fan_rpm,
        boards,
        uptime_s,
    };
    if reading.is_live() { Ok(reading) } else { Err(MinerError::NoLiveData) }
}

fn status(label: Option<&str>, hashrate_hs: Option<f64>) -> MinerStatus {
    match label {
        Some("Mining" | "DegradedMining") if hashrate_hs.is_some_and(|rate| rate > 0.0) => {
            MinerStatus::Mining
        }
        Some("Error") => MinerStatus::Fault,
        Some(_) | None => MinerStatus::Idle,
    }
}

fn board(board: &Value) -> BoardSample {
    let temperatures = ["average", "inlet", "outlet"]
        .into_iter()
        .filter_map(|sensor| board.get("temperature")?.get(sensor)?.as_f64());
    BoardSample {
        index: board
            .get("index")
            .and_then(Value::as_u64)
            .and_then(|index| index.try_into().ok())
            .unwrap_or(0),
        hashrate_hs: board.get("hashrate").and_then(hashes_per_second),
        temperature_c: hottest(temperatures),
        working_chips: None,
    }
}

/// A hashrate with its unit, as telemetry gives it, in H/s.
fn hashes_per_second(metric: &Value) -> Option<f64> {
    let scale = match metric.get("unit").and_then(Value::as_str) {
        Some("PH/s") => 1e15,
        Some("TH/s") | None => 1e12,
        Some("GH/s") => 1e9,
        Some("MH/s") => 1e6,
        Some("H/s") => 1.0,
        Some(_) => return None,
    };
    Some(metric.get("value")?.as_f64()? * scale)
}

/// Text of the miner's own, cut to what a discovery carries.
pub(super) fn printable(text: &str, absent: &str) -> String {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(128).collect();
    if text.is_empty() { absent.to_owned() } else { text }
}

/// Six bytes from `02:00:00:AD:66:39` or `02-00-00-ad-66-39`.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let mut mac = [0; 6];
    hex::decode_to_slice(digits, &mut mac).ok()?;
    Some(mac)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mining_label_without_a_hashrate_is_not_mining() {
        assert_eq!(status(Some("Mining"), Some(1.0)), MinerStatus::Mining);
        assert_eq!(status(Some("DegradedMining"), Some(1.0)), MinerStatus::Mining);
        assert_eq!(status(Some("Mining"), Some(0.0)), MinerStatus::Idle);
        assert_eq!(status(Some("Mining"), None), MinerStatus::Idle);
        assert_eq!(status(Some("PoweringOff"), Some(1.0)), MinerStatus::Idle);
        assert_eq!(status(Some("Error"), Some(1.0)), MinerStatus::Fault);
        assert_eq!(status(None, Some(1.0)), MinerStatus::Idle);
    }

    #[test]
    fn nothing_live_is_an_error_whatever_the_label_says() {
        let mining = json!({ "mining-status": { "status": "Mining" } });
        let error = interpret(&mining, &json!({}), &json!({})).unwrap_err();
        assert!(matches!(error, MinerError::NoLiveData));
    }

    #[test]
    fn units_are_the_rigs_own() {
        let rate = |unit: &str| hashes_per_second(&json!({ "unit": unit, "value": 2.0 }));
        assert_eq!(rate("TH/s"), Some(2e12));
        assert_eq!(rate("GH/s"), Some(2e9));
        assert_eq!(rate("furlongs"), None);
    }

    #[test]
    fn mac_addresses_are_read_in_both_spellings() {
        assert_eq!(parse_mac("02:00:00:AD:66:39"), Some([2, 0, 0, 0xad, 0x66, 0x39]));
        assert_eq!(parse_mac("02-00-00-ad-66-39"), Some([2, 0, 0, 0xad, 0x66, 0x39]));
        assert_eq!(parse_mac("02:00"), None);
    }

    #[test]
    fn debug_of_a_session_shows_no_credentials() {
        let (password, token) = ("a-password-to-be-found", "a-token-to-be-found");
        let session = ProtoSession {
            target: Target {
                endpoint: Endpoint::serial("PROTO-1").unwrap(),
                address: ([127, 0, 0, 1], 443).into(),
                certificate: None,
            },
            credentials: Credentials::new("", password).unwrap(),
            token: Zeroizing::new(token.to_owned()),
        };
        let secrets = Secrets::of([("the password", password), ("the token", token)]);
        assert_snapshot!(secrets.unsaid(&session), @"ProtoSession { target: Target { endpoint: sn:PROTO-1, address: 127.0.0.1:443, certificate: None }, .. }");
    }
}
