//! `evaluate.divergence`: how far language models are from a teacher, by position in the answer.

use crate::artifact::{Axes, Place, Table};
use crate::component::{Component, Estimate, Output, Problem, Size, Sizes, main_output};
use crate::flops::forward_flops;
use crate::inference::{Compared, divergences};
use crate::model::{self, Loaded};
use crate::reference::{self, Ref, Refs};
use crate::score::{batch_size, check_model};
use crate::table::ratio;
use crate::tokens::{Block, Blocks, Example, check_block};
use crate::train::{DivergenceKind, VocabularyPolicy};
use crate::{Artifact, Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Positions that are drawn.
const DRAWN: usize = 512;

/// Per model: each divergence from the teacher, averaged over the tokens that are predicted, in nats (total variation: a
/// probability), over all of them and by where they stand. Instances are blocks.
#[derive(Debug, Clone, Copy)]
pub struct Divergence;

/// What `evaluate.divergence` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The models; every variant of a step where one is named.
    pub models: Refs<reference::Model>,
    /// The model that they are held against; its tokenizer and vocabulary are theirs.
    pub teacher: Ref<reference::Model>,
    /// The texts that both read. Of blocks that begin with a prompt only the answers count. A selection's weights play no
    /// part.
    pub data: Ref<reference::Blocks>,
    /// Which divergences; `jsd` with β = ½, the skewed ones with a share of 0.1.
    #[serde(default = "kinds")]
    #[schemars(length(min = 1))]
    pub kinds: Vec<DivergenceKind>,
    /// Measures also by position: up to the first of these numbers, from there to the next, and beyond the last. The first
    /// token of an answer (or of a block without a prompt, the second of the block) has position 1. Ascending.
    #[serde(default = "positions")]
    #[schemars(extend("x-unit" = "tokens"))]
    pub positions: Vec<u64>,
    /// What to do about a teacher whose vocabulary has another size.
    #[serde(default)]
    pub vocab_policy: VocabularyPolicy,
    /// Blocks that go through the models together.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks", "x-runtime" = true))]
    pub batch_size: usize,
}

/// A plot's title and axes.
fn axes(kind: DivergenceKind) -> Axes<'static> {
    let (title, y) = match kind {
        DivergenceKind::SoftCe => ("Cross-entropy with the teacher", "nats"),
        DivergenceKind::ForwardKl => ("Forward KL to the teacher", "nats"),
        DivergenceKind::ReverseKl => ("Reverse KL to the teacher", "nats"),
        DivergenceKind::Jsd => ("Jensen-Shannon divergence from the teacher", "nats"),
        DivergenceKind::SkewForwardKl => ("Skewed forward KL to the teacher", "nats"),
        DivergenceKind::SkewReverseKl => ("Skewed reverse KL to the teacher", "nats"),
        DivergenceKind::Tv => ("Total variation from the teacher", "probability"),
    };
    Axes {
        title,
        x: "position in the answer (tokens)",
        y,
        logarithmic: false,
    }
}

fn kinds() -> Vec<DivergenceKind> {
    vec![DivergenceKind::ForwardKl, DivergenceKind::ReverseKl]
}

fn positions() -> Vec<u64> {
    vec![1, 4, 16, 64]
}

