//! `score.classifier`: a logistic regression on hashed n-grams that tells a target from a raw corpus.

use super::bags::{Bag, Bags, Sides};
use super::common;
use super::logistic::{Examples, Logistic};
use super::ngrams::NGrams;
use crate::artifact::Item;
use crate::component::{Component, Estimate, Output, Seeding, Sharding, Sizes, main_output};
use crate::reference::{self, Ref};
use crate::{Artifact, Context, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BinaryHeap;
use std::path::PathBuf;

/// How surely an item is taken for one of the target: `score`, log-odds at equal shares of both; besides, `probability` and
/// `ngrams`. An item without an n-gram has no row.
#[derive(Debug, Clone, Copy)]
pub struct Classifier;

/// What `score.classifier` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is scored: packed blocks, by their token ids, or documents, by their words in lower case.
    pub data: Ref<reference::Scorable>,
    /// What the scored shall be like: packed with the same tokenizer, or documents, as `data` is.
    pub target: Ref<reference::Scorable>,
    /// What the target is told from; the data itself where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Ref<reference::Scorable>>,
    /// What of packed blocks gets a score, and is an example: each block, or each document. Of documents, each is.
    #[serde(default)]
    pub item: Item,
    /// Tokens or words of the longest n-gram; all shorter ones count too.
    #[serde(default = "common::longest_ngram")]
    #[schemars(range(min = 1, max = 5))]
    pub ngrams: usize,
    /// Buckets that n-grams are hashed into: the features.
    #[serde(default = "buckets")]
    #[schemars(range(min = 2, max = 16_777_216))]
    pub buckets: u32,
    /// Most examples of each side; of more items so many are drawn. Both sides weigh the same whatever their numbers.
    #[serde(default = "examples")]
    #[schemars(range(min = 1), extend("x-unit" = "items"))]
    pub examples: u64,
    /// Half of this times the squared length of the weights is added to the mean loss.
    #[serde(default = "l2")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub l2: f64,
    /// Most steps of L-BFGS.
    #[serde(default = "iterations")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub iterations: usize,
}

fn buckets() -> u32 {
    65_536
}

fn examples() -> u64 {
    20_000
}

fn l2() -> f64 {
    1e-3
}

fn iterations() -> usize {
    200
}

impl Component for Classifier {
    type Params = Params;
    const NAME: &'static str = "score.classifier";
    const SUMMARY: &'static str =
        "how surely a classifier on hashed n-grams takes an item for one of a target";
    const SEEDING: Seeding = Seeding::Fixed;
    const SHARDING: Sharding = Sharding::Items;
    const EXAMPLE: &'static str = r#"use = "score.classifier"
data = "@tokens"
target = "@clean_tokens.train"
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Scores)
    }

    fn estimate(params: &Params, sizes: &Sizes) -> Estimate {
        let ngrams = params.ngrams as f64;
        let whole = common::estimate(sizes, params.data.as_str(), &[], 3.0);
        let raw = params.raw.as_ref().unwrap_or(&params.data);
        let learnt: f64 = [&params.target, raw]
            .map(|side| {
                let items = sizes.of(side.as_str()).items;
                let share = if items > 0.0 {
                    (params.examples as f64 / items).min(1.0)
                } else {
                    0.0
                };
                share * common::units(sizes, side.as_str()) * ngrams
            })
            .iter()
            .sum();
        Estimate {
            flops: 4.0 * learnt * params.iterations as f64
                + 2.0 * ngrams * common::units(sizes, params.data.as_str()),
            // An index and a value a feature; as many vectors as L-BFGS remembers, and the tasks' gradients.
            memory: whole.memory + 12.0 * learnt + 8.0 * 64.0 * f64::from(params.buckets),
            ..whole
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
        let fitted = fit(&params, &sides, context, own.contains(&0))?;
        let bar = context
            .services
            .bar("scoring n-grams", own.end - own.start, "items");
        let mut rows = Vec::new();
        let (mut tokens, mut products) = (0, 0);
        sides.data.each(own, context, &*bar, |bag| {
            tokens += bag.tokens;
            let ngrams = bag.buckets.len() as f64;
            let index = bag.index;
            let features = normalised(bag.buckets);
            products += features.len();
            rows.push((index, fitted.log_odds(&features), ngrams));
        })?;
        context.services.cost(tokens, 2.0 * products as f64);
        write(context, &data, item, rows)
    }
}

