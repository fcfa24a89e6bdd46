//! A state of an agent's handshake is gone once it has gone on.
#![allow(unexpected_cfgs)]

use fleet_core::handshake::agent::{ExpectChallenge, ExpectSession, ExpectVerification, NeedsSignature};
use fleet_core::handshake::{BeginResponse, CompleteResponse};
use fleet_core::keys::Signature;
use fleet_core::time::Monotonic;

fn challenged(expect: ExpectChallenge, response: &BeginResponse, now: Monotonic) {
    let _ = expect.challenge(response.clone(), now);
    #[cfg(trybuild)]
    let _ = expect.challenge(response.clone(), now);
}

fn verified(expect: ExpectVerification) {
    let _ = expect.verify();
    #[cfg(trybuild)]
    let _ = expect.verify();
}

/// One challenge is signed once.
fn signed(needs: NeedsSignature, signature: Signature, now: Monotonic) {
    let _ = needs.signed(signature, now);
    #[cfg(trybuild)]
    let _ = needs.to_sign();
}

fn in_session(expect: ExpectSession, response: &CompleteResponse, now: Monotonic) {
    let _ = expect.session(response.clone(), now);
    #[cfg(trybuild)]
    let _ = expect.session(response.clone(), now);
}

fn main() {}
