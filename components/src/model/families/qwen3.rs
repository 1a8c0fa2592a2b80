//! Qwen 3: llama with queries and keys normed head by head, and heads of their own width.

use super::qwen2::windows;
use super::{FamilyFile, Json, llama};
use crate::Result;
use crate::model::config::{Family, ModelConfig};
use crate::model::spec::ModelSpec;
use serde_json::Value;

pub(crate) const QWEN3: FamilyFile = FamilyFile {
    model_type: "qwen3",
    read,
    write,
    names: llama::names,
};

fn read(json: &Json) -> Result<ModelConfig> {
    // Without it transformers takes 128, whatever the other sizes are; no file is known that leaves it out.
    json.size("head_dim")?;
    let base = llama::read(json)?;
    let mut biases = base.biases;
    biases.feed_forward = false;
    Ok(ModelConfig {
        family: Family::Qwen3,
        windows: windows(json, base.windows.len())?,
        biases,
        qk_norm: true,
        ..base
    })
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    let mut json = llama::write(spec, vocab_size);
    json["architectures"] = ["Qwen3ForCausalLM"].into();
    json["model_type"] = "qwen3".into();
    json["head_dim"] = (spec.hidden_size / spec.num_attention_heads).into();
    json["use_sliding_window"] = false.into();
    json
}
