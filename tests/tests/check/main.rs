//! Regression: baselines that fit, that do not, that are wrong, and what a CI is told.

#![cfg(unix)]

mod guide;
mod judged;
mod speed;
mod told;
mod updated;
mod wrong;

use lyceum_tests::Lab;
use std::fs;

/// Two small models and how they do; the last line of the file is the claim's.
const EXPERIMENT: &str = r#"[experiment]
name = "tiny"
[steps.pool]
use = "corpus.jsonl"
files = ["data/pool.jsonl"]
[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 280
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
corpus = "@pool"
context = 24
split = { train = 0.8, valid = 0.2 }
[steps.model]
use = "train.lm"
data = "@tokens.train"
model = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2 }
matrix.optim = { long = { lr = 1e-2, batch_size = 4, budget = { steps = 12 } }, short = { lr = 1e-2, batch_size = 4, budget = { steps = 3 } } }
[steps.quality]
use = "evaluate.lm_loss"
models = "@model"
data = "@tokens.valid"
[[claims]]
name = "longer is better"
metric = "quality.loss"
better = "model[long]"
than = "model[short]"
lower_is_better = true
"#;

/// A folder with an experiment and its documents, and no baseline.
fn bare() -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    let words: Vec<_> = "the old river carries a small boat past green hills"
        .split(' ')
        .collect();
    let line = |i: usize| {
        let text: Vec<_> = (0..30).map(|j| words[(i * 7 + j * j) % words.len()]).collect();
        format!("{{\"id\": \"d{i}\", \"text\": \"{}.\"}}\n", text.join(" "))
    };
    lab.write("ci/data/pool.jsonl", (0..60).map(line).collect::<String>());
    lab.write("ci/tiny.toml", EXPERIMENT);
    lab
}

/// The same with its baseline.
fn lab() -> Lab {
    let lab = bare();
    lab.lyceum(&["check", "ci", "--update"]).exits(0);
    lab
}

fn baseline(lab: &Lab) -> String {
    fs::read_to_string(lab.path("ci/tiny.baseline.toml")).expect("a baseline")
}

/// Changes the baseline's text; the piece must be there.
fn edit(lab: &Lab, from: &str, to: &str) {
    let text = baseline(lab);
    assert!(text.contains(from), "{text}");
    lab.write("ci/tiny.baseline.toml", text.replacen(from, to, 1));
}

/// The text of an entry's value, and its line in the baseline.
fn value_of(lab: &Lab, metric: &str, variant: &str) -> (String, usize) {
    let text = baseline(lab);
    let lines: Vec<&str> = text.lines().collect();
    let header = format!("metric = \"{metric}\"");
    let at = lines
        .windows(3)
        .position(|three| three[0] == header && three[1] == format!("variant = \"{variant}\""));
    let at = at.unwrap_or_else(|| panic!("no {metric} of {variant}: {text}")) + 2;
    (lines[at].trim_start_matches("value = ").to_owned(), at + 1)
}
