//! `score.dsir`: importance weights of hashed n-grams (DSIR, Xie et al. 2023; PDS, sheet 2.5).

use super::bags::{Bags, Sides};
use super::common::{self, Reduction};
use super::ngrams::NGrams;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Artifact, Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How much likelier an item's n-grams are in the target than in the raw corpus: `score`, in nats; besides, `ngrams`, their
/// number. An item without an n-gram has no row.
#[derive(Debug, Clone, Copy)]
pub struct Dsir;

/// What `score.dsir` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored: packed blocks, by their token ids, or documents, by their words in lower case.
    pub data: Ref<reference::Scorable>,
    /// What the scored shall be like: packed with the same tokenizer, or documents, as `data` is.
    pub target: Ref<reference::Scorable>,
    /// What stands for everything there is; the data itself where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Ref<reference::Scorable>>,
    /// What of packed blocks gets a score: each block, or each document. Of documents, each has one.
    #[serde(default)]
    pub item: Item,
    /// Tokens or words of the longest n-gram; all shorter ones count too.
    #[serde(default = "common::longest_ngram")]
    #[schemars(range(min = 1, max = 5))]
    pub ngrams: usize,
    /// Buckets that n-grams are hashed into.
    #[serde(default = "buckets")]
    #[schemars(range(min = 2, max = 16_777_216))]
    pub buckets: u32,
    /// Added to the count of every bucket, on both sides.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub smoothing: f64,
    /// Whether an item's number is the sum over its n-grams, which is the logarithm of its importance weight, or their
    /// mean, which does not grow with length.
    #[serde(default = "sum")]
    pub reduction: Reduction,
}

fn buckets() -> u32 {
    10_000
}

fn one() -> f64 {
    1.0
}

fn sum() -> Reduction {
    Reduction::Sum
}

impl Component for Dsir {
    type Params = Params;
    const NAME: &'static str = "score.dsir";
    const SUMMARY: &'static str =
        "importance weights of hashed n-grams: how much likelier in a target corpus";
    const PAPER: Option<&'static str> = Some("pds");
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.dsir"
data = "@tokens"
target = "@clean_tokens.train"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let data = common::units(sizes, params.data.as_str());
        Estimate {
            flops: 2.0 * data * params.ngrams as f64,
            memory: common::estimate(sizes, params.data.as_str(), &[], 2.0).memory
                + 24.0 * f64::from(params.buckets),
            ..common::estimate(sizes, params.data.as_str(), &[], 2.0)
        }
    }

    fn merge(_: Params, parts: &[PathBuf], context: &Context) -> Result<()> {
        common::merge(context, parts)
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let data = context.open(&params.data)?;
        let ngrams = NGrams {
            longest: params.ngrams,
            buckets: params.buckets,
        };
        let raw = params.raw.as_ref();
        let sides = Sides::open(&data, &params.target, raw, params.item, ngrams, context)?;
        let item = sides.data.item(params.item);
        let own = context.shard.range(sides.data.len());
        if own.is_empty() {
            return write(context, &data, item, Vec::new()); // more shards than items
        }
        let (target, target_tokens) = count(&sides.target, params.buckets, "target", context)?;
        if target_tokens == 0 {
            return Err(sides.nothing_in_target());
        }
        let (raw, raw_tokens) = count(sides.raw(), params.buckets, "raw", context)?;
        let ratios = log_ratios(&target, &raw, params.smoothing);

        // What every shard counts is told by the one that has the first item.
        let mut tokens = if own.contains(&0) {
            target_tokens + raw_tokens
        } else {
            0
        };
        let bar = context
            .services
            .bar("scoring n-grams", own.end - own.start, "items");
        let mut rows = Vec::new();
        sides.data.each(own, context, &*bar, |bag| {
            let sum = bag
                .buckets
                .iter()
                .map(|&bucket| ratios[bucket as usize])
                .sum::<f64>();
            let ngrams = bag.buckets.len() as f64;
            let score = match params.reduction {
                Reduction::Mean => sum / ngrams,
                Reduction::Sum => sum,
            };
            tokens += bag.tokens;
            rows.push((bag.index, score, ngrams));
        })?;
        // A product of sparse counts with the ratios.
        let flops = 2.0 * rows.iter().map(|(_, _, ngrams)| ngrams).sum::<f64>();
        context.services.cost(tokens, flops);
        write(context, &data, item, rows)
    }
}

/// Writes rows of item, score and number of n-grams.
fn write(context: &Context, data: &Artifact, item: Item, mut rows: Vec<(u64, f64, f64)>) -> Result<()> {
    rows.sort_by_key(|&(index, _, _)| index);
    let column = |get: fn(&(u64, f64, f64)) -> f64| rows.iter().map(get).collect();
    let columns = vec![("score", column(|row| row.1)), ("ngrams", column(|row| row.2))];
    let index = rows.iter().map(|row| row.0).collect();
    common::write(context, data, item, index, "score", columns)
}

/// How often each bucket occurs in a corpus, and how many tokens or words that took reading.
fn count(bags: &Bags, buckets: u32, called: &str, context: &Context) -> Result<(Vec<u64>, u64)> {
    let bar = context
        .services
        .bar(&format!("counting n-grams, {called}"), bags.len(), "items");
    let mut counts = vec![0; buckets as usize];
    let mut tokens = 0;
    bags.each(0..bags.len(), context, &*bar, |bag| {
        tokens += bag.tokens;
        bag.buckets
            .iter()
            .for_each(|&bucket| counts[bucket as usize] += 1);
    })?;
    Ok((counts, tokens))
}

/// ln p_target − ln p_raw of every bucket, where p = (count + s) / Σ (count + s) with smoothing s.
pub fn log_ratios(target: &[u64], raw: &[u64], smoothing: f64) -> Vec<f64> {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64 + smoothing * counts.len() as f64;
    let (of_target, of_raw) = (total(target), total(raw));
    let p = |count: u64, total: f64| (count as f64 + smoothing) / total;
    let ratio = |(&target, &raw): (&u64, &u64)| p(target, of_target).ln() - p(raw, of_raw).ln();
    target.iter().zip(raw).map(ratio).collect()
}
