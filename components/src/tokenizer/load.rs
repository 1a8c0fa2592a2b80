//! `tokenizer.load`: a `tokenizer.json` made elsewhere.

use crate::artifact::{parse_tokenizer, read_json, write_tokenizer};
use crate::component::{Estimate, Output, Size, Sizes, main_output};
use crate::corpus::existing_file;
use crate::{Component, Context, Error, FilePath, Kind, Result, Seeding};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What the file is said to hold, so that a plan can be made without it. A run compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-runtime" = true))]
    pub expect: Option<ExpectTokenizer>,
}

/// What a tokenizer is said to be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectTokenizer {
    /// Entries of its vocabulary.
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub vocab_size: u64,
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

    fn estimate(params: &LoadParams, _: &Sizes) -> Estimate {
        let entries = params.expect.as_ref().map_or(0, |expect| expect.vocab_size);
        let size = Size {
            items: 1.0,
            vocab_size: entries as f64,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: LoadParams, context: &Context) -> Result<()> {
        let file = existing_file(&params.file, context)?;
        let json = read_json(&file)?;
        let eos = match params.eos_token {
            Some(token) => token,
            None => detect(&json).map_err(|e| e.in_file(&file))?,
        };
        write_tokenizer(&context.output("")?, &json, &eos).map_err(|e| e.in_file(&file))?;
        Ok(())
    }
}

/// The end of a document by its customary name. `bad_tokenizer`, `no_eos_token`.
fn detect(json: &[u8]) -> Result<String> {
    let tokenizer = parse_tokenizer(json)?;
    let found = CUSTOMARY
        .iter()
        .find(|token| tokenizer.token_to_id(token).is_some());
    found.map(|&token| token.to_owned()).ok_or_else(|| {
        Error::data("no_eos_token", "no token with a customary name ends a document")
            .hint("name it in `eos_token`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::TokenizerDetails;
    use crate::testing::Bench;
    use crate::tokenizer::{Encoder, train_tests};
    use serde_json::json;

    fn load(bench: &Bench, json: &[u8], eos: Option<&str>) -> Result<TokenizerDetails> {
        std::fs::write(bench.folder.path().join("tokenizer.json"), json).expect("writes");
        let params = match eos {
            None => json!({ "file": "tokenizer.json" }),
            Some(eos) => json!({ "file": "tokenizer.json", "eos_token": eos }),
        };
        bench.run::<Load>("loaded", params)?.details()
    }

    #[test]
    fn a_loaded_tokenizer_is_the_file_and_encodes_alike() {
        let bench = Bench::new();
        let trained = train_tests::trained(&bench, "bpe", &json!({ "vocab_size": 280 })).expect("trains");
        let trained_encoder = Encoder::open(&trained).expect("opens");
        let details = load(&bench, trained_encoder.json(), None).expect("loads");
        assert_eq!((details.eos_id, details.eos_token.as_str()), (0, "<|endoftext|>"));
        let loaded = Encoder::open(&bench.publish("loaded")).expect("opens");
        assert_eq!(loaded.fingerprint(), trained_encoder.fingerprint());
        let text = "The cat sat, <|endoftext|> didn't it?";
        assert_eq!(
            loaded.encode(text).expect("encodes"),
            trained_encoder.encode(text).expect("encodes")
        );
        let other = load(&bench, trained_encoder.json(), Some("!")).expect("loads");
        assert_eq!(other.eos_token, "!");
    }

    #[test]
    fn what_is_no_tokenizer_or_has_no_end_is_named() {
        let bench = Bench::new();
        let code = |json: &[u8], eos| load(&bench, json, eos).expect_err("a mistake").code();
        assert_eq!(code(b"{}", None), "bad_tokenizer");
        assert_eq!(code(b"\xff", None), "bad_tokenizer");
        assert_eq!(code(b"", None), "empty_file");
        let trained =
            train_tests::trained(&bench, "bpe", &json!({ "vocab_size": 257, "eos_token": "[end]" }));
        let encoder = Encoder::open(&trained.expect("trains")).expect("opens");
        assert_eq!(code(encoder.json(), None), "no_eos_token");
        assert_eq!(code(encoder.json(), Some("</s>")), "unknown_token");
    }
}
