//! A token shard.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lyceum_tests::fuzz::shards(data));
