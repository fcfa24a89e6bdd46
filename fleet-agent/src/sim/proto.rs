//! A simulated Proto rig: REST under `/api/v1`, a web password, telemetry behind a Bearer token.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fleet_core::endpoint::{Endpoint, EndpointError};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Fault,
    server::{Server, Wire, Work},
    variation::Variation,
};

/// What a simulated Proto rig is.
#[derive(Clone)]
pub struct ProtoRigConfig {
    /// Its serial number.
    pub serial: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its web password.
    pub password: String,
    /// The password is the one it was shipped with: everything but a change of it answers 403.
    pub default_password: bool,
    /// What it speaks TLS with; plain HTTP without.
    pub tls: Option<TlsIdentity>,
    /// What its readings vary by.
    pub seed: u64,
}

impl ProtoRigConfig {
    /// A rig whose serial, MAC address and readings follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, password: &str) -> Self {
        let [.., a, b, c] = seed.to_be_bytes();
        Self {
            serial: format!("PROTO-SIM-{seed:08x}"),
            mac: [0x02, 0x00, 0x00, a, b, c],
            password: password.to_owned(),
            default_password: false,
            tls: None,
            seed,
        }
    }
}

impl fmt::Debug for ProtoRigConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtoRigConfig").field("serial", &self.serial).finish_non_exhaustive()
    }
}

/// A certificate and its key, both DER.
pub struct TlsIdentity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for TlsIdentity {
    fn clone(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// A simulated Proto rig. Dropping it kills it.
#[derive(Debug)]
pub struct ProtoRig {
    server: Server,
    rig: Arc<Rig>,
}

impl ProtoRig {
    /// Starts one; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is in use, or the TLS identity is none.
    ///
    /// # Cancel safety
    /// Dropped, nothing listens. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn start(address: SocketAddr, config: ProtoRigConfig) -> io::Result<Self> {
        let acceptor = config.tls.clone().map(acceptor).transpose().map_err(io::Error::other)?;
        let rig = Arc::new(Rig {
            variation: Variation::new(config.seed),
            access: Mutex::new(Access {
                password: config.password.clone(),
                default_password: config.default_password,
                tokens: Vec::new(),
                issued: 0,
            }),
            mining: Mutex::new(true),
            work: Work::default(),
            config,
        });
        let shared = Arc::clone(&rig);
        let handler = Arc::new(move |stream: TcpStream| {
            let rig = Arc::clone(&shared);
            let acceptor = acceptor.clone();
            Box::pin(async move {
                match acceptor {
                    None => rig.serve(stream).await,
                    // A client that does not like the certificate goes away.
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => rig.serve(stream).await,
                        Err(error) => tracing::trace!(%error, "simulated rig: no TLS"),
                    },
                }
            }) as _
        });
        let server = Server::start(address, Wire::Http, handler).await?;
        Ok(Self { server, rig })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it is known by.
    ///
    /// # Errors
    /// For a serial number that names no device.
    pub fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        Endpoint::serial(self.rig.config.serial.as_str())
    }

    /// Has it misbehave from the next connection on.
    pub fn set_fault(&self, fault: Fault) {
        self.server.set_fault(fault);
    }

    /// Stops or starts hashing. It answers either way.
    pub fn set_mining(&self, mining: bool) {
        *self.rig.mining.lock().unwrap_or_else(PoisonError::into_inner) = mining;
    }

    /// Changes its web password behind everybody's back; tokens end with it.
    pub fn set_password(&self, password: &str) {
        let mut access = self.rig.access();
        access.password = password.to_owned();
        access.tokens.clear();
    }

    /// Ends every token, as time does.
    pub fn expire_tokens(&self) {
        self.rig.access().tokens.clear();
    }

    /// How many logins have succeeded.
    #[must_use]
    pub fn logins(&self) -> u64 {
        self.rig.access().issued
    }

