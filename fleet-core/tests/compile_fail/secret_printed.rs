//! No secret has a text, so none gets into one.
#![allow(unexpected_cfgs)]

use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::keys::{
    CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey, OperatorSecretKey, RecoverySecretKey,
    RootSecretKey, SealingSecretKey,
};

fn printed_as_debug(secret: &ApiKey) {
    let _ = format!("{secret:?}");
}

fn api_key(secret: &ApiKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn enrollment_code(secret: &EnrollmentCode) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn session_token(secret: &SessionToken) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn root_secret_key(secret: &RootSecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn command_secret_key(secret: &CommandSecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn operator_secret_key(secret: &OperatorSecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn identity_secret_key(secret: &IdentitySecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn miner_signing_secret_key(secret: &MinerSigningSecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn sealing_secret_key(secret: &SealingSecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn recovery_secret_key(secret: &RecoverySecretKey) {
    #[cfg(trybuild)]
    let _ = format!("{secret}");
}

fn made_a_string(code: &EnrollmentCode) {
    let _ = code.expose().to_owned();
    #[cfg(trybuild)]
    let _ = code.to_string();
}

fn main() {}
