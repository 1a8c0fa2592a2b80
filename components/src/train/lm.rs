//! `train.lm`: trains a language model.

use super::adapter::train;
use super::budget::{self, BlockCost};
use super::compose::compose;
use super::curve;
use super::memory::peak_memory;
use super::optimizer::{AdamWSettings, Optimizer};
use super::params::{Budget, LmParams, ModelChoice};
use super::recompute::Recompute;
use super::start::{check_data, starting_model};
use crate::component::{Choice, Problem, main_output};
use crate::flops::{layers_flops, training_flops};
use crate::model::{ModelConfig, ModelDetails, save};
use crate::tokens::Blocks;
use crate::{Component, Context, Estimate, Kind, Output, Result, Seeding, Size, Sizes};

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

    fn estimate(params: &LmParams, sizes: &Sizes) -> Estimate {
        self::estimate(params, sizes)
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
        BlockCost::mean(&blocks, &start.config).tokens,
        start.config.clone(),
    );
    let matched = budget::matched(params, context)?;
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
fn recomputed_share(config: &ModelConfig, width: usize, recompute: Recompute) -> f64 {
    match recompute {
        Recompute::None => 0.0,
        Recompute::Block => layers_flops(config, width) / training_flops(config, width).max(1.0),
    }
}

/// FLOPs, tokens and memory as far as the sizes of the inputs tell.
pub(crate) fn estimate(params: &LmParams, sizes: &Sizes) -> Estimate {
    let data = sizes.of(params.data.as_str());
    let config = match &params.model {
        ModelChoice::Fresh(spec) => spec.config(data.vocab_size as usize),
        ModelChoice::Continue(_) => return Estimate::default(),
    };
    let optim = &params.optim;
    let width = data.width();
    let step_tokens = width * (optim.batch_size * optim.accumulate) as f64;
    let whole = width.round();
    let forward = sizes.convention.forward(&config, whole as usize) / whole.max(1.0);
    let step_flops = 3.0 * forward * step_tokens * (1.0 + params.weighing_share());
    let matched = budget::expected(params, sizes);
    let flops = match &optim.budget {
        Budget {
            steps: Some(steps), ..
        } => *steps as f64 * step_flops,
        Budget {
            tokens: Some(tokens), ..
        } if step_tokens > 0.0 => *tokens as f64 / step_tokens * step_flops,
        budget => budget.flops.unwrap_or_else(|| matched.left().max(0.0)),
    };
    let parameters = config.parameters() as f64;
    let element = 4.0;
    let memory = |recompute| {
        let tokens = width * optim.batch_size as f64;
        peak_memory(&config, tokens, optim.accumulate, recompute)
    };
    let recomputed = |recompute| flops * recomputed_share(&config, width as usize, recompute);
    let (other, name) = match params.recompute {
        Recompute::None => (Recompute::Block, "block"),
        Recompute::Block => (Recompute::None, "none"),
    };
    let choice = Choice {
        setting: format!("recompute = \"{name}\""),
        memory: memory(other),
        recomputed: recomputed(other),
    };
    let size = Size {
        items: 1.0,
        bytes: parameters * element,
        parameters,
        vocab_size: config.vocab_size as f64,
        flops_per_token: forward,
        flops,
        ..Size::default()
    };
    Estimate {
        outputs: [(String::new(), size)].into(),
        flops,
        memory: memory(params.recompute),
        recomputed: recomputed(params.recompute),
        charged: matched.charge(),
        // A choice that would make no difference is none.
        choices: Some(choice)
            .filter(|choice| (choice.memory / memory(params.recompute) - 1.0).abs() > 0.05)
            .into_iter()
            .collect(),
        // A checkpoint is the weights and two moments; the last one goes when the next one stands.
        scratch: 2.0 * 3.0 * element * parameters,
    }
}
