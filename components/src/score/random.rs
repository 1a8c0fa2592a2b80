//! `score.random`: scores by chance, the control for every other score.

use super::common;
use super::items::Items;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Seeding, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Uniform scores in (0, 1): `score`. An item's score depends on the seed and its number alone.
#[derive(Debug, Clone, Copy)]
pub struct Random;

/// What `score.random` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// What gets a score: each block, or each document.
    #[serde(default)]
    pub item: Item,
}

impl Component for Random {
    type Params = Params;
    const NAME: &'static str = "score.random";
    const SUMMARY: &'static str = "scores by chance, as a control";
    const SEEDING: Seeding = Seeding::Experiment;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.random"
data = "@tokens"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        common::estimate(sizes, params.data.as_str(), &[], 1.0)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let blocks = Blocks::open(&data, context)?;
        let items = Items::of(&blocks, params.item);
        if items.is_empty() {
            return Err(Error::data("empty_input", "there are no items to score"));
        }
        let range = context.shard.range(items.len());
        let index: Vec<u64> = range.map(|place| items.get(place).0).collect();
        let stream = context.stream("score.random");
        let scores = index.iter().map(|&item| stream.at(item).uniform()).collect();
        common::write(
            context,
            &data,
            params.item,
            index,
            "score",
            vec![("score", scores)],
        )
    }
}
