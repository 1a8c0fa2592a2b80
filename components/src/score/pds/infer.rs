//! `score.pds`: a scorer's word on every block.

use super::scorer::ScorerModel;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::flops::layers_flops;
use crate::model::ModelDetails;
use crate::reference::{self, Ref};
use crate::score::common;
use crate::tokens::Blocks;
use crate::{Context, Error, Kind, Result, disk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Batches that are scored between two checkpoints of the work.
const CHUNK_BATCHES: usize = 32;

/// What a scorer that learnt a few blocks' scores gives all others: `score`; besides, `tokens` read.
#[derive(Debug, Clone, Copy)]
pub struct Pds;

/// What `score.pds` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PdsParams {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// A scorer, of `train.scorer`.
    pub scorer: Ref<reference::Model>,
    /// Blocks that go through the scorer together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for Pds {
    type Params = PdsParams;
    const NAME: &'static str = "score.pds";
    const SUMMARY: &'static str = "what a scorer that learnt a few blocks' scores gives all others";
    const PAPER: Option<&'static str> = Some("pds");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.pds"
data = "@tokens"
scorer = "@scorer"
"#;

    fn outputs(_: &PdsParams) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &PdsParams, sizes: &Sizes) -> Estimate {
        common::estimate(sizes, params.data.as_str(), &[params.scorer.as_str()], 2.0)
    }

    fn merge(_: PdsParams, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: PdsParams, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let blocks = Blocks::open(&data, context)?;
        let artifact = context.open(&params.scorer)?;
        let details: ModelDetails = artifact.details()?;
        if details.tokenizer != blocks.details().tokenizer {
            let message = format!(
                "`{}` was taught with another tokenizer than the data was packed with",
                artifact.label
            );
            return Err(Error::data("tokenizer_mismatch", message)
                .hint("pack the data with the tokenizer of what the scorer was taught on"));
        }
        let (model, loaded) = ScorerModel::open(&artifact, context)?;
        let work = Work {
            context,
            blocks: &blocks,
            model: &model,
            batch_size: params.batch_size,
            longest: loaded.config.max_position_embeddings,
        };
        let positions = work.positions();
        if positions.is_empty() {
            return Err(Error::data("empty_input", "there are no blocks to score"));
        }
        let (own, scores) = work.run(&positions)?;
        let lengths: Vec<usize> = own.iter().map(|&position| work.text(position).len()).collect();
        let flops = lengths.iter().map(|&length| layers_flops(&loaded.config, length));
        context
            .services
            .cost(lengths.iter().sum::<usize>() as u64, flops.sum());
        let columns = vec![
            ("score", scores),
            ("tokens", lengths.iter().map(|&length| length as f64).collect()),
        ];
        let index = own.iter().map(|&position| blocks.get(position).index).collect();
        common::write(context, &data, Item::Block, index, "score", columns)
    }
}

/// The work of a run.
struct Work<'a> {
    context: &'a Context,
    blocks: &'a Blocks,
    model: &'a ScorerModel,
    batch_size: usize,
    /// Tokens that the scorer reads at most.
    longest: usize,
}

impl Work<'_> {
    /// Of every block, once, by any shard.
    fn positions(&self) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        (0..self.blocks.len())
            .filter(|&position| seen.insert(self.blocks.get(position).index))
            .collect()
    }

    fn text(&self, position: u64) -> Vec<u32> {
        let mut ids = self.blocks.get(position).ids;
        ids.truncate(self.longest);
        ids
    }

    /// Positions that are this shard's, and their scores. Chunks begin at the same blocks for every shard, so that batches
    /// and so bytes are the same; finished ones are kept.
    fn run<'b>(&self, positions: &'b [u64]) -> Result<(&'b [u64], Vec<f64>)> {
        let size = CHUNK_BATCHES * self.batch_size;
        let chunks = self.context.shard.range(positions.len().div_ceil(size) as u64);
        let cut = |chunk: u64| (chunk as usize * size).min(positions.len());
        let own: Range<usize> = cut(chunks.start)..cut(chunks.end);
        let services = &self.context.services;
        let bar = services.bar("scoring", own.len() as u64, "blocks");
        let mut scores = Vec::with_capacity(own.len());
        for (number, chunk) in (chunks.start..).zip(positions[own.clone()].chunks(size)) {
            self.context.check_cancelled()?;
            let file = self.context.scratch.join(format!("scores-{number:08}"));
            match kept(&file, chunk.len())? {
                Some(kept) => scores.extend(kept),
                None => {
                    let found = self.chunk(chunk)?;
                    let bytes: Vec<u8> = found.iter().flat_map(|score| score.to_le_bytes()).collect();
                    disk::write_atomically(&file, bytes).map_err(Error::io("cannot write", &file))?;
                    scores.extend(found);
                }
            }
            bar.advance(chunk.len() as u64);
        }
        Ok((&positions[own], scores))
    }

    /// `non_finite_score` and `too_short`, naming the block.
    fn chunk(&self, positions: &[u64]) -> Result<Vec<f64>> {
        let texts: Vec<Vec<u32>> = positions.iter().map(|&position| self.text(position)).collect();
        let name = |i: usize| self.blocks.get(positions[i]).index;
        if let Some(i) = texts.iter().position(Vec::is_empty) {
            return Err(Error::data(
                "too_short",
                format!("block {} has no tokens", name(i)),
            ));
        }
        // Blocks of similar length go together, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| texts[i].len());
        let mut scores = vec![0.0; texts.len()];
        for batch in order.chunks(self.batch_size) {
            self.context.check_cancelled()?;
            let ids: Vec<&[u32]> = batch.iter().map(|&i| texts[i].as_slice()).collect();
            let found = self.model.score(&ids, &self.context.device).into_data();
            for (&i, score) in batch.iter().zip(found.iter::<f64>()) {
                if !score.is_finite() {
                    let message = format!("the score of block {} is {score}", name(i));
                    return Err(Error::data("non_finite_score", message)
                        .hint("the scorer has diverged; teach it with a lower learning rate"));
                }
                scores[i] = score;
            }
        }
        Ok(scores)
    }
}

/// The scores that an earlier try kept, if it came so far.
fn kept(file: &Path, count: usize) -> Result<Option<Vec<f64>>> {
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let (found, rest) = bytes.as_chunks();
    let whole = found.len() == count && rest.is_empty();
    Ok(whole.then(|| found.iter().map(|&b| f64::from_le_bytes(b)).collect()))
}
