//! No two secrets are compared: what is stored of one is its hash.
#![allow(unexpected_cfgs)]

use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::keys::{
    AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey, OperatorSecretKey,
    RecoverySecretKey, RootSecretKey, SealingSecretKey,
};

fn by_hash(one: &ApiKey, other: &ApiKey) {
    let _ = one.hash() == other.hash();
}

fn by_public_half(one: &RootSecretKey, other: &RootSecretKey) {
    let _ = one.public() == other.public();
}

fn api_key(one: &ApiKey, other: &ApiKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn enrollment_code(one: &EnrollmentCode, other: &EnrollmentCode) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn session_token(one: &SessionToken, other: &SessionToken) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn root_secret_key(one: &RootSecretKey, other: &RootSecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn command_secret_key(one: &CommandSecretKey, other: &CommandSecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn operator_secret_key(one: &OperatorSecretKey, other: &OperatorSecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn identity_secret_key(one: &IdentitySecretKey, other: &IdentitySecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn miner_signing_secret_key(one: &MinerSigningSecretKey, other: &MinerSigningSecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn sealing_secret_key(one: &SealingSecretKey, other: &SealingSecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn recovery_secret_key(one: &RecoverySecretKey, other: &RecoverySecretKey) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn agent_secret_keys(one: &AgentSecretKeys, other: &AgentSecretKeys) {
    #[cfg(trybuild)]
    let _ = one == other;
}

fn main() {}
