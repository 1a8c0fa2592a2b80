//! How much each token of a batch counts.

use super::sources::HostBatch;
use crate::Result;
use crate::model::Decoder;

/// Gives the weights of tokens.
pub(crate) trait Weighting: Send + Sync {
    /// The weight of every token of each pass of step `step` (counted from 0), row-major `[rows, width]`; 0 where nothing is
    /// predicted. The trainer divides them by their sum over the step.
    fn weights(&self, model: &Decoder, step: u64, passes: &[HostBatch]) -> Result<Vec<Vec<f32>>>;

    /// Whether a training that was stopped before step `step` can go on from it: whether nothing is carried over from earlier
    /// steps. Checkpoints are only made there.
    fn resumes_at(&self, _step: u64) -> bool {
        true
    }
}

/// Every token counts as its item does: a selection's weight, or 1.
pub(crate) struct ItemWeights;

impl Weighting for ItemWeights {
    fn weights(&self, _model: &Decoder, _step: u64, passes: &[HostBatch]) -> Result<Vec<Vec<f32>>> {
        Ok(passes.iter().map(item_weights).collect())
    }
}

/// The mask, times each row's own weight.
pub(crate) fn item_weights(batch: &HostBatch) -> Vec<f32> {
    let width = batch.batch.width;
    let row = |token: usize| batch.row_weights[token / width];
    let mask = batch.batch.mask.iter().enumerate();
    mask.map(|(token, mask)| mask * row(token)).collect()
}
