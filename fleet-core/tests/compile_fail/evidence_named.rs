//! Evidence that a state holds cannot even be named by others, so no state can be put together.
#![allow(unexpected_cfgs)]

use fleet_core::handshake::server::NeedsAgent;

#[cfg(trybuild)]
use fleet_core::enrollment::agent::Verified;
#[cfg(trybuild)]
use fleet_core::enrollment::server::confirm::FingerprintMatched;
#[cfg(trybuild)]
use fleet_core::enrollment::server::register::ProofsVerified;
#[cfg(trybuild)]
use fleet_core::handshake::agent::ServerVerified;
#[cfg(trybuild)]
use fleet_core::handshake::server::ChallengeConsumed;

fn looked_up(needs: &NeedsAgent) {
    let _ = needs.query();
}

fn main() {}
