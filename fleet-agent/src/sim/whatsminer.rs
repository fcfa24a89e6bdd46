//! A simulated WhatsMiner: the cgminer API as its firmware speaks it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fleet_core::endpoint::{Endpoint, EndpointError};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    Fault,
    server::{Server, Wire, Work, cgminer_request},
    variation::Variation,
};

/// The port of the cgminer API. Firmware has no other, and clients have no setting for it.
const PORT: u16 = 4028;

/// A model, with the firmware that its API is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhatsMinerModel {
    /// M20S V10: 68 TH/s, 105 chips on each of 3 boards, API version 1.
    M20S,
    /// M30S++ VH40: 112 TH/s, 70 chips on each of 3 boards, API version 2.
    M30SPlusPlus,
    /// M50S VJ10: 126 TH/s, 111 chips on each of 3 boards, API version 2.
    M50S,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    /// As the firmware names it: revision digits and an underscore.
    model: &'static str,
    firmware: &'static str,
    /// H/s, MH/s as the API counts.
    megahashes: f64,
    watts: f64,
    chips: u32,
    platform: &'static str,
}

impl WhatsMinerModel {
    const fn figures(self) -> Figures {
        match self {
            Self::M20S => Figures {
                model: "M20S_V10",
                firmware: "20210322.22.REL",
                megahashes: 68e6,
                watts: 3360.0,
                chips: 105,
                platform: "ALLWINNER_H3",
            },
            Self::M30SPlusPlus => Figures {
                model: "M30S++_VH44",
                firmware: "20230803.11.REL",
                megahashes: 112e6,
                watts: 3472.0,
                chips: 70,
                platform: "H616",
            },
            Self::M50S => Figures {
                model: "M50S_VJ16",
                firmware: "20240624.18.REL",
                megahashes: 126e6,
                watts: 3276.0,
                chips: 111,
                platform: "H616",
            },
        }
    }

    const fn is_version_1(self) -> bool {
        matches!(self, Self::M20S)
    }
}

/// What a simulated WhatsMiner is.
#[derive(Debug, Clone, Copy)]
pub struct WhatsMinerConfig {
    /// Its model.
    pub model: WhatsMinerModel,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// What its readings vary by.
    pub seed: u64,
}

impl WhatsMinerConfig {
    /// A miner whose MAC address and readings follow from `seed`.
    #[must_use]
    pub const fn new(model: WhatsMinerModel, seed: u64) -> Self {
        let [.., a, b, c] = seed.to_be_bytes();
        Self { model, mac: [0xc4, 0x08, 0x28, a, b, c], seed }
    }
}

/// A simulated WhatsMiner. Dropping it kills it.
#[derive(Debug)]
pub struct WhatsMiner {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    config: WhatsMinerConfig,
    variation: Variation,
    mining: AtomicBool,
    refused: Mutex<Vec<String>>,
    commands: Mutex<Vec<String>>,
    work: Work,
}

impl WhatsMiner {
    /// Starts one on port 4028 of an address of its own.
    ///
    /// # Errors
    /// If the address is in use.
    ///
    /// # Cancel safety
    /// Dropped, nothing listens. The future is `Send`; it panics only outside of a tokio runtime.
    pub async fn start(address: Ipv4Addr, config: WhatsMinerConfig) -> io::Result<Self> {
        let state = Arc::new(State {
            config,
            variation: Variation::new(config.seed),
            mining: AtomicBool::new(true),
            refused: Mutex::default(),
            commands: Mutex::default(),
            work: Work::default(),
        });
        let shared = Arc::clone(&state);
        let handler = Arc::new(move |stream| {
            let state = Arc::clone(&shared);
            // A client that goes away in the middle is its own affair.
            Box::pin(async move { drop(answer(&state, stream).await) }) as _
        });
        let server = Server::start((address, PORT).into(), Wire::CgMiner, handler).await?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it is known by.
    ///
    /// # Errors
    /// For a MAC address that names no device.
    pub fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        Endpoint::mac(self.state.config.mac)
    }

    /// Has it misbehave from the next connection on.
    pub fn set_fault(&self, fault: Fault) {
        self.server.set_fault(fault);
    }

