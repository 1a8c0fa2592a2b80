//! `score.perplexity`: choosing by one model's perplexity, the baseline that every model-based score is shown beside.

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

/// How near an item's perplexity is to the wanted end: `score`; besides, `perplexity`, `nll` (mean, nats), `tokens`.
#[derive(Debug, Clone, Copy)]
pub struct Perplexity;

/// Which perplexities score high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Low ones: what the model finds easy.
    #[default]
    Low,
    /// Those around the median.
    Mid,
    /// High ones: what the model finds hard.
    High,
}

/// What `score.perplexity` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored.
    pub data: Ref<reference::Blocks>,
    /// The model that scores.
    pub model: Ref<reference::Model>,
    /// Which end a selection of the highest scores keeps.
    #[serde(default)]
    pub keep: End,
    /// What gets a score: each block, or each document by all its tokens.
    #[serde(default)]
    pub item: Item,
    /// Blocks that go through the model together.
    #[serde(default = "common::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
}

impl Component for Perplexity {
    type Params = Params;
    const NAME: &'static str = "score.perplexity";
    const SUMMARY: &'static str = "one model's perplexity; the low, middle or high end scores high";
    const NUMERIC: bool = true;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.perplexity"
data = "@tokens"
model = "@reference"
keep = "low"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        common::estimate(sizes, params.data.as_str(), &[params.model.as_str()], 4.0)
    }

    fn merge(params: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        // The middle is that of all items, which no shard knows.
        common::merge_with(context, parts, |scores| {
            let score = toward(params.keep, scores.column(Some("nll"))?);
            scores.columns.retain(|(name, _)| name != "score");
            scores.columns.insert(0, ("score".to_owned(), score));
            Ok(())
        })
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let model = context.open(&params.model)?;
        let blocks = Blocks::open(&data, context)?;
        let work = Work::new(context, &blocks, params.item, params.batch_size)?;
        work.check_model(&model)?;
        let items = work.items(&model, "model")?;
        let nll = Reduction::Mean.all(&items);
        let columns = vec![
            ("score", toward(params.keep, &nll)),
            ("perplexity", nll.iter().map(|nll| nll.exp()).collect()),
            ("nll", nll),
            ("tokens", common::tokens(&items)),
        ];
        let index = items.iter().map(|item| item.index).collect();
        common::write(context, &data, params.item, index, "score", columns)
    }
}

/// Scores that are highest at the wanted end of the mean losses, which are the perplexities' logarithms.
fn toward(end: End, nll: &[f64]) -> Vec<f64> {
    let middle = median(nll);
    let score = |&nll: &f64| match end {
        End::Low => -nll,
        End::Mid => -(nll - middle).abs(),
        End::High => nll,
    };
    nll.iter().map(score).collect()
}

/// The middle value, or the mean of the two in the middle; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Order;
    use crate::select::top_k;

    #[test]
    fn each_end_is_what_a_selection_keeps() {
        let nll = [4.0, 1.0, 3.0, 2.0, 5.0];
        let kept = |end| top_k(&toward(end, &nll), 2, Order::Highest);
        assert_eq!(kept(End::Low), [1, 3]);
        assert_eq!(kept(End::High), [0, 4]);
        assert_eq!(kept(End::Mid), [0, 2]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
    }
}
