//! GPT-NeoX and Pythia: rotary positions on part of a head, attention and feed-forward side by side behind norms of their
//! own, queries, keys and values of each head stored together.

use super::activation::activation;
use super::rope::rotary;
use super::{FamilyFile, Json, layered};
use crate::model::config::{Activation, Biases, Family, ModelConfig, Positions};
use crate::model::names::{Layout, Names, Piece};
use crate::model::spec::ModelSpec;
use crate::{Error, Result};
use lyceum_kernels::{Gelu, Pairing};
use serde_json::{Value, json};

pub(crate) const GPT_NEOX: FamilyFile = FamilyFile {
    model_type: "gpt_neox",
    read,
    write,
    names,
};

/// Share of a head that is rotated where config.json does not say it.
const ROTARY_SHARE: f64 = 0.25;

fn read(json: &Json) -> Result<ModelConfig> {
    let sizes = layered::Sizes {
        hidden_size: json.size("hidden_size")?,
        layers: json.size("num_hidden_layers")?,
        heads: json.size("num_attention_heads")?,
        intermediate_size: json.size("intermediate_size")?,
        context: json.size("max_position_embeddings")?,
    };
    let base = layered::read(json, sizes)?;
    let biased = json.flag_or("attention_bias", true)?;
    let theta = json.number_or("rotary_emb_base", 10_000.0)?;
    let rotated = rotated(json, base.head_dim)?;
    Ok(ModelConfig {
        family: Family::GptNeox,
        norm_eps: json.number_or("layer_norm_eps", 1e-5)?,
        positions: Positions::Rotary(rotary(json, rotated, theta, Pairing::Halves)?),
        parallel: json.flag_or("use_parallel_residual", true)?,
        activation: activation(json, "hidden_act", Activation::Gelu(Gelu::Erf))?,
        biases: Biases {
            qkv: biased,
            output: biased,
            ..base.biases
        },
        tie_word_embeddings: json.flag_or("tie_word_embeddings", false)?,
        ..base
    })
}

/// How many elements of a head are rotated: the new spelling, or the old.
fn rotated(json: &Json, head_dim: usize) -> Result<usize> {
    let mut share = json.find_number("rotary_pct")?;
    if let Some(table) = json.find_table("rope_parameters")? {
        share = table.find_number("partial_rotary_factor")?.or(share);
    }
    let share = share.unwrap_or(ROTARY_SHARE);
    if share > 0.0 && share <= 1.0 {
        return Ok((head_dim as f64 * share) as usize);
    }
    let message =
        format!("the share of a head that is rotated is {share}; expected more than 0 and at most 1");
    Err(Error::data("bad_config", message))
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": vocab_size,
        "hidden_size": spec.hidden_size,
        "num_hidden_layers": spec.num_hidden_layers,
        "num_attention_heads": spec.num_attention_heads,
        "intermediate_size": spec.plain_size(),
        "max_position_embeddings": spec.max_position_embeddings,
        "rotary_emb_base": spec.rope_theta,
        // A quarter of a head is not always an even number of elements.
        "rotary_pct": 1.0,
        "layer_norm_eps": spec.rms_norm_eps,
        "tie_word_embeddings": spec.tie_word_embeddings,
        "initializer_range": spec.initializer_range,
        "use_parallel_residual": true,
        "hidden_act": "gelu",
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
        embedding: "gpt_neox.embed_in",
        positions: None,
        embedding_norm: None,
        layers: "gpt_neox.layers",
        attention_norm: "input_layernorm",
        qkv: vec![Piece::new("attention.query_key_value", 3 * config.queries_size()).lying(by_head)],
        q_norm: "",
        k_norm: "",
        output: Piece::new("attention.dense", config.hidden_size),
        feed_forward_norm: "post_attention_layernorm",
        gate_up: vec![Piece::new("mlp.dense_h_to_4h", config.intermediate_size)],
        down: Piece::new("mlp.dense_4h_to_h", config.hidden_size),
        norm: "gpt_neox.final_layer_norm",
        head: "embed_out",
    }
}
