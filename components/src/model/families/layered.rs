//! What the families with layer norms have in common: GPT-2 and those made after it.

use super::Json;
use crate::Result;
use crate::model::config::{Activation, Biases, Family, ModelConfig, Norm, Positions};
use lyceum_kernels::Gelu;
use serde_json::Map;

/// Sizes, which each family calls by names of its own.
pub(super) struct Sizes {
    pub(super) hidden_size: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) intermediate_size: usize,
    /// Longest sequence, in tokens.
    pub(super) context: usize,
}

/// Keys and values for every head, biases on every product but the head's, GELU by its tanh form, one part after the
/// other, a tied head. The family, its positions and what it does otherwise are set by each.
pub(super) fn read(json: &Json, sizes: Sizes) -> Result<ModelConfig> {
    let Sizes {
        hidden_size,
        layers,
        heads,
        intermediate_size,
        context,
    } = sizes;
    Ok(ModelConfig {
        family: Family::Gpt2,
        vocab_size: json.size("vocab_size")?,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: hidden_size.checked_div(heads).unwrap_or_default(),
        intermediate_size,
        max_position_embeddings: context,
        norm: Norm::Layer,
        norm_eps: 1e-5,
        positions: Positions::Learned { offset: 0 },
        // A hostile number of layers is refused before it is believed.
        windows: vec![None; layers.min(1024)],
        parallel: false,
        shared_norm: false,
        activation: Activation::Gelu(Gelu::Tanh),
        biases: Biases {
            qkv: true,
            output: true,
            feed_forward: true,
            head: false,
        },
        qk_norm: false,
        embedding_norm: false,
        tie_word_embeddings: json.flag_or("tie_word_embeddings", true)?,
        initializer_range: json.number_or("initializer_range", 0.02)?,
        json: Map::new(),
    })
}
