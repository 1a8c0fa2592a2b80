//! Planted corpora: what a scorer looks for is hidden in a pool, and it must rank it first. Chance, held to the same bar,
//! must not.

#![cfg(unix)]

use lyceum_tests::Lab;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Least chance that a planted item outranks another.
const BAR: f64 = 0.95;

/// Numbers in an order of their own.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, words: &'a str) -> &'a str {
        let words: Vec<&str> = words.split(' ').collect();
        words[self.below(words.len())]
    }

    /// Sentences about the sea.
    fn sea(&mut self) -> String {
        let mut one = || {
            format!(
                "the {} {} {} the {}",
                self.pick("old grey small swift wooden"),
                self.pick("boat captain whale sailor wave"),
                self.pick("follows finds leaves fears carries"),
                self.pick("harbour island storm river lantern"),
            )
        };
        let five: Vec<String> = (0..5).map(|_| one()).collect();
        five.join(". ") + "."
    }

    /// Sentences about sums.
    fn sums(&mut self) -> String {
        let mut one = || {
            let (a, b) = (self.below(9) + 1, self.below(9) + 1);
            let who = self.pick("Ann Tom Eva Max");
            format!("{who} has {a} pears and buys {b} more, so {who} owns {}", a + b)
        };
        let four: Vec<String> = (0..4).map(|_| one()).collect();
        four.join(". ") + "."
    }

    /// Letters without sense.
    fn noise(&mut self) -> String {
        let mut word = || {
            let letters = 2 + self.below(6);
            let letter = |_| char::from(b'a' + self.below(26) as u8);
            (0..letters).map(letter).collect::<String>()
        };
        let words: Vec<String> = (0..22).map(|_| word()).collect();
        words.join(" ")
    }

    /// Half sums, half letters.
    fn half(&mut self) -> String {
        let (sums, noise) = (self.sums(), self.noise());
        let half = |text: &str| text.chars().take(60).collect::<String>();
        half(&sums) + " " + &half(&noise)
    }
}

/// Documents of these kinds, so many of each, all mixed.
fn documents(seed: u64, kinds: &[(&str, usize)]) -> String {
    let mut dice = Dice(seed);
    let mut left: Vec<&str> = kinds
        .iter()
        .flat_map(|&(kind, count)| std::iter::repeat_n(kind, count))
        .collect();
    let mut lines = String::new();
    while !left.is_empty() {
        let kind = left.swap_remove(dice.below(left.len()));
        let text = match kind {
            "sea" => dice.sea(),
            "sums" => dice.sums(),
            "half" => dice.half(),
            _ => dice.noise(),
        };
        lines += &format!("{{\"kind\": \"{kind}\", \"text\": \"{text}\"}}\n");
    }
    lines
}

/// Scores of a pool in which something about the sea is hidden, and of one that goes from sums to noise. `@sums` knows sums,
/// `@sea` the sea, `@everything` a little of the first pool.
const EXPERIMENT: &str = r#"
[experiment]
name = "planted"
seed = 3

[steps.pool]
use = "corpus.jsonl"
files = ["pool.jsonl"]
keep_columns = ["kind"]
[steps.target]
use = "corpus.jsonl"
files = ["target.jsonl"]
[steps.more_sums]
use = "corpus.jsonl"
files = ["sums.jsonl"]
[steps.ladder]
use = "corpus.jsonl"
files = ["ladder.jsonl"]
keep_columns = ["kind"]

[steps.bpe]
use = "tokenizer.train"
corpus = "@pool"
vocab_size = 400
[steps.tokens]
use = "tokens.pack"
tokenizer = "@bpe"
context = 192
boundary = "document"
matrix.corpus = { pool = "@pool", target = "@target", sums = "@more_sums", ladder = "@ladder" }

[steps.sums]
use = "train.lm"
data = "@tokens[sums]"
model = { hidden_size = 32, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-2, batch_size = 8, budget = { steps = 80 } }
[steps.sea]
use = "train.lm"
data = "@tokens[target]"
model = { hidden_size = 32, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-2, batch_size = 8, budget = { steps = 80 } }
[steps.everything]
use = "train.lm"
data = "@tokens[pool]"
model = { hidden_size = 32, num_hidden_layers = 1, num_attention_heads = 2 }
optim = { lr = 1e-2, batch_size = 8, budget = { steps = 30 } }

[steps.important]
use = "score.dsir"
data = "@tokens[pool]"
target = "@tokens[target]"
[steps.important_documents]
use = "score.dsir"
data = "@pool"
target = "@target"
[steps.told]
use = "score.classifier"
data = "@tokens[pool]"
target = "@tokens[target]"
[steps.told_documents]
use = "score.classifier"
data = "@pool"
target = "@target"
[steps.reducible]
use = "score.rho_loss"
data = "@tokens[pool]"
model = "@sums"
reference = "@sea"
[steps.influence]
use = "score.influence"
data = "@tokens[pool]"
model = "@everything"
target = "@tokens[target]"
matrix.similarity = ["dot", "cosine"]
[steps.chance]
use = "score.random"
data = "@tokens[pool]"

