//! One forward and backward pass, in burn-train's terms.

use super::backward::gradients;
use super::recompute::Recompute;
use super::sources::HostBatch;
use super::terms::{Pass, Term, Weights, number, places};
use crate::Error;
use crate::model::{Decoder, integers, token_nll};
use crate::tokens::Batch;
use burn::backend::ExecutionError;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use std::sync::Arc;

/// What a training pass is given.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// What is learnt from.
    pub(crate) batch: Arc<HostBatch>,
    /// Weights of the tokens.
    pub(crate) weights: Weights,
    /// The terms of the loss.
    pub(crate) terms: Arc<Vec<Box<dyn Term>>>,
    /// Whether terms note what their losses come to.
    pub(crate) noted: bool,
    /// What is worked out again instead of being kept.
    pub(crate) recompute: Recompute,
}

/// What a pass leaves: its share of the step's loss; or, in evaluation, the summed loss and the number of tokens.
#[derive(Debug)]
pub struct PassOutput {
    pub(crate) loss: f64,
    pub(crate) tokens: f64,
    /// What the terms say of themselves.
    pub(crate) notes: Vec<(&'static str, f64)>,
    /// What went wrong in a term; then nothing else is meant.
    pub(crate) failure: Option<Error>,
}

impl ItemLazy for PassOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl TrainStep for Decoder {
    type Input = TrainBatch;
    type Output = PassOutput;

    fn step(&self, item: TrainBatch) -> TrainOutput<PassOutput> {
        if self.is_on_processor() {
            // Among the threads that share its work, a pass need not wake them for each operation.
            rayon::scope(|_| pass(self, &item))
        } else {
            pass(self, &item)
        }
    }
}

impl InferenceStep for Decoder {
    type Input = Batch;
    type Output = PassOutput;

    fn step(&self, batch: Batch) -> PassOutput {
        let device = self.embedding.val().device();
        let loss = token_nll(self, &batch, &device).iter().sum();
        PassOutput {
            loss,
            tokens: batch.mask.iter().map(|mask| f64::from(*mask)).sum(),
            notes: Vec::new(),
            failure: None,
        }
    }
}

/// What a batch leaves.
fn pass(decoder: &Decoder, item: &TrainBatch) -> TrainOutput<PassOutput> {
    let device = decoder.device();
    let batch = &item.batch.batch;
    let (rows, width) = (batch.rows, batch.width);
    let inputs_bt =
        Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), &device);
    let all = item.terms.iter().any(|term| term.wants_all());
    // What is never predicted is not worked out behind the last attention.
    let places = (item.batch.pairs && !all).then(|| places(&item.weights.of_tokens));
    let labels = match &places {
        Some(places) => places.iter().map(|&place| batch.labels[place]).collect(),
        None => batch.labels.clone(),
    };
    let (mut notes, mut failure) = (Vec::new(), None);
    let loss = |hidden_nd: Tensor<2>| {
        let pass = Pass {
            inputs_bt: inputs_bt.clone(),
            hidden_nd,
            head_vd: decoder.head(),
            head_bias_v: decoder.head_bias(),
            labels_n: integers(labels, &device),
            products: decoder.products(),
            batch: &item.batch,
            weights: &item.weights,
            noted: item.noted,
            places: places.clone(),
        };
        let mut sum: Option<Tensor<1>> = None;
        for term in item.terms.iter() {
            match term.loss(&pass) {
                Ok(term) => {
                    notes.extend(term.notes);
                    sum = Some(match sum {
                        Some(sum) => sum + term.loss,
                        None => term.loss,
                    });
                }
                Err(error) => failure = failure.take().or(Some(error)),
            }
        }
        // A pass that failed has no gradient; burn-train has no other way to be told.
        sum.unwrap_or_else(|| pass.hidden_nd.sum() * 0.0)
    };
    let (loss, grads) = gradients(
        decoder,
        inputs_bt.clone(),
        places.as_deref(),
        item.recompute,
        loss,
    );
    TrainOutput {
        grads,
        item: PassOutput {
            loss: number(&loss),
            tokens: item.weights.counted() as f64,
            notes,
            failure,
        },
    }
}
