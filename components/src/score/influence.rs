//! `score.influence`: likeness of an item's gradient to that of a target loss, at one checkpoint (PDS, sheet 2.5: the method
//! with a single step).

mod work;

use super::common;
use super::gradients::Similarity;
use super::items::Items;
use super::nll::Work;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::model;
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use work::{Row, Scoring};

/// How far a small step on an item lowers the loss of the target, to first order: `score` = ⟨∇J, ∇ℓ⟩, where J is the mean
/// over target blocks of their mean loss and ℓ the item's mean loss; or the cosine of the two. Besides, `tokens`.
#[derive(Debug, Clone, Copy)]
pub struct Influence;

/// What `score.influence` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The model whose gradients are taken.
    pub model: Ref<reference::Model>,
    /// Blocks whose loss is to fall. A selection's weights count.
    pub target: Ref<reference::Blocks>,
    /// What two gradients are compared by.
    #[serde(default)]
    pub similarity: Similarity,
    /// What gets a score: each block, or each document by all its tokens.
    #[serde(default)]
    pub item: Item,
    /// Most blocks that go through the model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for Influence {
    type Params = Params;
    const NAME: &'static str = "score.influence";
    const SUMMARY: &'static str =
        "one-step influence: likeness of an item's gradient to that of a target loss";
    const PAPER: Option<&'static str> = Some("pds");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.influence"
data = "@tokens"
model = "@reference"
target = "@clean_tokens.train"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let model = sizes.of(params.model.as_str());
        let tokens =
            sizes.of(params.data.as_str()).predicted() + sizes.of(params.target.as_str()).predicted();
        let scores = common::estimate(sizes, params.data.as_str(), &[], 2.0);
        Estimate {
            flops: 3.0 * model.flops_per_token * tokens,
            // Weights and their gradients, and two gradients in 64 bits.
            memory: scores.memory + model.parameters * (4.0 + 4.0 + 8.0 + 8.0),
            ..scores
        }
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        let target = context.open(&params.target)?;
        let blocks = Blocks::open(&data, context)?;
        let target = open_target(&target, context)?;
        // Finds before anything expensive what cannot be scored.
        Work::new(context, &blocks, params.item, params.batch_size)?.check_model(&model)?;
        Work::new(context, &target, Item::Block, params.batch_size)?.check_model(&model)?;
        let loaded = model::load(&model, &context.device.clone().autodiff(), context.precision)?;
        let scoring = Scoring {
            context,
            params: &params,
            items: Items::of(&blocks, params.item),
            blocks,
            target,
            model: model.label,
            loaded,
        };
        let rows = scoring.run()?;
        let column = |get: fn(&Row) -> f64| rows.iter().map(get).collect();
        let columns = vec![
            ("score", column(|row| row.score)),
            ("tokens", column(|row| row.tokens as f64)),
        ];
        let index = rows.iter().map(|row| row.index).collect();
        common::write(context, &data, params.item, index, "score", columns)
    }
}

fn open_target(target: &Artifact, context: &Context) -> Result<Blocks> {
    let blocks = Blocks::open(target, context)?;
    if blocks.is_empty() {
        let message = format!("the target `{}` has no block", target.label);
        return Err(
            Error::data("empty_target", message).hint("look at how the step that makes it splits or selects")
        );
    }
    Ok(blocks)
}
