//! GPT-J: interleaved rotary positions on part of a head, attention and feed-forward side by side behind one norm, a head
//! with a bias.

use super::gpt2::read_sizes;
use super::rope::plain;
use super::{FamilyFile, Json};
use crate::Result;
use crate::model::config::{Biases, Family, ModelConfig, Positions};
use crate::model::names::{Names, Piece};
use crate::model::spec::ModelSpec;
use lyceum_kernels::Pairing;
use serde_json::{Value, json};

pub(crate) const GPTJ: FamilyFile = FamilyFile {
    model_type: "gptj",
    read,
    write,
    names,
};

/// Base of the rotary angles; its config.json has no key for it.
const THETA: f64 = 10_000.0;

fn read(json: &Json) -> Result<ModelConfig> {
    let rotary_dim = match (json.find_size("rotary_dim")?, json.0.contains_key("rotary_dim")) {
        (Some(dims), _) => dims,
        (None, false) => 64,
        (None, true) => return Err(json.unsupported("rotary_dim", "a number of elements of a head")),
    };
    Ok(ModelConfig {
        family: Family::Gptj,
        positions: Positions::Rotary(plain(rotary_dim, THETA, Pairing::Interleaved)?),
        parallel: true,
        shared_norm: true,
        biases: Biases {
            qkv: false,
            output: false,
            feed_forward: true,
            head: true,
        },
        tie_word_embeddings: json.flag_or("tie_word_embeddings", false)?,
        ..read_sizes(json)?
    })
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["GPTJForCausalLM"],
        "model_type": "gptj",
        "vocab_size": vocab_size,
        "n_embd": spec.hidden_size,
        "n_layer": spec.num_hidden_layers,
        "n_head": spec.num_attention_heads,
        "n_inner": spec.plain_size(),
        "n_positions": spec.max_position_embeddings,
        // GPT-J's own share of its heads of 256, which are all of a narrow one.
        "rotary_dim": (spec.hidden_size / spec.num_attention_heads).min(64),
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
    let (d, queries) = (config.hidden_size, config.queries_size());
    Names {
        embedding: "transformer.wte",
        positions: None,
        embedding_norm: None,
        layers: "transformer.h",
        attention_norm: "ln_1",
        qkv: ["attn.q_proj", "attn.k_proj", "attn.v_proj"]
            .map(|module| Piece::new(module, queries))
            .to_vec(),
        q_norm: "",
        k_norm: "",
        output: Piece::new("attn.out_proj", d),
        feed_forward_norm: "",
        gate_up: vec![Piece::new("mlp.fc_in", config.intermediate_size)],
        down: Piece::new("mlp.fc_out", d),
        norm: "transformer.ln_f",
        head: "lm_head",
    }
}
