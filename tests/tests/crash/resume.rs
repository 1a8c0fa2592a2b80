//! Training stopped at any moment goes on to the same bytes, with any number of threads.

use super::lab;
use lyceum_tests::{Ended, Lab};
use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Sixteen micro-batches a step, so that nearly every moment lies inside an accumulation.
const ACCUMULATING: &str = "optim = { lr = 1e-3, batch_size = 4, accumulate = 16, budget = { steps = 60 } }";

fn training(eval_every: u64, checkpoint_every: u64) -> Lab {
    let lab = lab();
    lab.write(
        "tiny.toml",
        format!(
            r#"
[experiment]
name = "resumed"
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
context = 32
split = {{ train = 0.5, valid = 0.5 }}
[steps.model]
use = "train.lm"
data = "@tokens.train"
model = {{ hidden_size = 48, num_hidden_layers = 2, num_attention_heads = 2 }}
eval = {{ data = "@tokens.valid", every = {eval_every} }}
checkpoint_every = {checkpoint_every}
{ACCUMULATING}
"#
        ),
    );
    lab
}

fn start(lab: &Lab, threads: &str) -> Child {
    lab.start_with(&["run", "tiny.toml"], &[("RAYON_NUM_THREADS", threads)])
}

/// Waits until training has begun, that is until the tokens stand.
fn until_training(lab: &Lab) {
    let begin = Instant::now();
    while lab.artifacts("tokens.pack").is_empty() {
        assert!(begin.elapsed() < Duration::from_mins(1), "training did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn undisturbed() -> BTreeMap<String, String> {
    let lab = training(20, 4);
    Ended::of(start(&lab, "2")).exits(0);
    lab.hashes()
}

#[test]
fn killed_inside_accumulations_with_other_thread_counts_it_ends_with_the_same_bytes() {
    let expected = undisturbed();
    let lab = training(20, 4);
    let (mut kills, mut state) = (0, 7_u64);
    for turn in 0..12 {
        let mut child = start(&lab, if turn % 2 == 0 { "1" } else { "2" });
        until_training(&lab);
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(100 + (state >> 33) % 300));
        if child.try_wait().expect("a state").is_some() {
            break;
        }
        child.kill().expect("a kill");
        assert_eq!(Ended::of(child).code, None);
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills came before the end");
    Ended::of(start(&lab, "1")).exits(0);
    assert_eq!(lab.hashes(), expected);
}

#[test]
fn interrupted_while_it_evaluates_it_keeps_a_checkpoint() {
    // It evaluates after every step, over as much as it trains on, and commits no checkpoint of its own accord.
    let lab = training(1, 1_000_000);
    let child = start(&lab, "2");
    until_training(&lab);
    std::thread::sleep(Duration::from_millis(700));
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
    Ended::of(child).exits(130);
    let kept = lab.checkpoints();
    assert!(kept.len() == 1 && kept[0] > 0, "{kept:?}");
    Ended::of(start(&lab, "2")).exits(0);
}
