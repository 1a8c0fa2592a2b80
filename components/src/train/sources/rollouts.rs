//! Responses that the model itself writes while it is being trained (MiniLLM, sheet 2.2; GKD).

use super::collections::Collections;
use super::drawing::{Drawer, demand_prompts};
use super::params::Rollouts;
use super::{BatchSource, HostBatch, Known, OfSet, PackedTokens};
use crate::model::{Decoder, ModelConfig};
use crate::random::Stream;
use crate::tokens::{Block, Blocks, longest};
use crate::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What is known of drawn responses.
#[derive(Debug, Clone)]
pub(crate) struct DrawnBatch {
    /// Of each row.
    pub(crate) rows: Vec<DrawnRow>,
    /// The most tokens that a response could have had.
    pub(crate) max_tokens: usize,
    /// The teacher's share of what was drawn from.
    pub(crate) teacher_mix: f64,
}

/// Log-likelihoods of a response's tokens, in nats, when it was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DrawnRow {
    /// Tokens of the prompt.
    pub(crate) prompt: u32,
    /// Under the model, as it was drawn from.
    pub(crate) student: Vec<f32>,
    /// Under the teacher, if there is one: over its whole vocabulary and at temperature 1.
    pub(crate) teacher: Option<Vec<f32>>,
    /// Under the teacher as it was drawn from, where it has a share.
    pub(crate) teacher_drawn: Option<Vec<f32>>,
}

/// Rows learnt from together: what the model wrote, or the data as it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Collection {
    rows: Vec<Kept>,
    /// FLOPs of drawing them.
    flops: f64,
}

/// A row of a collection.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    block: u64,
    weight: f32,
    ids: Vec<u32>,
    /// How the response was drawn, if it was.
    drawn: Option<DrawnRow>,
    prompt: u32,
}

/// The source.
pub(crate) struct RolloutSource {
    prompts: PackedTokens,
    drawer: Drawer,
    params: Rollouts,
    config: ModelConfig,
    batch_size: u64,
    order: Stream,
    policy: Stream,
    draws: Stream,
    collections: Collections<Collection>,
}

impl RolloutSource {
    /// Responses to the prompts of `blocks`, by a model of shape `config` that begins as `decoder` and whose tokenizer lies
    /// in `folder`.
    ///
    /// # Errors
    /// `no_prompts`; those of opening the models.
    pub(crate) fn new(
        params: &Rollouts,
        blocks: Blocks,
        batch_size: usize,
        model: (&ModelConfig, &Decoder, &Path),
        context: &Context,
    ) -> Result<Self> {
        demand_prompts(&blocks)?;
        let (config, decoder, folder) = model;
        let drawer = Drawer::new(&params.sampling, &blocks, context);
        let mut drawer = drawer.with_student(config, decoder, &blocks, folder)?;
        if let Some(teacher) = &params.teacher {
            drawer = drawer.with_teacher(teacher, params.teacher_mix)?;
        }
        Ok(Self {
            prompts: PackedTokens::new(blocks, batch_size, context.stream("data order"))?,
            drawer,
            params: params.clone(),
            config: config.clone(),
            batch_size: batch_size as u64,
            order: context.stream("rollout order"),
            policy: context.stream("on policy"),
            draws: context.stream("rollouts"),
            collections: Collections::new(&context.scratch, "rollouts"),
        })
    }

    /// Passes that learn from one collection.
    fn passes(&self) -> u64 {
        self.params.inner_epochs * self.batches()
    }

    /// Batches of one pass over a collection.
    fn batches(&self) -> u64 {
        (self.params.rollouts / self.batch_size).max(1)
    }

    /// Whether the teacher is asked for log-likelihoods: not where drawing tokens tells them.
    fn asks(&self) -> bool {
        let told = self.params.teacher_mix > 0.0 && self.params.sampling.is_plain();
        self.params.teacher.is_some() && !told
    }

    /// FLOPs of a response of `tokens` tokens, its prompt included.
    fn flops_of(&self, tokens: usize) -> f64 {
        let asked = if self.asks() {
            self.drawer.teacher_flops(tokens)
        } else {
            0.0
        };
        asked + self.drawer.student_flops(&self.config, tokens)
    }

