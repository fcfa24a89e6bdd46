//! A secret's bytes come out by a name that says so, and by no conversion.
#![allow(unexpected_cfgs)]

use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::enrollment::RegisterRequest;
use fleet_core::handshake::BeginRequest;
use fleet_core::keys::{IdentitySecretKey, SealingSecretKey};

fn log(_: impl AsRef<[u8]>) {}
fn write(_: impl AsRef<str>) {}

fn out_by_name(key: &ApiKey, secret: &IdentitySecretKey) {
    write(key.expose());
    log(secret.danger_seed().as_ref());
}

fn by_reference(key: ApiKey, code: EnrollmentCode, token: SessionToken) {
    #[cfg(trybuild)]
    write(key);
    #[cfg(trybuild)]
    log(code);
    #[cfg(trybuild)]
    write(token);
}

fn a_key_by_reference(identity: IdentitySecretKey, sealing: SealingSecretKey) {
    #[cfg(trybuild)]
    log(identity);
    #[cfg(trybuild)]
    log(sealing);
}

fn by_field(key: &ApiKey, code: &EnrollmentCode, identity: &IdentitySecretKey) {
    #[cfg(trybuild)]
    let _ = &key.0;
    #[cfg(trybuild)]
    let _ = &code.text;
    #[cfg(trybuild)]
    let _ = &identity.0;
}

fn out_of_a_request(register: &RegisterRequest, begin: &BeginRequest) {
    let _ = (register.expose_token(), begin.expose_api_key());
    #[cfg(trybuild)]
    let _ = (&register.token, &begin.api_key);
}

fn as_a_key_of_a_map(key: &ApiKey) {
    fn ordered(_: impl Ord) {}
    fn hashed(_: impl core::hash::Hash) {}
    ordered(key.hash());
    hashed(key.hash());
    #[cfg(trybuild)]
    ordered(key);
    #[cfg(trybuild)]
    hashed(key);
}

fn main() {}
