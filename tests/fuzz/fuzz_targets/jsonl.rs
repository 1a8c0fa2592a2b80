//! Documents, one a line, packed or not.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::jsonl(data));
