//! `train.lm` as a step, over a small model and a few blocks.

use super::Lm;
use super::curve::{self, Point};
use crate::artifact::{Item, Order, Selection, SelectionDetails};
use crate::flops::training_flops;
use crate::model::{Loaded, ModelDetails, Stopped, load, read_tensors, token_nll};
use crate::testing::{Bench, BlockOf, Watcher};
use crate::tokens::collate;
use crate::{Artifact, Context, Error, Precision, Result};
use serde_json::{Value, json};
use std::path::PathBuf;

mod bands;
mod budgets;
mod checkpoints;
mod recompute;
mod weighting;

/// Blocks of different lengths, so that a mean over tokens is no mean over blocks.
const BLOCKS: [BlockOf<'static>; 5] = [
    (&[3, 4, 5, 6, 7, 8, 0], &[(0, 7)]),
    (&[3, 4, 0], &[(1, 3)]),
    (&[2, 0, 5, 6, 0, 1, 9], &[(3, 2), (4, 3), (2, 2)]),
    (&[4, 4, 11, 0], &[(2, 4)]),
    (&[9, 8, 7, 6, 5, 4, 3], &[(4, 7)]),
];
/// Labels of all blocks that count.
const SCORED: u64 = 6 + 2 + 4 + 3 + 6;

fn bench() -> Bench {
    let bench = Bench::new();
    let corpus = bench.corpus("pool", "quality", &["good", "bad", "good", "bad", "good"]);
    bench.tokens("tokens", &corpus, &BLOCKS);
    bench.tokens("valid", &corpus, &BLOCKS[..3]);
    bench
}

/// Five steps of two blocks, which is every block twice; `more` replaces and adds keys, in `optim` too.
fn params(more: Value) -> Value {
    fn merge(into: &mut Value, more: Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (key, value) in more {
                    // A budget has one key, and a model is one thing.
                    if key == "optim" {
                        merge(&mut into[&key], value);
                    } else {
                        into.insert(key, value);
                    }
                }
            }
            (into, more) => *into = more,
        }
    }
    let mut params = json!({
        "data": "@tokens",
        "model": model(json!({})),
        "optim": { "lr": 1e-2, "batch_size": 2, "budget": { "steps": 5 }, "warmup_steps": 1 },
    });
    merge(&mut params, more);
    params
}

fn model(more: Value) -> Value {
    let mut model = json!({
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16,
        "initializer_range": 0.1,
    });
    let more = more.as_object().expect("an object").clone();
    model.as_object_mut().expect("an object").extend(more);
    model
}

fn train(bench: &Bench, step: &str, more: Value) -> Artifact {
    bench.run::<Lm>(step, params(more)).expect("trains")
}

fn fails(bench: &Bench, step: &str, more: Value) -> Error {
    let error = bench.run_with::<Lm>(&bench.context(step), params(more));
    assert!(!bench.at(step).join("artifact.json").exists());
    error.expect_err("does not train")
}

fn details(artifact: &Artifact) -> ModelDetails {
    artifact.details().expect("a model")
}

fn points(artifact: &Artifact) -> Vec<Point> {
    curve::read(&artifact.path.join("metrics.parquet")).expect("a curve")
}

fn values(points: &[Point], split: &str, metric: &str) -> Vec<f64> {
    let wanted = |point: &&Point| point.split == split && point.metric == metric;
    points.iter().filter(wanted).map(|point| point.value).collect()
}

