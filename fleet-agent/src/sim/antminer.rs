//! A simulated Antminer: the cgminer API on port 4028, and the web server's CGI on port 80 behind
//! digest authentication.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fleet_core::endpoint::{Endpoint, EndpointError};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    Fault,
    server::{Server, Wire, Work, cgminer_request},
    variation::Variation,
};
use crate::miner::digest::{Challenge, parameter};

const API_PORT: u16 = 4028;
/// Clients have no setting for it, and it takes root, or a network namespace of one's own.
const WEB_PORT: u16 = 80;
const USER: &str = "root";
const REALM: &str = "antMiner Configuration";
const MODEL: &str = "Antminer S19 Pro";
const COMPILED: &str = "Tue Dec  6 16:12:30 CST 2022";
const BOARDS: u32 = 3;
/// GH/s of the whole miner.
const GIGAHASHES: f64 = 110_000.0;
const WATTS: f64 = 3250.0;

/// What a simulated Antminer (an S19 Pro) is.
#[derive(Clone)]
pub struct AntminerConfig {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// The password of its user `root`.
    pub password: String,
    /// What its readings vary by.
    pub seed: u64,
}

impl AntminerConfig {
    /// A miner whose MAC address and readings follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, password: &str) -> Self {
        let [.., a, b, c] = seed.to_be_bytes();
        Self { mac: [0x02, 0x55, 0x97, a, b, c], password: password.to_owned(), seed }
    }
}

impl fmt::Debug for AntminerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AntminerConfig").field("mac", &self.mac).finish_non_exhaustive()
    }
}

/// A simulated Antminer. Dropping it kills it.
#[derive(Debug)]
pub struct Antminer {
    api: Server,
    web: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    config: AntminerConfig,
    variation: Variation,
    mining: AtomicBool,
    nonce: AtomicU64,
    /// The users of refused logins.
    refused: Mutex<Vec<String>>,
    work: Work,
}

impl Antminer {
    /// Starts one on ports 80 and 4028 of an address of its own.
    ///
    /// # Errors
    /// If a port is in use, or port 80 may not be used: [`io::ErrorKind::PermissionDenied`].
    ///
    /// # Cancel safety
    /// Dropped, nothing listens. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn start(address: Ipv4Addr, config: AntminerConfig) -> io::Result<Self> {
        let state = Arc::new(State {
            variation: Variation::new(config.seed),
            mining: AtomicBool::new(true),
            nonce: AtomicU64::new(0),
            refused: Mutex::default(),
            work: Work::default(),
            config,
        });
        let shared = Arc::clone(&state);
        // In both handlers a client that goes away in the middle is its own affair.
        let on_api = Arc::new(move |stream| {
            let state = Arc::clone(&shared);
            Box::pin(async move { drop(state.serve_api(stream).await) }) as _
        });
        let shared = Arc::clone(&state);
        let on_web = Arc::new(move |stream| {
            let state = Arc::clone(&shared);
            Box::pin(async move { state.serve_web(stream).await }) as _
        });
        let web = Server::start((address, WEB_PORT).into(), Wire::Http, on_web).await?;
        let api = Server::start((address, API_PORT).into(), Wire::CgMiner, on_api).await?;
        Ok(Self { api, web, state })
    }

    /// Where it listens, on two ports.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.web.address().ip()
    }

    /// Where its web server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.web.address()
    }

    /// What it is known by.
    ///
    /// # Errors
    /// For a MAC address that names no device.
    pub fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        Endpoint::mac(self.state.config.mac)
    }

    /// Has it misbehave on both ports from the next connection on.
    pub fn set_fault(&self, fault: Fault) {
        self.api.set_fault(fault);
        self.web.set_fault(fault);
    }

    /// Stops or starts hashing. It answers either way.
    pub fn set_mining(&self, mining: bool) {
        self.state.mining.store(mining, Ordering::Relaxed);
    }

    /// The users of logins that it has refused, in order.
    #[must_use]
    pub fn refused_logins(&self) -> Vec<String> {
        self.state.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most requests that it worked on at one time. Only a latency makes requests overlap.
    #[must_use]
    pub fn peak_requests(&self) -> usize {
        self.state.work.peak()
    }

    /// Has each request take this long.
    pub fn set_latency(&self, latency: Duration) {
        self.state.work.set_latency(latency);
    }

    /// Takes it off the network; returns when nothing of it answers any more.
    ///
    /// # Cancel safety
    /// Dropped, it goes off the network all the same, a moment later. The future is `Send`; it
    /// panics only outside of a tokio runtime.
    pub async fn kill(&self) {
        self.api.kill().await;
        self.web.kill().await;
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
        self.web.revive().await?;
        self.api.revive().await
    }
}

impl State {
    async fn serve_api(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(request) = cgminer_request(&mut stream).await? else { return Ok(()) };
        self.work.on_request().await;
        let mut answer = self.api_answer(&request).to_string().into_bytes();
        answer.push(0);
        stream.write_all(&answer).await?;
        stream.shutdown().await
    }

    fn api_answer(&self, request: &Value) -> Value {
        let command = request.get("command").and_then(Value::as_str).unwrap_or_default();
        let is_new = request.get("new_api").and_then(Value::as_bool).unwrap_or(false);
        let listed = |code: u32, name: &str, entries: Value| {
            json!({
                "STATUS": [{
                    "STATUS": "S", "When": 1_700_000_000, "Code": code, "Msg": name,
                    "Description": "cgminer 1.0.0",
                }],
                name: entries,
                "id": 1,
            })
        };
        match command {
            "version" => listed(22, "VERSION", json!([self.version()])),
            "summary" => listed(11, "SUMMARY", json!([self.summary()])),
            "stats" if is_new => listed(70, "STATS", json!([{ "watt": self.watts() }])),
            "stats" => listed(70, "STATS", json!([self.version(), self.stats()])),
            "pools" => listed(7, "POOLS", json!([])),
            _ => json!({
                "STATUS": [{
                    "STATUS": "E", "When": 1_700_000_000, "Code": 14, "Msg": "Invalid command",
                    "Description": "cgminer 1.0.0",
                }],
                "id": 1,
            }),
        }
    }

