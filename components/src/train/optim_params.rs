//! What a user may say about an optimizer and a budget.

use super::schedule::ScheduleKind;
use crate::Ref;
use crate::lineage::Charge;
use crate::reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The optimizer (AdamW), its schedule and its budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimParams {
    /// Highest learning rate.
    #[schemars(extend("exclusiveMinimum" = 0.0), example = 1e-3)]
    pub lr: f64,
    /// How long to train: exactly one of its keys.
    #[schemars(example = serde_json::json!({ "tokens": 500_000 }))]
    pub budget: Budget,
    /// Blocks of one forward and backward pass.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
    /// Passes whose gradients make one step; the loss is the mean over all their tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub accumulate: usize,
    /// What the learning rate does after warm-up.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Share of the steps over which the learning rate rises from 0.
    #[serde(default = "default_warmup")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
    /// The same as a number of steps; it wins over `warmup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "steps"))]
    pub warmup_steps: Option<u64>,
    /// Last learning rate as a share of the highest.
    #[serde(default = "default_min_lr")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_lr_ratio: f64,
    /// Share of the steps over which `wsd` decays.
    #[serde(default = "default_decay")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
    /// Decay of the mean of gradients.
    #[serde(default = "default_beta1")]
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    #[serde(default = "default_beta2")]
    #[schemars(range(min = 0.0, max = 0.999_999_9))]
    pub beta2: f64,
    /// Added to the root of the mean of squared gradients.
    #[serde(default = "default_eps")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub eps: f64,
    /// Decoupled weight decay, on matrices only.
    #[serde(default = "default_weight_decay")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Largest norm of the whole gradient; 0 leaves it as it is.
    #[serde(default = "default_clip")]
    #[schemars(range(min = 0.0))]
    pub clip_norm: f64,
}

fn default_batch() -> usize {
    16
}
fn one() -> usize {
    1
}
fn default_warmup() -> f64 {
    0.02
}
fn default_min_lr() -> f64 {
    0.1
}
fn default_decay() -> f64 {
    0.2
}
fn default_beta1() -> f64 {
    0.9
}
fn default_beta2() -> f64 {
    0.95
}
fn default_eps() -> f64 {
    1e-8
}
fn default_weight_decay() -> f64 {
    0.1
}
fn default_clip() -> f64 {
    1.0
}

/// How long to train: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Optimizer steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub steps: Option<u64>,
    /// Tokens trained on; rounded up to whole steps of average length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub tokens: Option<u64>,
    /// FLOPs (2 × multiply-adds, causal attention at half, backward twice forward); rounded to whole steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0), extend("x-unit" = "FLOPs"))]
    pub flops: Option<f64>,
    /// As many FLOPs as that model has had, counted with those of the model that this training goes on from.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_model: Option<Ref<reference::Model>>,
    /// With `match`: what of the steps behind this training's data and teachers is paid from the budget as well, as far as
    /// the matched model did not have it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!(["scoring", "teacher"]))]
    pub charge: Vec<Charge>,
}