#[test]
fn a_training_lowers_the_loss_and_leaves_the_model_it_measured() {
    let bench = bench();
    let more = json!({
        "eval": { "data": "@valid", "every": 20 },
        "optim": { "budget": { "steps": 50 } },
    });
    let artifact = train(&bench, "model", more);
    let points = points(&artifact);
    let losses = values(&points, "train", "loss");
    assert_eq!(losses.len(), 50);
    assert!(losses[49] < 0.5 * losses[0], "{} {}", losses[0], losses[49]);
    let rates = values(&points, "train", "lr");
    assert!(rates[0] == 0.0 && (rates[1] - 1e-2).abs() < 1e-12, "{rates:?}");
    assert_eq!(values(&points, "train", "grad_norm").len(), 50);
    let measured = values(&points, "valid", "loss");
    assert_eq!(measured.len(), 3, "steps 20, 40 and the last");

    let context = bench.context("again");
    let Loaded { decoder, config, .. } = load(&artifact, &context.device, context.precision).expect("loads");
    assert_eq!(config.to_json()["eos_token_id"], 0);
    let (mut sum, mut count) = (0.0, 0);
    for (ids, _) in &BLOCKS[..3] {
        let batch = collate(&[ids], 6, 0).expect("collates");
        sum += token_nll(&decoder, &batch, &context.device).iter().sum::<f64>();
        count += batch.scored();
    }
    let direct = sum / count as f64;
    assert!((measured[2] - direct).abs() < 1e-5, "{} {direct}", measured[2]);

    let found = details(&artifact);
    assert_eq!(
        (found.parameters, found.steps, found.stopped),
        (config.parameters() as u64, 50, Some(Stopped::Budget))
    );
    assert_eq!(bench.cost(), (found.tokens_trained, found.flops));
    let bytes = std::fs::read(artifact.path.join("model.safetensors")).expect("reads");
    let header = String::from_utf8_lossy(&bytes[8..80]);
    assert!(header.contains(r#"{"format":"pt"}"#), "{header}");
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_do_not() {
    let bench = bench();
    let first = train(&bench, "first", json!({})).header.fingerprint;
    assert_eq!(train(&bench, "second", json!({})).header.fingerprint, first);
    let mut context = bench.context("other");
    context.seed = 2;
    bench.run_with::<Lm>(&context, params(json!({}))).expect("trains");
    assert_ne!(bench.publish("other").header.fingerprint, first);
}

/// Largest difference between two models' weights.
fn distance(one: &Artifact, other: &Artifact) -> f64 {
    let weights = |artifact: &Artifact| {
        let tensors = read_tensors(&artifact.path.join("model.safetensors")).expect("reads");
        let host = |data: burn::tensor::TensorData| data.convert::<f64>().try_into_vec::<f64>();
        let all = tensors.into_values().flat_map(|data| host(data).expect("f64"));
        all.collect::<Vec<f64>>()
    };
    let (one, other) = (weights(one), weights(other));
    assert_eq!(one.len(), other.len());
    let differences = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f64::max)
}

#[test]
fn accumulated_passes_equal_one_large_batch() {
    let bench = bench();
    let run = |step: &str, batch_size: usize, accumulate: usize| {
        let mut context = bench.context(step);
        context.precision = Precision::F64;
        let more = json!({ "optim": { "batch_size": batch_size, "accumulate": accumulate } });
        bench.run_with::<Lm>(&context, params(more)).expect("trains");
        bench.publish(step)
    };
    let large = run("large", 4, 1);
    for (step, batch_size, accumulate) in [("halves", 2, 2), ("quarters", 1, 4)] {
        let parts = run(step, batch_size, accumulate);
        assert!(
            distance(&large, &parts) < 1e-8,
            "{step}: {}",
            distance(&large, &parts)
        );
        assert_eq!(details(&parts).tokens_trained, details(&large).tokens_trained);
    }
    assert!(distance(&large, &run("other", 2, 1)) > 1e-4);
}

/// Publishes a selection of blocks with weights.
fn select(bench: &Bench, step: &str, chosen: &[(u64, f32)]) {
    let tokens = bench.publish("tokens").as_source();
    let selection = Selection {
        details: SelectionDetails {
            item: Item::Block,
            kept: chosen.len() as u64,
            of: 5,
            threshold: None,
            negative: 0.0,
            scores: tokens.clone(),
            column: "score".to_owned(),
            order: Order::Highest,
        },
        index: chosen.iter().map(|(index, _)| *index).collect(),
        weight: chosen.iter().map(|(_, weight)| *weight).collect(),
    };
    selection.write(&bench.at(step), tokens).expect("writes");
    bench.publish(step);
}

#[test]
fn weights_of_a_selection_are_shares_of_the_loss() {
    let bench = bench();
    let all = [0, 1, 2, 3, 4];
    select(&bench, "doubled", &all.map(|index| (index, 2.0)));
    select(&bench, "tilted", &all.map(|index| (index, 1.0 + index as f32)));
    let uniform = train(&bench, "uniform", json!({}));
    let doubled = train(&bench, "as_uniform", json!({ "data": "@doubled" }));
    assert_eq!(doubled.header.fingerprint, uniform.header.fingerprint);
    let tilted = train(&bench, "other", json!({ "data": "@tilted" }));
    assert_ne!(tilted.header.fingerprint, uniform.header.fingerprint);

    select(&bench, "nothing", &all.map(|index| (index, 0.0)));
    let error = fails(&bench, "weightless", json!({ "data": "@nothing" }));
    assert_eq!(error.code(), "zero_weight");
}

#[test]
fn a_model_can_be_trained_further() {
    let bench = bench();
    let first = train(&bench, "first", json!({}));
    // Step 0 of a warm-up has rate 0: nothing moves.
    let more = json!({ "model": "@first", "optim": { "budget": { "steps": 1 } } });
    let still = train(&bench, "still", more);
    assert_eq!(still.header.fingerprint, first.header.fingerprint);
    let further = train(&bench, "further", json!({ "model": "@first" }));
    assert_ne!(further.header.fingerprint, first.header.fingerprint);
    let (before, after) = (details(&first), details(&further));
    assert_eq!(after.tokens_trained, 2 * before.tokens_trained);
    assert!((after.flops / before.flops - 2.0).abs() < 1e-12);
}

#[test]
fn training_stops_when_the_loss_no_longer_falls_enough() {
    let bench = bench();
    let artifact = train(
        &bench,
        "model",
        json!({
            "eval": { "data": "@valid", "every": 1 },
            "early_stopping": { "patience": 2, "min_delta": 1000.0 },
        }),
    );
    let found = details(&artifact);
    assert_eq!((found.steps, found.stopped), (3, Some(Stopped::Early)));
}

/// Runs until so many steps are taken (0: to the end). Gives the outcome and the units that the bar was told of, the first
/// of which are those of the checkpoint.
fn watched(bench: &Bench, step: &str, steps: usize, more: Value) -> (Result<()>, Vec<u64>) {
    let watcher = Watcher::new(bench, "train", if steps == 0 { usize::MAX } else { steps + 1 });
    let outcome = bench.run_with::<Lm>(&watcher.context(step), params(more));
    (outcome, watcher.seen())
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let bench = bench();
    let more = || {
        json!({
            "eval": { "data": "@valid", "every": 3 },
            "early_stopping": { "patience": 50 },
            "optim": { "budget": { "steps": 12 } },
            "checkpoint_every": 5,
        })
    };
    let undisturbed = train(&bench, "undisturbed", more());
    let scratch = bench.context("broken").scratch;

    let (outcome, seen) = watched(&bench, "broken", 7, more());
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    assert_eq!((seen[0], seen.len()), (0, 8));
    let kept = |step: u64| scratch.join(format!("checkpoint-{step}")).exists();
    assert!(kept(7) && !kept(5), "the newest checkpoint is kept alone");
    assert!(!bench.at("broken").join("artifact.json").exists());
    // A kill leaves an unfinished checkpoint behind; it counts for nothing.
    std::fs::create_dir(scratch.join("attempt")).expect("makes");
    std::fs::write(scratch.join("attempt/model.safetensors"), "torn").expect("writes");

    let (outcome, again) = watched(&bench, "broken", 0, more());
    outcome.expect("trains");
    assert_eq!((again[0], again.len()), (seen.iter().sum(), 6));
    let resumed = bench.publish("broken");
    assert_eq!(resumed.header.fingerprint, undisturbed.header.fingerprint);
    assert_eq!(details(&resumed), details(&undisturbed));
    let curve = |artifact: &Artifact| std::fs::read(artifact.path.join("metrics.parquet")).expect("reads");
    assert_eq!(curve(&resumed), curve(&undisturbed));
}

#[test]
fn a_loss_that_is_not_finite_stops_with_its_documents() {
    let bench = bench();
    let wild = model(json!({ "initializer_range": 1e38 }));
    let error = fails(
        &bench,
        "wild",
        json!({ "model": wild, "optim": { "batch_size": 5 } }),
    );
    assert_eq!(error.code(), "non_finite_loss");
    let text = error.to_string();
    assert!(
        text.contains("step 1 ") && text.contains("documents 0, 1, 2, 3, 4"),
        "{text}"
    );

    let optim = json!({ "lr": 1e38, "warmup_steps": 0, "schedule": "constant" });
    let error = fails(&bench, "steep", json!({ "optim": optim, "checkpoint_every": 1 }));
    assert_eq!(error.code(), "non_finite_loss");
    assert!(bench.context("steep").scratch.join("checkpoint-1").exists());
}

#[test]
fn mistakes_in_data_are_found_before_training() {
    let bench = bench();
    let corpus = bench.publish("pool");
    let short = model(json!({ "max_position_embeddings": 5 }));
    let error = fails(&bench, "short", json!({ "model": short }));
    assert_eq!(error.code(), "context_too_long");

    bench.tokens("ends", &corpus, &[BLOCKS[0], (&[0, 0, 5], &[(1, 3)])]);
    bench.tokens("single", &corpus, &[BLOCKS[0], (&[7], &[(1, 1)])]);
    bench.tokens("nothing", &corpus, &[]);
    let foreign = bench
        .tokens("foreign", &corpus, &BLOCKS)
        .path
        .join("artifact.json");
    let header = std::fs::read_to_string(&foreign).expect("reads");
    std::fs::write(&foreign, header.replace("a tokenizer", "another")).expect("writes");
    bench.publish("foreign");
    for (data, code) in [
        ("@ends", "empty_loss_mask"),
        ("@single", "too_short"),
        ("@nothing", "empty_input"),
    ] {
        let error = fails(&bench, "bad", json!({ "data": data }));
        assert_eq!(error.code(), code);
        assert!(
            code == "empty_input" || error.to_string().contains("block 1"),
            "{error}"
        );
        let eval = json!({ "data": data, "every": 1 });
        assert_eq!(fails(&bench, "bad", json!({ "eval": eval })).code(), code);
    }
    let eval = json!({ "data": "@foreign", "every": 1 });
    assert_eq!(
        fails(&bench, "bad", json!({ "eval": eval })).code(),
        "tokenizer_mismatch"
    );
    train(&bench, "first", json!({}));
    let error = fails(&bench, "bad", json!({ "data": "@foreign", "model": "@first" }));
    assert_eq!(error.code(), "tokenizer_mismatch");

    let budget = json!({ "flops": 1.0 });
    let error = fails(&bench, "bad", json!({ "optim": { "budget": budget } }));
    assert_eq!(error.code(), "budget_too_small");
}