    /// The most requests that it worked on at one time. Only a latency makes requests overlap.
    #[must_use]
    pub fn peak_requests(&self) -> usize {
        self.rig.work.peak()
    }

    /// Has each request take this long.
    pub fn set_latency(&self, latency: Duration) {
        self.rig.work.set_latency(latency);
    }

    /// Takes it off the network; returns when nothing of it answers any more.
    ///
    /// # Cancel safety
    /// Dropped, it goes off the network all the same, a moment later. The future is `Send`; it
    /// panics only outside of a tokio runtime.
    pub async fn kill(&self) {
        self.server.kill().await;
    }

    /// Puts it back on the network, at the same address.
    ///
    /// # Errors
    /// If the address is in use.
    ///
    /// # Cancel safety
    /// Dropped, it is on the network or not; call it again. The future is `Send`; it panics only outside of a
    /// tokio runtime.
    pub async fn revive(&self) -> io::Result<()> {
        self.server.revive().await
    }
}

fn acceptor(identity: TlsIdentity) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct Rig {
    config: ProtoRigConfig,
    variation: Variation,
    access: Mutex<Access>,
    mining: Mutex<bool>,
    work: Work,
}

struct Access {
    password: String,
    default_password: bool,
    tokens: Vec<String>,
    issued: u64,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("issued", &self.issued).finish_non_exhaustive()
    }
}

const BOARDS: u32 = 4;
const CHIPS_PER_BOARD: u32 = 120;
/// Of the whole rig.
const TERAHASHES: f64 = 145.0;
const WATTS: f64 = 3400.0;

