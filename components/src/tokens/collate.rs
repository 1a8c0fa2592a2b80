//! Blocks to a batch (MiniPLM sheet, section 2.3).

use super::Block;
use crate::{Error, Result};

/// Ids to be put into a batch.
pub trait Example {
    /// The ids: inputs and, shifted by one, labels.
    fn ids(&self) -> &[u32];

    /// How many of them are given and never predicted, if the row is a prompt and its response.
    fn prompt(&self) -> Option<usize> {
        None
    }

    /// Whether the label after the input at `t` counts: in packed text, unless the input is itself the pad token; in a pair,
    /// if it belongs to the response, whose end is marked by nothing but its length.
    fn counts(&self, t: usize, pad: u32) -> bool {
        match self.prompt() {
            None => self.ids()[t] != pad,
            Some(prompt) => t + 1 >= prompt,
        }
    }
}

impl Example for [u32] {
    fn ids(&self) -> &[u32] {
        self
    }
}

impl<const N: usize> Example for [u32; N] {
    fn ids(&self) -> &[u32] {
        self
    }
}

impl Example for Vec<u32> {
    fn ids(&self) -> &[u32] {
        self
    }
}

impl<R: Example + ?Sized> Example for &R {
    fn ids(&self) -> &[u32] {
        (**self).ids()
    }

    fn prompt(&self) -> Option<usize> {
        (**self).prompt()
    }
}

/// Inputs of the longest of `rows`.
pub(crate) fn longest(rows: &[impl Example]) -> usize {
    let lengths = rows.iter().map(|row| row.ids().len().saturating_sub(1));
    lengths.max().unwrap_or_default()
}

/// A batch: row-major `[rows, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Input ids, padded on the right.
    pub inputs: Vec<i64>,
    /// The token after each input.
    pub labels: Vec<i64>,
    /// 1 where the label counts ([`Example::counts`]), 0 elsewhere and on padding.
    pub mask: Vec<f32>,
    /// Number of blocks.
    pub rows: usize,
    /// Inputs of the longest block.
    pub width: usize,
}

impl Batch {
    /// How many labels count.
    pub fn scored(&self) -> u64 {
        self.mask.iter().filter(|&&mask| mask > 0.0).count() as u64
    }

    /// Positions of each row up to its last label that counts.
    pub(crate) fn row_lengths(&self) -> impl Iterator<Item = usize> {
        let rows = self.mask.chunks(self.width.max(1));
        rows.map(|mask| {
            let last = mask.iter().rposition(|mask| *mask > 0.0);
            last.map_or(0, |last| last + 1)
        })
    }
}

/// Shifts blocks into inputs and labels, cut to `context` inputs and padded with `pad_id` to the longest. Padding is the
/// end-of-document token, so the first token of the next document is not scored while the end itself is.
/// `too_short`: a block has no label. `empty_loss_mask`: no label of a block counts. Both name the row.
pub fn collate(blocks: &[impl Example], context: usize, pad_id: u32) -> Result<Batch> {
    let cut = |block: &[u32]| block.len().saturating_sub(1).min(context);
    let width = blocks.iter().map(|b| cut(b.ids())).max().unwrap_or(0);
    let pad = i64::from(pad_id);
    let mut batch = Batch {
        inputs: vec![pad; blocks.len() * width],
        labels: vec![pad; blocks.len() * width],
        mask: vec![0.0; blocks.len() * width],
        rows: blocks.len(),
        width,
    };
    for (row, example) in blocks.iter().enumerate() {
        let block = example.ids();
        let count = cut(block);
        if count == 0 {
            return Err(Error::data(
                "too_short",
                format!("a block of {} tokens has nothing to predict", block.len()),
            )
            .at(format!("item {row} of the batch")));
        }
        let mut scored = false;
        for t in 0..count {
            let at = row * width + t;
            batch.inputs[at] = i64::from(block[t]);
            batch.labels[at] = i64::from(block[t + 1]);
            if example.counts(t, pad_id) {
                batch.mask[at] = 1.0;
                scored = true;
            }
        }
        if !scored {
            return Err(Error::data("empty_loss_mask", "no label of a block counts")
                .at(format!("item {row} of the batch"))
                .hint("read the corpus without empty documents, the pairs without empty responses"));
        }
    }
    Ok(batch)
}

