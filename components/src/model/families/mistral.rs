//! Mistral: llama with a window.

use super::{FamilyFile, Json, llama};
use crate::Result;
use crate::model::config::{Biases, Family, ModelConfig};
use crate::model::spec::ModelSpec;
use serde_json::Value;

pub(crate) const MISTRAL: FamilyFile = FamilyFile {
    model_type: "mistral",
    read,
    write,
    names: llama::names,
};

/// The window where config.json has no key for it; null means none.
const WINDOW: usize = 4096;

fn read(json: &Json) -> Result<ModelConfig> {
    let base = llama::read(json)?;
    let given = json.find_size("sliding_window")?;
    let window = if json.0.contains_key("sliding_window") {
        given
    } else {
        Some(WINDOW)
    };
    Ok(ModelConfig {
        family: Family::Mistral,
        windows: vec![window; base.windows.len()],
        biases: Biases::default(),
        ..base
    })
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    let mut json = llama::write(spec, vocab_size);
    json["architectures"] = ["MistralForCausalLM"].into();
    json["model_type"] = "mistral".into();
    json["sliding_window"] = Value::Null;
    json
}