    fn version(&self) -> Value {
        json!({
            "API": "3.1", "BMMiner": "1.0.0", "CompileTime": COMPILED, "Miner": "49.0.1.3", "Type": MODEL,
        })
    }

    fn summary(&self) -> Value {
        let rate = self.gigahashes();
        json!({
            "Elapsed": self.variation.elapsed().as_secs(), "GHS 5s": rate, "GHS av": rate, "GHS 30m": rate,
            "Accepted": 4057, "Rejected": 11, "Hardware Errors": 0,
        })
    }

    fn stats(&self) -> Value {
        let mut stats = json!({
            "STATS": 0, "ID": "BTM_SOC0", "Elapsed": self.variation.elapsed().as_secs(),
            "GHS 5s": self.gigahashes(), "GHS av": self.gigahashes(), "rate_unit": "GH",
            "total_rateideal": GIGAHASHES, "miner_count": BOARDS, "fan_num": 4, "frequency": 525,
        });
        let Some(fields) = stats.as_object_mut() else { return stats };
        for board in 1..=BOARDS {
            let rate = self.gigahashes() / f64::from(BOARDS);
            let hot = self.variation.whole(u64::from(10 + board), 64.0, 0.03);
            fields.insert(format!("chain_rate{board}"), json!(format!("{rate:.2}")));
            fields.insert(format!("chain_acn{board}"), json!(114));
            fields.insert(format!("freq{board}"), json!(525));
            fields
                .insert(format!("temp_pcb{board}"), json!(format!("{}-{}-{hot}-{hot}", hot - 18, hot - 12)));
        }
        for fan in 1..=4 {
            let speed = self.variation.whole(20 + fan, 5400.0, 0.02);
            fields.insert(format!("fan{fan}"), json!(speed));
        }
        stats
    }

    async fn serve_web(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let state = Arc::clone(&self);
            async move {
                state.work.on_request().await;
                Ok::<_, Infallible>(state.web_answer(&request))
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    fn web_answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.is_authorized(request) {
            return self.challenge();
        }
        let body = match (request.method(), request.uri().path()) {
            (&Method::GET, "/cgi-bin/miner_type.cgi") => {
                json!({ "miner_type": MODEL, "subtype": "AMLCtrl_BHB42601", "fw_version": COMPILED })
            }
            (&Method::GET, "/cgi-bin/get_system_info.cgi") => json!({
                "minertype": MODEL, "nettype": "DHCP", "netdevice": "eth0", "macaddr": self.mac(),
                "hostname": "Antminer", "system_mode": "GNU/Linux", "firmware_type": "Release",
                "system_filesystem_version": COMPILED,
                "serinum": format!("SMTTSIM{:08x}", self.config.seed),
            }),
            (&Method::GET, "/cgi-bin/summary.cgi") => json!({
                "STATUS": { "STATUS": "S", "when": 1_700_000_000, "Msg": "summary", "api_version": "1.0.0" },
                "INFO": { "miner_version": "49.0.1.3", "CompileTime": COMPILED, "type": MODEL },
                "SUMMARY": [{ "elapsed": self.variation.elapsed().as_secs(), "status": [] }],
            }),
            (&Method::GET, "/cgi-bin/get_miner_conf.cgi") => json!({
                "bitmain-work-mode": if self.is_mining() { "0" } else { "1" }, "pools": [],
            }),
            (&Method::GET, "/cgi-bin/get_blink_status.cgi") => json!({ "blink": false }),
            _ => return answer(StatusCode::NOT_FOUND, "404 - Not Found".into()),
        };
        answer(StatusCode::OK, body.to_string())
    }

    fn is_authorized(&self, request: &Request<Incoming>) -> bool {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(proof) = header.and_then(|header| header.strip_prefix("Digest ")) else { return false };
        let field = |name| parameter(proof, name).unwrap_or_default();
        let challenge = Challenge { realm: REALM.into(), nonce: field("nonce"), has_qop: true };
        let expected = challenge.response(
            USER,
            &self.config.password,
            request.method().as_str(),
            request.uri().path(),
            &field("cnonce"),
        );
        let is_right = field("username") == USER && field("response") == expected;
        if !is_right {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(field("username"));
        }
        is_right
    }

    fn challenge(&self) -> Response<Full<Bytes>> {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        let mut response = answer(StatusCode::UNAUTHORIZED, "401 - Unauthorized".into());
        let challenge = format!(r#"Digest realm="{REALM}", nonce="{nonce:032x}", qop="auth""#);
        if let Ok(challenge) = challenge.parse() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn is_mining(&self) -> bool {
        self.mining.load(Ordering::Relaxed)
    }

    fn gigahashes(&self) -> f64 {
        if self.is_mining() { self.variation.rounded(1, GIGAHASHES, 0.02) } else { 0.0 }
    }

    fn watts(&self) -> f64 {
        self.variation.rounded(2, if self.is_mining() { WATTS } else { 25.0 }, 0.01)
    }

    fn mac(&self) -> String {
        let [a, b, c, d, e, f] = self.config.mac;
        format!("{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}")
    }
}

fn answer(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let password = "a-password-to-be-found";
        let secrets = Secrets::of([("the password", password)]);
        assert_snapshot!(secrets.unsaid(&AntminerConfig::new(1, password)), @"AntminerConfig { mac: [2, 85, 151, 0, 0, 1], .. }");
    }
}
