//! A header, a manifest, or the record of a run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::artifact(data));
