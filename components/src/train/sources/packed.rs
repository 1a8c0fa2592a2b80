//! Packed tokens as they are.

use super::{BatchSource, HostBatch, documents};
use crate::model::Decoder;
use crate::random::Stream;
use crate::tokens::Blocks;
use crate::{Error, Result};
use std::sync::{Mutex, PoisonError};

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
    pub(super) fn position(&self, sample: u64) -> u64 {
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
        HostBatch::of_blocks(&rows, self.blocks.details())
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        documents(&self.blocks, blocks)
    }
}
