//! `select.top`: keep the best by score (MiniPLM, sheet 2.4, and the options of sheet 8).

use super::rules::{check_finite, gumbel_keys, keep_count, mixture_counts, top_k_of};
use crate::artifact::{Order, Scores, Selection, SelectionDetails};
use crate::component::{Component, Estimate, Output, Problem, Seeding, Size, Sizes, main_output};
use crate::labels::{ItemLabels, Labels};
use crate::reference::{self, Ref};
use crate::{Context, Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The best items by score, in the source's order; of equal scores the lower index.
#[derive(Debug, Clone, Copy)]
pub struct Top;

/// Whether chance plays a part in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// It does not.
    #[default]
    None,
    /// Items are drawn without replacement with probabilities that go with exp(score / τ) (Gumbel top-k).
    Gumbel,
}

/// Where the mixed-in items come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// The items that are not kept by rank.
    #[default]
    Rest,
    /// All items: one that is kept by rank may come a second time.
    Original,
}

/// What a kept item weighs in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// One.
    #[default]
    Equal,
    /// Its score, scaled so that the mean over kept items is one. Scores must not be negative.
    Score,
}

/// A share of the kept items that is drawn by chance instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// That share; the number of items kept stays the same.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub fraction: f64,
    /// Where they come from.
    #[serde(default)]
    pub from: Pool,
}

/// Quotas: the best of every group, instead of the best of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// The corpus whose column names the groups. A block belongs to the group that has most of its tokens.
    pub corpus: Ref<reference::Documents>,
    /// The column.
    #[schemars(example = &"domain")]
    pub column: String,
    /// The ratio to keep of a group, by name. Others take the step's `keep`.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = { "type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0 }))]
    pub keep: BTreeMap<String, f64>,
}

/// What `select.top` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The scores to choose by.
    pub scores: Ref<reference::Scores>,
    /// The share of items to keep: trunc(keep · N) of them. Exactly one of `keep` and `count` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0), example = 0.5)]
    pub keep: Option<f64>,
    /// The number of items to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "items"))]
    pub count: Option<u64>,
    /// The column of the scores; without one, the scores' own first choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Which end is kept.
    #[serde(default)]
    pub order: Order,
    /// Quotas by group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
    /// Whether chance plays a part in the ranking; `gumbel` needs `tau`.
    #[serde(default)]
    pub noise: Noise,
    /// Temperature τ of the noise, in the scores' unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0), example = 0.1)]
    pub tau: Option<f64>,
    /// A share of the kept items to draw by chance instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// What a kept item weighs in the loss.
    #[serde(default)]
    pub weights: Weights,
}

impl Component for Top {
    type Params = Params;
    const NAME: &'static str = "select.top";
    const SUMMARY: &'static str =
        "the best items by score: a ratio or a count, with quotas, noise and mixing";
    const PAPER: Option<&'static str> = Some("miniplm");
    const SEEDING: Seeding = Seeding::Experiment;
    const EXAMPLE: &'static str = r#"use = "select.top"
scores = "@difference"
keep = 0.5
"#;

    fn outputs(_: &Params) -> Vec<Output> {
        main_output(Kind::Selection)
    }

    fn check(params: &Params) -> Vec<Problem> {
        let problem = |field: &str, code, message: &str, hint: &str| Problem {
            field: field.to_owned(),
            code,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        };
        let mut problems = Vec::new();
        match (params.keep, params.count) {
            (None, None) => problems.push(problem(
                "keep",
                "missing_field",
                "expected `keep` or `count`, found neither",
                "keep = 0.5",
            )),
            (Some(_), Some(_)) => problems.push(problem(
                "count",
                "conflicting_fields",
                "expected one of `keep` and `count`, found both",
                "remove one of them",
            )),
            (None, Some(_)) if params.quotas.is_some() => problems.push(problem(
                "quotas",
                "conflicting_fields",
                "quotas are ratios of their groups; they need `keep`, not `count`",
                "replace `count` by `keep`",
            )),
            _ => {}
        }
        match (params.noise, params.tau) {
            (Noise::Gumbel, None) => problems.push(problem(
                "noise",
                "missing_field",
                "`gumbel` needs a temperature",
                "tau = 0.1",
            )),
            (Noise::None, Some(_)) => problems.push(problem(
                "tau",
                "conflicting_fields",
                "`tau` has no effect without noise",
                "noise = \"gumbel\"",
            )),
            _ => {}
        }
        problems
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
            ..Size::default()
        };
        Estimate {
            outputs: BTreeMap::from([(String::new(), selection)]),
            memory: scores.items * 40.0,
            ..Estimate::default()
        }
    }

    fn run(params: Params, context: &Context) -> Result<()> {
        let artifact = context.open(&params.scores)?;
        let scores = Scores::read(&artifact)?;
        let values = scores.column(params.column.as_deref())?;
        if values.is_empty() {
            return Err(Error::data("empty_input", "there are no scores to choose by"));
        }
        check_finite(values, &scores.index)?;
        let source = artifact.header.source.clone().ok_or_else(|| {
            Error::data(
                "bad_artifact",
                format!("`{}` does not say what it scores", artifact.label),
            )
        })?;

        let groups = match &params.quotas {
            None => vec![Group {
                members: (0..values.len()).collect(),
                kept: kept(&params, values.len())?,
            }],
            Some(quotas) => {
                let labels = Labels::read(context.open(&quotas.corpus)?, &quotas.column, context)?;
                let scored = context.open_source(&source)?;
                let labels = ItemLabels::new(labels, scores.item, &scores.index, scored, context)?;
                by_quota(quotas, &params, &labels, &scores.index)?
            }
        };
        let (keys, order) = keys(&params, values, &scores.index, context);
        let (ranked, mut chosen) = choose(&params, groups, &keys, order, &scores.index, context);
        chosen.sort_unstable();

        let weight = weights(params.weights, &chosen, values, &scores.index)?;
        let extreme = ranked.iter().map(|&at| values[at]);
        let negative = chosen.iter().filter(|&&at| values[at] < 0.0).count();
        let selection = Selection {
            details: SelectionDetails {
                item: scores.item,
                kept: chosen.len() as u64,
                of: values.len() as u64,
                threshold: match params.order {
                    Order::Highest => extreme.reduce(f64::min),
                    Order::Lowest => extreme.reduce(f64::max),
                },
                negative: negative as f64 / chosen.len() as f64,
                scores: artifact.as_source(),
                column: params.column.unwrap_or(scores.primary),
                order: params.order,
            },
            index: chosen.iter().map(|&at| scores.index[at]).collect(),
            weight,
        };
        selection.write(&context.output("")?, source)
    }
}

