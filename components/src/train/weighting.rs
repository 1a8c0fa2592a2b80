//! How much each token of a batch counts.

use super::source::HostBatch;

/// Gives the weight of every token of a batch, row-major `[rows, width]`; 0 where nothing is predicted.
pub(crate) trait Weighting: Send + Sync {
    /// The weights.
    fn weights(&self, batch: &HostBatch) -> Vec<f32>;
}

/// Every token counts as its item does: a selection's weight, or 1.
pub(crate) struct ItemWeights;

impl Weighting for ItemWeights {
    fn weights(&self, batch: &HostBatch) -> Vec<f32> {
        let width = batch.batch.width;
        let row = |token: usize| batch.row_weights[token / width];
        batch
            .batch
            .mask
            .iter()
            .enumerate()
            .map(|(token, mask)| mask * row(token))
            .collect()
    }
}
