//! `select.top`: keep the best by score (MiniPLM, sheet 2.4, and the options of sheet 8; PDS, sheet 2.4).
//!
//! Memory does not grow with the number of scores. Shards count the ranks of their rows; the counts add up, and what they
//! come to is chosen when the shards are put together.

use super::choice::Choice;
use super::params::Params;
use crate::component::{Component, Estimate, Output, Problem, Seeding, Sharding, Size, Sizes, main_output};
use crate::{Context, Kind, Result, Shard};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The best items by score, in the source's order; of equal scores the lower index.
#[derive(Debug, Clone, Copy)]
pub struct Top;

/// A shard's counts, inside its folder.
const COUNTS: &str = "counts.bin";
/// Bytes that the pieces of scores and of the selection take, whatever their number.
const MOST_MEMORY: f64 = 300e6;

impl Component for Top {
    type Params = Params;
    const NAME: &'static str = "select.top";
    const SUMMARY: &'static str =
        "the best items by score: a ratio or a count, with quotas, noise and mixing";
    const PAPER: Option<&'static str> = Some("miniplm");
    const SEEDING: Seeding = Seeding::Experiment;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "select.top"
scores = "@difference"
keep = 0.5
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Selection)
    }

    fn check(params: &Params) -> Vec<Problem> {
        params.problems()
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let scores = sizes.of(params.scores.as_str());
        let kept = match (params.keep, params.count) {
            (Some(keep), _) => (keep * scores.items).trunc(),
            (None, Some(count)) => count as f64,
            (None, None) => 0.0,
        };
        let share = if scores.items > 0.0 {
            kept / scores.items
        } else {
            0.0
        };
        let selection = Size {
            items: kept,
            tokens: share * scores.tokens,
            bytes: kept * 12.0,
            vocab_size: scores.vocab_size,
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), selection)]),
            memory: (scores.items * 100.0).min(MOST_MEMORY),
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let choice = Choice::open(&params, context)?;
        let tally = choice.tally(context.shard.range(choice.rows()))?;
        if context.shard == Shard::WHOLE {
            return choice.finish(tally);
        }
        tally.write(&context.output("")?.join(COUNTS))
    }

    fn merge(params: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        let choice = Choice::open(&params, context)?;
        let mut tally = choice.no_tally();
        for part in parts {
            tally.add_from(&part.join(COUNTS))?;
        }
        choice.finish(tally)
    }
}
