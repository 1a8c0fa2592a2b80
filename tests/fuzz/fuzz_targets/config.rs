//! The configuration of a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::config(data));
