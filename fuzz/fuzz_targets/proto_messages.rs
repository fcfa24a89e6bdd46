//! See `fleet_fuzz::proto_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fleet_fuzz::proto_messages(data));
