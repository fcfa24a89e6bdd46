//! Which addresses may be scanned, and which of them answer.
//!
//! Ranges are IPv4, private (RFC 1918) or loopback, and bounded: an agent must not become a
//! scanner of networks that are not its own, whoever asks for the scan.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use futures::future::join_all;
use ipnet::Ipv4Net;
use tokio::{net::TcpStream, time::timeout};

/// The most addresses in one range: that of a /16.
pub const MAX_ADDRESSES: u32 = 65_536;

/// The most ranges in an [`AllowList`].
pub const MAX_RANGES: usize = 64;

/// The shortest prefix whose addresses are within [`MAX_ADDRESSES`].
const SHORTEST_PREFIX: u8 = 16;

/// Where scans may go: RFC 1918 and loopback.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
];

/// A range of addresses that may be scanned, in CIDR form: `192.168.7.0/24`. A single address
/// stands for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScanRange(Ipv4Net);

/// The text is no range that may be scanned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanRangeError {
    /// It is not an IPv4 address, with or without a prefix length.
    #[error("expected an IPv4 range such as 192.168.7.0/24, got {text:?}")]
    Syntax {
        /// What was given.
        text: String,
    },
    /// It leaves the private ranges.
    #[error(
        "{range} may not be scanned: it must lie in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 127.0.0.0/8"
    )]
    NotPrivate {
        /// The range.
        range: Ipv4Net,
    },
    /// It has too many addresses.
    #[error(
        "{range} has {addresses} addresses, and the limit is {MAX_ADDRESSES} (a /16) each: use smaller ranges"
    )]
    TooLarge {
        /// The range.
        range: Ipv4Net,
        /// How many addresses it has.
        addresses: u64,
    },
    /// There are too many ranges.
    #[error("at most {MAX_RANGES} ranges may be scanned, got {got}")]
    TooMany {
        /// How many there are.
        got: usize,
    },
}

impl ScanRange {
    /// Its addresses, without the network's and the broadcast address where it has such.
    pub fn addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        self.0.hosts()
    }

    /// Whether it holds `address`.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.0.contains(&address),
            IpAddr::V6(_) => false,
        }
    }
}

impl FromStr for ScanRange {
    type Err = ScanRangeError;

    fn from_str(text: &str) -> Result<Self, ScanRangeError> {
        let text = text.trim();
        let range: Ipv4Net = if text.contains('/') {
            text.parse().map_err(|_| ScanRangeError::Syntax { text: text.to_owned() })?
        } else {
            let address: Ipv4Addr =
                text.parse().map_err(|_| ScanRangeError::Syntax { text: text.to_owned() })?;
            Ipv4Net::from(address)
        };
        let range = range.trunc();
        if range.prefix_len() < SHORTEST_PREFIX {
            let addresses = 1 << (32 - u32::from(range.prefix_len()));
            return Err(ScanRangeError::TooLarge { range, addresses });
        }
        let is_private = PRIVATE.iter().any(|(network, prefix)| {
            Ipv4Net::new(*network, *prefix).is_ok_and(|private| private.contains(&range))
        });
        if is_private { Ok(Self(range)) } else { Err(ScanRangeError::NotPrivate { range }) }
    }
}

impl fmt::Display for ScanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ScanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that an agent may scan, as configured on the agent itself. What a server asks for is
/// checked against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    ranges: Vec<ScanRange>,
}

impl AllowList {
    /// These ranges and no others; none is "scan nothing".
    ///
    /// # Errors
    /// [`ScanRangeError::TooMany`].
    pub fn new(ranges: impl IntoIterator<Item = ScanRange>) -> Result<Self, ScanRangeError> {
        let mut ranges: Vec<ScanRange> = ranges.into_iter().collect();
        ranges.sort_unstable();
        ranges.dedup();
        if ranges.len() > MAX_RANGES {
            return Err(ScanRangeError::TooMany { got: ranges.len() });
        }
        Ok(Self { ranges })
    }

