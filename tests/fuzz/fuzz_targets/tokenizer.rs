//! A tokenizer and a text for it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::tokenizer(data));
