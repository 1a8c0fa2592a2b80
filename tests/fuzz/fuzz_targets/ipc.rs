//! An index of packed tokens.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::ipc(data));
