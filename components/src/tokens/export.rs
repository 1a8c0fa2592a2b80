//! `tokens.export`: packed tokens as other programs read them.

use super::Blocks;
use super::shard_writer::ShardWriter;
use crate::artifact::{TokenType, write_header};
use crate::component::{Estimate, Output, Size, Sizes, main_output};
use crate::reference;
use crate::table::fingerprint;
use crate::{Component, Context, Error, Kind, Ref, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Writes packed tokens for other programs.
#[derive(Debug)]
pub enum Export {}

/// Parameters of `tokens.export`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportParams {
    /// The tokens, or what a selection leaves of them; every block becomes an item, in order.
    pub data: Ref<reference::Blocks>,
    /// Items of a shard; the last one may have fewer.
    #[serde(default = "items_per_shard")]
    #[schemars(range(min = 1, max = 100_000_000), extend("x-unit" = "blocks"))]
    pub items_per_shard: usize,
}

fn items_per_shard() -> usize {
    1_000_000
}

/// What the header of exported shards keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardsDetails {
    /// Number of pairs of files.
    pub shards: u64,
    /// Items in all of them.
    pub items: u64,
    /// Tokens in all of them.
    pub tokens: u64,
    /// Bytes of an id: 2 where the vocabulary has fewer than 65,500 tokens, else 4.
    pub id_bytes: u64,
}

impl Component for Export {
    type Params = ExportParams;
    const NAME: &'static str = "tokens.export";
    const SUMMARY: &'static str = "writes packed tokens as shards in Megatron's layout (.bin and .idx)";
    const PAPER: Option<&'static str> = Some("miniplm");
    const EXAMPLE: &'static str = r#"use = "tokens.export"
data = "@chosen"
"#;

    fn outputs(_: &ExportParams) -> Vec<Output> {
        main_output(Kind::Shards)
    }

    fn estimate(params: &ExportParams, sizes: &Sizes) -> Estimate {
        let data = sizes.of(params.data.as_str());
        let id = TokenType::of(data.vocab_size as u32).bytes() as f64;
        let size = Size {
            bytes: data.tokens * id + data.items * 12.0,
            ..data
        };
        Estimate {
            outputs: [(String::new(), size)].into(),
            ..Estimate::default()
        }
    }

    fn run(params: ExportParams, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let blocks = Blocks::open(&data, context)?;
        let folder = context.output("")?;
        let dtype = blocks.details().dtype;
        let bar = context.services.bar("exporting", blocks.len(), "blocks");
        let (mut names, mut tokens) = (Vec::new(), 0);
        let mut position = 0;
        while position < blocks.len() {
            let name = format!("data_{}", names.len());
            let mut shard = ShardWriter::create(&folder.join(&name), dtype)?;
            while position < blocks.len() && shard.len() < params.items_per_shard {
                context.check_cancelled()?;
                let block = blocks.get(position);
                if block.weight != 1.0 {
                    let message = format!(
                        "block {} weighs {}; shards have no weights",
                        block.index, block.weight
                    );
                    return Err(
                        Error::data("weighted_selection", message).hint("select with `weights = \"equal\"`")
                    );
                }
                shard.push(&block.ids)?;
                tokens += block.ids.len() as u64;
                position += 1;
            }
            bar.advance(shard.len() as u64);
            shard.finish()?;
            names.push(name);
        }
        let files: Vec<String> = names
            .iter()
            .flat_map(|name| ["bin", "idx"].map(|end| format!("{name}.{end}")))
            .collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let print = fingerprint(&folder, &files, &blocks.details().tokenizer)?;
        let details = ShardsDetails {
            shards: names.len() as u64,
            items: position,
            tokens,
            id_bytes: dtype.bytes() as u64,
        };
        write_header(&folder, Kind::Shards, print, Some(data.as_source()), details)
    }
}