    fn collect(&self, number: u64, model: &Decoder) -> Result<Collection> {
        let samples = number * self.params.rollouts..(number + 1) * self.params.rollouts;
        let prompts: Vec<Block> = samples
            .clone()
            .map(|sample| self.prompts.blocks().get(self.prompts.position(sample)))
            .collect();
        if self.policy.at(number).uniform() >= self.params.on_policy {
            let rows = prompts.into_iter().map(|block| Kept::of(block, None)).collect();
            return Ok(Collection { rows, flops: 0.0 });
        }
        let drawn = self.drawer.by_student(model, &prompts, samples, &self.draws)?;
        let flops = drawn
            .iter()
            .map(|response| self.flops_of(response.block.ids.len()));
        let flops = flops.sum();
        let (blocks, generated): (Vec<_>, Vec<_>) = drawn
            .into_iter()
            .map(|response| (response.block, response.generated))
            .unzip();
        let asked = self
            .asks()
            .then(|| self.drawer.ask_teacher(&blocks))
            .transpose()?;
        let rows = blocks.into_iter().zip(generated).enumerate();
        let rows = rows.map(|(i, (block, generated))| {
            let (student, teacher_drawn) = match generated.alone {
                Some(alone) => (alone.model, Some(alone.other)),
                None => (generated.logprobs, None),
            };
            let teacher = match &asked {
                Some(asked) => Some(asked[i].clone()),
                None => teacher_drawn.clone(),
            };
            let prompt = block.prompt.unwrap_or_default();
            let drawn = DrawnRow {
                prompt,
                student,
                teacher,
                teacher_drawn,
            };
            Kept::of(block, Some(drawn))
        });
        Ok(Collection {
            rows: rows.collect(),
            flops,
        })
    }
}

impl Collection {
    /// Ids of every row, and how many of them are its prompt's.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&[u32], usize)> {
        self.rows
            .iter()
            .map(|row| (row.ids.as_slice(), row.prompt as usize))
    }
}

impl Kept {
    fn of(block: Block, drawn: Option<DrawnRow>) -> Self {
        Self {
            block: block.index,
            weight: block.weight,
            prompt: block.prompt.unwrap_or_default(),
            ids: block.ids,
            drawn,
        }
    }

    fn block(&self) -> Block {
        Block {
            index: self.block,
            weight: self.weight,
            ids: self.ids.clone(),
            prompt: Some(self.prompt),
        }
    }
}

impl BatchSource for RolloutSource {
    fn batch(&self, pass: u64, model: &Decoder) -> Result<HostBatch> {
        let (number, place) = (pass / self.passes(), pass % self.passes());
        let collection: Arc<Collection> = self.collections.get(number, || self.collect(number, model))?;
        let (epoch, batch) = (place / self.batches(), place % self.batches());
        let mut order: Vec<u32> = (0..collection.rows.len() as u32).collect();
        self.order
            .at(number * self.params.inner_epochs + epoch)
            .shuffle(&mut order);
        let first = (batch * self.batch_size) as usize;
        let chosen = &order[first..(first + self.batch_size as usize).min(order.len())];
        let kept: Vec<&Kept> = chosen.iter().map(|&i| &collection.rows[i as usize]).collect();
        let rows: Vec<Block> = kept.iter().map(|row| row.block()).collect();
        let set = (self.params.inner_epochs > 1).then(|| OfSet {
            all: collection.clone(),
            chosen: chosen.to_vec(),
        });
        let width = longest(&rows);
        let drawn: Option<Vec<DrawnRow>> = kept.iter().map(|row| row.drawn.clone()).collect();
        let known = drawn.map(|rows| {
            Known::Drawn(DrawnBatch {
                rows,
                max_tokens: self.drawer.max_tokens(),
                teacher_mix: self.params.teacher_mix,
            })
        });
        Ok(HostBatch {
            known: known.unwrap_or_default(),
            set,
            // The first batch of a collection stands for what the collection took.
            flops: if place == 0 { collection.flops } else { 0.0 },
            ..HostBatch::of_rows(&rows, width, self.prompts.blocks().details().eos_id)?
        })
    }

    fn committed(&self, pass: u64) -> Result<()> {
        self.collections.forget_before(pass / self.passes())
    }

    fn passes_a_row(&self) -> f64 {
        self.params.inner_epochs as f64
    }

    fn flops_a_row(&self, width: usize) -> f64 {
        self.params.on_policy * self.flops_of(width + 1) / self.params.inner_epochs as f64
    }

    fn documents(&self, blocks: &[u64]) -> Vec<u64> {
        self.prompts.documents(blocks)
    }
}
