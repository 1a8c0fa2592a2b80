//! `score.miniplm`: difference sampling (MiniPLM, sheet 2.3).

use super::common::{self, Reduction};
use super::nll::Work;
use super::score_difference;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::model::ModelDetails;
use crate::reference::{self, Ref};
use crate::tokens::Blocks;
use crate::{Artifact, Context, Kind, Result};
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
        let blocks = Blocks::open(&data, context)?;
        let work = Work::new(context, &blocks, params.item, params.batch_size)?;
        work.check_model(&teacher)?;
        let trained = work.check_model(&reference)?;
        note_overlap(context, &blocks, &data, &trained);

        let by_teacher = work.items(&teacher, "teacher")?;
        let by_reference = work.items(&reference, "reference")?;
        let teacher_nll = params.reduction.all(&by_teacher);
        let reference_nll = params.reduction.all(&by_reference);
        let columns = vec![
            ("score", score_difference(&reference_nll, &teacher_nll)?),
            ("teacher_nll", teacher_nll),
            ("reference_nll", reference_nll),
            ("tokens", common::tokens(&by_teacher)),
        ];
        let index = by_teacher.iter().map(|item| item.index).collect();
        common::write(context, &data, params.item, index, "score", columns)
    }
}

/// A reference that has seen what it scores is too good there, and what it has learnt by heart is wrongly dropped
/// (sheet 10). At small scale one trains it on the pool all the same, so it is said and not refused.
fn note_overlap(context: &Context, blocks: &Blocks, data: &Artifact, reference: &ModelDetails) {
    let Some(seen) = &reference.data else {
        return;
    };
    let seen = &seen.fingerprint;
    if *seen == data.header.fingerprint || *seen == blocks.source().header.fingerprint {
        context.services.note(
            "reference_overlap: the reference was trained on the data it scores; \
             what it has learnt by heart scores too low",
        );
    }
}
