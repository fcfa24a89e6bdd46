//! What the server and the agent refuse: each with its code and one clear message, and with nothing stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod callers;
mod codes;
mod confirmation;
mod fields;
mod handshake;
mod keys;
mod operators;
#[path = "../wire_support/mod.rs"]
mod wire_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleet_core::code::{ApiKey, CodeError, EnrollmentCode};
use fleet_core::driver::AgentError;
use fleet_core::enrollment::agent::EnrollError;
use fleet_core::enrollment::{self, UnverifiedManifest};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::agent::HandshakeError;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::keys::{
    AgentKeyring, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey, RootSecretKey,
    Signature, Signer, SignerError,
};
use fleet_core::manifest::{OrgManifest, Pin, SuccessionError};
use fleet_core::store::{AgentKeyStore, MemoryAgentStore, MemoryKeyStore, StoreError};
use fleet_core::testing::SeededRandom;
use fleet_core::transcript::{Domain, Transcript};
use fleet_core::transport::{Transport, TransportError};
use fleet_proto::agentadmin::v1::{self as admin, AGENT_ADMIN_SERVICE_PROCEDURES};
use fleet_proto::agentgateway::v1::{
    self as gateway, AGENT_GATEWAY_SERVICE_PROCEDURES, control_stream_request as ask,
    control_stream_response as answer,
};
use fleet_proto::client::{GatewayTransport, Status};
use fleet_proto::convert::timestamp;
use fleet_proto::fleet::v1::{
    self as fleet, DEVICE_SERVICE_PROCEDURES, OPERATOR_SERVICE_PROCEDURES, OperatorServiceClient,
    TELEMETRY_SERVICE_PROCEDURES,
};
use fleet_proto::rpc::Code;
use fleetd::config::Mode;
use wire_support::{
    Bench, Honest, Online, Refused, Trace, confirm, http1, json, login, public_keys, register, register_with,
    secret_keys, within,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bytes32(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}