impl Rig {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let rig = Arc::clone(&self);
            async move { Ok::<_, Infallible>(rig.respond(request).await) }
        });
        // A client that goes away in the middle is its own affair.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.work.on_request().await;
        let (head, body) = request.into_parts();
        let body = Limited::new(body, 64 * 1024).collect().await;
        let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", "request too large");
        };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/") => page(),
            (&Method::GET, "/api/v1/pairing/info") => ok(json!({
                "mac": self.mac(), "cb_sn": self.config.serial,
            })),
            (&Method::GET, "/api/v1/system") => ok(self.system()),
            (&Method::GET, "/api/v1/system/status") => ok(json!({
                "onboarded": true, "password_set": true,
                "default_password_active": self.access().default_password,
            })),
            (&Method::GET, "/api/v1/network") => ok(self.network()),
            (&Method::GET, "/api/v1/hardware") => ok(self.hardware()),
            (&Method::POST, "/api/v1/auth/login") => self.log_in(&body),
            (method, path) => self.protected(method, path, &head, &body),
        }
    }

    fn protected(
        &self,
        method: &Method,
        path: &str,
        head: &http::request::Parts,
        body: &Value,
    ) -> Response<Full<Bytes>> {
        let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let is_valid = token.is_some_and(|token| self.access().tokens.iter().any(|known| known == token));
        if !is_valid {
            return refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Missing or invalid bearer token");
        }
        if (method, path) == (&Method::PUT, "/api/v1/auth/change-password") {
            return self.change_password(body);
        }
        if self.access().default_password {
            let text = "Default password must be changed before accessing this resource";
            return refusal(StatusCode::FORBIDDEN, "DEFAULT_PASSWORD_ACTIVE", text);
        }
        match (method, path) {
            (&Method::GET, "/api/v1/mining") => ok(self.mining()),
            (&Method::GET, "/api/v1/telemetry") => ok(self.telemetry()),
            (&Method::GET, "/api/v1/cooling") => ok(self.cooling()),
            (&Method::GET, "/api/v1/pools") => ok(json!({ "pools": [] })),
            (&Method::GET, "/api/v1/errors") => ok(json!([])),
            _ => refusal(StatusCode::NOT_FOUND, "NOT_FOUND", "not found"),
        }
    }

    fn log_in(&self, body: &Value) -> Response<Full<Bytes>> {
        let mut access = self.access();
        if body.get("password").and_then(Value::as_str) != Some(access.password.as_str()) {
            return refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Invalid password");
        }
        access.issued += 1;
        let token = format!("token-{}-{}", self.config.serial, access.issued);
        access.tokens.push(token.clone());
        ok(json!({ "access_token": token, "refresh_token": format!("refresh-{token}") }))
    }

    fn change_password(&self, body: &Value) -> Response<Full<Bytes>> {
        let mut access = self.access();
        let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("current_password") != access.password {
            return refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Current password is incorrect");
        }
        if text("new_password").len() < 8 {
            let message = "New password must be at least 8 characters long";
            return refusal(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message);
        }
        access.password = text("new_password").to_owned();
        access.default_password = false;
        access.tokens.clear();
        ok(json!({ "message": "Password changed successfully" }))
    }

    fn system(&self) -> Value {
        let component = |name: &str| json!({ "name": name, "version": "1.8.0" });
        json!({ "system-info": {
            "product_name": "Proto Rig", "manufacturer": "Proto", "model": "Rig", "board": "C3",
            "cb_sn": self.config.serial, "soc": "STM32MP157F",
            "uptime_seconds": self.variation.elapsed().as_secs(),
            "os": {
                "name": "ProtoOS", "version": "1.8.0", "variant": "release", "git_hash": "abc123def456",
                "hostname": "proto-miner",
            },
            "sw_update_status": { "status": "current", "current_version": "1.8.0" },
            "web_server": component("miner-api-server"), "web_dashboard": component("miner-web"),
            "mining_driver_sw": component("mcdd"), "pool_interface_sw": component("stratum-client"),
            "hashboard_firmware": component("hashboard-fw"),
        } })
    }

    fn network(&self) -> Value {
        let address = "127.0.0.1";
        json!({ "network-info": {
            "dhcp": true, "gateway": address, "hostname": "proto-miner", "ip_address": address,
            "mac": self.mac(), "netmask": "255.0.0.0",
        } })
    }

    fn hardware(&self) -> Value {
        let board = |index: u32| {
            json!({
                "slot": index + 1, "port": index, "board": "B4", "chip_id": "BM1370", "mining_asic": "BZM",
                "mining_asic_count": CHIPS_PER_BOARD, "hb_sn": self.board_serial(index),
            })
        };
        let fan = |index: u32| json!({ "slot": index + 1, "name": format!("Fan {}", index + 1), "min_rpm": 1000, "max_rpm": 6000 });
        json!({ "hardware-info": {
            "cb-info": {
                "board_id": "CB-001", "machine_name": "Rig", "serial_number": self.config.serial,
            },
            "hashboards-info": (0..BOARDS).map(board).collect::<Vec<_>>(),
            "fans-info": (0..4).map(fan).collect::<Vec<_>>(),
            "psus-info": [],
        } })
    }

    fn mining(&self) -> Value {
        let uptime = self.variation.elapsed().as_secs();
        let gigahashes = self.terahashes() * 1000.0;
        let status = if self.is_mining() { "Mining" } else { "Stopped" };
        json!({ "mining-status": {
            "status": status, "reboot_uptime_s": uptime, "mining_uptime_s": uptime,
            "hashrate_ghs": gigahashes, "average_hashrate_ghs": gigahashes,
            "ideal_hashrate_ghs": TERAHASHES * 1000.0,
            "power_usage_watts": self.watts(), "power_target_watts": WATTS, "power_efficiency_jth": 23.4,
            "average_hb_temp_c": self.temperature(0), "average_asic_temp_c": self.temperature(0) + 15.0,
            "average_hb_efficiency_jth": 23.4, "hw_errors": 0,
            "hashboards_installed": BOARDS, "hashboards_mining": if self.is_mining() { BOARDS } else { 0 },
        } })
    }

    fn telemetry(&self) -> Value {
        let metric = |value: f64, unit: &str| json!({ "value": value, "unit": unit });
        let share = self.terahashes() / f64::from(BOARDS);
        let board = |index: u32| {
            let temperature = self.temperature(index);
            json!({
                "index": index, "serial_number": self.board_serial(index),
                "hashrate": metric(share, "TH/s"),
                "power": metric(self.watts() / f64::from(BOARDS), "W"),
                "efficiency": metric(23.4, "J/TH"),
                "temperature": {
                    "unit": "°C", "inlet": temperature - 7.0, "average": temperature,
                    "outlet": temperature + 7.0,
                },
                "voltage": metric(14.5, "V"), "current": metric(58.0, "A"),
            })
        };
        json!({
            "timestamp": "2026-01-01T00:00:00Z",
            "miner": {
                "hashrate": metric(self.terahashes(), "TH/s"),
                "power": metric(self.watts(), "W"),
                "efficiency": metric(23.4, "J/TH"),
                "temperature": metric(self.temperature(0) + 6.0, "°C"),
            },
            "hashboards": (0..BOARDS).map(board).collect::<Vec<_>>(),
            "psus": [],
        })
    }

    fn cooling(&self) -> Value {
        let fan = |index: u32| {
            let rpm = self.variation.whole(u64::from(30 + index), 4500.0, 0.03);
            json!({ "slot": index + 1, "rpm": rpm, "speed_percentage": 60 })
        };
        json!({ "cooling-status": {
            "fan_mode": "Auto", "speed_percentage": 60, "target_temperature_c": 50,
            "fans": (0..4).map(fan).collect::<Vec<_>>(),
        } })
    }

    fn access(&self) -> MutexGuard<'_, Access> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_mining(&self) -> bool {
        *self.mining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terahashes(&self) -> f64 {
        if self.is_mining() { self.variation.rounded(1, TERAHASHES, 0.02) } else { 0.0 }
    }

    fn watts(&self) -> f64 {
        self.variation.rounded(2, if self.is_mining() { WATTS } else { 60.0 }, 0.01)
    }

    fn temperature(&self, board: u32) -> f64 {
        self.variation.rounded(u64::from(10 + board), if self.is_mining() { 48.0 } else { 27.0 }, 0.03)
    }

    fn board_serial(&self, index: u32) -> String {
        format!("HB-{}-{index}", self.config.serial)
    }

    fn mac(&self) -> String {
        let [a, b, c, d, e, f] = self.config.mac;
        format!("{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}")
    }
}

