//! Where batches come from.

use crate::model::Decoder;
use crate::random::Stream;
use crate::tokens::{Batch, Blocks, collate, longest};
use crate::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// A batch on the host, with where it came from.
#[derive(Debug, Clone)]
pub(crate) struct HostBatch {
    /// Inputs, labels and mask.
    pub(crate) batch: Batch,
    /// Weight of each row.
    pub(crate) row_weights: Vec<f32>,
    /// Index of each row's block in the tokens.
    pub(crate) blocks: Vec<u64>,
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

    /// Documents that the given blocks hold, for messages.
    fn documents(&self, blocks: &[u64]) -> Vec<u64>;
}

/// Packed tokens, each epoch in an order of its own.
pub(crate) struct PackedTokens {
    blocks: Blocks,
    batch_size: u64,
    order: Stream,
    /// The epoch last asked for and its order; a cache only.
    epoch: Mutex<(u64, Vec<u32>)>,
}

impl PackedTokens {
    /// Batches of `batch_size` blocks. The epochs follow each other without a gap: a batch may span two of them.
    ///
    /// # Errors
    /// `too_many_items`.
    pub(crate) fn new(blocks: Blocks, batch_size: usize, order: Stream) -> Result<Self> {
        if u32::try_from(blocks.len()).is_err() {
            let message = format!("{} blocks are more than one training can shuffle", blocks.len());
            return Err(Error::data("too_many_items", message).hint("select from them, or split them"));
        }
        Ok(Self {
            blocks,
            batch_size: batch_size as u64,
            order,
            epoch: Mutex::new((u64::MAX, Vec::new())),
        })
    }

    /// The blocks.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Position in the blocks of sample `sample`, counted over all epochs.
    fn position(&self, sample: u64) -> u64 {
        let (epoch, place) = (sample / self.blocks.len(), sample % self.blocks.len());
        let mut cached = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != epoch {
            let mut order: Vec<u32> = (0..self.blocks.len() as u32).collect();
            self.order.at(epoch).shuffle(&mut order);
            *cached = (epoch, order);
        }
        u64::from(cached.1[place as usize])
    }
}

impl BatchSource for PackedTokens {
    fn batch(&self, pass: u64, _model: &Decoder) -> Result<HostBatch> {
        let samples = pass * self.batch_size..(pass + 1) * self.batch_size;
        let rows: Vec<_> = samples
            .map(|sample| self.blocks.get(self.position(sample)))
            .collect();
        let longest = longest(&rows);
        let details = self.blocks.details();
        let batch = collate(&rows, longest.min(details.context), details.eos_id)?;
        let row_weights = rows.iter().map(|row| row.weight).collect();
        Ok(HostBatch {
            batch,
            row_weights,
            blocks: rows.iter().map(|row| row.index).collect(),
        })
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        let mut all: Vec<u64> = blocks
            .iter()
            .flat_map(|&block| self.blocks.segments(block))
            .map(|segment| segment.document)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
