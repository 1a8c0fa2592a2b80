//! Training and scoring a random model on random tokens, to see how fast this machine is.

use super::optimizer::{AdamWSettings, Optimizer};
use super::recompute::Recompute;
use super::sources::{HostBatch, Known};
use super::step::TrainBatch;
use super::terms::{CrossEntropy, Reduction, Weights};
use crate::Precision;
use crate::gradients::{
    Displacement, PerExample, Vector, difference_dots, example_losses, per_example_dot,
    per_example_dot_and_gradient,
};
use crate::model::{Decoder, ModelSpec, token_nll};
use crate::random::Stream;
use crate::tokens::collate;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::TrainStep;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A random model and a batch of random tokens for it.
#[derive(Debug)]
pub struct Rehearsal {
    /// None only while it is being changed.
    model: Option<Decoder>,
    optimizer: Optimizer,
    pass: TrainBatch,
    device: Device,
}

impl Rehearsal {
    /// A model of `vocabulary` tokens and a batch of so many blocks of `context` tokens.
    pub fn new(
        spec: &ModelSpec,
        vocabulary: usize,
        [blocks, context]: [usize; 2],
        precision: Precision,
        device: &Device,
    ) -> Self {
        let mut random = Stream::new(0, "rehearsal");
        let model = Decoder::init(
            &spec.config(vocabulary),
            precision,
            &random,
            &device.clone().autodiff(),
        );
        let mut block = || -> Vec<u32> {
            (0..=context)
                .map(|_| 1 + random.below(vocabulary as u64 - 1) as u32)
                .collect()
        };
        let blocks: Vec<Vec<u32>> = (0..blocks).map(|_| block()).collect();
        let batch = collate(&blocks, context, 0).expect("whole blocks");
        Self {
            model: Some(model),
            optimizer: Optimizer::new(AdamWSettings {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.1,
                clip_norm: 1.0,
            }),
            pass: TrainBatch {
                weights: Weights::of_step(vec![batch.mask.clone()], &[context]).remove(0),
                batch: Arc::new(HostBatch {
                    row_weights: vec![1.0; batch.rows],
                    blocks: Vec::new(),
                    pairs: false,
                    flops: 0.0,
                    known: Known::Nothing,
                    set: None,
                    batch,
                }),
                terms: Arc::new(vec![CrossEntropy::alone()]),
                noted: false,
                recompute: Recompute::None,
            },
            device: device.clone(),
        }
    }

    /// The same, with this worked out again in training instead of being kept.
    #[must_use]
    pub fn recompute(mut self, recompute: Recompute) -> Self {
        self.pass.recompute = recompute;
        self
    }

    /// Tokens of a step.
    pub fn tokens(&self) -> f64 {
        self.pass.batch.batch.scored() as f64
    }

    /// One step of training: forward, backward, clipping and AdamW. Gives the loss.
    pub fn train(&mut self) -> f64 {
        let model = self.model.take().expect("it is put back below");
        let output = TrainStep::step(&model, self.pass.clone());
        // The norm is read back, so the step is done when it is there.
        self.model = Some(self.optimizer.step(model, output.grads, 1e-3).0);
        output.item.loss
    }

    /// Scores the batch: the summed loss.
    pub fn score(&self) -> f64 {
        token_nll(&self.model().valid(), &self.pass.batch.batch, &self.device)
            .iter()
            .sum()
    }

    /// The gradient of the batch's loss.
    pub fn gradient(&self) -> Vector {
        let output = TrainStep::step(self.model(), self.pass.clone());
        Vector::gradient(self.model(), &output.grads)
    }

    /// Products of every example's gradient with a direction.
    pub fn dots(&self, direction: &Vector) -> PerExample {
        per_example_dot(self.model(), direction, &self.pass.batch.batch, &self.weights())
    }

    /// The same by central differences.
    pub fn differences(&self, direction: &Vector) -> Vec<f64> {
        let weights = self.weights();
        difference_dots(self.model(), direction, Displacement::Relative(1e-4), |model| {
            example_losses(model, &self.pass.batch.batch, &weights)
        })
    }

    /// One step of training in which examples count by how well their gradients agree with a direction: the parts above zero,
    /// so that they add up to the number of examples, or all alike where none is. Gives the loss without them.
    pub fn reweigh(&mut self, direction: &Vector) -> f64 {
        let model = self.model.take().expect("it is put back below");
        let (batch, weights) = (&self.pass.batch, self.weights());
        let factors = |found: &PerExample| {
            let positive: Vec<f64> = found.dots.iter().map(|dot| dot.max(0.0)).collect();
            let mean = positive.iter().sum::<f64>() / positive.len() as f64;
            let factor = |dot: &f64| if mean > 0.0 { dot / mean } else { 1.0 };
            positive.iter().map(factor).collect()
        };
        let (found, gradient) =
            per_example_dot_and_gradient(&model, direction, &batch.batch, &weights, factors);
        let gradients = gradient.into_gradients(&model);
        self.model = Some(self.optimizer.step(model, gradients, 1e-3).0);
        found.losses.iter().sum()
    }

    /// Weights by which the loss is the mean over all tokens.
    fn weights(&self) -> Vec<f32> {
        let width = self.pass.batch.batch.width;
        let weights = self.pass.weights.reduced(Reduction::TokenMean, width);
        weights.into_iter().map(|weight| weight as f32).collect()
    }

    fn model(&self) -> &Decoder {
        self.model.as_ref().expect("no step is under way")
    }
}

/// Tokens a second in training a small decoder (width 128, 2 layers, vocabulary 2048) in f32 on random tokens, 8 blocks of
/// 128 a step: the median of the steps that fit into a second, after one to warm up.
pub fn training_rate(device: &Device) -> f64 {
    /// How long to measure.
    const TIME: Duration = Duration::from_secs(1);
    let spec = serde_json::json!({ "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4 });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let mut rehearsal = Rehearsal::new(&spec, 2048, [8, 128], Precision::F32, device);
    rehearsal.train();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < TIME || times.is_empty() {
        let step = Instant::now();
        rehearsal.train();
        times.push(step.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    rehearsal.tokens() / times[times.len() / 2].max(1e-9)
}
