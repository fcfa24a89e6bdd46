//! How often an address may call without credentials.
//!
//! Calls with good credentials are not counted: any number of agents behind one address are one site, not one attacker.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleet_core::time::Monotonic;
use fleet_proto::rpc::{Code, Status};

use crate::config::Rate;

/// How many addresses are remembered; more share one allowance until others have regained theirs.
const MAX_ADDRESSES: usize = 65_536;

/// An allowance for each address: a bucket of tokens that refills.
#[derive(Debug)]
pub(super) struct Allowances {
    rate: Option<Rate>,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Monotonic,
}

impl Bucket {
    fn refilled(self, rate: Rate, now: Monotonic) -> Self {
        let gained = now.since(self.at).as_secs_f64() * f64::from(rate.per_second);
        Self { tokens: (self.tokens + gained).min(f64::from(rate.burst)), at: now }
    }
}

impl Allowances {
    pub(super) const fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Counts one call from `address`.
    ///
    /// # Errors
    /// `resource_exhausted`, and when to come back.
    pub(super) fn take(&self, address: IpAddr, now: Monotonic) -> Result<(), Status> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = network(address);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| bucket.refilled(rate, now).tokens < f64::from(rate.burst));
            if buckets.len() >= MAX_ADDRESSES {
                key = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let full = Bucket { tokens: f64::from(rate.burst), at: now };
        let bucket = buckets.entry(key).or_insert(full);
        *bucket = bucket.refilled(rate, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.tokens) / f64::from(rate.per_second));
        drop(buckets);
        let text = "too many calls without credentials from this address";
        Err(Status { retry_after: Some(wait), ..Status::new(Code::ResourceExhausted, text) })
    }
}

/// Who has one IPv6 address has a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 50 };

    fn at(millis: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(millis))
    }

    #[test]
    fn an_address_has_a_burst_and_then_a_rate() {
        let allowances = Allowances::new(Some(RATE));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..50 {
            allowances.take(one, at(0)).unwrap();
        }
        let refused = allowances.take(one, at(0)).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after),
            (Code::ResourceExhausted, Some(Duration::from_millis(100)))
        );
        allowances.take(other, at(0)).unwrap();
        allowances.take(one, at(100)).unwrap();
        assert!(allowances.take(one, at(100)).is_err());
        for _ in 0..50 {
            allowances.take(one, at(3_600_000)).unwrap();
        }
        assert!(allowances.take(one, at(3_600_000)).is_err(), "no more than the burst is saved up");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_its_own() {
        let network_of = |text: &str| network(text.parse().unwrap());
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:192.0.2.1"), network_of("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_whoever_is_known_keeps_an_own_allowance() {
        let allowances = Allowances::new(Some(RATE));
        let known = IpAddr::from([192, 0, 2, 1]);
        allowances.take(known, at(0)).unwrap();
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 100 {
            let _ = allowances.take(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), at(0));
        }
        assert!(allowances.buckets.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        assert!(
            allowances.take(IpAddr::from([198, 51, 100, 1]), at(0)).is_err(),
            "the shared allowance is used up"
        );
        allowances.take(known, at(0)).unwrap();
        // Later the others have regained theirs and are forgotten.
        allowances.take(IpAddr::from([198, 51, 100, 1]), at(1000)).unwrap();
        assert!(allowances.buckets.lock().unwrap().len() < 10);
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let allowances = Allowances::new(None);
        for _ in 0..1000 {
            allowances.take(IpAddr::from([192, 0, 2, 1]), at(0)).unwrap();
        }
    }
}