/// Checks that a block has a label that counts: `too_short`, `empty_loss_mask`, naming the block.
pub(crate) fn check_block(block: &Block, pad: u32) -> Result<()> {
    let (index, tokens) = (block.index, block.ids.len());
    if tokens < 2 {
        return Err(Error::data(
            "too_short",
            format!("block {index} has {tokens} tokens; a label needs two"),
        ));
    }
    if !(0..tokens - 1).any(|t| block.counts(t, pad)) {
        let message = format!("block {index} has no label that counts: every input ends a document");
        return Err(Error::data("empty_loss_mask", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheets_mask() {
        let batch = collate(&[[2, 0, 5, 6, 0, 1]], 8, 0).expect("collates");
        assert_eq!(batch.inputs, [2, 0, 5, 6, 0]);
        assert_eq!(batch.labels, [0, 5, 6, 0, 1]);
        assert_eq!(batch.mask, [1.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(batch.scored(), 3);
    }

    #[test]
    fn of_a_pair_only_the_response_is_predicted() {
        let block = |ids: &[u32], prompt| Block {
            index: 0,
            weight: 1.0,
            ids: ids.to_vec(),
            prompt: Some(prompt),
        };
        // The prompt holds an end of its own, and so does the response; only lengths tell them apart.
        let batch = collate(&[block(&[2, 0, 5, 0, 7, 0], 3), block(&[4, 6, 0], 1)], 8, 0).expect("collates");
        assert_eq!(batch.labels, [0, 5, 0, 7, 0, 6, 0, 0, 0, 0]);
        assert_eq!(batch.mask, [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let empty = check_block(&block(&[2, 3], 2), 0).expect_err("no response");
        assert_eq!(empty.code(), "empty_loss_mask");
    }

    #[test]
    fn the_numbers_of_the_scores_fixture() {
        let blocks: [&[u32]; 6] = [
            &[3, 4, 5, 6, 7, 8, 9],
            &[3, 4, 5],
            &[2, 0, 5, 6, 0, 1],
            &[9, 8, 7, 6, 5, 4, 3, 2, 1],
            &[1, 10],
            &[4, 4, 0],
        ];
        let batch = collate(&blocks, 6, 0).expect("collates");
        assert_eq!((batch.rows, batch.width), (6, 6));
        let inputs: [[i64; 6]; 6] = [
            [3, 4, 5, 6, 7, 8],
            [3, 4, 0, 0, 0, 0],
            [2, 0, 5, 6, 0, 0],
            [9, 8, 7, 6, 5, 4],
            [1, 0, 0, 0, 0, 0],
            [4, 4, 0, 0, 0, 0],
        ];
        let labels: [[i64; 6]; 6] = [
            [4, 5, 6, 7, 8, 9],
            [4, 5, 0, 0, 0, 0],
            [0, 5, 6, 0, 1, 0],
            [8, 7, 6, 5, 4, 3],
            [10, 0, 0, 0, 0, 0],
            [4, 0, 0, 0, 0, 0],
        ];
        let mask: [[u8; 6]; 6] = [
            [1; 6],
            [1, 1, 0, 0, 0, 0],
            [1, 0, 1, 1, 0, 0],
            [1; 6],
            [1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
        ];
        assert_eq!(batch.inputs, inputs.as_flattened());
        assert_eq!(batch.labels, labels.as_flattened());
        let mask: Vec<f32> = mask.as_flattened().iter().map(|&m| f32::from(m)).collect();
        assert_eq!(batch.mask, mask);
    }

    #[test]
    fn blocks_without_labels_are_named() {
        let short = collate(&[vec![1, 2], vec![3]], 8, 0).expect_err("one token");
        assert_eq!(short.code(), "too_short");
        assert!(short.to_string().contains("item 1"), "{short}");
        let empty = collate(&[[0, 0, 5]], 8, 0).expect_err("only ends");
        assert_eq!(empty.code(), "empty_loss_mask");
    }
}
