//! OPT: learned positions that begin two rows into their table, layer norms, ReLU.

use super::activation::activation;
use super::{FamilyFile, Json, layered};
use crate::Result;
use crate::model::config::{Activation, Biases, Family, ModelConfig, Positions};
use crate::model::names::{Names, Piece};
use crate::model::spec::ModelSpec;
use serde_json::{Value, json};

pub(crate) const OPT: FamilyFile = FamilyFile {
    model_type: "opt",
    read,
    write,
    names,
};

/// Rows of the table of positions before that of position 0.
const OFFSET: usize = 2;

fn read(json: &Json) -> Result<ModelConfig> {
    json.only("do_layer_norm_before", true)?;
    json.only("_remove_final_layer_norm", false)?;
    json.only("layer_norm_elementwise_affine", true)?;
    let hidden_size = json.size("hidden_size")?;
    if json
        .find_size("word_embed_proj_dim")?
        .is_some_and(|size| size != hidden_size)
    {
        return Err(json.unsupported("word_embed_proj_dim", "embeddings as wide as `hidden_size`"));
    }
    let sizes = layered::Sizes {
        hidden_size,
        layers: json.size("num_hidden_layers")?,
        heads: json.size("num_attention_heads")?,
        intermediate_size: json.size("ffn_dim")?,
        context: json.size("max_position_embeddings")?,
    };
    let base = layered::read(json, sizes)?;
    let biased = json.flag_or("enable_bias", true)?;
    // The scale that is added to a variance stands nowhere in its config.json: it is that of all.
    Ok(ModelConfig {
        family: Family::Opt,
        positions: Positions::Learned { offset: OFFSET },
        activation: activation(json, "activation_function", Activation::Relu)?,
        biases: Biases {
            qkv: biased,
            output: biased,
            feed_forward: biased,
            ..base.biases
        },
        initializer_range: json.number_or("init_std", 0.02)?,
        ..base
    })
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    json!({
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": vocab_size,
        "hidden_size": spec.hidden_size,
        "word_embed_proj_dim": spec.hidden_size,
        "num_hidden_layers": spec.num_hidden_layers,
        "num_attention_heads": spec.num_attention_heads,
        "ffn_dim": spec.plain_size(),
        "max_position_embeddings": spec.max_position_embeddings,
        "do_layer_norm_before": true,
        "enable_bias": true,
        "tie_word_embeddings": spec.tie_word_embeddings,
        "init_std": spec.initializer_range,
        "activation_function": "relu",
        "bos_token_id": null,
        "eos_token_id": null,
        // transformers takes the row of this token out of training, and 1 where nothing is said.
        "pad_token_id": null,
        "torch_dtype": "float32",
    })
}

fn names(config: &ModelConfig) -> Names {
    let (d, queries) = (config.hidden_size, config.queries_size());
    let parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
    Names {
        embedding: "model.decoder.embed_tokens",
        positions: Some("model.decoder.embed_positions"),
        embedding_norm: None,
        layers: "model.decoder.layers",
        attention_norm: "self_attn_layer_norm",
        qkv: parts.map(|module| Piece::new(module, queries)).to_vec(),
        q_norm: "",
        k_norm: "",
        output: Piece::new("self_attn.out_proj", d),
        feed_forward_norm: "final_layer_norm",
        gate_up: vec![Piece::new("fc1", config.intermediate_size)],
        down: Piece::new("fc2", d),
        norm: "model.decoder.final_layer_norm",
        head: "lm_head",
    }
}
