//! What models make of packed blocks: negative log-likelihoods, summed over each document's part of each block.
//!
//! Everything else follows from these parts: a block's or a document's figures are sums of them, and so are a label's.
//! Work goes in chunks of blocks; each finished chunk is a file in the scratch folder, so that a restart goes on from it.
//! Where chunks and batches begin does not depend on the shard, so shards compute the very numbers that one process does.

use crate::artifact::{Item, Segment};
use crate::flops::forward_flops;
use crate::model::{self, Loaded, ModelDetails, token_nll};
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use crate::tokens::{Block, Blocks, check_block, collate};
use crate::{Artifact, Context, Error, Result, disk};
use polars::prelude::Column;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// Batches that are scored between two checkpoints of the work.
pub(super) const CHUNK_BATCHES: usize = 32;

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

/// What an item cost a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ItemNll {
    /// The item's number in the tokens or the corpus.
    pub(crate) index: u64,
    /// Summed negative log-likelihood of the scored tokens, in nats.
    pub(crate) sum: f64,
    /// Number of scored tokens, at least one.
    pub(crate) tokens: u64,
}

impl ItemNll {
    /// Negative log-likelihood of a token, averaged.
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }
}

/// This shard's share of the blocks, or of the documents, of packed tokens.
pub(crate) struct Work<'a> {
    context: &'a Context,
    blocks: &'a Blocks,
    item: Item,
    batch_size: usize,
    /// Of every block that is scored, by any shard.
    positions: Vec<u64>,
    /// The chunks of `positions` that are this shard's.
    own: Range<usize>,
    /// The documents that begin in them, where documents are the items.
    documents: Option<BTreeSet<u64>>,
}

impl<'a> Work<'a> {
    /// Checks every block before anything expensive: `empty_input`; `too_short` and `empty_loss_mask`, where blocks
    /// are the items, naming the block. As documents, blocks without a token to score are passed over.
    pub(crate) fn new(
        context: &'a Context,
        blocks: &'a Blocks,
        item: Item,
        batch_size: usize,
    ) -> Result<Self> {
        if blocks.is_empty() {
            return Err(Error::data("empty_input", "there are no blocks to score"));
        }
        let pad = blocks.details().eos_id;
        // A view may repeat a block; it is scored once.
        let mut last = None;
        let mut scorable = Vec::new();
        for position in 0..blocks.len() {
            let block = blocks.get(position);
            if last.replace(block.index) == Some(block.index) {
                continue;
            }
            match (check_block(&block, pad), item) {
                (Ok(()), _) => scorable.push((position, block.index)),
                (Err(error), Item::Block) => return Err(error),
                (Err(_), Item::Document) => {}
            }
        }
        let size = CHUNK_BATCHES * batch_size;
        let chunks = context.shard.range(scorable.len().div_ceil(size) as u64);
        let own = chunks.start as usize..chunks.end as usize;
        let documents = (item == Item::Document).then(|| {
            let mut seen = BTreeSet::new();
            let mut ours = BTreeSet::new();
            for (chunk, blocks_of_chunk) in scorable.chunks(size).enumerate() {
                let segments = blocks_of_chunk
                    .iter()
                    .flat_map(|&(_, index)| blocks.segments(index));
                let first_here = segments
                    .map(|segment| segment.document)
                    .filter(|&d| seen.insert(d));
                let first_here: Vec<u64> = first_here.collect();
                if own.contains(&chunk) {
                    ours.extend(first_here);
                }
            }
            ours
        });
        Ok(Self {
            context,
            blocks,
            item,
            batch_size,
            positions: scorable.into_iter().map(|(position, _)| position).collect(),
            own,
            documents,
        })
    }

    /// The chunks that this shard scores, each with its number: its own, and those into which its documents reach.
    fn chunks(&self) -> impl Iterator<Item = (usize, &[u64])> {
        let reaches = |positions: &[u64]| {
            let segments = positions
                .iter()
                .flat_map(|&p| self.blocks.segments(self.blocks.get(p).index));
            let ours = self.documents.as_ref();
            segments
                .map(|segment| segment.document)
                .any(|document| ours.is_some_and(|ours| ours.contains(&document)))
        };
        let chunks = self.positions.chunks(CHUNK_BATCHES * self.batch_size).enumerate();
        chunks.filter(move |(number, positions)| self.own.contains(number) || reaches(positions))
    }

    fn width(&self, position: u64) -> usize {
        self.blocks.get(position).ids.len() - 1
    }

