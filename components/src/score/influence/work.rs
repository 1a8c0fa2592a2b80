//! The work of a run: the target's gradient, and every item's likeness to it, a chunk of items at a time.

use super::Params;
use crate::flops::training_flops;
use crate::gradients::gradient;
use crate::model::Loaded;
use crate::score::common;
use crate::score::gradients::{Similarity, row_dots, similarity};
use crate::score::items::{Items, label_positions};
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use crate::tokens::{Batch, Block, Blocks, Example, collate, longest};
use crate::{Context, Error, Result};
use polars::prelude::Column;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

/// Items that are scored between two checkpoints of the work.
const CHUNK: u64 = 64;

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) index: u64,
    pub(super) score: f64,
    pub(super) tokens: u64,
    /// Tokens that were read for it, and what that took.
    read: u64,
    flops: f64,
}

/// A block, with the positions whose labels are an item's and count.
struct Part {
    row: usize,
    block: Block,
    counted: Vec<usize>,
}

impl Example for Part {
    fn ids(&self) -> &[u32] {
        &self.block.ids
    }

    fn prompt(&self) -> Option<usize> {
        self.block.prompt()
    }
}

/// The work of a run.
pub(super) struct Scoring<'a> {
    pub(super) context: &'a Context,
    pub(super) params: &'a Params,
    pub(super) blocks: Blocks,
    pub(super) items: Items,
    pub(super) target: Blocks,
    /// What the experiment calls the model.
    pub(super) model: String,
    pub(super) loaded: Loaded,
}

impl Scoring<'_> {
    /// Scores this shard's items. Those of which no token is scored are left out.
    pub(super) fn run(&self) -> Result<Vec<Row>> {
        let services = &self.context.services;
        let items = self.items.len();
        let own = self.context.shard.range(items.div_ceil(CHUNK));
        let places = |chunk: u64| chunk * CHUNK..((chunk + 1) * CHUNK).min(items);
        let bar = services.bar(
            &format!("gradients of {}", self.model),
            own.clone().map(|chunk| places(chunk).count() as u64).sum(),
            "items",
        );
        let mut target = None;
        let (started, mut fresh) = (Instant::now(), 0);
        let mut all = Vec::new();
        for chunk in own {
            let file = self.context.scratch.join(format!("influence-{chunk:08}.parquet"));
            if file.exists() {
                all.extend(read_chunk(&file)?);
                bar.advance(places(chunk).count() as u64);
                continue;
            }
            if target.is_none() {
                target = Some(self.target_gradient()?);
            }
            let target = target.as_deref().expect("made above");
            let rows = self.chunk(places(chunk), target)?;
            bar.advance(rows.len() as u64);
            fresh += rows.iter().map(|row| row.read).sum::<u64>();
            common::commit(&file, |file| write_chunk(file, &rows))?;
            all.extend(rows);
        }
        if fresh > 0 {
            services.measure(
                "tokens_per_second",
                fresh as f64 / started.elapsed().as_secs_f64(),
            );
        }
        services.cost(
            all.iter().map(|row| row.read).sum(),
            all.iter().map(|row| row.flops).sum(),
        );
        if self.context.shard.index == 0 {
            let widths = || (0..self.target.len()).map(|at| self.target.get(at).ids.len() - 1);
            let flops = widths().map(|width| training_flops(&self.loaded.config, width));
            services.cost(widths().sum::<usize>() as u64, flops.sum());
        }
        all.retain(|row| row.tokens > 0);
        Ok(all)
    }

    /// ∇J: every block of the target counts by its weight, whatever its length.
    fn target_gradient(&self) -> Result<Vec<f64>> {
        let pad = self.target.details().eos_id;
        let positions: Vec<u64> = (0..self.target.len()).collect();
        let bar = self
            .context
            .services
            .bar("gradient of the target", self.target.len(), "blocks");
        let mut sum = Sum::default();
        let mut total = 0.0;
        for batch in positions.chunks(self.params.batch_size) {
            self.context.check_cancelled()?;
            let blocks: Vec<_> = batch.iter().map(|&position| self.target.get(position)).collect();
            let batch = collated(&blocks, pad)?;
            let rows = batch.mask.chunks(batch.width).zip(&blocks);
            let weights = rows.flat_map(|(mask, block)| {
                let tokens = mask.iter().sum::<f32>();
                mask.iter()
                    .map(move |mask| f64::from(mask * block.weight) / f64::from(tokens))
            });
            let weights = weights.collect();
            total += blocks.iter().map(|block| f64::from(block.weight)).sum::<f64>();
            sum.add(gradient(&self.loaded.decoder, &batch, weights).numbers());
            bar.advance(blocks.len() as u64);
        }
        let mut gradient = sum.0;
        for g in &mut gradient {
            *g /= total;
        }
        if gradient.iter().any(|g| !g.is_finite()) {
            return Err(not_finite("the gradient of the target is not finite".to_owned()));
        }
        Ok(gradient)
    }

    /// Scores the items at these places. `non_finite_score`.
    fn chunk(&self, places: Range<u64>, target: &[f64]) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut parts = Vec::new();
        for place in places {
            rows.push(self.item(place, rows.len(), &mut parts));
        }
        match self.params.similarity {
            Similarity::Dot => self.dots(&mut rows, &parts, target)?,
            Similarity::Cosine => self.cosines(&mut rows, &parts, target)?,
        }
        match rows.iter().find(|row| !row.score.is_finite()) {
            None => Ok(rows),
            Some(row) => {
                let (what, index) = (self.params.item.name(), row.index);
                Err(not_finite(format!(
                    "the score of {what} {index} is {}",
                    row.score
                )))
            }
        }
    }

    /// The item at `place`, still without a score, as number `row`; its parts go to `parts`.
    fn item(&self, place: u64, row: usize, parts: &mut Vec<Part>) -> Row {
        let (index, positions) = self.items.get(place);
        let pad = self.blocks.details().eos_id;
        let mut item = Row {
            index,
            score: 0.0,
            tokens: 0,
            read: 0,
            flops: 0.0,
        };
        for position in positions {
            let block = self.blocks.get(position);
            let segments = self.blocks.segments(block.index);
            let stretches = self.items.stretches(index, &block, &segments);
            let positions = stretches.iter().flat_map(label_positions);
            let counted: Vec<usize> = positions.filter(|&t| block.counts(t, pad)).collect();
            if counted.is_empty() {
                continue;
            }
            let width = block.ids.len() - 1;
            item.tokens += counted.len() as u64;
            item.read += width as u64;
            item.flops += training_flops(&self.loaded.config, width);
            parts.push(Part { row, block, counted });
        }
        item
    }

    /// Adds up the products of the parts' gradients with the target's. Parts of similar length go together.
    fn dots(&self, rows: &mut [Row], parts: &[Part], target: &[f64]) -> Result<()> {
        let mut by_length: Vec<&Part> = parts.iter().collect();
        by_length.sort_by_key(|part| part.block.ids.len());
        for parts in by_length.chunks(self.params.batch_size) {
            self.context.check_cancelled()?;
            let (batch, weights) = self.weighted(parts, rows)?;
            let dots = row_dots(&self.loaded.decoder, target, &batch, &weights);
            for (part, dot) in parts.iter().zip(dots) {
                rows[part.row].score += dot;
            }
        }
        Ok(())
    }

    /// Compares each item's whole gradient, whose length only it has, with the target's.
    fn cosines(&self, rows: &mut [Row], parts: &[Part], target: &[f64]) -> Result<()> {
        for item in parts.chunk_by(|a, b| a.row == b.row) {
            let mut sum = Sum::default();
            let of_item: Vec<&Part> = item.iter().collect();
            for parts in of_item.chunks(self.params.batch_size) {
                self.context.check_cancelled()?;
                let (batch, weights) = self.weighted(parts, rows)?;
                sum.add(gradient(&self.loaded.decoder, &batch, weights).numbers());
            }
            rows[item[0].row].score = similarity(Similarity::Cosine, target, &sum.0);
        }
        Ok(())
    }

    /// Parts as a batch, and the weights by which an item's loss is the mean over all its tokens.
    fn weighted(&self, parts: &[&Part], rows: &[Row]) -> Result<(Batch, Vec<f64>)> {
        let batch = collated(parts, self.blocks.details().eos_id)?;
        let mut weights = vec![0.0; batch.rows * batch.width];
        for (weights, part) in weights.chunks_mut(batch.width).zip(parts) {
            let weight = 1.0 / rows[part.row].tokens as f64;
            part.counted.iter().for_each(|&t| weights[t] = weight);
        }
        Ok((batch, weights))
    }
}

