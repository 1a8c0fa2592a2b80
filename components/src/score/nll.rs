//! What models make of packed blocks: negative log-likelihoods, summed over each document's part of each block.
//!
//! Everything else follows from these parts: a block's or a document's figures are sums of them, and so are a label's.
//! Work goes in chunks of blocks; each finished chunk is a file in the scratch folder, so that a restart goes on from it.
//! Where chunks and batches begin does not depend on the shard, so shards compute the very numbers that one process does.

use super::common::commit;
use super::parts::{Part, note, read_parts, split, write_parts};
use crate::artifact::{Item, TokenScores, TokenScoresWriter};
use crate::flops::forward_flops;
use crate::model::{self, Loaded, ModelDetails, token_nll};
use crate::tokens::{Block, Blocks, check_block, collate, longest};
use crate::{Artifact, Context, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Instant;

/// Batches that are scored between two checkpoints of the work.
pub(super) const CHUNK_BATCHES: usize = 32;

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
        self.run_with_tokens(model, name, None)
    }

    /// The same; what every token of this shard's blocks came to goes to `tokens`, in the order of the data.
    fn run_with_tokens(
        &self,
        model: &Artifact,
        name: &str,
        mut tokens: Option<&mut TokenScoresWriter>,
    ) -> Result<Vec<Part>> {
        let Context {
            device,
            precision,
            services,
            scratch,
            ..
        } = self.context;
        let width = |&position: &u64| self.width(position);
        let total: usize = self.chunks().flat_map(|(_, chunk)| chunk).map(width).sum();
        if total == 0 {
            return Ok(Vec::new()); // more shards than chunks
        }
        let loaded = model::load(model, device, *precision)?;
        let bar = services.bar(&format!("scoring with {}", model.label), total as u64, "tokens");
        let started = Instant::now();
        let mut fresh = 0;
        let mut all = Vec::new();
        for (number, positions) in self.chunks() {
            self.context.check_cancelled()?;
            let file = scratch.join(format!("{name}-{number:08}.parquet"));
            let beside = file.with_extension("tokens");
            let tokens = tokens.as_deref_mut().filter(|_| self.own.contains(&number));
            if file.exists() {
                all.extend(read_parts(&file)?);
                bar.advance(positions.iter().map(width).sum::<usize>() as u64);
            } else {
                let mut of_tokens = tokens.as_ref().map(|_| TokenScores::default());
                let parts = self.chunk(&loaded, positions, of_tokens.as_mut(), &mut |tokens| {
                    fresh += tokens;
                    bar.advance(tokens);
                    self.context.check_cancelled()
                })?;
                if let Some(of_tokens) = of_tokens {
                    commit(&beside, |file| of_tokens.write(file))?;
                }
                commit(&file, |file| write_parts(file, &parts))?;
                all.extend(parts);
            }
            if let Some(tokens) = tokens {
                tokens.append(&beside)?;
            }
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
        tokens: Option<&mut TokenScores>,
        done: &mut (dyn FnMut(u64) -> Result<()> + Send),
    ) -> Result<Vec<Part>> {
        let blocks: Vec<Block> = positions
            .iter()
            .map(|&position| self.blocks.get(position))
            .collect();
        // Blocks of similar length go together, so that little is padded; the parts return to the blocks' order.
        let mut by_length: Vec<usize> = (0..blocks.len()).collect();
        by_length.sort_by_key(|&i| blocks[i].ids.len());
        let mut parts = vec![Vec::new(); blocks.len()];
        let mut noted = vec![TokenScores::default(); blocks.len()];
        for rows in by_length.chunks(self.batch_size) {
            let rows_of: Vec<&Block> = rows.iter().map(|&i| &blocks[i]).collect();
            let batch = collate(&rows_of, longest(&rows_of), self.blocks.details().eos_id)?;
            let nll = token_nll(&loaded.decoder, &batch, &self.context.device);
            for (row, &i) in rows.iter().enumerate() {
                let row = row * batch.width..(row + 1) * batch.width;
                let segments = self.blocks.segments(blocks[i].index);
                let (nll, mask) = (&nll[row.clone()], &batch.mask[row]);
                parts[i] = split(&blocks[i], &segments, nll, mask);
                if tokens.is_some() {
                    noted[i] = note(&blocks[i], &segments, nll, mask);
                }
                if let Some(part) = parts[i].iter().find(|part| !part.nll.is_finite()) {
                    return Err(Self::not_finite(part));
                }
            }
            done(rows_of.iter().map(|block| block.ids.len() as u64 - 1).sum())?;
        }
        if let Some(tokens) = tokens {
            for of_block in noted {
                tokens.extend(of_block);
            }
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
        self.items_with_tokens(model, name, None)
    }

    /// The same; what every token of this shard's blocks came to goes to `tokens`, in the order of the data.
    pub(crate) fn items_with_tokens(
        &self,
        model: &Artifact,
        name: &str,
        tokens: Option<&mut TokenScoresWriter>,
    ) -> Result<Vec<ItemNll>> {
        Ok(self.by_item(&self.run_with_tokens(model, name, tokens)?))
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