    /// Stops or starts hashing. It answers either way.
    pub fn set_mining(&self, mining: bool) {
        self.state.mining.store(mining, Ordering::Relaxed);
    }

    /// Has it answer `command` with an error from now on, as firmware without that command does.
    pub fn refuse(&self, command: &str) {
        self.state.refused.lock().unwrap_or_else(PoisonError::into_inner).push(command.to_owned());
    }

    /// The commands that it has been sent, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        self.state.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

async fn answer(state: &State, mut stream: TcpStream) -> io::Result<()> {
    let Some(request) = cgminer_request(&mut stream).await? else { return Ok(()) };
    state.work.on_request().await;
    let mut answer = state.answer(&request).to_string().into_bytes();
    answer.push(0);
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

impl State {
    fn answer(&self, request: &Value) -> Value {
        let command = request.get("command").or_else(|| request.get("cmd"));
        let command = command.and_then(Value::as_str).unwrap_or_default();
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command.to_owned());
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.iter().any(|refused| refused == command) {
            return error("invalid cmd");
        }
        match command {
            "devdetails" => self.devdetails(),
            "version" | "get_version" => self.version(),
            "summary" => self.summary(),
            "devs" | "edevs" => self.devs(),
            "pools" => pools(),
            "status" => self.status(),
            "get_psu" => message(json!({
                "name": "P222B", "model": "P222B", "hw_version": "", "sw_version": "230208.220429",
                "fan_speed": self.variation.whole(40, 6000.0, 0.02).to_string(),
            })),
            "get_miner_info" if !self.config.model.is_version_1() => message(json!({
                "mac": self.mac(), "hostname": "WhatsMiner", "ledstat": "auto",
            })),
            "get_error_code" if !self.config.model.is_version_1() => message(json!({ "error_code": [] })),
            _ => error("invalid cmd"),
        }
    }

    fn devdetails(&self) -> Value {
        let figures = self.config.model.figures();
        let board = |id: u32| {
            json!({
                "DEVDETAILS": id, "Name": "SM", "ID": id, "Driver": "bitmicro", "Kernel": "",
                "Model": figures.model,
            })
        };
        json!({
            "STATUS": listed(69, "Device Details"),
            "DEVDETAILS": (0..BOARDS).map(board).collect::<Vec<_>>(),
            "id": 1,
        })
    }

    fn version(&self) -> Value {
        let figures = self.config.model.figures();
        let api = if self.config.model.is_version_1() { "whatsminer v1.4.0" } else { "2.0.5" };
        message(json!({
            "api_ver": api, "fw_ver": figures.firmware, "platform": figures.platform, "chip": "K26BJ75.E",
        }))
    }

    fn status(&self) -> Value {
        let off = if self.is_mining() { "false" } else { "true" };
        let figures = self.config.model.figures();
        if self.config.model.is_version_1() {
            return message(
                json!({ "btmineroff": off, "Firmware Version": format!("'{}'", figures.firmware) }),
            );
        }
        message(json!({
            "mineroff": off, "mineroff_reason": "", "mineroff_time": "", "FirmwareVersion": figures.firmware,
            "power_mode": "Normal", "power_limit_set": "", "hash_percent": "0",
        }))
    }

    fn summary(&self) -> Value {
        let figures = self.config.model.figures();
        let (megahashes, watts) = (self.megahashes(), self.watts());
        let uptime = self.variation.elapsed().as_secs();
        json!({
            "STATUS": listed(11, "Summary"),
            "SUMMARY": [{
                "Elapsed": uptime, "Uptime": uptime + 60,
                "MHS av": megahashes, "MHS 5s": megahashes, "MHS 1m": megahashes, "HS RT": megahashes,
                "Accepted": uptime / 5, "Rejected": 0, "Total MH": 0, "Utility": 13.82,
                "Temperature": self.temperature(0),
                "Chip Temp Min": self.temperature(0) - 3.0,
                "Chip Temp Max": self.temperature(0) + 15.0,
                "Chip Temp Avg": self.temperature(0) + 8.0,
                "freq_avg": 600, "Target Freq": 600,
                "Fan Speed In": self.fan(0), "Fan Speed Out": self.fan(1),
                "Voltage": 1300, "Power": watts, "Power_RT": watts, "Power Limit": figures.watts,
                "Power Mode": "Normal", "Power Rate": 30.1, "Power Fanspeed": 6000,
                "Factory GHS": figures.megahashes / 1000.0, "Hash Stable": true, "Env Temp": 28.5,
                "Error Code Count": 0, "Factory Error Code Count": 0,
                "MAC": self.mac(), "CB Platform": figures.platform, "CB Version": "V10",
                "Firmware Version": format!("'{}'", figures.firmware),
            }],
            "id": 1,
        })
    }

    fn devs(&self) -> Value {
        let figures = self.config.model.figures();
        let board = |slot: u32| {
            let share = self.megahashes() / f64::from(BOARDS);
            let temperature = self.temperature(slot);
            json!({
                "ASC": slot, "Name": "SM", "ID": slot, "Slot": slot, "Enabled": "Y", "Status": "Alive",
                "MHS av": share, "MHS 5s": share, "Accepted": 100, "Rejected": 0,
                "Temperature": temperature, "Chip Frequency": 600, "Frequency": 600.0,
                "Chip Temp Min": temperature - 3.0, "Chip Temp Max": temperature + 15.0,
                "Chip Temp Avg": temperature + 8.0,
                "Fan Speed In": self.fan(0), "Fan Speed Out": self.fan(1),
                "Effective Chips": figures.chips, "Factory GHS": figures.megahashes / 1000.0 / f64::from(BOARDS),
                "PCB SN": format!("HSM{:06x}{slot}", self.config.seed & 0x00ff_ffff), "Upfreq Complete": 1,
            })
        };
        json!({
            "STATUS": listed(9, "3 ASC(s)"),
            "DEVS": (0..BOARDS).map(board).collect::<Vec<_>>(),
            "id": 1,
        })
    }

    fn is_mining(&self) -> bool {
        self.mining.load(Ordering::Relaxed)
    }

    fn megahashes(&self) -> f64 {
        if self.is_mining() {
            self.variation.rounded(1, self.config.model.figures().megahashes, 0.02)
        } else {
            0.0
        }
    }

    fn watts(&self) -> u32 {
        let base = if self.is_mining() { self.config.model.figures().watts } else { 40.0 };
        self.variation.whole(2, base, 0.01)
    }

    fn temperature(&self, slot: u32) -> f64 {
        let base = if self.is_mining() { 66.0 } else { 31.0 };
        self.variation.rounded(u64::from(10 + slot), base, 0.03)
    }

    fn fan(&self, index: u64) -> u32 {
        self.variation.whole(20 + index, 5400.0, 0.02)
    }

    fn mac(&self) -> String {
        let [a, b, c, d, e, f] = self.config.mac;
        format!("{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}")
    }
}

/// Every WhatsMiner of these models has three hashboards.
const BOARDS: u32 = 3;

/// An answer in the flat form that WhatsMiner added to the API.
fn message(body: Value) -> Value {
    json!({ "STATUS": "S", "When": 1_700_000_000, "Code": 131, "Msg": body, "Description": "" })
}

fn error(text: &str) -> Value {
    json!({ "STATUS": "E", "When": 1_700_000_000, "Code": 14, "Msg": text, "Description": "" })
}

/// The STATUS section of an answer in cgminer's own form. Its description names btminer, which
/// clients know a WhatsMiner by.
fn listed(code: u32, text: &str) -> Value {
    json!([{ "STATUS": "S", "When": 1_700_000_000, "Code": code, "Msg": text, "Description": "btminer" }])
}

fn pools() -> Value {
    let pool = |index: u32, active: bool| {
        json!({
            "POOL": index, "URL": format!("stratum+tcp://pool{index}.example:3333"), "Status": "Alive",
            "Priority": index - 1, "User": "demo.worker", "Accepted": 100, "Rejected": 0,
            "Stratum Active": active, "Last Share Time": 0,
        })
    };
    json!({ "STATUS": listed(7, "2 Pool(s)"), "POOLS": [pool(1, true), pool(2, false)], "id": 1 })
}
