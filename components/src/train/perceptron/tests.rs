//! Training a perceptron as a step.

use super::super::read_curve;
use super::*;
use crate::corpus::TeacherStudent;
use crate::model::ModelDetails;
use crate::policy::LearningLaw;
use crate::testing::Bench;
use crate::{Artifact, Component, Context, Error, Precision};
use serde_json::{Value, json};

fn bench() -> Bench {
    let bench = Bench::new();
    let params = json!({ "width": 8, "train": 60, "target": 40 });
    bench
        .run_with::<TeacherStudent>(&bench.context("labelled"), params)
        .expect("draws");
    for name in ["train", "target", "test"] {
        bench.publish(&format!("labelled/{name}"));
    }
    bench
}

fn wide(bench: &Bench, step: &str) -> Context {
    Context {
        precision: Precision::F64,
        ..bench.context(step)
    }
}

fn params(more: Value) -> Value {
    let mut params = json!({
        "data": "@labelled/train",
        "eval": { "data": "@labelled/test" },
        "optim": { "lr": 0.1, "steps": 30 },
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn train(bench: &Bench, step: &str, more: Value) -> Artifact {
    bench
        .run_with::<TrainPerceptron>(&wide(bench, step), params(more))
        .expect("trains");
    bench.publish(step)
}

fn curve(artifact: &Artifact, split: &str, metric: &str) -> Vec<f64> {
    let points = read_curve(&artifact.path.join("metrics.parquet")).expect("a curve");
    let own = points
        .iter()
        .filter(|point| point.split == split && point.metric == metric);
    own.map(|point| point.value).collect()
}

fn code(bench: &Bench, more: Value) -> &'static str {
    let outcome = bench.run_with::<TrainPerceptron>(&wide(bench, "bad"), params(more));
    outcome.expect_err("a mistake").code()
}

#[test]
fn a_policy_that_is_followed_gives_the_curve_it_was_found_with() {
    let bench = bench();
    let law = json!({
        "data": "@labelled/train", "target": "@labelled/target", "test": "@labelled/test",
        "steps": 30, "epochs": 8, "lr": 1.0, "lr_scale": "row",
    });
    bench
        .run_with::<LearningLaw>(&wide(&bench, "law"), law)
        .expect("finds");
    let law = bench.publish("law");
    let file = law.path.join("curves.parquet");
    let frame = crate::table::read_parquet(&file).expect("reads");
    let expected = crate::table::f64_column(&frame, "test_loss", &file).expect("losses");
    let equal = curve(&train(&bench, "equal", json!({})), "valid", "loss");
    let followed = train(&bench, "followed", json!({ "policy": "@law" }));
    for (found, expected) in [
        (equal, &expected[1..31]),
        (curve(&followed, "valid", "loss"), &expected[32..]),
    ] {
        assert_eq!(found.len(), 30);
        for (found, expected) in found.iter().zip(expected) {
            // Weights are kept in f32.
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
    // The control takes the same lengths in other directions.
    let control = train(&bench, "control", json!({ "match_steps": "@followed" }));
    let lengths = |artifact: &Artifact| curve(artifact, "train", "grad_norm");
    for (a, b) in lengths(&control).iter().zip(lengths(&followed)) {
        assert!((a - b).abs() < 1e-12 * b, "{a} {b}");
    }
    assert_ne!(
        curve(&control, "valid", "loss"),
        curve(&followed, "valid", "loss")
    );
    let details: ModelDetails = control.details().expect("a model");
    assert_eq!((details.steps, details.tokens_trained), (30, 30 * 60));

    assert_eq!(
        code(&bench, json!({ "policy": "@law", "data": "@labelled/test" })),
        "policy_hash"
    );
    let longer = json!({ "lr": 0.1, "steps": 31 });
    assert_eq!(
        code(&bench, json!({ "policy": "@law", "optim": longer })),
        "policy_shape"
    );
    assert_eq!(
        code(&bench, json!({ "match_steps": "@followed", "optim": longer })),
        "too_few_steps"
    );
    let elsewhere = Context {
        seed: 2,
        ..wide(&bench, "elsewhere")
    };
    let moved = bench.run_with::<TrainPerceptron>(&elsewhere, params(json!({ "policy": "@law" })));
    assert_eq!(moved.expect_err("starts elsewhere").code(), "policy_hash");
}

#[test]
fn contributions_weigh_and_a_matched_norm_is_that_of_equal_weights() {
    let bench = bench();
    let reweight = |more: Value| {
        let mut reweight = json!({ "target": "@labelled/target", "refresh_every": 1 });
        let more = more.as_object().expect("an object").clone();
        reweight.as_object_mut().expect("an object").extend(more);
        json!({ "reweight": reweight })
    };
    let equal = train(&bench, "equal", json!({}));
    let warm = train(&bench, "warm", reweight(json!({ "warmup_steps": 30 })));
    assert_eq!(warm.header.fingerprint, equal.header.fingerprint);
    let weighed = train(&bench, "weighed", reweight(json!({})));
    let last = |artifact: &Artifact| *curve(artifact, "valid", "loss").last().expect("losses");
    assert!(
        last(&weighed) < last(&equal),
        "{} {}",
        last(&weighed),
        last(&equal)
    );
    let matched = train(&bench, "matched", reweight(json!({ "match_norm": true })));
    let norm = |artifact: &Artifact| curve(artifact, "train", "grad_norm")[0];
    assert!((norm(&matched) - norm(&equal)).abs() < 1e-12 && norm(&weighed) > norm(&equal));
    assert_eq!(
        code(&bench, reweight(json!({ "target": "@labelled/missing" }))),
        "unknown_artifact"
    );
    let problems = TrainPerceptron::check(
        &serde_json::from_value(params(json!({
            "policy": "@law",
            "reweight": { "target": "@t", "contribution": "difference", "precondition": "adam" },
        })))
        .expect("fits"),
    );
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["bad_value", "bad_value", "not_exactly_one"]);
}

#[test]
fn a_stopped_training_goes_on_to_the_same_bytes() {
    let bench = bench();
    let more = || {
        json!({
            "reweight": { "target": "@labelled/target", "refresh_every": 4, "target_batch": 10 },
            "checkpoint_every": 2,
        })
    };
    let whole = train(&bench, "whole", more());
    // Fewer steps leave a checkpoint on the way of the longer training.
    let context = wide(&bench, "stopped");
    let mut short = params(more());
    short["optim"]["steps"] = json!(11);
    bench
        .run_with::<TrainPerceptron>(&context, short)
        .expect("trains");
    assert!(context.scratch.join("state").exists() && context.scratch.join("curve-8.parquet").exists());
    context.cancel.cancel();
    let stopped = bench.run_with::<TrainPerceptron>(&context, params(more()));
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let resumed = train(&bench, "stopped", more());
    assert_eq!(resumed.header.fingerprint, whole.header.fingerprint);
}

#[test]
fn a_training_that_diverges_is_told() {
    let bench = bench();
    let optim = json!({ "lr": 1e308, "steps": 30 });
    assert_eq!(code(&bench, json!({ "optim": optim })), "diverged");
    assert_eq!(
        code(&bench, json!({ "match_steps": "@labelled/train" })),
        "wrong_kind"
    );
}
