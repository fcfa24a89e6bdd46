//! A state of an agent's enrollment is gone once it has gone on.
#![allow(unexpected_cfgs)]

use fleet_core::enrollment::RegisterResponse;
use fleet_core::enrollment::agent::{AskToJoin, ExpectAnswer, NeedsOpen, NeedsProofs};
use fleet_core::keys::Signature;
use zeroize::Zeroizing;

fn signed(needs: NeedsProofs, proofs: [Signature; 2]) {
    let _ = needs.signed(proofs);
    #[cfg(trybuild)]
    let _ = needs.signed(proofs);
}

fn answered(expect: ExpectAnswer, first: RegisterResponse, second: RegisterResponse) {
    let _ = expect.answer(first);
    #[cfg(trybuild)]
    let _ = expect.answer(second);
}

fn an_answer_for_two(expect: ExpectAnswer, other: ExpectAnswer, answer: RegisterResponse) {
    let _ = expect.answer(answer);
    #[cfg(trybuild)]
    let _ = other.answer(answer);
}

fn sent_after_the_answer(expect: ExpectAnswer, answer: RegisterResponse) {
    let _ = expect.request();
    let _ = expect.answer(answer);
    #[cfg(trybuild)]
    let _ = expect.request();
}

fn joined(ask: AskToJoin) {
    let _ = ask.join();
    #[cfg(trybuild)]
    let _ = ask.join();
}

fn joined_though_declined(ask: AskToJoin) {
    let _ = ask.decline();
    #[cfg(trybuild)]
    let _ = ask.join();
}

fn opened(needs: NeedsOpen, plaintext: &Zeroizing<Vec<u8>>) {
    let _ = needs.opened(plaintext);
    #[cfg(trybuild)]
    let _ = needs.opened(plaintext);
}

fn main() {}
