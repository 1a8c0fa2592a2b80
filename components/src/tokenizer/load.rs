//! `tokenizer.load`: a `tokenizer.json` made elsewhere.

use crate::artifact::write_tokenizer;
use crate::component::{Output, main_output};
use crate::corpus::existing_file;
use crate::{Component, Context, Error, FilePath, Kind, Result, Seeding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

/// Ends of documents by custom, most specific first.
const CUSTOMARY: [&str; 8] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "[EOS]",
    "<|im_end|>",
    "<|eot_id|>",
];
/// Larger files are no tokenizers.
const LARGEST: u64 = 1 << 30;

/// Loads a tokenizer.
#[derive(Debug)]
pub enum Load {}

/// Parameters of `tokenizer.load`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadParams {
    /// The file, in the format of Hugging Face's `tokenizers`.
    #[schemars(example = &"data/tokenizer.json")]
    pub file: FilePath,
    /// The token that ends a document. Found by its customary name unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub eos_token: Option<String>,
}

impl Component for Load {
    type Params = LoadParams;
    const NAME: &'static str = "tokenizer.load";
    const SUMMARY: &'static str = "Loads a tokenizer.json made elsewhere";
    const SEEDING: Seeding = Seeding::None;
    const EXAMPLE: &'static str = r#"use = "tokenizer.load"
file = "data/tokenizer.json"
eos_token = "<|endoftext|>"
"#;

    fn outputs(_: &LoadParams) -> Vec<Output> {
        main_output(Kind::Tokenizer)
    }

    fn run(params: LoadParams, context: &Context) -> Result<()> {
        let file = existing_file(&params.file, context)?;
        let size = std::fs::metadata(&file)
            .map_err(Error::io("cannot read", &file))?
            .len();
        if size > LARGEST {
            return Err(Error::data(
                "bad_tokenizer",
                format!("a tokenizer of {size} bytes; expected at most {LARGEST}"),
            )
            .in_file(&file));
        }
        let json = std::fs::read(&file).map_err(Error::io("cannot read", &file))?;
        let eos = match params.eos_token {
            Some(token) => token,
            None => detect(&json).map_err(|e| e.in_file(&file))?,
        };
        write_tokenizer(&context.output("")?, &json, &eos).map_err(|e| e.in_file(&file))?;
        Ok(())
    }
}

/// The end of a document by its customary name. `no_eos_token`.
fn detect(json: &[u8]) -> Result<String> {
    let tokenizer = Tokenizer::from_bytes(json)
        .map_err(|e| Error::data("bad_tokenizer", format!("not a tokenizer: {e}")))?;
    let found = CUSTOMARY
        .iter()
        .find(|token| tokenizer.token_to_id(token).is_some());
    found.map(|&token| token.to_owned()).ok_or_else(|| {
        Error::data("no_eos_token", "no token with a customary name ends a document")
            .hint("name it in `eos_token`")
    })
}
