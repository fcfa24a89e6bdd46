//! A state of a handshake at the server is gone once it has gone on.
#![allow(unexpected_cfgs)]

use fleet_core::handshake::server::{Begin, Complete, NeedsAgent, NeedsServerSignature, NeedsSessionCommit};
use fleet_core::keys::Signature;
use fleet_core::policy::Policy;
use fleet_core::random::SecureRandom;
use fleet_core::store::{ChallengeRecord, Snapshot};
use fleet_core::time::UnixMillis;

/// One Begin makes one challenge.
fn begun(begin: Begin, found: &Snapshot, now: UnixMillis, random: &dyn SecureRandom) {
    let _ = begin.resolve(Some(found.clone()), now, &Policy::default(), random);
    #[cfg(trybuild)]
    let _ = begin.resolve(Some(found.clone()), now, &Policy::default(), random);
}

fn signed(needs: NeedsServerSignature, signature: Signature) {
    let _ = needs.signed(signature);
    #[cfg(trybuild)]
    let _ = needs.signed(signature);
}

/// One Complete is judged by one challenge.
fn taken(complete: Complete, record: &ChallengeRecord, now: UnixMillis) {
    let _ = complete.taken(Some(record.clone()), now);
    #[cfg(trybuild)]
    let _ = complete.taken(Some(record.clone()), now);
}

/// One challenge makes one session: not two, of two snapshots.
fn resolved(needs: NeedsAgent, found: &Snapshot, now: UnixMillis, random: &dyn SecureRandom) {
    let _ = needs.resolve(Some(found.clone()), now, &Policy::default(), random);
    #[cfg(trybuild)]
    let _ = needs.resolve(Some(found.clone()), now, &Policy::default(), random);
}

/// Who takes the token has no way back to another,
fn answered_and_stale(needs: NeedsSessionCommit) {
    let _ = needs.committed();
    #[cfg(trybuild)]
    let _ = needs.stale();
}

/// and who goes back has no token.
fn stale_and_answered(needs: NeedsSessionCommit) {
    let _ = needs.stale();
    #[cfg(trybuild)]
    let _ = needs.committed();
}

fn main() {}
