//! Bytes of an experiment file, all the way to a plan.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::experiment(data));
