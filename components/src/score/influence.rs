//! `score.influence`: likeness of an item's gradient to that of a target loss, at one checkpoint (PDS, sheet 2.5: the method
//! with a single step).

use super::common;
use super::gradients::{Similarity, gradient, similarity};
use super::items::{Items, label_positions};
use super::nll::Work;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::flops::training_flops;
use crate::model::{self, Loaded};
use crate::reference::{self, Ref};
use crate::table::{f64_column, frame, read_parquet, u64_column, write_parquet};
use crate::tokens::{Batch, Blocks, collate};
use crate::{Artifact, Context, Error, Kind, Result};
use polars::prelude::Column;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Items that are scored between two checkpoints of the work.
const CHUNK: u64 = 64;

/// How far a small step on an item lowers the loss of the target, to first order: `score` = ⟨∇J, ∇ℓ⟩, where J is the mean
/// over target blocks of their mean loss and ℓ the item's mean loss; or the cosine of the two. Besides, `tokens`.
#[derive(Debug, Clone, Copy)]
pub struct Influence;

/// What `score.influence` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The model whose gradients are taken.
    pub model: Ref<reference::Model>,
    /// Blocks whose loss is to fall. A selection's weights count.
    pub target: Ref<reference::Blocks>,
    /// What two gradients are compared by.
    #[serde(default)]
    pub similarity: Similarity,
    /// What gets a score: each block, or each document by all its tokens.
    #[serde(default)]
    pub item: Item,
    /// Most blocks that go through the model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for Influence {
    type Params = Params;
    const NAME: &'static str = "score.influence";
    const SUMMARY: &'static str =
        "one-step influence: likeness of an item's gradient to that of a target loss";
    const PAPER: Option<&'static str> = Some("pds");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.influence"
data = "@tokens"
model = "@reference"
target = "@clean_tokens.train"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let model = sizes.of(params.model.as_str());
        let tokens = sizes.of(params.data.as_str()).tokens + sizes.of(params.target.as_str()).tokens;
        let scores = common::estimate(sizes, params.data.as_str(), &[], 2.0);
        Estimate {
            flops: 3.0 * model.flops_per_token * tokens,
            // Weights and their gradients, and two gradients in 64 bits.
            memory: scores.memory + model.parameters * (4.0 + 4.0 + 8.0 + 8.0),
            ..scores
        }
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        let target = context.open(&params.target)?;
        let blocks = Blocks::open(&data, context)?;
        let target = open_target(&target, context)?;
        // Finds before anything expensive what cannot be scored.
        Work::new(context, &blocks, params.item, params.batch_size)?.check_model(&model)?;
        Work::new(context, &target, Item::Block, params.batch_size)?.check_model(&model)?;
        let loaded = model::load(&model, &context.device.clone().autodiff(), context.precision)?;
        let scoring = Scoring {
            context,
            params: &params,
            items: Items::of(&blocks, params.item),
            blocks,
            target,
            loaded,
        };
        let rows = scoring.run()?;
        let column = |get: fn(&Row) -> f64| rows.iter().map(get).collect();
        let columns = vec![
            ("score", column(|row| row.score)),
            ("tokens", column(|row| row.tokens as f64)),
        ];
        let index = rows.iter().map(|row| row.index).collect();
        common::write(context, &data, params.item, index, "score", columns)
    }
}

fn open_target(target: &Artifact, context: &Context) -> Result<Blocks> {
    let blocks = Blocks::open(target, context)?;
    if blocks.is_empty() {
        let message = format!("the target `{}` has no block", target.label);
        return Err(
            Error::data("empty_target", message).hint("look at how the step that makes it splits or selects")
        );
    }
    Ok(blocks)
}

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    index: u64,
    score: f64,
    tokens: u64,
    /// Tokens that were read for it, and what that took.
    read: u64,
    flops: f64,
}

/// The work of a run.
struct Scoring<'a> {
    context: &'a Context,
    params: &'a Params,
    blocks: Blocks,
    items: Items,
    target: Blocks,
    loaded: Loaded,
}

impl Scoring<'_> {
    /// Scores this shard's items. Those of which no token is scored are left out.
    fn run(&self) -> Result<Vec<Row>> {
        let services = &self.context.services;
        let items = self.items.len();
        let own = self.context.shard.range(items.div_ceil(CHUNK));
        let places = |chunk: u64| chunk * CHUNK..((chunk + 1) * CHUNK).min(items);
        let bar = services.bar(
            &format!("gradients of {}", self.params.model.as_str()),
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
            let mut rows = Vec::new();
            for place in places(chunk) {
                self.context.check_cancelled()?;
                let row = self.item(place, target)?;
                fresh += row.read;
                rows.push(row);
                bar.advance(1);
            }
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
            sum.add(gradient(&self.loaded.decoder, &batch, weights));
            bar.advance(blocks.len() as u64);
        }
        let mut gradient = sum.0;
        gradient.iter_mut().for_each(|g| *g /= total);
        if gradient.iter().any(|g| !g.is_finite()) {
            return Err(not_finite("the gradient of the target is not finite".to_owned()));
        }
        Ok(gradient)
    }

    /// Scores the item at `place`. `non_finite_score`.
    fn item(&self, place: u64, target: &[f64]) -> Result<Row> {
        let (index, positions) = self.items.get(place);
        let pad = self.blocks.details().eos_id;
        let mut row = Row {
            index,
            score: 0.0,
            tokens: 0,
            read: 0,
            flops: 0.0,
        };
        // Blocks with the positions whose labels are the item's and count.
        let mut parts = Vec::new();
        for position in positions {
            let block = self.blocks.get(position);
            let stretches = self
                .items
                .stretches(index, &block, &self.blocks.segments(block.index));
            let positions = stretches.iter().flat_map(label_positions);
            let counted: Vec<usize> = positions.filter(|&t| block.ids[t] != pad).collect();
            if counted.is_empty() {
                continue;
            }
            let width = block.ids.len() - 1;
            row.tokens += counted.len() as u64;
            row.read += width as u64;
            row.flops += training_flops(&self.loaded.config, width);
            parts.push((block, counted));
        }
        if parts.is_empty() {
            return Ok(row);
        }
        let mut sum = Sum::default();
        for parts in parts.chunks(self.params.batch_size) {
            let blocks: Vec<_> = parts.iter().map(|(block, _)| block).collect();
            let batch = collated(&blocks, pad)?;
            let mut weights = vec![0.0; batch.rows * batch.width];
            for (weights, (_, counted)) in weights.chunks_mut(batch.width).zip(parts) {
                counted.iter().for_each(|&t| weights[t] = 1.0 / row.tokens as f64);
            }
            sum.add(gradient(&self.loaded.decoder, &batch, weights));
        }
        row.score = similarity(self.params.similarity, target, &sum.0);
        if row.score.is_finite() {
            return Ok(row);
        }
        let what = self.params.item.name();
        Err(not_finite(format!(
            "the score of {what} {index} is {}",
            row.score
        )))
    }
}

/// Blocks as a batch as wide as the longest.
fn collated(blocks: &[impl AsRef<[u32]>], pad: u32) -> Result<Batch> {
    let lengths = blocks.iter().map(|block| block.as_ref().len());
    collate(blocks, lengths.max().unwrap_or_default(), pad)
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
