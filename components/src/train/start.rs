//! What a training starts from, and what would stop it before it begins.

use super::params::{LmParams, ModelChoice};
use crate::model::{self, Decoder, ModelConfig};
use crate::tokens::{Blocks, check_block};
use crate::{Context, Error, Result};
use burn::tensor::Device;
use std::path::PathBuf;

/// The model a training starts from.
pub(super) struct Start {
    pub(super) config: ModelConfig,
    pub(super) decoder: Decoder,
    /// Tokens and FLOPs of earlier trainings.
    pub(super) tokens: u64,
    pub(super) flops: f64,
    /// The folder whose tokenizer, and what goes with it, the model keeps.
    pub(super) tokenizer: PathBuf,
}

pub(super) fn starting_model(
    params: &LmParams,
    blocks: &Blocks,
    context: &Context,
    device: &Device,
) -> Result<Start> {
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
pub(super) fn check_data(blocks: &Blocks, config: &ModelConfig) -> Result<()> {
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

pub(super) fn evaluation(
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