impl Component for Divergence {
    type Params = Params;
    const NAME: &'static str = "evaluate.divergence";
    const SUMMARY: &'static str = "how far models are from a teacher, by position in the answer";
    const PAPER: Option<&'static str> = Some("minillm");
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "evaluate.divergence"
models = "@student"
teacher = "@teacher"
data = "@tokens"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Table)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !params.positions.is_sorted_by(|a, b| a < b) || params.positions.first() == Some(&0) {
            problems.push(Problem {
                field: "positions".to_owned(),
                code: "bad_value",
                message: "the numbers do not ascend from 1".to_owned(),
                hint: Some("write each once, the least first, as in [1, 4, 16]".to_owned()),
            });
        }
        problems
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let data = sizes.of(params.data.as_str());
        let teacher = sizes.of(params.teacher.as_str());
        let models: Vec<Size> = params.models.iter().map(|model| sizes.of(model)).collect();
        let groups = (params.positions.len() + 2) as f64;
        let table = Size {
            items: models.len() as f64 * params.kinds.len() as f64 * groups,
            ..Size::default()
        };
        let flops = |model: &Size| (model.flops_per_token + teacher.flops_per_token) * data.tokens;
        Estimate {
            outputs: BTreeMap::from([(String::new(), table)]),
            flops: models.iter().map(flops).sum(),
            memory: models
                .iter()
                .map(|model| (model.parameters + teacher.parameters) * 4.0)
                .fold(0.0, f64::max),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let blocks = Blocks::open(&context.open(&params.data)?, context)?;
        let pad = blocks.details().eos_id;
        (0..blocks.len()).try_for_each(|position| check_block(&blocks.get(position), pad))?;
        let teacher = context.open(&params.teacher)?;
        let models = context.open_all(&params.models)?;
        for model in models.iter().chain([&teacher]) {
            check_model(&blocks, model)?;
        }
        let load = |artifact: &Artifact| model::load_frozen(artifact, &context.device, context.precision);
        let taught = load(&teacher)?;
        let mut table = Table::default();
        for artifact in &models {
            let student = load(artifact)?;
            let vocabulary = shared_vocabulary(artifact, &student, &teacher, &taught, params.vocab_policy)?;
            let work = Work {
                params: &params,
                vocabulary,
                blocks: &blocks,
                student: &student,
                teacher: &taught,
                context,
            };
            work.run(&artifact.label)?
                .add_to(&mut table, &params, &artifact.label);
        }
        table.write(&context.output("")?, ())
    }
}

/// Tokens that distributions of both models are over. `teacher_vocab_mismatch`, `tokenizer_mismatch`.
pub(super) fn shared_vocabulary(
    artifact: &Artifact,
    student: &Loaded,
    teacher: &Artifact,
    taught: &Loaded,
    policy: VocabularyPolicy,
) -> Result<usize> {
    let (ours, theirs) = (student.config.vocab_size, taught.config.vocab_size);
    let (label, teacher) = (&artifact.label, &teacher.label);
    if student.details.tokenizer != taught.details.tokenizer {
        let message = format!("`{label}` and the teacher `{teacher}` have different tokenizers");
        return Err(Error::data("tokenizer_mismatch", message)
            .hint("distributions can only be compared over one vocabulary"));
    }
    if ours != theirs && policy == VocabularyPolicy::Equal {
        let message = format!("teacher `{teacher}` knows {theirs} tokens; `{label}` knows {ours}");
        return Err(Error::data("teacher_vocab_mismatch", message)
            .hint("if only the padding at the end differs, set `vocab_policy = \"truncate_tail\"`"));
    }
    Ok(ours.min(theirs))
}

/// The group that a position, from 1, belongs to.
fn bucket(positions: &[u64], position: u64) -> usize {
    positions.partition_point(|&end| end < position)
}

fn bucket_name(positions: &[u64], bucket: usize) -> String {
    let low = bucket.checked_sub(1).map_or(1, |before| positions[before] + 1);
    match positions.get(bucket) {
        Some(&high) if high == low => format!("position {low}"),
        Some(high) => format!("positions {low}–{high}"),
        None => format!("positions from {low}"),
    }
}

struct Work<'a> {
    params: &'a Params,
    vocabulary: usize,
    blocks: &'a Blocks,
    student: &'a Loaded,
    teacher: &'a Loaded,
    context: &'a Context,
}

/// A sum over tokens, and how many there are.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    tokens: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.value += value;
        self.tokens += 1.0;
    }
}

/// Sums of one model.
struct Sums {
    blocks: Vec<u64>,
    /// By kind, group of positions and block.
    grouped: Vec<Vec<Vec<Sum>>>,
    /// By kind and position.
    along: Vec<Vec<Sum>>,
}

