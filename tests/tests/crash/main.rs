//! Crashes: every write of a small run fails once, the process is killed at every kind of write, and the run that follows
//! ends with the bytes of one that nothing disturbed.

#![cfg(unix)]

mod faults;
mod full;
mod kills;
mod refusals;
mod resume;

use lyceum_tests::{Ended, Lab};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Training with accumulation, evaluations and checkpoints; scoring; a choice; a measurement with a claim.
const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"
[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 270
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 16
split = { train = 0.8, valid = 0.2 }
[steps.model]
use = "train.lm"
data = "@tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
eval = { data = "@tokens.valid", every = 4 }
checkpoint_every = 3
optim.lr = 1e-3
optim.batch_size = 4
optim.accumulate = 2
matrix."optim.budget.steps" = [5, 10]
[steps.scores]
use = "score.logprobs"
data = "@tokens.train"
model = "@model[10]"
[steps.chosen]
use = "select.top"
scores = "@scores"
keep = 0.5
[steps.quality]
use = "evaluate.lm_loss"
models = "@model"
data = "@tokens.valid"
[[claims]]
name = "longer is better"
metric = "quality.loss"
better = "model[10]"
than = "model[5]"
lower_is_better = true
"#;

const RUN: [&str; 2] = ["run", "tiny.toml"];

fn lab() -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let line = |i: usize| {
        let word = |j: usize| ["river", "boat", "hills", "rain", "fields"][(i * 7 + j * j + i * j) % 5];
        let text = (0..24).map(word).collect::<Vec<_>>().join(" ");
        format!("{{\"id\": \"d{i}\", \"text\": \"{text}.\"}}\n")
    };
    lab.write("pool.jsonl", (0..40).map(line).collect::<String>());
    lab.write("tiny.toml", EXPERIMENT);
    lab
}

/// Runs with one fault.
fn run_with(lab: &Lab, fault: &str) -> Ended {
    Ended::of(lab.start_with(&RUN, &[("LYCEUM_FAULT", fault)]))
}

/// What a run that nothing disturbed leaves, and does.
struct Undisturbed {
    hashes: BTreeMap<String, String>,
    /// Word and path of every operation.
    operations: Vec<(String, String)>,
}

fn undisturbed() -> &'static Undisturbed {
    static RUNS: OnceLock<Undisturbed> = OnceLock::new();
    RUNS.get_or_init(|| {
        let lab = lab();
        let log = lab.path("log");
        let log = [("LYCEUM_FAULT_LOG", log.to_str().expect("a plain path"))];
        Ended::of(lab.start_with(&RUN, &log)).exits(0);
        let text = std::fs::read_to_string(lab.path("log")).expect("a log");
        Undisturbed {
            hashes: lab.hashes(),
            operations: operations(&text),
        }
    })
}

/// Word and path of every operation in a log.
fn operations(log: &str) -> Vec<(String, String)> {
    let operation = |line: &str| {
        let mut parts = line.splitn(3, ' ').skip(1).map(str::to_owned);
        Some((parts.next()?, parts.next()?))
    };
    log.lines().filter_map(operation).collect()
}

/// The kind of place an operation falls in: its word, and its path without what differs from run to run.
fn window((word, path): &(String, String)) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = match name {
        _ if name.starts_with(".attempt") => "attempt",
        _ if name.starts_with(".lock") => "lock",
        _ if name.len() == 64 => "key",
        name => name,
    };
    let letters: String = name.chars().filter(|c| !c.is_ascii_digit()).take(14).collect();
    let place = ["scratch", "store", "runs"]
        .into_iter()
        .find(|place| path.contains(&format!("/{place}/")))
        .unwrap_or("home");
    format!("{place} {word} {letters}")
}

/// Finishes what was disturbed, and compares.
fn finish_and_compare(lab: &Lab, what: &str) {
    lab.lyceum(&RUN).exits(0);
    assert_eq!(lab.hashes(), undisturbed().hashes, "{what}");
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    assert!(!runs.as_array().expect("a list").is_empty(), "{what}");
}
