//! `train.lm`: trains a language model.

use super::adapter::train;
use super::budget::{self, BlockCost};
use super::compose::compose;
use super::curve;
use super::optimizer::{AdamWSettings, Optimizer};
use super::params::LmParams;
use super::recompute::Recompute;
use super::start::{check_data, starting_model};
use crate::component::{KindOf, Problem, main_output};
use crate::flops::{layers_flops, training_flops};
use crate::model::{ModelConfig, ModelDetails, save};
use crate::tokens::Blocks;
use crate::{Component, Context, Estimate, Kind, Output, Result, Seeding, Sizes};

/// Trains a decoder on packed tokens.
pub enum Lm {}

impl Component for Lm {
    type Params = LmParams;
    const NAME: &'static str = "train.lm";
    const SUMMARY: &'static str = "trains a language model on packed tokens";
    const SEEDING: Seeding = Seeding::Experiment;
    const NUMERIC: bool = true;
    const EXAMPLE: &'static str = r#"use = "train.lm"
data = "@tokens"
model = { family = "llama", hidden_size = 64, num_hidden_layers = 2, num_attention_heads = 4 }
optim = { lr = 1e-3, batch_size = 16, budget = { tokens = 100_000 } }
"#;

    fn outputs(_: &LmParams) -> Vec<Output> {
        main_output(Kind::Model)
    }

    fn check(params: &LmParams) -> Vec<Problem> {
        params.problems()
    }

    fn check_inputs(params: &LmParams, kind: &KindOf) -> Vec<Problem> {
        params.input_problems(kind)
    }

    fn estimate(params: &LmParams, sizes: &Sizes) -> Estimate {
        super::estimate(params, sizes)
    }

    fn run(params: LmParams, context: &Context) -> Result<()> {
        self::run(&params, context)
    }
}

/// Trains as `params` say; `distill.*` are other ways to say it.
///
/// # Errors
/// Those of opening what is named, of data that cannot be learnt from, and of a training that does not stay finite.
pub(crate) fn run(params: &LmParams, context: &Context) -> Result<()> {
    let data = context.open(&params.data)?;
    let blocks = Blocks::open(&data, context)?;
    let device = context.device.clone().autodiff();
    let start = starting_model(params, &blocks, context, &device)?;
    check_data(&blocks, &start.config)?;
    let (tokenizer, context_length) = (blocks.details().tokenizer.clone(), blocks.details().context);
    let (mean_width, config) = (
        BlockCost::mean(&blocks, &start.config).width,
        start.config.clone(),
    );
    let matched = budget::matched(params, start.flops, context)?;
    let composition = compose(params, blocks, &start, matched.as_ref(), context)?;
    let optim = &params.optim;
    let settings = AdamWSettings {
        beta1: optim.beta1,
        beta2: optim.beta2,
        eps: optim.eps,
        weight_decay: optim.weight_decay,
        clip_norm: optim.clip_norm,
    };
    let (decoder, outcome) = train(composition, context, start.decoder, Optimizer::new(settings))?;
    let details = ModelDetails {
        parameters: config.parameters() as u64,
        vocab_size: config.vocab_size,
        context: context_length,
        tokenizer,
        tokens_trained: start.tokens + outcome.position.tokens,
        flops: start.flops + outcome.position.flops,
        charged: matched.map(|matched| matched.charged).unwrap_or_default(),
        steps: outcome.position.step,
        data: Some(data.as_source()),
        stopped: Some(outcome.stopped),
    };
    let folder = context.output("")?;
    curve::write(&folder.join("metrics.parquet"), &outcome.points)?;
    save(&folder, &decoder, &config, &details, &start.tokenizer)?;
    let flops = outcome.position.flops;
    context.services.cost(outcome.position.tokens, flops);
    let share = recomputed_share(&config, mean_width as usize, params.recompute);
    if share > 0.0 {
        context.services.measure("recomputed_flops", share * flops);
    }
    Ok(())
}

/// FLOPs that are done again, as a share of the training's.
pub(super) fn recomputed_share(config: &ModelConfig, width: usize, recompute: Recompute) -> f64 {
    match recompute {
        Recompute::None => 0.0,
        Recompute::Block => layers_flops(config, width) / training_flops(config, width).max(1.0),
    }
}
