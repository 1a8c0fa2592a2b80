//! What `select.top` takes.

use crate::artifact::Order;
use crate::component::Problem;
use crate::reference::{self, Ref};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Temperature τ of the noise, in the scores' unit; at 0 there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), example = 0.1)]
    pub tau: Option<f64>,
    /// A share of the kept items to draw by chance instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// What a kept item weighs in the loss.
    #[serde(default)]
    pub weights: Weights,
}

impl Params {
    /// Options that are missing or do not go together.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |field: &str, code, message: &str, hint: &str| Problem {
            field: field.to_owned(),
            code,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        };
        let mut problems = Vec::new();
        match (self.keep, self.count) {
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
            (None, Some(_)) if self.quotas.is_some() => problems.push(problem(
                "quotas",
                "conflicting_fields",
                "quotas are ratios of their groups; they need `keep`, not `count`",
                "replace `count` by `keep`",
            )),
            _ => {}
        }
        match (self.noise, self.tau) {
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
}
