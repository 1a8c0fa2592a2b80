//! The fuzz targets on what was once found or made by hand, and on bytes drawn from it: the same draw every time. The long
//! campaigns are `scripts/fuzz.sh`.

use lyceum_tests::fuzz;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a target does with bytes.
type Target = fn(&[u8]);

/// Every target with the number of inputs that are drawn for it; files of other kinds are damaged in `fuzz_files`.
const TARGETS: &[(&str, Target, usize)] = &[
    ("experiment", fuzz::experiment, 20_000),
    ("artifact", fuzz::artifact, 0),
    ("config", fuzz::config, 0),
    ("ipc", fuzz::ipc, 0),
    ("jsonl", fuzz::jsonl, 0),
    ("parquet", fuzz::parquet, 0),
    ("safetensors", fuzz::safetensors, 0),
    ("shards", fuzz::shards, 0),
    ("tokenizer", fuzz::tokenizer, 0),
];
/// Drawing ends after this long, however many inputs are left.
const LONGEST: Duration = Duration::from_secs(20);

/// The corpus of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            (
                path.display().to_string(),
                fs::read(&path).expect("a file of the corpus"),
            )
        })
        .collect();
    found.sort();
    found
}

/// Runs a target; what makes it panic is written out, so that it can join the corpus.
fn try_out(name: &str, target: Target, data: &[u8], from: &str) {
    if let Err(panic) = std::panic::catch_unwind(|| target(data)) {
        let file = std::env::temp_dir().join(format!("lyceum-fuzz-{name}-found"));
        let written = fs::write(&file, data).is_ok();
        eprintln!(
            "{name} panicked on {from}; written to {}: {written}",
            file.display()
        );
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn every_corpus_has_a_target_and_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(folder).expect("corpora") {
        let name = entry.expect("an entry").file_name();
        let known = TARGETS.iter().any(|(target, ..)| name.to_str() == Some(target));
        assert!(known, "no target for {}", name.display());
    }
    for (name, target, _) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for (file, data) in corpus {
            let start = Instant::now();
            try_out(name, *target, &data, &file);
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{file}: {:?}",
                start.elapsed()
            );
        }
    }
}

/// A small generator of numbers: the draw must be the same on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// Pieces of text that begin and end where letters meet other signs, as tokens do.
fn tokens(data: &[u8]) -> Vec<&[u8]> {
    data.chunk_by(|a, b| {
        (a.is_ascii_alphanumeric() || *a == b'_') == (b.is_ascii_alphanumeric() || *b == b'_')
    })
    .collect()
}

/// One change, of bytes or of tokens, with pieces of another input.
fn changed(data: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let at = draw.below(bytes.len() + 1);
    let end = (at + draw.below(16)).min(bytes.len());
    match draw.below(8) {
        0 => drop(bytes.splice(at..end, [])),
        1 => bytes.insert(at, draw.below(256) as u8),
        2 => drop(bytes.splice(at..end, (0..4).map(|_| draw.below(128) as u8).collect::<Vec<_>>())),
        3 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece.repeat(1 + draw.below(20))));
        }
        _ => {
            let (own, others) = (tokens(data), tokens(other));
            let mut own: Vec<&[u8]> = own;
            if own.is_empty() || others.is_empty() {
                return other.to_vec();
            }
            let (at, from) = (draw.below(own.len()), draw.below(others.len()));
            match draw.below(4) {
                0 => own[at] = others[from],
                1 => own.insert(at, others[from]),
                2 => drop(own.remove(at)),
                _ => {
                    let end = (from + draw.below(40)).min(others.len());
                    drop(own.splice(at..at, others[from..end].to_vec()));
                }
            }
            bytes = own.concat();
        }
    }
    bytes.truncate(16 << 10);
    bytes
}

#[test]
fn inputs_drawn_from_the_corpus_make_no_target_panic() {
    for (name, target, count) in TARGETS.iter().filter(|(.., count)| *count > 0) {
        let corpus = corpus(name);
        let start = Instant::now();
        let mut draw = Draw(1);
        let mut tried = 0;
        while tried < *count && start.elapsed() < LONGEST {
            let (_, other) = &corpus[draw.below(corpus.len())];
            let (_, data) = &corpus[draw.below(corpus.len())];
            let mut data = data.clone();
            for _ in 0..=draw.below(3) {
                data = changed(&data, other, &mut draw);
            }
            try_out(name, *target, &data, &format!("input {tried}"));
            tried += 1;
        }
        eprintln!("{name}: {tried} inputs in {:.1} s", start.elapsed().as_secs_f64());
    }
}
