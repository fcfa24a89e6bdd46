//! Each step has what the next one needs: none can be left out.
#![allow(unexpected_cfgs)]

use fleet_core::enrollment::agent::{AskToJoin, NeedsProofs};
use fleet_core::enrollment::server::{Confirm, Register, Revoke};
use fleet_core::handshake::BeginResponse;
use fleet_core::handshake::agent::{ExpectChallenge, ExpectVerification};
use fleet_core::handshake::server::{Begin, Complete, NeedsServerSignature};
use fleet_core::keys::Signature;
use fleet_core::policy::Policy;
use fleet_core::random::SecureRandom;
use fleet_core::store::Snapshot;
use fleet_core::time::{Monotonic, UnixMillis};
use zeroize::Zeroizing;

fn sent_without_proofs(needs: NeedsProofs, proofs: [Signature; 2]) {
    #[cfg(trybuild)]
    let _ = needs.request();
    let _ = needs.signed(proofs).map(|expect| expect.request().clone());
}

fn opened_without_the_answer_to_the_question(ask: AskToJoin, plaintext: &Zeroizing<Vec<u8>>) {
    #[cfg(trybuild)]
    let _ = ask.opened(plaintext);
    let _ = ask.join();
}

fn registered_without_the_records(register: Register) {
    let _ = register.query();
    #[cfg(trybuild)]
    let _ = register.committed();
}

/// Without the fingerprint that was typed.
fn certified_without_a_check(confirm: Confirm, found: Snapshot, now: UnixMillis, signature: Signature) {
    #[cfg(trybuild)]
    let _ = confirm.signed(Some(signature), now);
    let _ = confirm.resolve(Some(found), now);
}

fn revoked_without_the_records(revoke: Revoke, found: Snapshot, now: UnixMillis, signature: Signature) {
    #[cfg(trybuild)]
    let _ = revoke.signed(signature, now);
    let _ = revoke.resolve(Some(found), now).map(|needs| needs.signed(signature, now));
}

/// The agent signs nothing before the server has proved itself.
fn signed_without_verifying(expect: ExpectVerification) {
    #[cfg(trybuild)]
    let _ = expect.to_sign();
    let _ = expect.verify().map(|needs| needs.to_sign());
}

fn verified_without_a_manifest(expect: ExpectChallenge, response: BeginResponse, now: Monotonic) {
    #[cfg(trybuild)]
    let _ = expect.verify();
    let _ = expect.challenge(response, now).map(|step| step.saved().verify());
}

fn challenged_without_the_records(begin: Begin, signature: Signature) {
    let _ = begin.query();
    #[cfg(trybuild)]
    let _ = begin.signed(signature);
}

fn challenged_without_a_signature(needs: NeedsServerSignature, signature: Signature) {
    #[cfg(trybuild)]
    let _ = needs.committed();
    let _ = needs.signed(signature).map(|step| step.committed());
}

/// Neither the challenge taken nor the signature verified.
fn completed_without_taking(complete: Complete, found: Snapshot, now: UnixMillis, random: &dyn SecureRandom) {
    #[cfg(trybuild)]
    let _ = complete.resolve(Some(found), now, &Policy::default(), random);
    let _ = complete.taken(None, now);
}

fn main() {}
