//! See `fleet_fuzz::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fleet_fuzz::state(data));
