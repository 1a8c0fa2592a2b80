//! A tokenizer as packing uses it.

use crate::artifact::{TOKENIZER_FILE, TokenizerDetails, parse_tokenizer, read_json, vocab_size};
use crate::model::folder;
use crate::untrusted::quiet;
use crate::{Artifact, Error, Kind, Result};
use std::sync::OnceLock;
use tokenizers::Tokenizer;

/// A tokenizer and what its header says.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    details: TokenizerDetails,
    fingerprint: String,
    json: Vec<u8>,
    /// The same, but for texts in which special tokens are written out.
    marked: OnceLock<Tokenizer>,
}

impl Encoder {
    /// Opens a tokenizer artifact, or that of a model. `bad_tokenizer`, `bad_artifact`.
    pub fn open(artifact: &Artifact) -> Result<Self> {
        let file = artifact.path.join(TOKENIZER_FILE);
        let json = read_json(&file)?;
        let tokenizer = parse_tokenizer(&json).map_err(|e| e.in_file(&file))?;
        if artifact.header.kind == Kind::Model {
            return Self::of_model(artifact, tokenizer, json);
        }
        let details: TokenizerDetails = artifact.details()?;
        if details.vocab_size != vocab_size(&tokenizer) || details.eos_id >= details.vocab_size {
            return Err(
                Error::data("bad_artifact", "the header is not that of this tokenizer")
                    .in_file(&file)
                    .hint("delete the artifact's folder; the next run makes it again"),
            );
        }
        Ok(Self {
            tokenizer,
            details,
            fingerprint: artifact.header.fingerprint.clone(),
            json,
            marked: OnceLock::new(),
        })
    }

    /// The tokenizer of a model: documents end as the model's texts do. `no_eos_token`.
    fn of_model(artifact: &Artifact, tokenizer: Tokenizer, json: Vec<u8>) -> Result<Self> {
        let config = folder::config(&artifact.path)?;
        let ends = folder::special_ids(&artifact.path, &config, &tokenizer, "eos")?;
        let named = ends
            .first()
            .and_then(|&id| Some((id, tokenizer.id_to_token(id)?)));
        let Some((eos_id, eos_token)) = named else {
            return Err(Error::data(
                "no_eos_token",
                "no token of the model's tokenizer is known to end a document",
            )
            .in_file(&artifact.path)
            .hint("load its tokenizer.json with `tokenizer.load` and name the token in `eos_token`"));
        };
        Ok(Self {
            details: TokenizerDetails {
                vocab_size: vocab_size(&tokenizer),
                eos_id,
                eos_token,
            },
            fingerprint: blake3::hash(&json).to_hex().to_string(),
            tokenizer,
            json,
            marked: OnceLock::new(),
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
        self.encode_as(text, false)
    }

    /// The ids of `text`; `special`: with what the tokenizer itself puts around it. `cannot_encode`.
    pub fn encode_as(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        encode(&self.tokenizer, text, special)
    }

    /// The ids of a text in which special tokens are written out, as chat templates do. `cannot_encode`.
    pub fn encode_marked(&self, text: &str) -> Result<Vec<u32>> {
        encode(
            self.marked.get_or_init(|| with_marks(&self.tokenizer)),
            text,
            false,
        )
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
            quiet(|| self.tokenizer.decode(&[id], false).ok())?
        };
        (0..self.details.vocab_size)
            .map(|id| text(id).unwrap_or_default())
            .collect()
    }
}

/// The same tokenizer, which takes the text of a special token for that token.
pub(crate) fn with_marks(tokenizer: &Tokenizer) -> Tokenizer {
    let mut marked = tokenizer.clone();
    marked.set_encode_special_tokens(false);
    marked
}

/// The ids of a text. `cannot_encode`.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>> {
    // Patterns that go back and forth too long make the library panic rather than fail.
    let failed = |e: &dyn std::fmt::Display| {
        Error::data("cannot_encode", format!("the tokenizer failed: {e}"))
            .hint("look at the patterns of its `pre_tokenizer`, or take another tokenizer")
    };
    let encoding = quiet(|| tokenizer.encode_fast(text, special));
    let encoding = encoding
        .ok_or_else(|| failed(&"it gave up on a text"))?
        .map_err(|e| failed(&e))?;
    Ok(encoding.get_ids().to_vec())
}
