//! A tokenizer as packing uses it.

use crate::artifact::{TOKENIZER_FILE, TokenizerDetails, read_tokenizer};
use crate::{Artifact, Error, Result};
use tokenizers::Tokenizer;

/// A tokenizer and what its header says.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    details: TokenizerDetails,
    fingerprint: String,
    json: Vec<u8>,
}

impl Encoder {
    /// Opens a tokenizer artifact.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let file = artifact.path.join(TOKENIZER_FILE);
        Ok(Self {
            tokenizer: read_tokenizer(artifact)?,
            details: artifact.details()?,
            fingerprint: artifact.header.fingerprint.clone(),
            json: std::fs::read(&file).map_err(Error::io("cannot read", &file))?,
        })
    }

    /// The header.
    pub fn details(&self) -> &TokenizerDetails {
        &self.details
    }

    /// BLAKE3 of the file.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The file, byte for byte.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The ids of `text` without any special token. `cannot_encode`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|e| Error::data("cannot_encode", format!("the tokenizer failed: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a token. `unknown_token`.
    pub fn id(&self, token: &str) -> Result<u32> {
        self.tokenizer
            .token_to_id(token)
            .ok_or_else(|| Error::data("unknown_token", format!("the tokenizer has no token `{token}`")))
    }

    /// What every id reads as inside a sentence; ids without a token read as nothing. A leading space is kept also
    /// where decoders strip it from a first word (the mark `▁`).
    pub fn texts(&self) -> Vec<String> {
        let text = |id: u32| {
            let token = self.tokenizer.id_to_token(id)?;
            if token.contains('▁') {
                return Some(token.replace('▁', " "));
            }
            self.tokenizer.decode(&[id], false).ok()
        };
        (0..self.details.vocab_size)
            .map(|id| text(id).unwrap_or_default())
            .collect()
    }
}
