//! One small file a family: what its config.json means, how a fresh one is written, and what its weights are called.

mod json;
mod llama;
mod rope;

pub(crate) use json::Json;
pub(crate) use llama::LLAMA;

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
