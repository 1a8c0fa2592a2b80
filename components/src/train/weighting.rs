//! How much each token of a batch counts.

use super::optimizer::Optimizer;
use super::sources::HostBatch;
use crate::Result;
use crate::gradients::Vector;
use crate::model::Decoder;

/// Gives the weights of tokens.
pub(crate) trait Weighting: Send + Sync {
    /// What the passes of step `step` (counted from 0) weigh.
    fn weigh(
        &self,
        model: &Decoder,
        optimizer: &Optimizer,
        step: u64,
        passes: &[HostBatch],
    ) -> Result<Weighed>;

    /// Whether a training that was stopped before step `step` can go on from it: whether nothing is carried over from earlier
    /// steps. Checkpoints are only made there.
    fn resumes_at(&self, _step: u64) -> bool {
        true
    }

    /// FLOPs of weighing an average row of about `width` inputs, beside the model's own passes over it.
    fn flops_a_row(&self, _width: usize) -> f64 {
        0.0
    }

    /// What to tell the user at the end, if there is anything.
    fn told(&self) -> Option<String> {
        None
    }
}

/// What the passes of a step weigh.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    /// The weight of every token of each pass, row-major `[rows, width]`; 0 where nothing is predicted. The trainer divides them by
    /// their sum over the step.
    pub(crate) weights: Vec<Vec<f32>>,
    /// What came of the step where weighing has gone through it already.
    pub(crate) taken: Option<Taken>,
    /// FLOPs that weighing took beside the step's own.
    pub(crate) flops: f64,
    /// What is noted of the step.
    pub(crate) notes: Vec<(&'static str, f64)>,
}

/// The loss of a step under the weights, and its gradient.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) loss: f64,
    pub(crate) gradient: Vector,
}

impl Weighed {
    /// Weights and nothing more.
    pub(crate) fn by(weights: Vec<Vec<f32>>) -> Self {
        Self {
            weights,
            ..Self::default()
        }
    }
}

/// Every token counts as its item does: a selection's weight, or 1.
pub(crate) struct ItemWeights;

impl Weighting for ItemWeights {
    fn weigh(&self, _: &Decoder, _: &Optimizer, _: u64, passes: &[HostBatch]) -> Result<Weighed> {
        Ok(Weighed::by(passes.iter().map(item_weights).collect()))
    }
}

/// The mask, times each row's own weight.
pub(crate) fn item_weights(batch: &HostBatch) -> Vec<f32> {
    let width = batch.batch.width;
    let row = |token: usize| batch.row_weights[token / width];
    let mask = batch.batch.mask.iter().enumerate();
    mask.map(|(token, mask)| mask * row(token)).collect()
}
