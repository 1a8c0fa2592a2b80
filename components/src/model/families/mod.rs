//! One small file a family: what its config.json means, how a fresh one is written, and what its weights are called.

mod activation;
mod bloom;
mod gpt2;
mod gpt_neox;
mod gptj;
mod json;
mod layered;
mod llama;
mod mistral;
mod opt;
mod qwen2;
mod qwen3;
mod rope;

pub(crate) use bloom::BLOOM;
pub(crate) use gpt_neox::GPT_NEOX;
pub(crate) use gpt2::GPT2;
pub(crate) use gptj::GPTJ;
pub(crate) use json::Json;
pub(crate) use llama::LLAMA;
pub(crate) use mistral::MISTRAL;
pub(crate) use opt::OPT;
pub(crate) use qwen2::QWEN2;
pub(crate) use qwen3::QWEN3;

use super::config::ModelConfig;
use super::names::Names;
use super::spec::ModelSpec;
use crate::Result;
use serde_json::Value;

/// What is particular to a family.
#[derive(Debug)]
pub(crate) struct FamilyFile {
    /// The `model_type` of config.json.
    pub(crate) model_type: &'static str,
    /// Understands a config.json. Its ranges are checked afterwards by [`ModelConfig::check`].
    pub(crate) read: fn(&Json) -> Result<ModelConfig>,
    /// The config.json of a model to be made over a vocabulary.
    pub(crate) write: fn(&ModelSpec, usize) -> Value,
    /// What its weights are called.
    pub(crate) names: fn(&ModelConfig) -> Names,
}
