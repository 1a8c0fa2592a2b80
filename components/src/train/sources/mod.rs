//! Where batches come from.

mod collections;
mod drawing;
mod packed;
mod params;
mod preferences;
mod responses;
mod rollouts;

pub(crate) use packed::PackedTokens;
pub use params::{Chosen, Drawing, Preferences, Responses, Rollouts, SourceParams};
pub(crate) use preferences::{PreferenceSource, PreferredBatch};
pub(crate) use responses::ResponseSource;
pub(crate) use rollouts::{Collection, DrawnBatch, DrawnRow, RolloutSource};

use crate::Result;
use crate::artifact::TokensDetails;
use crate::model::Decoder;
use crate::tokens::{Batch, Block, Blocks, collate, longest};
use std::sync::Arc;

/// A batch on the host, with where it came from.
#[derive(Debug, Clone)]
pub(crate) struct HostBatch {
    /// Inputs, labels and mask.
    pub(crate) batch: Batch,
    /// Weight of each row.
    pub(crate) row_weights: Vec<f32>,
    /// Index of each row's block in the tokens.
    pub(crate) blocks: Vec<u64>,
    /// Whether rows are prompts with responses, so that many positions are never predicted.
    pub(crate) pairs: bool,
    /// FLOPs that making it took.
    pub(crate) flops: f64,
    /// What is known of the rows besides.
    pub(crate) known: Known,
    /// The rows among those that several passes learn from, if there is such a set.
    pub(crate) set: Option<OfSet>,
}

/// Rows of a set that several passes learn from.
#[derive(Debug, Clone)]
pub(crate) struct OfSet {
    /// All rows of the set; the same allocation as long as it is the same set.
    pub(crate) all: Arc<Collection>,
    /// Which of them the batch has.
    pub(crate) chosen: Vec<u32>,
}

/// What a source knows of a batch's rows besides their tokens.
#[derive(Debug, Clone, Default)]
pub(crate) enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// How the rows' responses were drawn.
    Drawn(DrawnBatch),
    /// Rows come in twos, the response that is preferred first: the teacher's log-likelihood of each row's response.
    Preferred(PreferredBatch),
}

impl HostBatch {
    /// Rows of blocks, each weighing what its block does.
    ///
    /// # Errors
    /// Those of [`collate`].
    pub(crate) fn of_blocks(rows: &[Block], details: &TokensDetails) -> Result<Self> {
        Ok(Self {
            pairs: details.template.is_some(),
            ..Self::of_rows(rows, longest(rows).min(details.context), details.eos_id)?
        })
    }

    /// Prompts and responses of up to `width` inputs.
    fn of_rows(rows: &[Block], width: usize, pad: u32) -> Result<Self> {
        Ok(Self {
            batch: collate(rows, width, pad)?,
            row_weights: rows.iter().map(|row| row.weight).collect(),
            blocks: rows.iter().map(|row| row.index).collect(),
            pairs: true,
            flops: 0.0,
            known: Known::Nothing,
            set: None,
        })
    }
}

/// Gives the batches of a training. What it gives is a pure function of the seed, the number of the pass and, if it asks
/// the model, the model at that pass.
pub(crate) trait BatchSource: Send + Sync {
    /// The batch of pass `pass`, counted from 0 over the whole training.
    fn batch(&self, pass: u64, model: &Decoder) -> Result<HostBatch>;

    /// A checkpoint stands before pass `pass`: earlier ones will not be asked for again.
    fn committed(&self, _pass: u64) -> Result<()> {
        Ok(())
    }

    /// Passes that learn from a row before another is made, if what was asked about it is kept.
    fn passes_a_row(&self) -> f64 {
        1.0
    }

    /// FLOPs of making a row of about `width` inputs, on average.
    fn flops_a_row(&self, _width: usize) -> f64 {
        0.0
    }

    /// Documents that the given blocks hold, for messages.
    fn documents(&self, blocks: &[u64]) -> Vec<u64>;
}

/// Documents that the given blocks of the underlying tokens hold, ascending.
fn documents(of: &Blocks, blocks: &[u64]) -> Vec<u64> {
    let segments = blocks.iter().flat_map(|&block| of.segments(block));
    let mut all: Vec<u64> = segments.map(|segment| segment.document).collect();
    all.sort_unstable();
    all.dedup();
    all
}
