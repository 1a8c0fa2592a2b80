//! A tokenizer: `tokenizer.json` in Hugging Face's format.

use super::{Artifact, Kind, write_header};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokenizers::Tokenizer;

/// Name of the file inside a tokenizer's, tokens' or model's folder.
pub(crate) const FILE: &str = "tokenizer.json";

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
    std::fs::write(&file, json).map_err(Error::io("cannot write", &file))?;
    let print = blake3::hash(json).to_hex().to_string();
    write_header(folder, Kind::Tokenizer, print, None, &details)?;
    Ok(details)
}

/// Reads the tokenizer of an artifact that carries one (tokenizer, tokens, model).
pub fn read_tokenizer(artifact: &Artifact) -> Result<Tokenizer> {
    let file = artifact.path.join(FILE);
    let json = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
    parse_tokenizer(&json).map_err(|e| e.in_file(&file))
}

/// Parses `tokenizer.json`. Truncation and padding, which some files ask for, are switched off, and the text of a
/// special token inside a document is text like any other.
fn parse_tokenizer(json: &[u8]) -> Result<Tokenizer> {
    let bad = |e: &dyn std::fmt::Display| Error::data("bad_tokenizer", format!("not a tokenizer: {e}"));
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| bad(&e))?;
    tokenizer.with_truncation(None).map_err(|e| bad(&e))?;
    tokenizer.with_padding(None);
    tokenizer.set_encode_special_tokens(true);
    if vocab_size(&tokenizer) == 0 {
        return Err(bad(&"its vocabulary is empty"));
    }
    Ok(tokenizer)
}

fn vocab_size(tokenizer: &Tokenizer) -> u32 {
    let ids = tokenizer.get_vocab(true).into_values();
    ids.max().map_or(0, |largest| largest.saturating_add(1))
}