[steps.low]
use = "score.perplexity"
data = "@tokens[ladder]"
model = "@sums"
keep = "low"
[steps.mid]
use = "score.perplexity"
data = "@tokens[ladder]"
model = "@sums"
keep = "mid"
[steps.high]
use = "score.perplexity"
data = "@tokens[ladder]"
model = "@sums"
keep = "high"
[steps.chance_of_ladder]
use = "score.random"
data = "@tokens[ladder]"

[steps.sea_found]
use = "evaluate.selection"
scores = ["@important", "@important_documents", "@told", "@told_documents", "@reducible", "@influence[dot]", "@influence[cosine]", "@chance"]
labels = "@pool"
column = "kind"
good = ["sea"]
[steps.sums_found]
use = "evaluate.selection"
scores = ["@low", "@chance_of_ladder"]
labels = "@ladder"
column = "kind"
good = ["sums"]
[steps.half_found]
use = "evaluate.selection"
scores = ["@mid", "@chance_of_ladder"]
labels = "@ladder"
column = "kind"
good = ["half"]
[steps.noise_found]
use = "evaluate.selection"
scores = ["@high", "@chance_of_ladder"]
labels = "@ladder"
column = "kind"
good = ["noise"]
"#;

/// The lab after the run.
fn finished() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
        let write = |name, seed, kinds: &[(&str, usize)]| lab.write(name, documents(seed, kinds));
        write("pool.jsonl", 1, &[("sea", 40), ("sums", 100), ("noise", 40)]);
        write("target.jsonl", 2, &[("sea", 60)]);
        write("sums.jsonl", 3, &[("sums", 120)]);
        write("ladder.jsonl", 4, &[("sums", 50), ("half", 80), ("noise", 30)]);
        lab.write("planted.toml", EXPERIMENT);
        lab.lyceum(&["run", "planted.toml"]).exits(0);
        lab
    })
}

/// The areas under the curve that a step measured, by score.
fn areas(step: &str) -> BTreeMap<String, f64> {
    let lab = finished();
    let to = format!("out/{step}");
    lab.lyceum(&["export", step, "--to", &to, "--as", "json"])
        .exits(0);
    let text = std::fs::read_to_string(lab.path(&to).join("table.json")).expect("a table");
    let rows: Vec<Value> = serde_json::from_str(&text).expect("rows");
    let areas = rows.iter().filter(|row| row["metric"] == "auc");
    areas
        .map(|row| {
            let variant = row["variant"].as_str().expect("a name").to_owned();
            (variant, row["value"].as_f64().expect("a number"))
        })
        .collect()
}

/// Every score of a step clears the bar, and chance does not.
#[track_caller]
fn all_but_chance_find(step: &str, scores: usize) {
    let areas = areas(step);
    eprintln!("{step}: {areas:?}");
    assert_eq!(areas.len(), scores + 1);
    for (score, area) in &areas {
        assert_eq!(*area >= BAR, !score.starts_with("chance"), "{step}: {areas:?}");
    }
}

#[test]
fn what_is_like_the_target_is_found() {
    all_but_chance_find("sea_found", 7);
}

#[test]
fn perplexity_finds_each_of_its_ends_and_the_middle() {
    for step in ["sums_found", "half_found", "noise_found"] {
        all_but_chance_find(step, 1);
    }
}

/// What a step cost, as `lyceum show` tells it.
fn cost(step: &str) -> (f64, f64) {
    let shown = finished()
        .lyceum(&["show", "latest", "--format", "json"])
        .exits(0)
        .json();
    let steps = shown["steps"].as_array().expect("steps");
    let found = steps.iter().find(|one| one["id"] == step).expect("the step");
    let number = |key: &str| found[key].as_f64().expect("a number");
    (number("tokens"), number("flops"))
}

#[test]
fn what_every_score_cost_is_told() {
    let (chance_tokens, chance_flops) = cost("chance");
    assert_eq!((chance_tokens, chance_flops), (0.0, 0.0));
    // Two forward passes; forward and backward over the pool and the target; counting, not multiplying.
    let (read, of_reducible) = cost("reducible");
    let (influence_read, of_influence) = cost("influence[dot]");
    assert!(influence_read > read / 2.0, "{influence_read} {read}");
    assert!(of_influence > 1.5 * of_reducible, "{of_influence} {of_reducible}");
    for step in ["important", "told", "important_documents", "told_documents"] {
        let (tokens, flops) = cost(step);
        assert!(
            tokens > 0.0 && flops > 0.0 && flops < of_reducible / 100.0,
            "{step} {flops}"
        );
    }
}
