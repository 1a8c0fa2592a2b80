//! From parameters to what the loop is composed of.

use super::budget::{self, BlockCost, Matched};
use super::following::Following;
use super::optim_params::OptimParams;
use super::params::LmParams;
use super::reweighting::Reweighting;
use super::schedule::Schedule;
use super::sources::{
    BatchSource, PackedTokens, PreferenceSource, ResponseSource, RolloutSource, SourceParams,
};
use super::start::{Start, check_data, evaluation};
use super::strategy::{Composition, Lesson};
use super::teacher::Teachers;
use super::terms::{Term, TermParams};
use super::weighting::ItemWeights;
use crate::Ref;
use crate::reweight::Contribution;
use crate::tokens::Blocks;
use crate::{Context, Result};
use std::sync::Arc;

/// The composition that `params` describe, over `blocks`.
pub(super) fn compose(
    params: &LmParams,
    blocks: Blocks,
    start: &Start,
    matched: Option<&Matched>,
    context: &Context,
) -> Result<Composition> {
    let optim = &params.optim;
    let config = &start.config;
    let evaluation = evaluation(params, &blocks, config, context)?;
    let mean = BlockCost::mean(&blocks, config);
    let reweighting = match &params.reweight {
        Some(reweight) => {
            let plain = params.is_plain() && reweight.contribution == Contribution::PerExampleDot;
            let rows = [optim.batch_size, optim.accumulate];
            Some(Reweighting::open(
                reweight, &blocks, config, rows, plain, context,
            )?)
        }
        None => None,
    };
    let mut lessons = Lessons::of(params, blocks, start, context)?;
    if let Some(reweighting) = reweighting {
        lessons.all[0].weighting = Box::new(reweighting);
    }
    let blocks_a_step = (optim.batch_size * optim.accumulate) as f64;
    let with_others = BlockCost {
        flops: mean.flops + lessons.flops_beside(mean.width as usize),
        ..mean
    };
    let total = budget::steps(&optim.budget, with_others, blocks_a_step, matched)?;
    if let Some(policy) = &params.policy {
        lessons.all[0].weighting = Box::new(Following::open(policy, &params.data, total, context)?);
    }
    Ok(Composition {
        lessons: lessons.all,
        config: config.clone(),
        schedule: Schedule {
            kind: optim.schedule,
            peak: optim.lr,
            least: optim.lr * optim.min_lr_ratio,
            warmup: optim.warmup_steps.unwrap_or((optim.warmup * total as f64) as u64),
            total,
            decay: optim.decay,
        },
        accumulate: optim.accumulate,
        batch_size: optim.batch_size,
        checkpoint_every: params.checkpoint_every,
        recompute: params.recompute,
        evaluation,
        early_stopping: params.early_stopping.clone(),
        tokens_a_step: mean.tokens * blocks_a_step,
    })
}

/// What every step learns from.
struct Lessons {
    all: Vec<Lesson>,
    /// What an average block of each lesson beside the first costs the model.
    beside: Vec<BlockCost>,
}

impl Lessons {
    /// Terms over the data make the first lesson; those with tokens of their own one for each such source.
    fn of(params: &LmParams, blocks: Blocks, start: &Start, context: &Context) -> Result<Self> {
        let config = &start.config;
        let mut teachers = Teachers::new(config, params.source.is_none(), context);
        let mut terms_over = |own: Option<&str>, blocks: &Blocks| {
            let ours = params
                .objective
                .iter()
                .filter(|term| term.data().map(Ref::as_str) == own);
            TermParams::build_all(&ours.collect::<Vec<_>>(), &mut teachers, blocks)
        };
        let terms = terms_over(None, &blocks)?;
        let batch_size = params.optim.batch_size;
        let mut all = vec![lesson(source(params, blocks, start, context)?, terms)];
        let mut beside = Vec::new();
        let mut others: Vec<_> = params.objective.iter().filter_map(TermParams::data).collect();
        others.sort_unstable_by_key(|data| data.as_str());
        others.dedup_by_key(|data| data.as_str());
        for data in others {
            let blocks = Blocks::open(&context.open(data)?, context)?;
            check_data(&blocks, config)?;
            beside.push(BlockCost::mean(&blocks, config));
            let terms = terms_over(Some(data.as_str()), &blocks)?;
            let order = context.stream(&format!("data order of {}", data.as_str()));
            all.push(lesson(
                Box::new(PackedTokens::new(blocks, batch_size, order)?),
                terms,
            ));
        }
        Ok(Self { all, beside })
    }

    /// FLOPs that go with a block of the data, of `width` tokens, besides the model's own passes over it.
    fn flops_beside(&self, width: usize) -> f64 {
        let asked = |lesson: &Lesson, width: usize| -> f64 {
            let passes = lesson.source.passes_a_row();
            lesson.terms.iter().map(|term| term.flops(width, passes)).sum()
        };
        let data = &self.all[0];
        let first = data.source.flops_a_row(width) + data.weighting.flops_a_row(width) + asked(data, width);
        let others = self.all[1..].iter().zip(&self.beside);
        first
            + others
                .map(|(lesson, cost)| cost.flops + asked(lesson, cost.width as usize))
                .sum::<f64>()
    }
}

/// Where the data's batches come from.
fn source(
    params: &LmParams,
    blocks: Blocks,
    start: &Start,
    context: &Context,
) -> Result<Box<dyn BatchSource>> {
    let OptimParams {
        batch_size,
        accumulate,
        ..
    } = params.optim;
    let model = (&start.config, &start.decoder, start.tokenizer.as_path());
    Ok(match &params.source {
        None => Box::new(PackedTokens::new(
            blocks,
            batch_size,
            context.stream("data order"),
        )?),
        Some(SourceParams::Rollouts(rollouts)) => {
            Box::new(RolloutSource::new(rollouts, blocks, batch_size, model, context)?)
        }
        Some(SourceParams::Responses(responses)) => {
            let most = start.config.max_position_embeddings;
            Box::new(ResponseSource::new(responses, blocks, batch_size, most, context)?)
        }
        Some(SourceParams::Preferences(preferences)) => {
            let rows = [batch_size, accumulate];
            Box::new(PreferenceSource::new(preferences, blocks, rows, model, context)?)
        }
    })
}

fn lesson(source: Box<dyn BatchSource>, terms: Vec<Box<dyn Term>>) -> Lesson {
    Lesson {
        source,
        terms: Arc::new(terms),
        weighting: Box::new(ItemWeights),
    }
}
