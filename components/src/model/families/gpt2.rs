//! GPT-2: learned positions, layer norms, a feed-forward layer without a gate, weights that lie inputs-first.

use super::activation::activation;
use super::{FamilyFile, Json, layered};
use crate::Result;
use crate::model::config::{Activation, ModelConfig};
use crate::model::names::{Layout, Names, Piece};
use crate::model::spec::ModelSpec;
use lyceum_kernels::Gelu;
use serde_json::{Value, json};

pub(crate) const GPT2: FamilyFile = FamilyFile {
    model_type: "gpt2",
    read,
    write,
    names,
};

/// What GPT-2, GPT-J and their like have in common, with sizes by names of their own.
pub(super) fn read_sizes(json: &Json) -> Result<ModelConfig> {
    let hidden_size = json.size_of(&["n_embd", "hidden_size"])?;
    let inner = json.find_size("n_inner")?;
    let sizes = layered::Sizes {
        hidden_size,
        layers: json.size_of(&["n_layer", "num_hidden_layers"])?,
        heads: json.size_of(&["n_head", "num_attention_heads"])?,
        intermediate_size: inner.unwrap_or(hidden_size.saturating_mul(4)),
        context: json.size_of(&["n_positions", "max_position_embeddings"])?,
    };
    Ok(ModelConfig {
        norm_eps: json.number_or("layer_norm_epsilon", 1e-5)?,
        activation: activation(json, "activation_function", Activation::Gelu(Gelu::Tanh))?,
        ..layered::read(json, sizes)?
    })
}

fn read(json: &Json) -> Result<ModelConfig> {
    json.only("scale_attn_weights", true)?;
    json.only("scale_attn_by_inverse_layer_idx", false)?;
    json.only("add_cross_attention", false)?;
    read_sizes(json)
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocab_size,
        "n_embd": spec.hidden_size,
        "n_layer": spec.num_hidden_layers,
        "n_head": spec.num_attention_heads,
        "n_inner": spec.plain_size(),
        "n_positions": spec.max_position_embeddings,
        "layer_norm_epsilon": spec.rms_norm_eps,
        "tie_word_embeddings": spec.tie_word_embeddings,
        "initializer_range": spec.initializer_range,
        "activation_function": "gelu_new",
        "bos_token_id": null,
        "eos_token_id": null,
        "torch_dtype": "float32",
    })
}

fn names(config: &ModelConfig) -> Names {
    let piece = |module, outputs| Piece::new(module, outputs).lying(Layout::InputsFirst);
    Names {
        embedding: "transformer.wte",
        positions: Some("transformer.wpe"),
        embedding_norm: None,
        layers: "transformer.h",
        attention_norm: "ln_1",
        qkv: vec![piece("attn.c_attn", 3 * config.queries_size())],
        q_norm: "",
        k_norm: "",
        output: piece("attn.c_proj", config.hidden_size),
        feed_forward_norm: "ln_2",
        gate_up: vec![piece("mlp.c_fc", config.intermediate_size)],
        down: piece("mlp.c_proj", config.hidden_size),
        norm: "transformer.ln_f",
        head: "lm_head",
    }
}
