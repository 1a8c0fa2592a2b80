//! What `policy.learning_law` takes.

use crate::component::Problem;
use crate::reference::{self, Ref};
use crate::score::Method;
use crate::train::ModelChoice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the rate of the weights changes over the policy epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawSchedule {
    /// A straight line to 0.
    #[default]
    Linear,
    /// No change.
    Constant,
}

/// What the gradient of a step's weights is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawScale {
    /// Nothing.
    #[default]
    None,
    /// Its standard deviation over the examples, times their number: every step moves alike, by `lr` / examples a standard
    /// deviation. `lr` is then about 1. Experimental.
    Row,
}

/// How the states of a training are kept for the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawStates {
    /// The first of the others that fits `memory_budget_gib`.
    #[default]
    Auto,
    /// All in memory.
    Store,
    /// Every √T-th in memory; those between are computed again, which costs a training more.
    Sqrt,
    /// All in the scratch folder, from which a stopped epoch goes on.
    Disk,
}

/// What `policy.learning_law` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LawParams {
    /// What is trained on: labelled inputs (`corpus.teacher_student`) for a perceptron, packed tokens for a decoder.
    pub data: Ref<reference::Scorable>,
    /// What the weights are found for: the mean loss over these examples.
    pub target: Ref<reference::Scorable>,
    /// Examples of the same law as the target, with which nothing is decided: what is gained there is what counts.
    pub test: Ref<reference::Scorable>,
    /// The decoder that is trained: a new one (`{ hidden_size = … }`) or one to start from (`"@step"`). A perceptron where left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelChoice>,
    /// Steps T of the training.
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "steps"))]
    pub steps: usize,
    /// Rate η of the training: full-batch gradient descent, without momentum, decay or clipping.
    #[serde(default = "inner_lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub inner_lr: f64,
    /// Must be `sgd`: the recursion of the costate holds for nothing else.
    #[serde(default)]
    pub inner_method: Method,
    /// Times that the weights are improved, each by a training forth and back.
    #[serde(default = "epochs")]
    #[schemars(extend("x-unit" = "policy epochs"))]
    pub epochs: usize,
    /// Rate ε of the weights, on the target loss summed over the steps (not averaged: that would be `steps` times as large).
    #[serde(default = "lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr: f64,
    /// How that rate changes.
    #[serde(default)]
    pub lr_schedule: LawSchedule,
    /// What each step's gradient is divided by.
    #[serde(default)]
    pub lr_scale: LawScale,
    /// First steps whose weights stay equal.
    #[serde(default)]
    #[schemars(extend("x-unit" = "steps"))]
    pub freeze_steps: usize,
    /// Stops once the gap, which vanishes at an optimum, is at most this.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub stop_gap: f64,
    /// How far a decoder's parameters θ are moved to take a difference of gradients, as a share of 1 + ‖θ‖; 1e-4 in f32 and 3e-7
    /// in f64 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1e-2), extend("exclusiveMinimum" = 0.0), example = 1e-4)]
    pub rel_step: Option<f64>,
    /// Blocks that go through a decoder together.
    #[serde(default = "micro_batch")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub micro_batch: usize,
    /// How the states of a training are kept. Changing it makes nothing new.
    #[serde(default)]
    #[schemars(extend("x-runtime" = true))]
    pub trajectory: LawStates,
    /// What weights and states may take.
    #[serde(default = "memory")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "x-unit" = "GiB", "x-runtime" = true))]
    pub memory_budget_gib: f64,
    /// Policy epochs between two copies of the weights, from which a stopped step goes on; 50 of a perceptron and 1 of a
    /// decoder where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "policy epochs", "x-runtime" = true), example = 10)]
    pub save_every: Option<usize>,
}

fn steps() -> usize {
    2000
}
fn inner_lr() -> f64 {
    0.1
}
fn epochs() -> usize {
    500
}
fn lr() -> f64 {
    5e-6
}
fn micro_batch() -> usize {
    32
}
fn memory() -> f64 {
    8.0
}

impl LawParams {
    /// What the schema cannot say.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = match &self.model {
            Some(ModelChoice::Fresh(spec)) => spec.check("model"),
            _ => Vec::new(),
        };
        if self.inner_method != Method::Sgd {
            problems.push(Problem {
                field: "inner_method".to_owned(),
                code: "unsupported_optimizer",
                message: "the solver goes backward through plain gradient descent; `inner_method` can only be \"sgd\""
                    .to_owned(),
                hint: Some("leave `inner_method` out".to_owned()),
            });
        }
        problems
    }

    /// Policy epochs between two copies of the weights.
    pub(super) fn save_interval(&self) -> usize {
        self.save_every
            .unwrap_or(if self.model.is_some() { 1 } else { 50 })
    }
}
