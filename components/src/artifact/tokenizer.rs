//! A tokenizer: `tokenizer.json` in Hugging Face's format.

use super::{Artifact, Kind, write_header};
use crate::untrusted::quiet;
use crate::{Error, Result, disk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use tokenizers::Tokenizer;

/// Name of the file inside a tokenizer's, tokens' or model's folder.
pub(crate) const FILE: &str = "tokenizer.json";

/// Larger files are no tokenizers: the largest published have some 35 MB.
pub(crate) const LARGEST: u64 = 256 << 20;
/// More than any published normalizer makes of a byte.
const MOST_GROWTH: u64 = 1024;

/// What the header of a tokenizer keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerDetails {
    /// Rows an embedding needs: the largest id plus one.
    pub vocab_size: u32,
    /// The token that ends a document.
    pub eos_id: u32,
    /// Its text.
    pub eos_token: String,
}

/// Writes `json` as the artifact in `folder`; `eos_token` ends documents. `bad_tokenizer`, `unknown_token`.
pub fn write_tokenizer(folder: &Path, json: &[u8], eos_token: &str) -> Result<TokenizerDetails> {
    let tokenizer = parse_tokenizer(json)?;
    let eos_id = tokenizer.token_to_id(eos_token).ok_or_else(|| {
        Error::data(
            "unknown_token",
            format!("the tokenizer has no token `{eos_token}`"),
        )
    })?;
    let details = TokenizerDetails {
        vocab_size: vocab_size(&tokenizer),
        eos_id,
        eos_token: eos_token.to_owned(),
    };
    let file = folder.join(FILE);
    disk::write(&file, json).map_err(Error::io("cannot write", &file))?;
    let print = blake3::hash(json).to_hex().to_string();
    write_header(folder, Kind::Tokenizer, print, None, &details)?;
    Ok(details)
}

/// Reads the tokenizer of an artifact that carries one (tokenizer, tokens, model).
pub fn read_tokenizer(artifact: &Artifact) -> Result<Tokenizer> {
    let file = artifact.path.join(FILE);
    parse_tokenizer(&read_json(&file)?).map_err(|e| e.in_file(&file))
}

/// The bytes of a `tokenizer.json`. `bad_tokenizer`.
pub(crate) fn read_json(file: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(file)
        .map_err(Error::io("cannot read", file))?
        .len();
    if size > LARGEST {
        return Err(bad(format!("it has {size} bytes; expected at most {LARGEST}")).in_file(file));
    }
    std::fs::read(file).map_err(Error::io("cannot read", file))
}

/// Parses `tokenizer.json`. Truncation and padding, which some files ask for, are switched off, and the text of a
/// special token inside a document is text like any other. `bad_tokenizer`.
pub(crate) fn parse_tokenizer(json: &[u8]) -> Result<Tokenizer> {
    let read: Value = serde_json::from_slice(json).map_err(bad)?;
    let most = [&read["normalizer"], &read["decoder"]]
        .map(growth)
        .into_iter()
        .max();
    if most.is_some_and(|most| most > MOST_GROWTH) {
        return Err(bad("its replacements make a text longer without end"));
    }
    drop(read);
    let gave_up = || bad("it makes the library that reads it fail");
    let mut tokenizer = quiet(|| Tokenizer::from_bytes(json))
        .ok_or_else(gave_up)?
        .map_err(bad)?;
    tokenizer.with_truncation(None).map_err(bad)?;
    tokenizer.with_padding(None);
    tokenizer.set_encode_special_tokens(true);
    match vocab_size(&tokenizer) {
        0 => Err(bad("its vocabulary is empty")),
        // Every token takes a byte of the file at least.
        size if size as usize > json.len() => Err(bad(format!("its ids reach {} and leave gaps", size - 1))),
        _ => Ok(tokenizer),
    }
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::data("bad_tokenizer", format!("not a tokenizer: {what}"))
        .hint("take the tokenizer.json of a published model, or train one with `tokenizer.train`")
}

/// How many bytes a byte of text may become, at most, by what a normalizer or decoder puts in its place.
fn growth(step: &Value) -> u64 {
    let inner = ["normalizers", "decoders"]
        .iter()
        .filter_map(|key| step[key].as_array());
    let inner = inner.flatten().map(growth).fold(1, u64::saturating_mul);
    let length = |key: &str| step[key].as_str().map_or(0, |text| text.len() as u64);
    inner.saturating_mul((length("content") + length("prepend")).max(1))
}

pub(crate) fn vocab_size(tokenizer: &Tokenizer) -> u32 {
    let ids = tokenizer.get_vocab(true).into_values();
    ids.max().map_or(0, |largest| largest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replacements_multiply() {
        let replace =
            |content: &str| json!({ "type": "Replace", "pattern": { "String": "a" }, "content": content });
        assert_eq!(growth(&Value::Null), 1);
        assert_eq!(growth(&replace("▁")), 3);
        let twice = json!({ "type": "Sequence", "normalizers": [replace("aa"), replace("aaaa")] });
        assert_eq!(growth(&twice), 8);
        let often = json!({ "type": "Sequence", "normalizers": vec![replace("aa"); 40] });
        let text = json!({ "normalizer": often }).to_string();
        let error = parse_tokenizer(text.as_bytes()).expect_err("2^40");
        assert!(error.to_string().contains("without end"), "{error}");
    }

    #[test]
    fn ids_may_not_leave_gaps() {
        let model = json!({ "type": "WordLevel", "vocab": { "a": 4_000_000_000_u32 }, "unk_token": "a" });
        let text = json!({ "version": "1.0", "added_tokens": [], "model": model }).to_string();
        let error = parse_tokenizer(text.as_bytes()).expect_err("a gap");
        assert!(error.to_string().contains("gaps"), "{error}");
    }
}
