//! Miners: found, identified and read over their own wire protocols.
//!
//! # Roles
//! - A [`MinerDriver`] knows one family of miners. It *probes* an address and says what answers
//!   there, and it *opens* a session with a miner that was found.
//! - A [`MinerSession`] talks to one miner. Its methods take `&mut self`, so one miner never has
//!   two calls at once.
//! - A [`Site`](site::Site) owns the drivers of one network: it scans the ranges that it is allowed
//!   to, polls what it finds, and reports discoveries, status changes and readings.
//!
//! # What holds for every driver
//! - Identity before use: a session compares what the device says of itself with the
//!   [`MinerInfo`] it was opened for, in every reading. Another device on the address is
//!   [`MinerError::IdentityMismatch`], and its values are never attributed.
//! - A reading without a live datum is [`MinerError::Unreachable`], never "mining".
//! - Answers are bounded ([`MAX_RESPONSE_BYTES`]), redirects are never followed, and no default
//!   password is ever tried.
//! - Futures may be dropped at any point: nothing is left running.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

#[cfg(feature = "asic-rs")]
mod cgminer;
pub mod credentials;
#[cfg(any(feature = "asic-rs", feature = "sim"))]
pub(crate) mod digest;
mod driver;
mod error;
mod http;
pub mod proto;
pub mod scan;
pub mod site;

#[cfg(feature = "asic-rs")]
pub mod asic;

pub use driver::{
    CertificateFingerprint, Detail, Found, MinerDriver, MinerFuture, MinerInfo, MinerSession, Reading,
};
pub use error::{MinerError, ProtocolViolation};

/// The longest answer that a driver reads from a miner, in bytes. A longer one is
/// [`ProtocolViolation::TooLarge`].
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// How long a miner may take to accept a connection. A host that drops packets must not use up
/// the time in which a reading says that it is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

async fn connect(address: SocketAddr) -> Result<TcpStream, MinerError> {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(stream) => Ok(stream?),
        Err(_) => Err(MinerError::Timeout { after: CONNECT_TIMEOUT }),
    }
}
