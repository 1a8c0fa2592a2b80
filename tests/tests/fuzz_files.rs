//! The corpora of the fuzz targets for files, and what many small damages make of them: every one ends in an artifact or
//! an error, and none takes more memory at once than a sound file could need.

use lyceum_tests::{Noting, fuzz};
use std::path::Path;

/// No file here has more than four kilobytes; what unpacks may take 64 MiB, and is copied once.
const MOST: usize = 160 << 20;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// How many damaged copies of each seed are read.
const COPIES: u64 = 150;

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).expect("a corpus").flatten();
    let mut seeds: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).expect("a seed"))
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target}");
    seeds
}

/// Copy `number` of `sound` with damage that depends on the number only: cut off, bits turned, a number made large.
fn damaged(sound: &[u8], number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n.max(1) as u64) as usize
    };
    let mut bytes = sound.to_vec();
    match number % 5 {
        0 => bytes.truncate(below(sound.len())),
        1 => {
            let at = below(sound.len());
            bytes[at] ^= 1 << below(8);
        }
        2 => {
            let at = below(sound.len());
            bytes[at] = [0x00, 0x7f, 0x80, 0xff][below(4)];
        }
        3 => {
            let at = below(sound.len().saturating_sub(8));
            let end = sound.len().min(at + 1 + below(8));
            bytes[at..end].fill(0xff);
        }
        _ => {
            let (at, from, count) = (below(sound.len()), below(sound.len()), 1 + below(16));
            let piece = sound[from..sound.len().min(from + count)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
    bytes
}

fn endures(target: &str, read: fn(&[u8])) {
    for (name, sound) in seeds(target) {
        read(&sound);
        let largest = Noting::largest();
        assert!(largest < MOST, "{target}/{name}: {largest} bytes at once");
        for number in 0..COPIES {
            read(&damaged(&sound, number));
            let largest = Noting::largest();
            assert!(
                largest < MOST,
                "{target}/{name}, copy {number}: {largest} bytes at once"
            );
        }
    }
}

#[test]
fn weights() {
    endures("safetensors", fuzz::safetensors);
}

#[test]
fn configurations() {
    endures("config", fuzz::config);
}

#[test]
fn parquet_files() {
    endures("parquet", fuzz::parquet);
}

#[test]
fn indexes_of_tokens() {
    endures("ipc", fuzz::ipc);
}

#[test]
fn lines_of_json() {
    endures("jsonl", fuzz::jsonl);
}

#[test]
fn token_shards() {
    endures("shards", fuzz::shards);
}

#[test]
fn tokenizers() {
    endures("tokenizer", fuzz::tokenizer);
}

#[test]
fn headers_manifests_and_runs() {
    endures("artifact", fuzz::artifact);
}