/// The dashboard, by whose title other clients know a rig.
fn page() -> Response<Full<Bytes>> {
    let html = "<!doctype html><html><head><title>Proto OS</title></head><body></body></html>";
    let mut response = Response::new(Full::from(html));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
    response
}

fn ok(body: Value) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, &body)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    answer(status, &json!({ "error": { "code": code, "message": message } }))
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;
    use rustls_pki_types::PrivatePkcs8KeyDer;

    use super::*;

    #[test]
    fn debug_shows_no_password_key_or_token() {
        let (password, token, key) = ("a-password-to-be-found", "a-token-to-be-found", vec![7; 48]);
        let secrets = Secrets::of([
            ("the password", password.as_bytes()),
            ("the token", token.as_bytes()),
            ("the key", key.as_slice()),
        ]);
        let identity = TlsIdentity {
            certificate: CertificateDer::from(vec![1, 2, 3]),
            key: PrivatePkcs8KeyDer::from(key.clone()).into(),
        };
        assert_snapshot!(secrets.unsaid(&identity), @"TlsIdentity { .. }");
        let config = ProtoRigConfig { tls: Some(identity), ..ProtoRigConfig::new(1, password) };
        assert_snapshot!(secrets.unsaid(&config), @r#"ProtoRigConfig { serial: "PROTO-SIM-00000001", .. }"#);
        let access = Access {
            password: password.to_owned(),
            default_password: false,
            tokens: vec![token.to_owned()],
            issued: 1,
        };
        assert_snapshot!(secrets.unsaid(&access), @"Access { issued: 1, .. }");
    }
}
