//! `score.logprobs`: what every item costs a model.

use super::common::{self, Reduction};
use super::nll::Work;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Negative log-likelihoods, in nats: `mean_nll`, `sum_nll`, `tokens` (scored tokens of the item).
#[derive(Debug, Clone, Copy)]
pub struct Logprobs;

/// What `score.logprobs` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The model that scores.
    pub model: Ref<reference::Model>,
    /// Which of the columns a selection takes unless told otherwise: `mean_nll` or `sum_nll`.
    #[serde(default)]
    pub reduction: Reduction,
    /// What gets a score: each block, or each document by all its tokens.
    #[serde(default)]
    pub item: Item,
    /// Blocks that go through the model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for Logprobs {
    type Params = Params;
    const NAME: &'static str = "score.logprobs";
    const SUMMARY: &'static str = "negative log-likelihood of every item under a model";
    const PAPER: Option<&'static str> = Some("miniplm");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.logprobs"
data = "@tokens"
model = "@teacher"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        common::estimate(sizes, params.data.as_str(), &[params.model.as_str()], 3.0)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        let blocks = Blocks::open(&data, context)?;
        let work = Work::new(context, &blocks, params.item, params.batch_size)?;
        work.check_model(&model)?;
        let items = work.items(&model, "model")?;
        let primary = match params.reduction {
            Reduction::Mean => "mean_nll",
            Reduction::Sum => "sum_nll",
        };
        let columns = vec![
            ("mean_nll", Reduction::Mean.all(&items)),
            ("sum_nll", Reduction::Sum.all(&items)),
            ("tokens", common::tokens(&items)),
        ];
        let index = items.iter().map(|item| item.index).collect();
        common::write(context, &data, params.item, index, primary, columns)
    }
}
