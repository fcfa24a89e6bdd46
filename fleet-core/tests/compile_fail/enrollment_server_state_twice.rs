//! A state of an enrollment at the server is gone once it has gone on.
#![allow(unexpected_cfgs)]

use fleet_core::enrollment::server::{
    Confirm, NeedsManifestSignature, NeedsReissueSignature, NeedsRootSignature, Register, Revoke,
};
use fleet_core::keys::Signature;
use fleet_core::policy::Policy;
use fleet_core::random::SecureRandom;
use fleet_core::store::Snapshot;
use fleet_core::time::UnixMillis;

fn registered(register: Register, found: &Snapshot, now: UnixMillis, random: &dyn SecureRandom) {
    let _ = register.resolve(Some(found.clone()), now, &Policy::default(), random);
    #[cfg(trybuild)]
    let _ = register.resolve(Some(found.clone()), now, &Policy::default(), random);
}

fn confirmed(confirm: Confirm, found: &Snapshot, now: UnixMillis) {
    let _ = confirm.resolve(Some(found.clone()), now);
    #[cfg(trybuild)]
    let _ = confirm.resolve(Some(found.clone()), now);
}

/// Each signature over a certificate makes one api_key.
fn certified(needs: NeedsRootSignature, signature: Signature, now: UnixMillis, random: &dyn SecureRandom) {
    let _ = needs.signed(Some(signature), now, random);
    #[cfg(trybuild)]
    let _ = needs.signed(Some(signature), now, random);
}

fn revoked(revoke: Revoke, found: &Snapshot, now: UnixMillis) {
    let _ = revoke.resolve(Some(found.clone()), now);
    #[cfg(trybuild)]
    let _ = revoke.resolve(Some(found.clone()), now);
}

fn revoked_with_a_manifest_and_without(needs: NeedsManifestSignature, signature: Signature, now: UnixMillis) {
    let _ = needs.signed(signature, now);
    #[cfg(trybuild)]
    let _ = needs.unsigned(now);
}

fn reissued(needs: NeedsReissueSignature, signature: Signature, now: UnixMillis) {
    let _ = needs.signed(signature, now);
    #[cfg(trybuild)]
    let _ = needs.signed(signature, now);
}

fn main() {}
