//! Evidence is made by the check that it stands for, and by nothing else.
#![allow(unexpected_cfgs)]

use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::enrollment::RegisterResponse;
use fleet_core::keys::{IdentityPublicKey, Signature, SignatureVerified};
use fleet_core::manifest::SignedManifest;
use fleet_core::store::{AgentState, Changeset};
use fleet_core::time::{Monotonic, ServerTime, UnixMillis};
use fleet_core::transcript::Transcript;

fn a_verified_signature(key: &IdentityPublicKey, transcript: &Transcript, signature: &Signature) {
    let _: Option<SignatureVerified> = key.verify(transcript, signature).ok();
    #[cfg(trybuild)]
    let _: SignatureVerified = SignatureVerified(());
}

fn a_verified_signature_by_default() {
    #[cfg(trybuild)]
    let _: SignatureVerified = Default::default();
}

fn a_manifest_that_was_changed_afterwards(signed: &mut SignedManifest) {
    let _ = signed.manifest().epoch;
    #[cfg(trybuild)]
    let _ = signed.manifest.epoch;
}

/// Keys from outside are bytes until they are checked.
fn a_checked_key(bytes: [u8; 32]) {
    let _ = IdentityPublicKey::parse(&bytes);
    #[cfg(trybuild)]
    let _ = IdentityPublicKey(bytes);
}

fn a_step_of_ones_own(change: Changeset, state: AgentState, answer: RegisterResponse) {
    #[cfg(trybuild)]
    let _ = NeedsCommit::new(change, answer);
    #[cfg(trybuild)]
    let _ = NeedsSave::new(state, ());
    #[cfg(trybuild)]
    let _: NeedsSave<()> = NeedsSave::unchanged(());
}

fn the_servers_time(now: UnixMillis, sent: Monotonic, known: ServerTime) {
    let _ = known.at(sent);
    #[cfg(trybuild)]
    let _ = ServerTime::adopt(now, sent);
}

fn main() {}
