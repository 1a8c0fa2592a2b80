//! What parts of packed blocks cost a model: a block's losses cut by document, token by token or summed.

use super::items::{label_positions, stretches};
use crate::Result;
use crate::artifact::{Segment, TokenScores};
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use crate::tokens::Block;
use polars::prelude::Column;
use std::ops::Range;
use std::path::Path;

/// What one document's part of one block cost a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    /// The block's number in the tokens.
    pub(crate) block: u64,
    /// The document's number in the corpus.
    pub(crate) document: u64,
    /// Summed negative log-likelihood of the scored tokens, in nats.
    pub(crate) nll: f64,
    /// Number of scored tokens.
    pub(crate) tokens: u64,
}

/// Sums a block's row of token losses by document. Position t speaks of token t + 1, so it counts to that token's
/// document; tokens before the first segment (a beginning-of-sequence token) are inputs only.
pub(super) fn split(block: &Block, segments: &[Segment], nll_t: &[f64], mask_t: &[f32]) -> Vec<Part> {
    let part = |(document, ids): (u64, Range<usize>)| {
        let positions = label_positions(&ids);
        let (nll, tokens) = masked_sum(&nll_t[positions.clone()], &mask_t[positions]);
        Part {
            block: block.index,
            document,
            nll,
            tokens,
        }
    };
    stretches(block.ids.len(), segments).map(part).collect()
}

/// What every token came to that [`split`] sums, in their order.
pub(super) fn note(block: &Block, segments: &[Segment], nll_t: &[f64], mask_t: &[f32]) -> TokenScores {
    let mut noted = TokenScores::default();
    for (_, ids) in stretches(block.ids.len(), segments) {
        for position in label_positions(&ids) {
            if mask_t[position] != 0.0 {
                let place = position + 1;
                noted.push(block.index, place as u64, block.ids[place], -nll_t[position]);
            }
        }
    }
    noted
}

/// Σ_t mask_t · nll_t and Σ_t mask_t (MiniPLM, sheet 2.3): their quotient is an item's mean loss.
pub fn masked_sum(nll_t: &[f64], mask_t: &[f32]) -> (f64, u64) {
    let scored = nll_t.iter().zip(mask_t).filter(|(_, mask)| **mask != 0.0);
    scored.fold((0.0, 0), |(sum, tokens), (nll, _)| (sum + nll, tokens + 1))
}

pub(super) fn write_parts(file: &Path, parts: &[Part]) -> Result<()> {
    fn column<T>(parts: &[Part], get: impl Fn(&Part) -> T) -> Vec<T> {
        parts.iter().map(get).collect()
    }
    let columns = vec![
        Column::new("block".into(), column(parts, |part| part.block)),
        Column::new("document".into(), column(parts, |part| part.document)),
        Column::new("nll".into(), column(parts, |part| part.nll)),
        Column::new("tokens".into(), column(parts, |part| part.tokens)),
    ];
    write_parquet(file, &mut frame(columns))
}

pub(super) fn read_parts(file: &Path) -> Result<Vec<Part>> {
    let frame = read_parquet(file)?;
    let blocks = u64_column(&frame, "block", file)?;
    let documents = u64_column(&frame, "document", file)?;
    let sums = f64_column(&frame, "nll", file)?;
    let tokens = u64_column(&frame, "tokens", file)?;
    let part = |i: usize| Part {
        block: blocks[i],
        document: documents[i],
        nll: sums[i],
        tokens: tokens[i],
    };
    Ok((0..frame.height()).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::super::common::commit;
    use super::*;

    #[test]
    fn tokens_count_to_the_document_they_belong_to() {
        // Document 4 is [2, 0], document 7 is [5, 6, 0, 1] with 0 ending documents; nothing is scored after an end.
        let block = Block {
            index: 3,
            weight: 1.0,
            ids: vec![2, 0, 5, 6, 0, 1],
            prompt: None,
        };
        let segments = [(4, 2), (7, 4)].map(|(document, tokens)| Segment { document, tokens });
        let nll = [1.0, 0.0, 2.0, 4.0, 0.0];
        let mask = [1.0, 0.0, 1.0, 1.0, 0.0];
        let parts = split(&block, &segments, &nll, &mask);
        let part = |document, nll, tokens| Part {
            block: 3,
            document,
            nll,
            tokens,
        };
        assert_eq!(parts, [part(4, 1.0, 1), part(7, 6.0, 2)]);
        let noted = note(&block, &segments, &nll, &mask);
        assert_eq!((noted.index, noted.position), (vec![3; 3], vec![1, 3, 4]));
        assert_eq!((noted.id, noted.logprob), (vec![0, 6, 0], vec![-1.0, -2.0, -4.0]));
    }

    #[test]
    fn a_token_before_the_first_segment_is_an_input_only() {
        let block = Block {
            index: 0,
            weight: 1.0,
            ids: vec![9, 2, 5],
            prompt: None,
        };
        let segments = [Segment {
            document: 0,
            tokens: 2,
        }];
        let parts = split(&block, &segments, &[0.5, 0.25], &[1.0, 1.0]);
        assert_eq!((parts[0].nll, parts[0].tokens), (0.75, 2));
        let noted = note(&block, &segments, &[0.5, 0.25], &[1.0, 1.0]);
        assert_eq!((noted.position, noted.id), (vec![1, 2], vec![2, 5]));
    }

    #[test]
    fn parts_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("teacher-00000000.parquet");
        let part = |block| Part {
            block,
            document: 2,
            nll: 1.0 / 3.0,
            tokens: 5,
        };
        commit(&file, |file| write_parts(file, &[part(0), part(1)])).expect("writes");
        assert_eq!(read_parts(&file).expect("reads"), [part(0), part(1)]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1);
    }
}
