//! A secret key is where it is. Strings that are sent may be cloned: each clone is erased as well.
#![allow(unexpected_cfgs)]

use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::keys::{
    AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey, OperatorSecretKey,
    RecoverySecretKey, RootSecretKey, SealingSecretKey,
};

fn strings(key: &ApiKey, code: &EnrollmentCode, token: &SessionToken) {
    let _ = (key.clone(), code.clone(), token.clone());
}

fn root_secret_key(secret: &RootSecretKey) {
    #[cfg(trybuild)]
    let _: RootSecretKey = secret.clone();
}

fn command_secret_key(secret: &CommandSecretKey) {
    #[cfg(trybuild)]
    let _: CommandSecretKey = secret.clone();
}

fn operator_secret_key(secret: &OperatorSecretKey) {
    #[cfg(trybuild)]
    let _: OperatorSecretKey = secret.clone();
}

fn identity_secret_key(secret: &IdentitySecretKey) {
    #[cfg(trybuild)]
    let _: IdentitySecretKey = secret.clone();
}

fn miner_signing_secret_key(secret: &MinerSigningSecretKey) {
    #[cfg(trybuild)]
    let _: MinerSigningSecretKey = secret.clone();
}

fn sealing_secret_key(secret: &SealingSecretKey) {
    #[cfg(trybuild)]
    let _: SealingSecretKey = secret.clone();
}

fn recovery_secret_key(secret: &RecoverySecretKey) {
    #[cfg(trybuild)]
    let _: RecoverySecretKey = secret.clone();
}

fn agent_secret_keys(secret: &AgentSecretKeys) {
    #[cfg(trybuild)]
    let _: AgentSecretKeys = secret.clone();
}

fn moved_twice(key: IdentitySecretKey) {
    let moved = key;
    drop(moved);
    #[cfg(trybuild)]
    let _ = key.public();
}

fn main() {}