/// Items among which the best are kept.
struct Group {
    members: Vec<usize>,
    kept: usize,
}

fn kept(params: &Params, items: usize) -> Result<usize> {
    match (params.keep, params.count) {
        (Some(ratio), _) => keep_count(ratio, items),
        (None, Some(count)) if count as usize <= items => Ok(count as usize),
        (None, Some(count)) => Err(Error::data(
            "count_out_of_range",
            format!("`count` is {count}, but there are {items} items"),
        )),
        (None, None) => Err(Error::data(
            "empty_selection",
            "neither `keep` nor `count` is given",
        )),
    }
}

fn by_quota(quotas: &Quotas, params: &Params, labels: &ItemLabels, index: &[u64]) -> Result<Vec<Group>> {
    if let Some(unknown) = quotas.keep.keys().find(|name| !labels.names().contains(name)) {
        let names: Vec<_> = labels
            .names()
            .iter()
            .take(20)
            .map(|name| format!("`{name}`"))
            .collect();
        return Err(Error::data(
            "unknown_label",
            format!("no document has `{}` = `{unknown}`", quotas.column),
        )
        .hint(format!("the groups are {}", names.join(", "))));
    }
    let mut members = vec![Vec::new(); labels.names().len()];
    for (at, &item) in index.iter().enumerate() {
        members[labels.largest(item)].push(at);
    }
    let mut groups = Vec::new();
    for (name, members) in labels.names().iter().zip(members) {
        let ratio = quotas.keep.get(name).copied().or(params.keep).unwrap_or(1.0);
        // A group may be too small to give any; only when all are is it a mistake.
        let kept = match keep_count(ratio, members.len()) {
            Err(error) if error.code() == "ratio_out_of_range" => return Err(error),
            count => count.unwrap_or(0),
        };
        groups.push(Group { members, kept });
    }
    if groups.iter().all(|group| group.kept == 0) {
        return Err(
            Error::data("empty_selection", "no group is large enough to give an item")
                .hint("raise `keep`, or score more items"),
        );
    }
    Ok(groups)
}

/// What items are ranked by, and from which end.
fn keys(params: &Params, values: &[f64], index: &[u64], context: &Context) -> (Vec<f64>, Order) {
    let (Noise::Gumbel, Some(tau)) = (params.noise, params.tau) else {
        return (values.to_vec(), params.order);
    };
    let stream = context.stream("select.top gumbel");
    let uniforms = index.iter().map(|&item| stream.at(item).uniform());
    let better = match params.order {
        Order::Highest => values.to_vec(),
        Order::Lowest => values.iter().map(|value| -value).collect(),
    };
    (gumbel_keys(&better, tau, uniforms), Order::Highest)
}

/// Those kept by rank, and all that are kept: with those mixed in, the lowest of one uniform number an item.
fn choose(
    params: &Params,
    groups: Vec<Group>,
    keys: &[f64],
    order: Order,
    index: &[u64],
    context: &Context,
) -> (Vec<usize>, Vec<usize>) {
    let stream = context.stream("select.top mix");
    let (mut ranked, mut drawn) = (Vec::new(), Vec::new());
    for Group { members, kept } in groups {
        let fraction = params.mix.as_ref().map_or(0.0, |mix| mix.fraction);
        let (by_rank, by_chance) = mixture_counts(1.0 - fraction, kept);
        let best = top_k_of(members.clone(), keys, by_rank, order);
        if by_chance > 0 {
            let rest = match params.mix.as_ref().map(|mix| mix.from) {
                Some(Pool::Original) => members,
                _ => members
                    .into_iter()
                    .filter(|at| best.binary_search(at).is_err())
                    .collect(),
            };
            let chance: Vec<f64> = index.iter().map(|&item| stream.at(item).uniform()).collect();
            drawn.extend(top_k_of(rest, &chance, by_chance, Order::Lowest));
        }
        ranked.extend(best);
    }
    drawn.extend(&ranked);
    (ranked, drawn)
}

fn weights(kind: Weights, chosen: &[usize], values: &[f64], index: &[u64]) -> Result<Vec<f32>> {
    if kind == Weights::Equal {
        return Ok(vec![1.0; chosen.len()]);
    }
    if let Some(&at) = chosen.iter().find(|&&at| values[at] < 0.0) {
        return Err(Error::data(
            "negative_weight",
            format!(
                "the score of item {} is {}; a weight must not be negative",
                index[at], values[at]
            ),
        )
        .hint("weights = \"equal\""));
    }
    let mean = chosen.iter().map(|&at| values[at]).sum::<f64>() / chosen.len() as f64;
    if mean == 0.0 {
        return Err(Error::data(
            "zero_weights",
            "every kept score is zero; weights need one that is not",
        ));
    }
    Ok(chosen.iter().map(|&at| (values[at] / mean) as f32).collect())
}
