//! Sweeps: their points, their state, their results, and what is left when processes die.

#![cfg(unix)]

mod comparing;
mod kills;
mod planning;
mod points;
mod results;
mod state;

use lyceum_tests::{Ended, Lab};
use serde_json::Value;

/// Documents of made-up sentences, every other one called good.
fn documents(count: usize) -> String {
    let words = "the old river carries a small boat past green hills while rain falls on quiet fields";
    let words: Vec<_> = words.split(' ').collect();
    let mut state = 1_u64;
    let mut word = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        words[(state >> 33) as usize % words.len()]
    };
    let mut line = |i: usize| {
        let text = (0..30).map(&mut word).collect::<Vec<_>>().join(" ");
        let quality = ["bad", "good"][i % 2];
        format!("{{\"id\": \"d{i}\", \"text\": \"{text}.\", \"quality\": \"{quality}\"}}\n")
    };
    (0..count).map(&mut line).collect()
}

/// Random scores of blocks and documents, judged by how well they find good documents.
const TINY: &str = r#"
[experiment]
name = "tiny"
[steps.pool]
use = "corpus.jsonl"
files = ["data/pool.jsonl"]
keep_columns = ["quality"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 300
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 32
[steps.chance]
use = "score.random"
data = "@tokens"
matrix.item = ["block", "document"]
[steps.found]
use = "evaluate.selection"
scores = "@chance"
labels = "@pool"
column = "quality"
good = ["good"]
[[claims]]
name = "blocks are found better"
metric = "found.auc"
better = "chance[block]"
than = "chance[document]"
"#;

/// A folder with the tiny experiment and this sweep.
fn lab(sweep: &str) -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    lab.write("data/pool.jsonl", documents(60));
    declare(&lab, sweep);
    lab
}

/// Gives the tiny experiment another sweep.
fn declare(lab: &Lab, sweep: &str) {
    lab.write("tiny.toml", format!("{TINY}[sweep]\n{sweep}\n"));
}

/// Runs the sweep and gives its points.
#[track_caller]
fn sweep(lab: &Lab) -> Vec<Value> {
    points(&lab.lyceum(&["sweep", "tiny.toml", "--format", "json"]).exits(0))
}

#[track_caller]
fn points(ended: &Ended) -> Vec<Value> {
    ended.json()["points"].as_array().expect("a list").clone()
}

/// Lines of `results.csv`, without the head.
fn results(lab: &Lab) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(lab.path(".lyceum/sweeps/tiny/results.csv")).expect("results");
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(cells).collect()
}

fn report(lab: &Lab) -> String {
    std::fs::read_to_string(lab.path(".lyceum/sweeps/tiny/report.md")).expect("a report")
}
