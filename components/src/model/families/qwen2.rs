//! Qwen 2 and 2.5: llama with biases on queries, keys and values, and a window on some layers.

use super::{FamilyFile, Json, llama};
use crate::model::config::{Biases, Family, ModelConfig};
use crate::model::spec::ModelSpec;
use crate::{Error, Result};
use serde_json::Value;

pub(crate) const QWEN2: FamilyFile = FamilyFile {
    model_type: "qwen2",
    read,
    write,
    names: llama::names,
};

fn read(json: &Json) -> Result<ModelConfig> {
    let base = llama::read(json)?;
    Ok(ModelConfig {
        family: Family::Qwen2,
        windows: windows(json, base.windows.len())?,
        biases: Biases {
            qkv: true,
            ..Biases::default()
        },
        ..base
    })
}

/// The window of each layer: as `layer_types` says, else from layer `max_window_layers` on.
pub(super) fn windows(json: &Json, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = json.find_size("sliding_window")?;
    let window = if json.0.contains_key("sliding_window") {
        window
    } else {
        Some(4096)
    };
    let used = json.flag_or("use_sliding_window", false)?;
    let window = window.filter(|_| used);
    let Some(kinds) = json.find_list("layer_types")? else {
        let first = json.find_size("max_window_layers")?.unwrap_or(28);
        return Ok((0..layers)
            .map(|layer| window.filter(|_| layer >= first))
            .collect());
    };
    let of_kind = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(None),
        Some("sliding_attention") if window.is_some() => Ok(window),
        Some("sliding_attention") => {
            let message = "`layer_types` has \"sliding_attention\", but `use_sliding_window` is not true with a \
                           `sliding_window`";
            Err(Error::data("bad_config", message))
        }
        _ => Err(json.unsupported("layer_types", "full_attention, sliding_attention")),
    };
    kinds.iter().map(of_kind).collect()
}

fn write(spec: &ModelSpec, vocab_size: usize) -> Value {
    let mut json = llama::write(spec, vocab_size);
    json["architectures"] = ["Qwen2ForCausalLM"].into();
    json["model_type"] = "qwen2".into();
    json["use_sliding_window"] = false.into();
    json
}
