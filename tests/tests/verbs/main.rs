//! The verbs that look after what was run: listing, exporting, freeing, verifying, reporting, examining.

#![cfg(unix)]

mod completions;
mod doctor;
mod download;
mod example;
mod export;
mod gc;
mod generate;
mod report;
mod runs;
mod verify;

use lyceum_tests::Lab;
use std::fmt::Write;
use std::sync::OnceLock;

fn empty_lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

/// From documents to two small models, a measurement and a claim, in a second or two.
const EXPERIMENT: &str = r#"
[experiment]
name = "small"
title = "A small <b>experiment</b> & its $costs$ ~here~"
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
split = { train = 0.8, valid = 0.2 }
[steps.model]
use = "train.lm"
data = "@tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
eval = { data = "@tokens.valid", every = 6 }
[steps.model.matrix.optim]
slow = { lr = 1e-4, batch_size = 4, budget = { steps = 12 } }
fast = { lr = 1e-2, batch_size = 4, budget = { steps = 12 } }
[steps.quality]
use = "evaluate.lm_loss"
models = "@model"
data = "@tokens.valid"
[[claims]]
name = "fast | is <better>"
metric = "quality.loss"
better = "model[fast]"
than = "model[slow]"
lower_is_better = true
"#;

fn documents() -> String {
    let words: Vec<_> =
        "the old river carries a small boat past green hills while rain falls on quiet fields"
            .split(' ')
            .collect();
    let mut text = String::new();
    for i in 0..60 {
        let line: Vec<_> = (0..30)
            .map(|k| words[(i * i + 7 * k + k * k * i) % words.len()])
            .collect();
        let _ = writeln!(text, "{{\"id\": \"d{i}\", \"text\": \"{}.\"}}", line.join(" "));
    }
    text
}

/// A folder with the experiment in `small.toml` and its documents.
fn lab() -> Lab {
    let lab = empty_lab();
    lab.write("data/pool.jsonl", documents());
    lab.write("small.toml", EXPERIMENT);
    lab
}

/// The same after one run. Tests that only read share it.
fn finished() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let lab = lab();
        lab.lyceum(&["run", "small.toml"]).exits(0);
        lab
    })
}
