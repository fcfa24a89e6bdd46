//! Bounds of what callers may take.

use std::time::Duration;

use fleet_proto::rpc::MAX_MESSAGE_BYTES;

use super::parse::Judge;

/// An allowance that refills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the two numbers of an allowance")]
pub struct Rate {
    /// How much it refills in a second, at least 1.
    pub per_second: u32,
    /// How much it holds, at least 1.
    pub burst: u32,
}

/// What the server lets callers take of it. What is beyond a limit is refused, and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "tests and embedders set some and take the others from the default"
)]
pub struct Limits {
    /// Calls without good credentials, for each address: 10 a second, 50 at once; not limited if `None`.
    pub unauthenticated_rate: Option<Rate>,
    /// New sessions of agents: 100 a second, 200 at once; not limited if `None`. The burst is two seconds' worth: a
    /// small fleet comes back at once, a large one in order.
    pub session_rate: Option<Rate>,
    /// How often one agent may begin a handshake, a second: 4; not limited if `None`.
    pub begin_rate: Option<u32>,
    /// Connections at once: 20,000, or as many as there are file descriptors for. Beyond it they are closed at once.
    pub connections: usize,
    /// Connections at once from one address on which no good credentials have been shown yet: 1,000. Beyond it they are
    /// closed at once.
    pub unauthenticated_connections: usize,
    /// Calls at once of one agent, streams included: 32.
    pub calls_per_agent: usize,
    /// Devices that one agent may report: 65,536.
    pub devices_per_agent: u32,
    /// The longest message, bytes: 1 MiB and 64 KiB (protocol section 10). What anybody may call takes 16 KiB.
    pub message_bytes: usize,
    /// Headers of one request, bytes, each counted with 32 more as HTTP/2 does (RFC 9113 section 6.5.2): 16 KiB.
    pub header_bytes: u32,
    /// How long a TLS handshake, the first bytes, and the headers of an HTTP/1.1 request may take: 10 s.
    pub handshake_timeout: Duration,
    /// How long a call with one message may take, the time to receive it included: 30 s.
    pub request_timeout: Duration,
    /// How long a connection may go on without a new request as long as no good credentials were shown on it: 60 s.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated_rate: Some(Rate { per_second: 10, burst: 50 }),
            session_rate: Some(Rate { per_second: 100, burst: 200 }),
            begin_rate: Some(4),
            connections: 20_000,
            unauthenticated_connections: 1_000,
            calls_per_agent: 32,
            devices_per_agent: 65_536,
            message_bytes: MAX_MESSAGE_BYTES,
            header_bytes: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Agents put up to 512 KiB into one message; one that is refused for its length would stop all that wait behind it.
const LEAST_MESSAGE_BYTES: u64 = 640 * 1024;
const MOST_MESSAGE_BYTES: u64 = MAX_MESSAGE_BYTES as u64;

impl Judge<'_> {
    pub(super) fn limits(&mut self) -> Limits {
        let default = Limits::default();
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Limits {
            unauthenticated_rate: self.rate("unauthenticated-rate", default.unauthenticated_rate),
            session_rate: self.rate("session-rate", default.session_rate),
            begin_rate: self.begin_rate(default.begin_rate),
            connections: self.number("max-connections", 16, 1_000_000).map_or(default.connections, size),
            unauthenticated_connections: self
                .number("max-unauthenticated-connections", 1, 1_000_000)
                .map_or(default.unauthenticated_connections, size),
            // An agent that keeps to the protocol has three streams, a heartbeat and a handshake.
            calls_per_agent: self
                .number("max-calls-per-agent", 8, 100_000)
                .map_or(default.calls_per_agent, size),
            devices_per_agent: self
                .number("max-devices-per-agent", 1, 10_000_000)
                .map_or(default.devices_per_agent, small),
            message_bytes: self
                .number("max-message-bytes", LEAST_MESSAGE_BYTES, MOST_MESSAGE_BYTES)
                .map_or(default.message_bytes, size),
            header_bytes: self
                .number("max-header-bytes", 8 * 1024, 256 * 1024)
                .map_or(default.header_bytes, small),
            handshake_timeout: self.seconds("handshake-timeout", 1, 60).unwrap_or(default.handshake_timeout),
            request_timeout: self.seconds("request-timeout", 1, 600).unwrap_or(default.request_timeout),
            idle_timeout: self.seconds("idle-timeout", 10, 3600).unwrap_or(default.idle_timeout),
        }
    }

    fn rate(&mut self, name: &str, default: Option<Rate>) -> Option<Rate> {
        let Some((value, given)) = self.one(name) else { return default };
        if value == "off" {
            return None;
        }
        let number = |text: &str| text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
        let parsed = value.split_once('/').and_then(|(rate, burst)| number(rate).zip(number(burst)));
        if let Some((per_second, burst)) = parsed {
            return Some(Rate { per_second, burst });
        }
        let source = given.source.clone();
        self.invalid(
            &source,
            "must be how many a second, a slash and how many at once, for example 10/50, or off",
        );
        default
    }

    fn begin_rate(&mut self, default: Option<u32>) -> Option<u32> {
        match self.one("begin-rate") {
            None => default,
            Some(("off", _)) => None,
            Some(_) => {
                let number = self.number("begin-rate", 1, 1000).and_then(|number| u32::try_from(number).ok());
                number.or(default)
            }
        }
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let (value, given) = self.one(name)?;
        let number = value.parse().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let source = given.source.clone();
            self.invalid(&source, format!("must be a whole number, {least} to {most}"));
        }
        number
    }
}
