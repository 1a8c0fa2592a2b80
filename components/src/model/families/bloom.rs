//! BLOOM: ALiBi, a normed embedding, queries, keys and values of each head stored together.

use super::{FamilyFile, Json, layered};
use crate::Result;
use crate::model::config::{Family, ModelConfig, Positions};
use crate::model::names::{Layout, Names, Piece};
use crate::model::spec::ModelSpec;
use serde_json::{Value, json};

pub(crate) const BLOOM: FamilyFile = FamilyFile {
    model_type: "bloom",
    read,
    write,
    names,
};

/// What BLOOM was trained on. ALiBi has no end, and not every config.json says one.
const TRAINED_LENGTH: usize = 2048;

fn read(json: &Json) -> Result<ModelConfig> {
    json.only("apply_residual_connection_post_layernorm", false)?;
    let hidden_size = json.size_of(&["n_embed", "hidden_size"])?;
    let sizes = layered::Sizes {
        hidden_size,
        layers: json.size_of(&["n_layer", "num_hidden_layers"])?,
        heads: json.size_of(&["n_head", "num_attention_heads"])?,
        // `n_inner`, where it stands, is read by nobody.
        intermediate_size: hidden_size.saturating_mul(4),
        context: json.find_size("seq_length")?.unwrap_or(TRAINED_LENGTH),
    };
    Ok(ModelConfig {
        family: Family::Bloom,
        norm_eps: json.number_or("layer_norm_epsilon", 1e-5)?,
        positions: Positions::Alibi,
        embedding_norm: true,
        ..layered::read(json, sizes)?
    })
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "vocab_size": vocab_size,
        "hidden_size": spec.hidden_size,
        "n_layer": spec.num_hidden_layers,
        "n_head": spec.num_attention_heads,
        "seq_length": spec.max_position_embeddings,
        "layer_norm_epsilon": spec.rms_norm_eps,
        "tie_word_embeddings": spec.tie_word_embeddings,
        "initializer_range": spec.initializer_range,
        "bos_token_id": null,
        "eos_token_id": null,
        "torch_dtype": "float32",
    })
}

fn names(config: &ModelConfig) -> Names {
    let by_head = Layout::ByHead {
        heads: config.num_attention_heads,
    };
    Names {
        embedding: "transformer.word_embeddings",
        positions: None,
        embedding_norm: Some("transformer.word_embeddings_layernorm"),
        layers: "transformer.h",
        attention_norm: "input_layernorm",
        qkv: vec![Piece::new("self_attention.query_key_value", 3 * config.queries_size()).lying(by_head)],
        q_norm: "",
        k_norm: "",
        output: Piece::new("self_attention.dense", config.hidden_size),
        feed_forward_norm: "post_attention_layernorm",
        gate_up: vec![Piece::new("mlp.dense_h_to_4h", config.intermediate_size)],
        down: Piece::new("mlp.dense_4h_to_h", config.hidden_size),
        norm: "transformer.ln_f",
        head: "lm_head",
    }
}
