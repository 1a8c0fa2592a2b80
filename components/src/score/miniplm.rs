//! `score.miniplm`: difference sampling (MiniPLM, sheet 2.3).

use super::common::{self, Reduction};
use super::difference::{Difference, Measured};
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How far the teacher is ahead of a small reference: `score` = `reference_nll` − `teacher_nll`; besides, `tokens`.
#[derive(Debug, Clone, Copy)]
pub struct MiniPlm;

/// What `score.miniplm` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The strong model.
    pub teacher: Ref<reference::Model>,
    /// The small model, with the teacher's tokenizer; better not trained on what is scored.
    pub reference: Ref<reference::Model>,
    /// Whether an item's number is the mean over its tokens (the authors' code) or the sum (the paper's formula).
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

impl Component for MiniPlm {
    type Params = Params;
    const NAME: &'static str = "score.miniplm";
    const SUMMARY: &'static str = "difference sampling: how far a teacher is ahead of a small reference";
    const PAPER: Option<&'static str> = Some("miniplm");
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.miniplm"
data = "@tokens"
teacher = "@teacher"
reference = "@reference"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let models = [params.teacher.as_str(), params.reference.as_str()];
        common::estimate(sizes, params.data.as_str(), &models, 4.0)
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let teacher = context.open(&params.teacher)?;
        let reference = context.open(&params.reference)?;
        let difference = Difference {
            data: &data,
            behind: Measured {
                model: &reference,
                column: "reference_nll",
            },
            ahead: Measured {
                model: &teacher,
                column: "teacher_nll",
            },
            apart: (&reference, "too low"),
            reduction: params.reduction,
            item: params.item,
            batch_size: params.batch_size,
        };
        difference.write(context)
    }
}
