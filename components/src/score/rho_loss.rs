//! `score.rho_loss`: reducible holdout loss, ranked once over a corpus (RHO-Loss, Mindermann et al. 2022; PDS, sheet 2.5).

use super::common::{self, Reduction};
use super::difference::{Difference, Measured};
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a learner may still learn of an item: `score` = `model_nll` − `reference_nll`; besides, `tokens`. Low for what the
/// learner knows already, and for noise, which neither knows.
#[derive(Debug, Clone, Copy)]
pub struct RhoLoss;

/// What `score.rho_loss` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The learner, as far as it has come.
    pub model: Ref<reference::Model>,
    /// The model whose loss counts as irreducible, with the learner's tokenizer: trained on data like those wanted, not on
    /// what is scored.
    pub reference: Ref<reference::Model>,
    /// Whether an item's number is the mean over its tokens or the sum.
    #[serde(default)]
    pub reduction: Reduction,
    /// What gets a score: each block, or each document by all its tokens.
    #[serde(default)]
    pub item: Item,
    /// Blocks that go through a model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for RhoLoss {
    type Params = Params;
    const NAME: &'static str = "score.rho_loss";
    const SUMMARY: &'static str =
        "reducible loss: how far a learner is behind a model of the data that are wanted";
    const PAPER: Option<&'static str> = Some("pds");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.rho_loss"
data = "@tokens"
model = "@reference"
reference = "@teacher"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let models = [params.model.as_str(), params.reference.as_str()];
        common::estimate(sizes, params.data.as_str(), &models, 4.0)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        let reference = context.open(&params.reference)?;
        let difference = Difference {
            data: &data,
            behind: Measured {
                model: &model,
                column: "model_nll",
            },
            ahead: Measured {
                model: &reference,
                column: "reference_nll",
            },
            apart: (&reference, "too high"),
            reduction: params.reduction,
            item: params.item,
            batch_size: params.batch_size,
        };
        difference.write(context)
    }
}
