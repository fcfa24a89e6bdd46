//! Clears what work with secrets leaves on the stack, as far as that can be done without `unsafe`.
//!
//! It does not stay there: the unused bytes of whatever is later moved from the stack to the heap are what the stack
//! held before, and memory of the heap is never cleared by those who get it.

use core::hint::black_box;

/// What signing, sealing and hashing use is less, also when nothing is optimized.
const DEPTH: usize = 32 * 1024;

/// Does something that handles secrets, then overwrites the part of the stack that it used.
pub(crate) fn cleared_after<T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    clear();
    result
}

/// A call of its own, so that its frame lies where the one of [`clear`] does.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn clear() {
    black_box(&mut [0_u8; DEPTH]);
}
