//! What can go wrong between the agent and a miner.

use std::{io, net::SocketAddr, time::Duration};

use fleet_core::{endpoint::Endpoint, telemetry::MinerStatus};

use super::CertificateFingerprint;

/// Why a miner could not be probed, opened or read.
///
/// Split by what a person does about it: look at the network, enter a password, look at the miner,
/// or report a driver that does not understand it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinerError {
    /// Nothing answers at the address, or the connection broke.
    #[error("the miner is unreachable")]
    Unreachable(#[source] io::Error),
    /// It answers the connection, and nothing in its answers is live.
    #[error("the miner answers, but reports no live value")]
    NoLiveData,
    /// It did not answer in time.
    #[error("the miner did not answer within {} ms", .after.as_millis())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// It wants credentials, and there are none for it.
    #[error("the miner needs a password: enter it with `fleet-agent miner login`")]
    AuthNeeded,
    /// It refuses the credentials that there are.
    #[error("the miner refuses the stored password: enter the right one with `fleet-agent miner login`")]
    AuthFailed,
    /// It answers nothing but a password change until its default password is changed.
    #[error("the miner still has its default password and answers nothing until it is changed")]
    DefaultPassword,
    /// The driver cannot do that with this miner.
    #[error("this driver cannot do that with this miner")]
    Unsupported,
    /// Another device answers at the address.
    #[error("another device answers at this address: expected {expected}, got {}", display_or(.got.as_ref(), "no identity"))]
    IdentityMismatch {
        /// The device that was expected.
        expected: Endpoint,
        /// The device that answered, if it says who it is.
        got: Option<Endpoint>,
    },
    /// Two addresses claim to be the same device, so neither is given credentials.
    #[error("two addresses claim to be this device: {first} and {second}")]
    Duplicate {
        /// Where it was seen first.
        first: SocketAddr,
        /// Where it was seen as well.
        second: SocketAddr,
    },
    /// The device shows another TLS certificate than the one that was pinned, or none.
    #[error("the certificate is not the pinned one: expected {expected}, got {}", display_or(.got.as_ref(), "none"))]
    CertificateMismatch {
        /// The pinned certificate.
        expected: CertificateFingerprint,
        /// The one that was shown.
        got: Option<CertificateFingerprint>,
    },
    /// The miner understood and refused.
    #[error("the miner refused the request{}", status_suffix(*.status))]
    Rejected {
        /// The HTTP status, where the miner speaks HTTP.
        status: Option<u16>,
    },
    /// The miner's answer breaks its protocol.
    #[error("the miner's answer cannot be understood")]
    Protocol(#[from] ProtocolViolation),
    /// The code that reads the miner panicked.
    #[error("the code that reads this miner panicked")]
    Panicked,
}

/// How an answer breaks the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// It is longer than the driver reads.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It is not JSON.
    #[error("the answer is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is not HTTP.
    #[error("the answer is not HTTP")]
    Http(#[from] hyper::Error),
    /// The request could not be put together: the miner's own data does not fit into one.
    #[error("the request cannot be made")]
    Request(#[from] ::http::Error),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// A value that every such miner reports is missing or has the wrong form.
    #[error("the answer has no usable {field}")]
    Missing {
        /// What is missing, for example `cb_sn`.
        field: &'static str,
    },
}

impl MinerError {
    /// What the error says about the miner's state.
    #[must_use]
    pub const fn status(&self) -> MinerStatus {
        match self {
            Self::Unreachable(_)
            | Self::NoLiveData
            | Self::Timeout { .. }
            | Self::Unsupported
            | Self::Protocol(_)
            | Self::Panicked => MinerStatus::Unreachable,
            Self::AuthNeeded => MinerStatus::AuthNeeded,
            Self::AuthFailed | Self::DefaultPassword => MinerStatus::AuthFailed,
            Self::IdentityMismatch { .. } | Self::Duplicate { .. } | Self::CertificateMismatch { .. } => {
                MinerStatus::IdentityMismatch
            }
            Self::Rejected { .. } => MinerStatus::Fault,
        }
    }
}

impl From<io::Error> for MinerError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

fn display_or<T: std::fmt::Display>(value: Option<&T>, absent: &str) -> String {
    value.map_or_else(|| absent.to_owned(), ToString::to_string)
}

fn status_suffix(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!(" (HTTP {status})"))
}
