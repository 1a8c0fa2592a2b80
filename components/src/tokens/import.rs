//! `tokens.import`: blocks of token ids made elsewhere.

use super::megatron::Shard;
use super::shards::stems;
use crate::artifact::{Boundary, Segment, TokensDetails, TokensWriter};
use crate::component::{Estimate, Output, Problem, Size, Sizes, main_output};
use crate::reference::{self, ShardsPath};
use crate::tokenizer::Encoder;
use crate::{Component, Context, Error, Kind, Ref, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longer items are none that a model is trained on at once.
const LONGEST: usize = 1 << 20;

/// Takes packed tokens made elsewhere.
#[derive(Debug)]
pub enum Import {}

/// Parameters of `tokens.import`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportParams {
    /// Folders of shards in Megatron's layout: pairs `data_0.bin`, `data_0.idx`, `data_1.bin` and so on, or one pair of any
    /// name. Folders follow each other, and every item of a shard becomes a block.
    #[schemars(length(min = 1), example = ["shards/pile"])]
    pub folders: Vec<ShardsPath>,
    /// What ids mean.
    pub tokenizer: Ref<reference::Tokenizer>,
    /// Numbers of the shards to take of each folder, from the first to before the last, as in `[0, 100]`; all of them unless
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[u64; 2]>,
    /// Inputs of a full block; an item may have one token more. That of the longest item unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub context: Option<usize>,
    /// The token that every item begins with, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = &"<s>")]
    pub bos_token: Option<String>,
}

impl Component for Import {
    type Params = ImportParams;
    const NAME: &'static str = "tokens.import";
    const SUMMARY: &'static str = "takes packed tokens from shards in Megatron's layout (.bin and .idx)";
    const PAPER: Option<&'static str> = Some("miniplm");
    const EXAMPLE: &'static str = r#"use = "tokens.import"
folders = ["shards/pile"]
tokenizer = "@bpe"
"#;

    fn outputs(_: &ImportParams) -> Vec<Output> {
        main_output(Kind::Tokens)
    }

    fn check(params: &ImportParams) -> Vec<Problem> {
        let empty = params.range.filter(|[first, end]| first >= end);
        let problem = |[first, end]: [u64; 2]| Problem {
            field: "range".to_owned(),
            code: "empty_range",
            message: format!("no number lies from {first} to before {end}"),
            hint: Some("range = [0, 100]".to_owned()),
        };
        empty.map(problem).into_iter().collect()
    }

    fn estimate(params: &ImportParams, sizes: &Sizes) -> Estimate {
        let bytes: f64 = params
            .folders
            .iter()
            .map(|folder| sizes.of(&folder.0).bytes)
            .sum();
        let vocab_size = sizes.of(params.tokenizer.as_str()).vocab_size;
        let size = Size {
            tokens: bytes / if vocab_size < 65_500.0 { 2.0 } else { 4.0 },
            bytes,
            vocab_size,
            ..Size::default()
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: ImportParams, context: &Context) -> Result<()> {
        let encoder = Encoder::open(&context.open(&params.tokenizer)?)?;
        let bos_id = params.bos_token.as_ref().map(|token| encoder.id(token));
        let bos_id = bos_id.transpose()?;
        let mut shards = Vec::new();
        for folder in &params.folders {
            let range = params.range.map(|[first, end]| first..end);
            for stem in stems(&context.shards(folder)?, range)? {
                shards.push(Shard::open(&stem)?);
            }
        }
        let longest = longest(&shards, params.context)?;
        let vocab_size = encoder.details().vocab_size;
        let mut writer = TokensWriter::create(&context.output("")?, vocab_size)?;
        let items: usize = shards.iter().map(Shard::len).sum();
        let bar = context.services.bar("importing", items as u64, "items");
        for shard in &shards {
            for item in 0..shard.len() {
                let ids = shard.item(item)?;
                check_item(&ids, vocab_size, bos_id, item, shard)?;
                let segment = Segment {
                    document: writer.blocks(),
                    tokens: ids.len() as u32,
                };
                writer.push(&ids, &[segment])?;
                if item % 4096 == 0 {
                    context.check_cancelled()?;
                    bar.advance(4096.min((shard.len() - item) as u64));
                }
            }
        }
        if writer.blocks() == 0 {
            return Err(Error::data("empty_input", "the shards hold no item"));
        }
        let details = TokensDetails {
            context: params.context.unwrap_or(longest.saturating_sub(1).max(1)),
            vocab_size,
            eos_id: encoder.details().eos_id,
            bos_id,
            boundary: Boundary::Document,
            blocks: writer.blocks(),
            tokens: writer.tokens(),
            documents: writer.blocks(),
            dropped_tokens: 0,
            dtype: writer.dtype(),
            tokenizer: encoder.fingerprint().to_owned(),
            corpus: None,
            template: None,
            pairs: None,
        };
        context.services.cost(writer.tokens(), 0.0);
        writer.finish(encoder.json(), &details)
    }
}

/// Tokens of the longest item. `too_long`: more than the context allows.
fn longest(shards: &[Shard], context: Option<usize>) -> Result<usize> {
    let most = context.unwrap_or(LONGEST) + 1;
    let mut longest = 0;
    for shard in shards {
        for item in 0..shard.len() {
            let length = shard.length(item);
            if length > most {
                let message = format!("item {item} has {length} tokens; expected at most {most}");
                return Err(Error::data("too_long", message)
                    .in_file(shard.file())
                    .hint("raise `context`; whole documents are packed from their text by `tokens.pack`"));
            }
            longest = longest.max(length);
        }
    }
    Ok(longest)
}

/// Refuses ids that the tokenizer does not have (`vocab_mismatch`), and items without the token that all begin with
/// (`missing_bos`).
fn check_item(ids: &[u32], vocab_size: u32, bos_id: Option<u32>, item: usize, shard: &Shard) -> Result<()> {
    let wrong = |code, message: String| Error::data(code, message).in_file(shard.file());
    if let Some(id) = ids.iter().find(|&&id| id >= vocab_size) {
        let message = format!("item {item} has the token {id}; the tokenizer has {vocab_size}");
        return Err(wrong("vocab_mismatch", message)
            .at(format!("item {item}"))
            .hint("name the tokenizer that the shards were made with"));
    }
    if bos_id.is_some() && ids.first().copied() != bos_id {
        return Err(wrong(
            "missing_bos",
            format!("item {item} does not begin with `bos_token`"),
        )
        .at(format!("item {item}"))
        .hint("leave `bos_token` out"));
    }
    Ok(())
}