    /// Parses ranges.
    ///
    /// # Errors
    /// [`ScanRangeError`] of the first that is not allowed.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ScanRangeError> {
        let ranges = texts.into_iter().map(str::parse).collect::<Result<Vec<ScanRange>, _>>()?;
        Self::new(ranges)
    }

    /// Whether `address` may be scanned.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether all of `range` may be scanned.
    #[must_use]
    pub fn permits(&self, range: ScanRange) -> bool {
        self.ranges.iter().any(|allowed| allowed.0.contains(&range.0))
    }

    /// The ranges, in ascending order.
    #[must_use]
    pub fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    /// Whether nothing may be scanned.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Every address of every range, once.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        // Two CIDR ranges are disjoint or one holds the other, and in ascending order the larger
        // of two with the same start comes first, so looking back is enough.
        self.ranges.iter().enumerate().flat_map(|(position, range)| {
            let earlier = self.ranges.get(..position).unwrap_or_default();
            let is_covered = earlier.iter().any(|earlier| earlier.0.contains(&range.0));
            (!is_covered).then(|| range.addresses()).into_iter().flatten()
        })
    }
}

/// Which of `ports` take a connection at `address` within `patience`, in ascending order.
pub(super) async fn open_ports(address: IpAddr, ports: &[u16], patience: Duration) -> Vec<u16> {
    let attempts = ports.iter().map(|port| async move {
        let attempt = TcpStream::connect(SocketAddr::new(address, *port));
        matches!(timeout(patience, attempt).await, Ok(Ok(_))).then_some(*port)
    });
    let mut open: Vec<u16> = join_all(attempts).await.into_iter().flatten().collect();
    open.sort_unstable();
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<ScanRange, ScanRangeError> {
        text.parse()
    }

    #[test]
    fn private_and_loopback_ranges_are_taken() {
        for text in ["10.0.0.0/16", "172.31.255.0/24", "192.168.0.0/16", "127.0.77.0/24", "10.1.2.3/32"] {
            assert_eq!(range(text).unwrap().to_string(), text);
        }
        assert_eq!(range("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(range(" 192.168.7.9/24 ").unwrap().to_string(), "192.168.7.0/24");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in
            ["8.8.8.0/24", "172.32.0.0/16", "100.64.0.0/16", "169.254.0.0/16", "0.0.0.0/16", "224.0.0.1"]
        {
            assert!(matches!(range(text), Err(ScanRangeError::NotPrivate { .. })), "{text}");
        }
        for text in ["", "miners", "10.0.0.0/33", "::1/128", "10.0.0.0-10.0.0.9"] {
            assert!(matches!(range(text), Err(ScanRangeError::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn the_limit_is_named() {
        assert!(range("10.0.0.0/16").is_ok());
        let error = range("10.0.0.0/15").unwrap_err();
        assert_eq!(
            error.to_string(),
            "10.0.0.0/15 has 131072 addresses, and the limit is 65536 (a /16) each: use smaller ranges"
        );
        assert!(matches!(range("0.0.0.0/0"), Err(ScanRangeError::TooLarge { addresses: 4_294_967_296, .. })));
    }

    #[test]
    fn too_many_ranges_are_refused() {
        let texts: Vec<String> = (0..=64).map(|third| format!("10.0.{third}.0/24")).collect();
        let error = AllowList::parse(texts.iter().map(String::as_str)).unwrap_err();
        assert_eq!(error, ScanRangeError::TooMany { got: 65 });
    }

    #[test]
    fn overlapping_ranges_give_each_address_once() {
        let list = AllowList::parse(["10.0.0.8/30", "10.0.0.0/28", "10.0.0.0/28", "10.0.1.0/31"]).unwrap();
        let addresses: Vec<Ipv4Addr> = list.addresses().collect();
        assert_eq!(addresses.len(), 14 + 2);
        assert_eq!(addresses.first(), Some(&Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(10, 0, 1, 1)));
    }

    #[test]
    fn what_a_server_asks_for_must_lie_within() {
        let list = AllowList::parse(["10.0.0.0/16"]).unwrap();
        assert!(list.permits(range("10.0.9.0/24").unwrap()));
        assert!(!list.permits(range("10.1.0.0/24").unwrap()));
        assert!(list.contains(IpAddr::from([10, 0, 3, 4])));
        assert!(!list.contains(IpAddr::from([10, 1, 0, 1])));
        assert!(!AllowList::default().permits(range("10.0.0.1").unwrap()));
    }
}
