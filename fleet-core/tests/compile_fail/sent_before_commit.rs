//! What is sent comes out of `committed()`, what goes on out of `saved()`.
#![allow(unexpected_cfgs)]

use fleet_core::code::{ApiKey, EnrollmentCode};
use fleet_core::commit::{NeedsCommit, NeedsSave};
use fleet_core::enrollment::agent::NeedsProofs;
use fleet_core::enrollment::server::RegisterOutcome;
use fleet_core::enrollment::{NewCode, RegisterResponse};
use fleet_core::handshake::agent::{ExpectVerification, Online};
use fleet_core::handshake::server::NeedsSessionCommit;
use fleet_core::handshake::{BeginResponse, CompleteResponse};

fn send_registered(_: RegisterResponse) {}
fn send_begun(_: BeginResponse) {}
fn send_completed(_: CompleteResponse) {}
fn show_code(_: &EnrollmentCode) {}
fn show_api_key(_: &ApiKey) {}

fn registered(outcome: RegisterOutcome) {
    match outcome {
        #[cfg(not(trybuild))]
        RegisterOutcome::Answer(step) => send_registered(step.committed()),
        #[cfg(trybuild)]
        RegisterOutcome::Answer(step) => send_registered(*step),
        RegisterOutcome::Refuse(_) => {}
    }
}

fn begun(step: NeedsCommit<BeginResponse>) {
    #[cfg(trybuild)]
    send_begun(step.result.clone());
    send_begun(step.committed());
}

fn completed(step: NeedsSessionCommit) {
    #[cfg(trybuild)]
    send_completed(step.step.result);
    send_completed(step.committed());
}

fn code_made(step: NeedsCommit<NewCode>) {
    #[cfg(trybuild)]
    show_code(step.code.as_ref().unwrap());
    if let Some(code) = &step.committed().code {
        show_code(code);
    }
}

fn confirmed(step: NeedsCommit<ApiKey>) {
    #[cfg(trybuild)]
    show_api_key(&step);
    show_api_key(&step.committed());
}

fn proofs_before_the_keys_are_saved(step: NeedsSave<NeedsProofs>) {
    #[cfg(trybuild)]
    let _ = step.to_sign();
    let _ = step.saved().to_sign();
}

fn signed_before_the_manifest_is_saved(step: NeedsSave<ExpectVerification>) {
    #[cfg(trybuild)]
    let _ = step.next.verify();
    let _ = step.saved().verify();
}

fn used_before_the_session_is_saved(step: NeedsSave<Online>) {
    #[cfg(trybuild)]
    let _ = step.session.token.expose();
    let _ = step.saved().session.token.expose();
}

fn sent_twice(step: NeedsCommit<BeginResponse>) {
    send_begun(step.committed());
    #[cfg(trybuild)]
    send_begun(step.committed());
}

fn main() {}
