//! Whole runs: cached, changed, stopped, at the same time, with bad data, and looked at afterwards.

#![cfg(unix)]

mod bad_data;
mod cached;
mod listings;
mod shards;
mod stopped;

use lyceum_tests::Lab;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const STEPS: u64 = 60;

/// Documents of made-up sentences, one JSON object a line.
fn documents(count: usize) -> String {
    let words =
        "the old river carries a small boat past green hills while rain falls on quiet fields and birds sing";
    let words: Vec<_> = words.split(' ').collect();
    let mut state = 1_u64;
    let mut word = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        words[(state >> 33) as usize % words.len()]
    };
    let mut line = |i| {
        let text = (0..40).map(&mut word).collect::<Vec<_>>().join(" ");
        format!("{{\"id\": \"d{i}\", \"text\": \"{text}.\"}}\n")
    };
    (0..count).map(&mut line).collect()
}

/// From documents to a model that is trained in some seconds.
fn experiment() -> String {
    format!(
        r#"
[experiment]
name = "small"
[steps.pool]
use = "corpus.jsonl"
files = ["data/pool.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 300
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 32
split = {{ train = 0.9, valid = 0.1 }}
[steps.model]
use = "train.lm"
data = "@tokens.train"
model = {{ hidden_size = 32, num_hidden_layers = 1, num_attention_heads = 2 }}
optim = {{ lr = 1e-3, batch_size = 8, budget = {{ steps = {STEPS} }} }}
eval = {{ data = "@tokens.valid", every = 30 }}
checkpoint_every = 5
"#
    )
}

/// A folder with no file but the marker of the root.
fn empty_lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

/// A folder with the experiment and its documents.
fn lab() -> Lab {
    let lab = empty_lab();
    lab.write("data/pool.jsonl", documents(300));
    lab.write("small.toml", experiment());
    lab
}

/// Hashes of the artifacts of a run that nothing disturbed.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static HASHES: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    HASHES.get_or_init(|| {
        let lab = lab();
        lab.lyceum(&["run", "small.toml"]).exits(0);
        lab.hashes()
    })
}
