//! How fast this machine trains: the figure that `doctor` shows.

use super::optimizer::{AdamWSettings, Optimizer};
use super::step::TrainBatch;
use super::terms::TermParams;
use crate::Precision;
use crate::model::{Decoder, ModelSpec};
use crate::random::Stream;
use crate::tokens::collate;
use burn::tensor::Device;
use burn::train::TrainStep;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to measure.
const TIME: Duration = Duration::from_secs(1);
const VOCABULARY: u64 = 2048;
const BLOCKS: usize = 8;
const CONTEXT: usize = 128;

/// Tokens a second in training a small decoder (width 128, 2 layers, vocabulary 2048) in f32 on random tokens, 8 blocks of
/// 128 a step: forward, backward and AdamW, the median of the steps that fit into a second, after one to warm up.
pub fn training_rate(device: &Device) -> f64 {
    let spec = serde_json::json!({ "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4 });
    let spec: ModelSpec = serde_json::from_value(spec).expect("a valid model");
    let mut random = Stream::new(0, "training rate");
    let mut model = Decoder::init(
        &spec.config(VOCABULARY as usize),
        Precision::F32,
        &random,
        &device.clone().autodiff(),
    );
    let blocks: Vec<Vec<u32>> = (0..BLOCKS)
        .map(|_| {
            (0..=CONTEXT)
                .map(|_| 1 + random.below(VOCABULARY - 1) as u32)
                .collect()
        })
        .collect();
    let batch = collate(&blocks, CONTEXT, 0).expect("whole blocks");
    let tokens = batch.scored() as f64;
    let weights = batch.mask.iter().map(|mask| mask / tokens as f32).collect();
    let pass = TrainBatch {
        batch,
        weights,
        terms: Arc::new(vec![TermParams::CrossEntropy { weight: 1.0 }.build()]),
    };
    let mut optimizer = Optimizer::new(AdamWSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        clip_norm: 1.0,
    });
    let mut step = || {
        let start = Instant::now();
        let output = TrainStep::step(&model, pass.clone());
        // The norm is read back, so the step is done when it is there.
        model = optimizer.step(model.clone(), output.grads, 1e-3).0;
        start.elapsed().as_secs_f64()
    };
    step();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < TIME || times.is_empty() {
        times.push(step());
    }
    times.sort_by(f64::total_cmp);
    tokens / times[times.len() / 2].max(1e-9)
}
