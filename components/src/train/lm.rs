//! `train.lm`: trains a language model.

use super::adapter::train;
use super::budget::{self, BlockCost};
use super::curve;
use super::memory::peak_memory;
use super::optimizer::{AdamWSettings, Optimizer};
use super::params::{Budget, LmParams, ModelChoice};
use super::recompute::Recompute;
use super::schedule::Schedule;
use super::source::PackedTokens;
use super::strategy::Composition;
use super::weighting::ItemWeights;
use crate::component::{Choice, Problem, main_output};
use crate::flops::{layers_flops, training_flops};
use crate::model::{self, Decoder, ModelConfig, ModelDetails, save};
use crate::tokens::{Blocks, check_block};
use crate::{Component, Context, Error, Estimate, Kind, Output, Result, Seeding, Size, Sizes};
use burn::tensor::Device;
use std::path::PathBuf;
use std::sync::Arc;

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
        estimate(params, sizes)
    }

    fn run(params: LmParams, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let blocks = Blocks::open(&data, context)?;
        let device = context.device.clone().autodiff();
        let start = starting_model(&params, &blocks, context, &device)?;
        check_data(&blocks, &start.config)?;
        let evaluation = evaluation(&params, &blocks, &start.config, context)?;
        let optim = &params.optim;
        let mean = BlockCost::mean(&blocks, &start.config);
        let matched = budget::matched(&params, context)?;
        let blocks_a_step = (optim.batch_size * optim.accumulate) as f64;
        let total = budget::steps(&optim.budget, mean, blocks_a_step, matched.as_ref())?;
        let source = PackedTokens::new(blocks, optim.batch_size, context.stream("data order"))?;
        let tokenizer = source.blocks().details().tokenizer.clone();
        let context_length = source.blocks().details().context;
        let composition = Composition {
            source: Box::new(source),
            terms: Arc::new(
                params
                    .objective
                    .iter()
                    .map(super::terms::TermParams::build)
                    .collect(),
            ),
            weighting: Box::new(ItemWeights),
            config: start.config.clone(),
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
        };
        let settings = AdamWSettings {
            beta1: optim.beta1,
            beta2: optim.beta2,
            eps: optim.eps,
            weight_decay: optim.weight_decay,
            clip_norm: optim.clip_norm,
        };
        let (decoder, outcome) = train(composition, context, start.decoder, Optimizer::new(settings))?;
        let details = ModelDetails {
            parameters: start.config.parameters() as u64,
            vocab_size: start.config.vocab_size,
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
        save(&folder, &decoder, &start.config, &details, &start.tokenizer)?;
        let flops = outcome.position.flops;
        context.services.cost(outcome.position.tokens, flops);
        let share = recomputed_share(&start.config, mean.tokens as usize, params.recompute);
        if share > 0.0 {
            context.services.measure("recomputed_flops", share * flops);
        }
        Ok(())
    }
}

/// The model a training starts from.
struct Start {
    config: ModelConfig,
    decoder: Decoder,
    tokens: u64,
    flops: f64,
    /// The folder whose tokenizer, and what goes with it, the model keeps.
    tokenizer: PathBuf,
}

fn starting_model(params: &LmParams, blocks: &Blocks, context: &Context, device: &Device) -> Result<Start> {
    let tokens = blocks.details();
    match &params.model {
        ModelChoice::Fresh(spec) => {
            let mut config = spec.config(tokens.vocab_size as usize);
            config.set_eos(tokens.eos_id);
            let decoder = Decoder::init(&config, context.precision, &context.stream("weights"), device);
            Ok(Start {
                config,
                decoder,
                tokens: 0,
                flops: 0.0,
                tokenizer: blocks.source().path.clone(),
            })
        }
        ModelChoice::Continue(reference) => {
            let artifact = context.open(reference)?;
            let loaded = model::load(&artifact, device, context.precision)?;
            if loaded.details.tokenizer != tokens.tokenizer {
                let message = format!(
                    "model `{}` and the tokens were made with different tokenizers",
                    artifact.label
                );
                return Err(Error::data("tokenizer_mismatch", message)
                    .hint("pack the data with the model's tokenizer"));
            }
            let (tokens, flops) = (loaded.details.tokens_trained, loaded.details.flops);
            Ok(Start {
                config: loaded.config,
                decoder: loaded.decoder,
                tokens,
                flops,
                tokenizer: artifact.path,
            })
        }
    }
}

/// Finds before any training what would stop it: `empty_input`, `context_too_long`, and blocks that have nothing to predict
/// (`too_short`, `empty_loss_mask`).
fn check_data(blocks: &Blocks, config: &ModelConfig) -> Result<()> {
    let source = &blocks.source().label;
    if blocks.is_empty() {
        return Err(Error::data("empty_input", format!("`{source}` has no blocks")));
    }
    let (longest, most) = (blocks.details().context, config.max_position_embeddings);
    if longest > most {
        let message =
            format!("blocks of {longest} tokens (`{source}`) are longer than the model's {most} positions");
        return Err(Error::data("context_too_long", message)
            .hint("pack with a smaller `context`, or raise `model.max_position_embeddings`"));
    }
    let pad = blocks.details().eos_id;
    (0..blocks.len()).try_for_each(|position| check_block(&blocks.get(position), pad))
}

fn evaluation(
    params: &LmParams,
    blocks: &Blocks,
    config: &ModelConfig,
    context: &Context,
) -> Result<Option<(Blocks, u64)>> {
    let Some(evaluation) = &params.eval else {
        return Ok(None);
    };
    let other = Blocks::open(&context.open(&evaluation.data)?, context)?;
    if other.details().tokenizer != blocks.details().tokenizer {
        let message = "the tokens to train on and those to evaluate on were made with different tokenizers";
        return Err(Error::data("tokenizer_mismatch", message));
    }
    check_data(&other, config)?;
    Ok(Some((other, evaluation.every)))
}

/// FLOPs that are done again, as a share of the training's.
fn recomputed_share(config: &ModelConfig, width: usize, recompute: Recompute) -> f64 {
    match recompute {
        Recompute::None => 0.0,
        Recompute::Block => layers_flops(config, width) / training_flops(config, width).max(1.0),
    }
}

/// FLOPs, tokens and memory as far as the sizes of the inputs tell.
fn estimate(params: &LmParams, sizes: &Sizes) -> Estimate {
    let data = sizes.of(params.data.as_str());
    let config = match &params.model {
        ModelChoice::Fresh(spec) => spec.config(data.vocab_size as usize),
        ModelChoice::Continue(_) => return Estimate::default(),
    };
    let optim = &params.optim;
    let width = if data.items > 0.0 {
        data.tokens / data.items
    } else {
        0.0
    };
    let step_tokens = width * (optim.batch_size * optim.accumulate) as f64;
    let forward = sizes.convention.forward(&config, width as usize);
    let step_flops = 3.0 * forward * (optim.batch_size * optim.accumulate) as f64;
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
        flops_per_token: if width > 0.0 {
            forward / width
        } else {
            0.0
        },
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
