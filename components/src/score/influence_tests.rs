//! `score.influence` as a step: held against differences of losses along the target's gradient.

use super::Influence;
use super::baseline_tests::{primary, same_in_shards, scored, with_target};
use super::tests::{BLOCKS, config, model};
use crate::artifact::Scores;
use crate::flops::training_flops;
use crate::gradients::gradient;
use crate::model::{Decoder, Loaded, ModelConfig, ModelDetails, load, token_nll};
use crate::random::Stream;
use crate::tokens::collate;
use crate::{Error, Precision};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use serde_json::json;

/// Adds a multiple of a vector over all parameters to a module.
struct Shift<'a> {
    by: &'a [f64],
    scale: f64,
    at: usize,
}

impl ModuleMapper for Shift<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let dims = tensor.dims();
        let elements = dims.iter().product::<usize>();
        let part = &self.by[self.at..self.at + elements];
        self.at += elements;
        let part = part.iter().map(|x| x * self.scale).collect::<Vec<f64>>();
        let part = Tensor::from_data(TensorData::new(part, dims), (&tensor.device(), tensor.dtype()));
        Param::from_mapped_value(id, tensor + part, mapper)
    }
}

/// Mean loss of each of these sequences, counted over some of its positions.
fn losses(decoder: &Decoder, sequences: &[(&[u32], &[usize])]) -> Vec<f64> {
    let loss = |(ids, positions): &(&[u32], &[usize])| {
        let batch = collate(&[ids], ids.len(), 0).expect("a batch");
        let nll = token_nll(decoder, &batch, &decoder.device());
        positions.iter().map(|&t| nll[t]).sum::<f64>() / positions.len() as f64
    };
    sequences.iter().map(loss).collect()
}

/// How the losses change along a direction, by central differences.
fn along(loaded: &Loaded, direction: &[f64], sequences: &[(&[u32], &[usize])]) -> Vec<f64> {
    let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
    let step = 1e-4 / length;
    let [more, less] = [step, -step].map(|scale| {
        let mut shift = Shift {
            by: direction,
            scale,
            at: 0,
        };
        losses(&loaded.decoder.clone().map(&mut shift), sequences)
    });
    more.iter()
        .zip(less)
        .map(|(more, less)| (more - less) / (2.0 * step))
        .collect()
}

fn assert_near(ours: &[f64], theirs: &[f64]) {
    let largest = theirs.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-6 * largest, "{ours:?} {theirs:?}");
    }
}