    /// Checks that `model` can read the tokens: see [`check_model`].
    pub(crate) fn check_model(&self, model: &Artifact) -> Result<ModelDetails> {
        check_model(self.blocks, model)
    }

    /// Scores with `model`. `name` tells the chunks of several models apart. `non_finite_score` names the item.
    pub(crate) fn run(&self, model: &Artifact, name: &str) -> Result<Vec<Part>> {
        let Context {
            device,
            precision,
            services,
            scratch,
            ..
        } = self.context;
        let width = |&position: &u64| self.width(position);
        let tokens: usize = self.chunks().flat_map(|(_, chunk)| chunk).map(width).sum();
        if tokens == 0 {
            return Ok(Vec::new()); // more shards than chunks
        }
        let loaded = model::load(model, device, *precision)?;
        let bar = services.bar(&format!("scoring with {}", model.label), tokens as u64, "tokens");
        let started = Instant::now();
        let mut fresh = 0;
        let mut all = Vec::new();
        for (number, positions) in self.chunks() {
            self.context.check_cancelled()?;
            let file = scratch.join(format!("{name}-{number:08}.parquet"));
            if file.exists() {
                all.extend(read_parts(&file)?);
                bar.advance(positions.iter().map(width).sum::<usize>() as u64);
                continue;
            }
            let parts = self.chunk(&loaded, positions, &mut |tokens| {
                fresh += tokens;
                bar.advance(tokens);
                self.context.check_cancelled()
            })?;
            write_parts(&file, &parts)?;
            all.extend(parts);
        }
        if fresh > 0 {
            services.measure(
                "tokens_per_second",
                fresh as f64 / started.elapsed().as_secs_f64(),
            );
        }
        // What another shard counts is not counted twice.
        let own = || {
            let chunks = self.chunks().filter(|(number, _)| self.own.contains(number));
            chunks.flat_map(|(_, chunk)| chunk).map(width)
        };
        let flops = own().map(|width| forward_flops(&loaded.config, width));
        services.cost(own().sum::<usize>() as u64, flops.sum());
        Ok(all)
    }

