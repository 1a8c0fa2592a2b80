//! The learning law as a step.

use super::*;
use crate::model::read_tensors;
use crate::table::{f64_column, read_parquet};
use crate::testing::Bench;
use crate::{Context, Error, Precision};
use serde_json::{Value, json};

fn params(more: Value) -> Value {
    let mut params = json!({
        "data": { "width": 8, "train": 40, "target": 30 },
        "steps": 25,
        "epochs": 12,
        "lr": 0.005,
        "save_every": 5,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn wide(bench: &Bench, step: &str) -> Context {
    Context {
        precision: Precision::F64,
        ..bench.context(step)
    }
}

fn run(bench: &Bench, step: &str, more: Value) -> Vec<f32> {
    bench
        .run_with::<LearningLaw>(&wide(bench, step), params(more))
        .expect("finds");
    let tensors = read_tensors(&bench.publish(step).path.join("policy.safetensors")).expect("reads");
    let data = tensors["policy"].clone();
    assert_eq!(data.shape().to_vec(), [25, 40]);
    data.try_into_vec().expect("f32")
}

#[test]
fn the_target_loss_falls_and_the_plan_changes_nothing() {
    let bench = Bench::new();
    let policy = run(&bench, "law", json!({}));
    for row in policy.chunks(40) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(row.iter().all(|weight| *weight >= 0.0));
    }
    assert!(policy.contains(&0.0), "some are not used at all");
    let file = bench.at("law").join("epochs.parquet");
    let table = read_parquet(&file).expect("a table");
    let objective = f64_column(&table, "objective", &file).expect("objectives");
    assert_eq!(objective.len(), 12);
    assert!(objective.is_sorted_by(|a, b| a > b), "{objective:?}");
    let gap = f64_column(&table, "gap", &file).expect("gaps");
    assert!(gap.iter().all(|gap| *gap >= 0.0) && gap[11] < gap[0], "{gap:?}");
    let curves = read_parquet(&bench.at("law").join("curves.parquet")).expect("a table");
    assert_eq!(curves.height(), 2 * 26);
    assert!(bench.notes()[0].starts_with("after 12 policy epochs: acceleration "));
    assert_eq!(run(&bench, "sparse", json!({ "checkpoint_every": 4 })), policy);
    let narrow = bench
        .run::<LearningLaw>("narrow", params(json!({})))
        .expect("finds");
    let tensors = read_tensors(&narrow.path.join("policy.safetensors")).expect("reads");
    let narrow: Vec<f32> = tensors["policy"].clone().try_into_vec().expect("f32");
    assert!(narrow.iter().zip(&policy).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn a_stopped_policy_goes_on_at_its_last_copy() {
    let bench = Bench::new();
    let whole = run(&bench, "whole", json!({}));
    let context = wide(&bench, "stopped");
    // Ten of twelve epochs under the same schedule are what the last copy holds.
    bench
        .run_with::<LearningLaw>(&context, params(json!({})))
        .expect("finds");
    context.cancel.cancel();
    let stopped = bench
        .run_with::<LearningLaw>(&context, params(json!({})))
        .expect_err("stops");
    assert!(matches!(stopped, Error::Interrupted));
    assert_eq!(run(&bench, "stopped", json!({})), whole);
}

#[test]
fn mistakes_have_their_codes_and_rises_are_told() {
    let bench = Bench::new();
    let error = |more: Value| {
        let found = bench.run_with::<LearningLaw>(&wide(&bench, "bad"), params(more));
        found.expect_err("a mistake")
    };
    // 25 · 40 weights of 8 bytes, and 26 + 1 + 5 states of 8 numbers, or 6 + 5 + 5.
    let small = error(json!({ "memory_budget_gib": 10_000.0 / 1024.0_f64.powi(3) }));
    assert_eq!(small.code(), "memory_budget");
    let Error::Data(data) = small else {
        panic!("a mistake in data")
    };
    assert!(data.hint.expect("a hint").starts_with("`checkpoint_every = 5`"));
    let tiny = error(json!({ "memory_budget_gib": 1e-9 }));
    let Error::Data(data) = tiny else {
        panic!("a mistake in data")
    };
    assert!(data.hint.expect("a hint").starts_with("no less than"));
    let diverged = error(json!({ "inner_lr": 1e308 }));
    assert!(
        matches!(diverged.code(), "diverged" | "non_finite_lambda"),
        "{diverged}"
    );
    let narrow = Context {
        precision: Precision::Bf16,
        ..bench.context("bad")
    };
    let narrow = bench
        .run_with::<LearningLaw>(&narrow, params(json!({})))
        .expect_err("too narrow");
    assert_eq!(narrow.code(), "unsupported_precision");
}