impl Work<'_> {
    fn run(&self, label: &str) -> Result<Sums> {
        let Context { device, services, .. } = self.context;
        let (kinds, positions) = (&self.params.kinds, &self.params.positions);
        let kernels: Vec<_> = kinds.iter().map(|kind| kind.of(None, None)).collect();
        let pad = self.blocks.details().eos_id;
        let bar = services.bar(label, self.blocks.len(), "blocks");
        let mut sums = Sums {
            blocks: Vec::new(),
            grouped: vec![vec![Vec::new(); positions.len() + 1]; kinds.len()],
            along: vec![Vec::new(); kinds.len()],
        };
        let all: Vec<u64> = (0..self.blocks.len()).collect();
        let (mut tokens, mut flops) = (0, 0.0);
        for batch in all.chunks(self.params.batch_size) {
            self.context.check_cancelled()?;
            let blocks: Vec<Block> = batch.iter().map(|&position| self.blocks.get(position)).collect();
            let texts: Vec<Compared> = blocks.iter().map(|block| compared(block, pad)).collect();
            let decoders = [&self.student.decoder, &self.teacher.decoder];
            let found = divergences(decoders, self.vocabulary, &texts, &kernels, device);
            for (block, text) in blocks.iter().zip(&texts) {
                sums.blocks.push(block.index);
                tokens += text.ids.len() as u64;
                flops += forward_flops(&self.student.config, text.ids.len());
                flops += forward_flops(&self.teacher.config, text.ids.len());
            }
            for (kind, texts_found) in found.iter().enumerate() {
                for (i, values) in texts_found.iter().enumerate() {
                    let first = blocks[i].prompt().unwrap_or(1);
                    sums.add(kind, positions, first, &texts[i].after, values)
                        .map_err(|error| error.at(format!("block {}", blocks[i].index)))?;
                }
            }
            bar.advance(batch.len() as u64);
        }
        services.cost(tokens, flops);
        Ok(sums)
    }
}

/// The tokens of a block after which something is predicted.
fn compared(block: &Block, pad: u32) -> Compared<'_> {
    let ids = &block.ids[..block.ids.len() - 1];
    Compared {
        ids,
        after: (0..ids.len()).filter(|&t| block.counts(t, pad)).collect(),
    }
}

impl Sums {
    /// Adds a block's values; `first` is the token at position 1. `non_finite_divergence`.
    fn add(
        &mut self,
        kind: usize,
        positions: &[u64],
        first: usize,
        after: &[usize],
        values: &[f64],
    ) -> Result<()> {
        for of_group in &mut self.grouped[kind] {
            of_group.push(Sum::default());
        }
        for (&t, &value) in after.iter().zip(values) {
            if !value.is_finite() {
                let message = format!("the divergence after token {t} is {value}");
                return Err(Error::data("non_finite_divergence", message)
                    .hint("one of the models has diverged; in bf16, try f32"));
            }
            let place = t + 1 - first;
            let group = bucket(positions, place as u64 + 1);
            let of_group = self.grouped[kind][group].last_mut().expect("just pushed");
            of_group.add(value);
            if place < DRAWN {
                let along = &mut self.along[kind];
                along.resize(along.len().max(place + 1), Sum::default());
                along[place].add(value);
            }
        }
        Ok(())
    }

    fn add_to(&self, table: &mut Table, params: &Params, label: &str) {
        for (number, kind) in params.kinds.iter().enumerate() {
            let grouped = &self.grouped[number];
            let whole: Vec<Sum> = (0..self.blocks.len())
                .map(|block| Sum {
                    value: grouped.iter().map(|group| group[block].value).sum(),
                    tokens: grouped.iter().map(|group| group[block].tokens).sum(),
                })
                .collect();
            self.add_rows(table, Place::of(label, kind.name()), &whole);
            if !params.positions.is_empty() {
                for (bucket, sums) in grouped.iter().enumerate() {
                    let name = bucket_name(&params.positions, bucket);
                    self.add_rows(table, Place::of(label, kind.name()).within(Some(&name)), sums);
                }
            }
            let point = |(place, sum): (usize, &Sum)| (place as f64 + 1.0, sum.value / sum.tokens);
            let along = self.along[number].iter().enumerate();
            let points: Vec<(f64, f64)> = along.filter(|(_, sum)| sum.tokens > 0.0).map(point).collect();
            table.curve(axes(*kind), label, &points);
        }
    }

    /// The mean over tokens, if there are any.
    fn add_rows(&self, table: &mut Table, place: Place, sums: &[Sum]) {
        let there = || self.blocks.iter().zip(sums).filter(|(_, sum)| sum.tokens > 0.0);
        let blocks: Vec<u64> = there().map(|(&block, _)| block).collect();
        if blocks.is_empty() {
            return;
        }
        let means: Vec<f64> = there().map(|(_, sum)| sum.value / sum.tokens).collect();
        let tokens: Vec<f64> = there().map(|(_, sum)| sum.tokens).collect();
        let (value, parts) = ratio(&means, &tokens);
        table.estimate(place, value, &blocks, &parts);
    }
}

#[cfg(test)]
#[path = "divergence_tests.rs"]
mod tests;