/// Writes rows of item, log-odds and number of n-grams.
fn write(context: &Context, data: &Artifact, item: Item, mut rows: Vec<(u64, f64, f64)>) -> Result<()> {
    rows.sort_by_key(|&(index, _, _)| index);
    let column = |get: fn(&(u64, f64, f64)) -> f64| rows.iter().map(get).collect();
    let columns = vec![
        ("score", column(|row| row.1)),
        ("probability", column(|row| 1.0 / (1.0 + (-row.1).exp()))),
        ("ngrams", column(|row| row.2)),
    ];
    let index = rows.iter().map(|row| row.0).collect();
    common::write(context, data, item, index, "score", columns)
}

/// Learns from both sides. Every shard does so anew, and one tells the cost.
fn fit(params: &Params, sides: &Sides, context: &Context, tells: bool) -> Result<Logistic> {
    let mut examples = Examples::default();
    let mut tokens = 0;
    for (bags, called, wanted) in [(&sides.target, "target", true), (sides.raw(), "raw", false)] {
        let places = draw(bags, params.examples, called, context);
        let bar = context.services.bar(
            &format!("reading examples, {called}"),
            places.len() as u64,
            "items",
        );
        let before = examples.nonzero();
        bags.each(places, context, &*bar, |bag: Bag| {
            tokens += bag.tokens;
            examples.push(&normalised(bag.buckets), wanted);
        })?;
        if wanted && examples.nonzero() == before {
            return Err(sides.nothing_in_target());
        }
    }
    let (features, l2) = (params.buckets as usize, params.l2);
    let bar = context
        .services
        .bar("learning the target", params.iterations as u64, "steps");
    let fitted = Logistic::fit(&examples, features, l2, params.iterations, || {
        bar.advance(1);
        context.check_cancelled()
    })?;
    if !fitted.converged {
        context.services.note(&format!(
            "not_converged: after {} steps the classifier could still be improved; raise `iterations` or `l2`",
            params.iterations
        ));
    }
    if tells {
        // A product forward and one backward, to the weights alone.
        let flops = 4.0 * (examples.nonzero() * fitted.passes) as f64;
        context.services.cost(tokens, flops);
    }
    Ok(fitted)
}

/// The places of at most `most` items, ascending: all, or those with the smallest of random keys, which are drawn for every
/// place by itself.
fn draw(bags: &Bags, most: u64, called: &str, context: &Context) -> Vec<u64> {
    if bags.len() <= most {
        return (0..bags.len()).collect();
    }
    let stream = context.stream(&format!("score.classifier {called}"));
    let mut smallest = BinaryHeap::new();
    for place in 0..bags.len() {
        smallest.push((stream.at(place).bits(), place));
        if smallest.len() as u64 > most {
            smallest.pop();
        }
    }
    let mut places: Vec<u64> = smallest.into_iter().map(|(_, place)| place).collect();
    places.sort_unstable();
    places
}

/// Counts of buckets, scaled to length 1, by ascending bucket.
pub fn normalised(mut buckets: Vec<u32>) -> Vec<(u32, f64)> {
    buckets.sort_unstable();
    let counts = buckets
        .chunk_by(|a, b| a == b)
        .map(|equal| (equal[0], equal.len() as f64));
    let mut features: Vec<(u32, f64)> = counts.collect();
    let length = features
        .iter()
        .map(|(_, count)| count * count)
        .sum::<f64>()
        .sqrt();
    for (_, count) in &mut features {
        *count /= length;
    }
    features
}