    fn chunk(
        &self,
        loaded: &Loaded,
        positions: &[u64],
        done: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Vec<Part>> {
        let blocks: Vec<Block> = positions
            .iter()
            .map(|&position| self.blocks.get(position))
            .collect();
        // Blocks of similar length go together, so that little is padded; the parts return to the blocks' order.
        let mut by_length: Vec<usize> = (0..blocks.len()).collect();
        by_length.sort_by_key(|&i| blocks[i].ids.len());
        let mut parts = vec![Vec::new(); blocks.len()];
        for rows in by_length.chunks(self.batch_size) {
            let ids: Vec<&[u32]> = rows.iter().map(|&i| blocks[i].ids.as_slice()).collect();
            let width = ids.iter().map(|ids| ids.len() - 1).max().unwrap_or_default();
            let batch = collate(&ids, width, self.blocks.details().eos_id)?;
            let nll = token_nll(&loaded.decoder, &batch, &self.context.device);
            for (row, &i) in rows.iter().enumerate() {
                let row = row * batch.width..(row + 1) * batch.width;
                let segments = self.blocks.segments(blocks[i].index);
                parts[i] = split(&blocks[i], &segments, &nll[row.clone()], &batch.mask[row]);
                if let Some(part) = parts[i].iter().find(|part| !part.nll.is_finite()) {
                    return Err(Self::not_finite(part));
                }
            }
            done(ids.iter().map(|ids| ids.len() as u64 - 1).sum())?;
        }
        Ok(parts.into_iter().flatten().collect())
    }

    fn not_finite(part: &Part) -> Error {
        let (block, document) = (part.block, part.document);
        Error::data(
            "non_finite_score",
            format!(
                "the model's loss on document {document} in block {block} is {}",
                part.nll
            ),
        )
        .hint("the model has diverged; train it with a lower learning rate")
    }

    /// Scores this shard's items with `model`, ascending. Documents of which no token is scored are left out.
    pub(crate) fn items(&self, model: &Artifact, name: &str) -> Result<Vec<ItemNll>> {
        Ok(self.by_item(&self.run(model, name)?))
    }

    fn by_item(&self, parts: &[Part]) -> Vec<ItemNll> {
        let mut items: BTreeMap<u64, ItemNll> = BTreeMap::new();
        for part in parts {
            let index = match self.item {
                Item::Block => part.block,
                Item::Document => part.document,
            };
            if self.documents.as_ref().is_some_and(|ours| !ours.contains(&index)) {
                continue;
            }
            let item = items.entry(index).or_insert(ItemNll {
                index,
                sum: 0.0,
                tokens: 0,
            });
            item.sum += part.nll;
            item.tokens += part.tokens;
        }
        items.into_values().filter(|item| item.tokens > 0).collect()
    }
}

/// Checks that `model` can read the tokens: `vocab_mismatch`, `tokenizer_mismatch`, `context_too_long`.
pub(crate) fn check_model(blocks: &Blocks, model: &Artifact) -> Result<ModelDetails> {
    let details: ModelDetails = model.details()?;
    let tokens = blocks.details();
    let label = &model.label;
    if tokens.vocab_size as usize > details.vocab_size {
        return Err(Error::data(
            "vocab_mismatch",
            format!(
                "`{label}` knows {} tokens; the data has a vocabulary of {}",
                details.vocab_size, tokens.vocab_size
            ),
        ));
    }
    if details.tokenizer != tokens.tokenizer {
        return Err(Error::data(
            "tokenizer_mismatch",
            format!("`{label}` was trained with another tokenizer than the data was packed with"),
        )
        .hint("pack the data with the tokenizer of the model"));
    }
    if tokens.context > details.context {
        return Err(Error::data(
            "context_too_long",
            format!(
                "blocks have a context of {}; `{label}` reads at most {}",
                tokens.context, details.context
            ),
        )
        .hint("pack with a smaller `context`"));
    }
    Ok(details)
}

/// Sums a block's row of token losses by document. Position t speaks of token t + 1, so it counts to that token's
/// document; tokens before the first segment (a beginning-of-sequence token) are inputs only.
fn split(block: &Block, segments: &[Segment], nll_t: &[f64], mask_t: &[f32]) -> Vec<Part> {
    let covered: usize = segments.iter().map(|segment| segment.tokens as usize).sum();
    let mut from = block.ids.len() - covered;
    let part = |segment: &Segment| {
        let tokens = from.max(1)..from + segment.tokens as usize;
        from = tokens.end;
        let positions = tokens.start - 1..tokens.end.max(tokens.start) - 1;
        let (nll, tokens) = masked_sum(&nll_t[positions.clone()], &mask_t[positions]);
        Part {
            block: block.index,
            document: segment.document,
            nll,
            tokens,
        }
    };
    segments.iter().map(part).collect()
}

/// Σ_t mask_t · nll_t and Σ_t mask_t (MiniPLM, sheet 2.3): their quotient is an item's mean loss.
pub fn masked_sum(nll_t: &[f64], mask_t: &[f32]) -> (f64, u64) {
    let scored = nll_t.iter().zip(mask_t).filter(|(_, mask)| **mask != 0.0);
    scored.fold((0.0, 0), |(sum, tokens), (nll, _)| (sum + nll, tokens + 1))
}

fn write_parts(file: &Path, parts: &[Part]) -> Result<()> {
    fn column<T>(parts: &[Part], get: impl Fn(&Part) -> T) -> Vec<T> {
        parts.iter().map(get).collect()
    }
    let columns = vec![
        Column::new("block".into(), column(parts, |part| part.block)),
        Column::new("document".into(), column(parts, |part| part.document)),
        Column::new("nll".into(), column(parts, |part| part.nll)),
        Column::new("tokens".into(), column(parts, |part| part.tokens)),
    ];
    let unfinished = file.with_extension("part");
    write_parquet(&unfinished, &mut frame(columns))?;
    let io = Error::io("cannot write", file);
    let commit = || {
        disk::sync(&unfinished)?;
        disk::rename(&unfinished, file)
    };
    commit().map_err(io)
}

fn read_parts(file: &Path) -> Result<Vec<Part>> {
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
    use super::*;

    #[test]
    fn tokens_count_to_the_document_they_belong_to() {
        // Document 4 is [2, 0], document 7 is [5, 6, 0, 1] with 0 ending documents; nothing is scored after an end.
        let block = Block {
            index: 3,
            weight: 1.0,
            ids: vec![2, 0, 5, 6, 0, 1],
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
    }

    #[test]
    fn a_token_before_the_first_segment_is_an_input_only() {
        let block = Block {
            index: 0,
            weight: 1.0,
            ids: vec![9, 2, 5],
        };
        let segments = [Segment {
            document: 0,
            tokens: 2,
        }];
        let parts = split(&block, &segments, &[0.5, 0.25], &[1.0, 1.0]);
        assert_eq!((parts[0].nll, parts[0].tokens), (0.75, 2));
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
        write_parts(&file, &[part(0), part(1)]).expect("writes");
        assert_eq!(read_parts(&file).expect("reads"), [part(0), part(1)]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1);
    }
}
