//! A model's folder as Hugging Face lays it out: what stands in it besides the weights.

use super::config::ModelConfig;
use super::stored::within;
use crate::artifact::{LARGEST_TOKENIZER, parse_tokenizer, read_json};
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tokenizers::Tokenizer;

/// The configuration's file.
pub(crate) const CONFIG: &str = "config.json";
/// The tokenizer's file.
const TOKENIZER: &str = "tokenizer.json";
/// What may stand beside them and goes along with the model.
pub(crate) const COMPANIONS: [&str; 5] = [
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];
/// Longer ones are no configurations; chat templates have some ten thousand bytes.
const LONGEST: u64 = 16 << 20;
/// What is read of a model besides its weights, each with the most bytes that are taken: what a download has to bring.
pub const READ_BESIDES_WEIGHTS: [(&str, u64); 5] = [
    (CONFIG, LONGEST),
    ("generation_config.json", LONGEST),
    (TOKENIZER, LARGEST_TOKENIZER),
    ("tokenizer_config.json", LONGEST),
    ("chat_template.jinja", LONGEST),
];

/// The bytes of a file of the folder that is read whole. `too_large`.
fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let file = within(folder, name)?;
    let size = fs::metadata(&file)
        .map_err(Error::io("cannot read", &file))?
        .len();
    if size > LONGEST {
        let message = format!("it has {size} bytes; expected at most {LONGEST}");
        return Err(Error::data("bad_config", message).in_file(&file));
    }
    fs::read(&file).map_err(Error::io("cannot read", &file))
}

/// The configuration. `no_config`, `bad_config`, `unsupported_model`, `unsupported_config`, naming the file.
pub(crate) fn config(folder: &Path) -> Result<ModelConfig> {
    let file = folder.join(CONFIG);
    if !file.exists() {
        return Err(Error::data("no_config", format!("there is no {CONFIG}"))
            .in_file(folder)
            .hint("name a folder as transformers' `save_pretrained` leaves it"));
    }
    let text = read(folder, CONFIG)?;
    let json: Value = serde_json::from_slice(&text)
        .map_err(|error| Error::data("bad_config", error.to_string()).in_file(&file))?;
    ModelConfig::from_json(json).map_err(|error| error.in_file(&file))
}

/// The tokenizer and the bytes it was read from. `no_tokenizer`, `bad_tokenizer`, naming the file.
pub(crate) fn tokenizer(folder: &Path) -> Result<(Tokenizer, Vec<u8>)> {
    if !folder.join(TOKENIZER).exists() {
        return Err(Error::data("no_tokenizer", format!("there is no {TOKENIZER}")).in_file(folder).hint(
            "make it where transformers is: python -c \"import sys; from transformers import AutoTokenizer as T; \
             T.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])\" FOLDER",
        ));
    }
    let file = within(folder, TOKENIZER)?;
    let json = read_json(&file)?;
    let tokenizer = parse_tokenizer(&json).map_err(|error| error.in_file(&file))?;
    Ok((tokenizer, json))
}

/// A companion as JSON, if it is there. `bad_config`.
pub(crate) fn companion(folder: &Path, name: &str) -> Result<Option<Value>> {
    let file = folder.join(name);
    if !file.exists() {
        return Ok(None);
    }
    let text = read(folder, name)?;
    let json = serde_json::from_slice(&text);
    json.map(Some)
        .map_err(|error| Error::data("bad_config", error.to_string()).in_file(&file))
}

/// A companion as text, if it is there.
pub(crate) fn companion_text(folder: &Path, name: &str) -> Result<Option<String>> {
    let file = folder.join(name);
    if !file.exists() {
        return Ok(None);
    }
    String::from_utf8(read(folder, name)?)
        .map(Some)
        .map_err(|_| Error::data("invalid_utf8", "not UTF-8").in_file(&file))
}

/// Ids of `key` in generation_config.json, else in config.json, else of the token that tokenizer_config.json calls so:
/// one, several or none.
pub(crate) fn special_ids(
    folder: &Path,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    what: &str,
) -> Result<Vec<u32>> {
    let key = format!("{what}_token_id");
    let generation = companion(folder, "generation_config.json")?.unwrap_or_default();
    for json in [generation, config.to_json()] {
        let ids = ids(&json[&key]);
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    let named = companion(folder, "tokenizer_config.json")?.unwrap_or_default();
    let token = &named[format!("{what}_token")];
    let token = token.as_str().or_else(|| token["content"].as_str());
    let id = token.and_then(|token| tokenizer.token_to_id(token));
    Ok(id.into_iter().collect())
}

fn ids(value: &Value) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value.as_array() {
        Some(list) => list.iter().filter_map(one).collect(),
        None => one(value).into_iter().collect(),
    }
}