#[test]
fn influence_is_how_a_loss_changes_along_the_targets_gradient() {
    let bench = with_target();
    let mut context = bench.context("direct");
    context.precision = Precision::F64;
    let teacher = bench.publish("teacher");
    let tracked = load(&teacher, &context.device.clone().autodiff(), Precision::F64).expect("loads");
    let loaded = load(&teacher, &context.device, Precision::F64).expect("loads");

    // The gradient of the target by our own graph, which must agree with differences along any direction.
    let target: [(&[u32], &[usize]); 2] = [(&[4, 4, 11, 0], &[0, 1, 2]), (&[5, 6, 0], &[0, 1])];
    let mean = |direction: &[f64]| along(&loaded, direction, &target).iter().sum::<f64>() / 2.0;
    let mut direction = Vec::new();
    for (ids, positions) in target {
        let batch = collate(&[ids], 6, 0).expect("a batch");
        let weights = vec![0.5 / positions.len() as f64; positions.len()];
        let one = gradient(&tracked.decoder, &batch, weights).numbers();
        direction.resize(one.len(), 0.0);
        direction.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    }
    let mut stream = Stream::new(5, "direction");
    let random: Vec<f64> = direction.iter().map(|_| stream.normal()).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_near(&[product(&direction, &random)], &[mean(&random)]);

    let score = |step: &str, similarity: &str, item: &str| {
        let mut context = bench.context(step);
        context.precision = Precision::F64;
        let params = json!({
            "data": "@tokens", "model": "@teacher", "target": "@target", "similarity": similarity, "item": item,
        });
        bench.run_with::<Influence>(&context, params).expect("scores");
        primary(&Scores::read(&bench.publish(step)).expect("reads"))
    };
    let blocks: [&[usize]; 5] = [
        &[0, 1, 2, 3, 4, 5],
        &[0, 1],
        &[0, 2, 3, 5],
        &[0, 1, 2],
        &[0, 1, 2, 3, 4, 5],
    ];
    let sequences: Vec<(&[u32], &[usize])> = BLOCKS.iter().zip(blocks).map(|(b, t)| (b.0, t)).collect();
    let expected = along(&loaded, &direction, &sequences);
    assert_near(&score("dot", "dot", "block"), &expected);

    // Document 2: position 5 of block 2 and positions 0 to 2 of block 3. Document 4: 2 and 3, and all of block 4.
    let second = sequences[2].0;
    let parts = along(
        &loaded,
        &direction,
        &[(second, &[0]), (second, &[2, 3]), (second, &[5])],
    );
    let documents = [
        expected[0],
        expected[1],
        (parts[2] + 3.0 * expected[3]) / 4.0,
        parts[0],
        (2.0 * parts[1] + 6.0 * expected[4]) / 8.0,
    ];
    assert_near(&score("documents", "dot", "document"), &documents);

    // A cosine is a dot over both lengths: of its own target, an item's is 1.
    let cosine = score("cosine", "cosine", "block");
    assert!(cosine.iter().all(|cosine| cosine.abs() <= 1.0));
    let lengths: Vec<f64> = score("dot", "dot", "block")
        .iter()
        .zip(&cosine)
        .map(|(dot, cosine)| dot / cosine)
        .collect();
    assert!(lengths.iter().all(|length| *length > 0.0), "{lengths:?}");
}

#[test]
fn influence_is_the_same_in_shards_and_costs_what_training_does() {
    let bench = with_target();
    for similarity in ["dot", "cosine"] {
        for item in ["block", "document"] {
            let params = json!({
                "data": "@tokens", "model": "@teacher", "target": "@target",
                "similarity": similarity, "item": item, "batch_size": 1,
            });
            same_in_shards::<Influence>(&bench, params);
        }
    }
    let bench = with_target();
    let params = json!({ "data": "@tokens", "model": "@teacher", "target": "@target" });
    scored::<Influence>(&bench, "scores", params);
    let widths = [6, 2, 6, 3, 6, 3, 2];
    let flops: f64 = widths
        .iter()
        .map(|&width| training_flops(&config(20, 16), width))
        .sum();
    assert_eq!(bench.cost(), (28, flops));
}

#[test]
fn a_restart_goes_on_from_finished_items() {
    let bench = with_target();
    let params = json!({ "data": "@tokens", "model": "@teacher", "target": "@target" });
    let first = scored::<Influence>(&bench, "scores", params.clone());
    // The scratch folder survives; another model of the same name would score otherwise.
    let context = bench.context("teacher");
    let other = Decoder::init(
        &config(20, 16),
        Precision::F32,
        &Stream::new(8, "x"),
        &context.device,
    );
    let details: ModelDetails = bench.publish("teacher").details().expect("a model");
    crate::model::save(
        &bench.at("teacher"),
        &other,
        &config(20, 16),
        &details,
        &bench.at("tokens"),
    )
    .expect("writes");
    assert_eq!(scored::<Influence>(&bench, "scores", params.clone()), first);
    assert_ne!(scored::<Influence>(&bench, "fresh", params.clone()), first);
    let context = bench.context("cancelled");
    context.cancel.cancel();
    let stopped = bench.run_with::<Influence>(&context, params).expect_err("stops");
    assert!(matches!(stopped, Error::Interrupted));
}

#[test]
fn a_diverged_model_has_no_influence() {
    let bench = with_target();
    let diverged = ModelConfig {
        initializer_range: 1e38,
        ..config(20, 16)
    };
    model(&bench, "diverged", &diverged, |_| ());
    let params = json!({ "data": "@tokens", "model": "@diverged", "target": "@target" });
    let error = bench.run::<Influence>("bad", params).expect_err("no number");
    assert_eq!(error.code(), "non_finite_score");
}
