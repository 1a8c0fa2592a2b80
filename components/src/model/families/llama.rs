//! Llama 2 and 3: RMSNorm, rotary positions, SwiGLU, grouped key/value heads.

use super::rope::rotary;
use super::{FamilyFile, Json};
use crate::Result;
use crate::model::config::{Activation, Biases, Family, ModelConfig, Norm, Positions};
use crate::model::names::{Names, Piece};
use crate::model::spec::ModelSpec;
use lyceum_kernels::Pairing;
use serde_json::{Map, Value, json};

pub(crate) const LLAMA: FamilyFile = FamilyFile {
    model_type: "llama",
    read,
    write,
    names,
};

/// What llama and the families made after it have in common; `family` and choices are set by each.
pub(super) fn read(json: &Json) -> Result<ModelConfig> {
    let (hidden_size, heads) = (json.size("hidden_size")?, json.size("num_attention_heads")?);
    let head_dim = json.find_size("head_dim")?;
    let head_dim = head_dim.unwrap_or_else(|| hidden_size.checked_div(heads).unwrap_or_default());
    let layers = json.size("num_hidden_layers")?;
    if json.find_text("hidden_act")?.is_some_and(|name| name != "silu") {
        return Err(json.unsupported("hidden_act", "\"silu\""));
    }
    let attention_bias = json.flag_or("attention_bias", false)?;
    Ok(ModelConfig {
        family: Family::Llama,
        vocab_size: json.size("vocab_size")?,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: json.find_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        intermediate_size: json.size("intermediate_size")?,
        max_position_embeddings: json.size("max_position_embeddings")?,
        norm: Norm::Rms,
        norm_eps: json.number_or("rms_norm_eps", 1e-6)?,
        positions: Positions::Rotary(rotary(json, head_dim, 10_000.0, Pairing::Halves)?),
        // A hostile number of layers is refused before it is believed.
        windows: vec![None; layers.min(1024)],
        parallel: false,
        shared_norm: false,
        activation: Activation::SwiGlu,
        biases: Biases {
            qkv: attention_bias,
            output: attention_bias,
            feed_forward: json.flag_or("mlp_bias", false)?,
            head: false,
        },
        qk_norm: false,
        embedding_norm: false,
        tie_word_embeddings: json.flag_or("tie_word_embeddings", false)?,
        initializer_range: json.number_or("initializer_range", 0.02)?,
        json: Map::new(),
    })
}

pub(super) fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": spec.hidden_size,
        "num_hidden_layers": spec.num_hidden_layers,
        "num_attention_heads": spec.num_attention_heads,
        "num_key_value_heads": spec.groups(),
        "intermediate_size": spec.gated_size(),
        "max_position_embeddings": spec.max_position_embeddings,
        "rope_theta": spec.rope_theta,
        "rms_norm_eps": spec.rms_norm_eps,
        "tie_word_embeddings": spec.tie_word_embeddings,
        "initializer_range": spec.initializer_range,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": null,
        "eos_token_id": null,
        "torch_dtype": "float32",
    })
}

pub(super) fn names(config: &ModelConfig) -> Names {
    let (queries, keys) = (
        config.queries_size(),
        config.num_key_value_heads * config.head_dim,
    );
    let inner = config.intermediate_size;
    Names {
        embedding: "model.embed_tokens",
        positions: None,
        embedding_norm: None,
        layers: "model.layers",
        attention_norm: "input_layernorm",
        qkv: vec![
            Piece::new("self_attn.q_proj", queries),
            Piece::new("self_attn.k_proj", keys),
            Piece::new("self_attn.v_proj", keys),
        ],
        q_norm: "self_attn.q_norm",
        k_norm: "self_attn.k_norm",
        output: Piece::new("self_attn.o_proj", config.hidden_size),
        feed_forward_norm: "post_attention_layernorm",
        gate_up: vec![
            Piece::new("mlp.gate_proj", inner),
            Piece::new("mlp.up_proj", inner),
        ],
        down: Piece::new("mlp.down_proj", config.hidden_size),
        norm: "model.norm",
        head: "lm_head",
    }
}