/// Blocks as a batch as wide as the longest.
fn collated(blocks: &[impl Example], pad: u32) -> Result<Batch> {
    collate(blocks, longest(blocks), pad)
}

fn not_finite(message: String) -> Error {
    Error::data("non_finite_score", message)
        .hint("the model has diverged; train it with a lower learning rate")
}

/// A sum of gradients; empty of none.
#[derive(Default)]
struct Sum(Vec<f64>);

impl Sum {
    fn add(&mut self, gradient: Vec<f64>) {
        if self.0.is_empty() {
            self.0 = gradient;
        } else {
            self.0.iter_mut().zip(gradient).for_each(|(sum, one)| *sum += one);
        }
    }
}

fn write_chunk(file: &Path, rows: &[Row]) -> Result<()> {
    let whole = |get: fn(&Row) -> u64| rows.iter().map(get).collect::<Vec<_>>();
    let float = |get: fn(&Row) -> f64| rows.iter().map(get).collect::<Vec<_>>();
    let columns = vec![
        Column::new("index".into(), whole(|row| row.index)),
        Column::new("score".into(), float(|row| row.score)),
        Column::new("tokens".into(), whole(|row| row.tokens)),
        Column::new("read".into(), whole(|row| row.read)),
        Column::new("flops".into(), float(|row| row.flops)),
    ];
    write_parquet(file, &mut frame(columns))
}

fn read_chunk(file: &Path) -> Result<Vec<Row>> {
    let frame = read_parquet(file)?;
    let whole = |name| u64_column(&frame, name, file);
    let float = |name| f64_column(&frame, name, file);
    let (index, tokens, read) = (whole("index")?, whole("tokens")?, whole("read")?);
    let (score, flops) = (float("score")?, float("flops")?);
    let row = |i: usize| Row {
        index: index[i],
        score: score[i],
        tokens: tokens[i],
        read: read[i],
        flops: flops[i],
    };
    Ok((0..frame.height()).map(row).collect())
}
