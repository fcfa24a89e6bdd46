//! What `ZeroizeOnDrop` promises, seen: after a secret is dropped, the memory of this process is read through
//! `/proc/self/mem`, all of it that can be written but the stack, and no piece of the secret is in it.
//!
//! Before that, while the secret lives, the same search must find it: a search that finds nothing ever shows nothing.
//! The stack is left out because nothing is promised of it; see `fleet_core::keys`.
//!
//! This test has no harness: nothing else may run in its process, and the stack of its one thread is the mapping
//! that the system calls so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod protocol;
#[cfg(target_os = "linux")]
mod values;

#[cfg(target_os = "linux")]
fn main() {
    // As a harness would: `--list` runs nothing, and a name runs what has it.
    if std::env::args().nth(1).is_some_and(|filter| {
        filter == "--list" || !filter.starts_with('-') && !"secrets_in_memory".contains(&filter)
    }) {
        return;
    }
    let Ok(mut memory) = memory::Memory::open() else {
        eprintln!("SKIPPED: secrets in memory: this process may not read /proc/self/mem");
        return;
    };
    values::a_plain_value_is_found_after_it_was_freed(&mut memory);
    values::secret_keys(&mut memory);
    values::strings_that_people_handle(&mut memory);
    values::what_hpke_works_with(&mut memory);
    protocol::every_state_of_an_enrollment(&mut memory);
    protocol::every_state_of_a_handshake(&mut memory);
    protocol::drivers_and_stores(&mut memory);
    println!("secrets in memory: {} values dropped, and nothing of them left", memory.dropped());
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("SKIPPED: secrets in memory: read through /proc/self/mem, which is Linux's");
}
