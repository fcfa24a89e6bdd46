//! No state of a machine can be cloned: what is consumed is not kept beside it.
#![allow(unexpected_cfgs)]

use fleet_core::code::ApiKey;
use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::enrollment::agent as enrolling;
use fleet_core::enrollment::server as enrollment;
use fleet_core::handshake::agent as online;
use fleet_core::handshake::server;
use fleet_core::keys::SignatureVerified;

fn what_is_sent_again_can_be(expect: &enrolling::ExpectAnswer, session: &online::ExpectSession) {
    let _ = expect.request().clone();
    let _ = session.request().clone();
}

#[cfg(trybuild)]
fn states_of_an_enrollment(
    proofs: &enrolling::NeedsProofs,
    expect: &enrolling::ExpectAnswer,
    ask: &enrolling::AskToJoin,
    open: &enrolling::NeedsOpen,
    root: &enrollment::NeedsRootSignature,
    manifest: &enrollment::NeedsManifestSignature,
    reissue: &enrollment::NeedsReissueSignature,
) {
    let _: enrolling::NeedsProofs = proofs.clone();
    let _: enrolling::ExpectAnswer = expect.clone();
    let _: enrolling::AskToJoin = ask.clone();
    let _: enrolling::NeedsOpen = open.clone();
    let _: enrollment::NeedsRootSignature = root.clone();
    let _: enrollment::NeedsManifestSignature = manifest.clone();
    let _: enrollment::NeedsReissueSignature = reissue.clone();
}

#[cfg(trybuild)]
fn states_of_a_handshake(
    challenge: &online::ExpectChallenge,
    verification: &online::ExpectVerification,
    signature: &online::NeedsSignature,
    session: &online::ExpectSession,
    begin: &server::Begin,
    signed: &server::NeedsServerSignature,
    complete: &server::Complete,
    agent: &server::NeedsAgent,
    decided: &server::NeedsSessionCommit,
) {
    let _: online::ExpectChallenge = challenge.clone();
    let _: online::ExpectVerification = verification.clone();
    let _: online::NeedsSignature = signature.clone();
    let _: online::ExpectSession = session.clone();
    let _: server::Begin = begin.clone();
    let _: server::NeedsServerSignature = signed.clone();
    let _: server::Complete = complete.clone();
    let _: server::NeedsAgent = agent.clone();
    let _: server::NeedsSessionCommit = decided.clone();
}

#[cfg(trybuild)]
fn what_waits_for_storage(commit: &NeedsCommit<ApiKey>, save: &NeedsSave<()>, verified: &SignatureVerified) {
    let _: NeedsCommit<ApiKey> = commit.clone();
    let _: NeedsSave<()> = save.clone();
    let _: SignatureVerified = verified.clone();
}

fn main() {}
