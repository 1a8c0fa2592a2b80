//! The optimizer of a solver that goes backward through its training: plain gradient descent at a constant rate.

use crate::component::Problem;
use crate::train::ScheduleKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Plain gradient descent.
    #[default]
    Sgd,
    /// What `train.lm` trains with. Refused here: the recursion of the costate does not hold for it.
    Adamw,
}

/// Gradient descent, written as `train.lm` writes an optimizer. The recursion of the costate holds for plain gradient
/// descent at a constant rate only, so of the other keys only the values that switch them off are taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Descent {
    /// Rate η of the steps.
    #[serde(default = "lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub lr: f64,
    /// Blocks whose mean loss a step goes down.
    #[serde(default = "batch_size")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "blocks"))]
    pub batch_size: usize,
    /// Must be `sgd`.
    #[serde(default)]
    pub method: Method,
    /// Must be `constant`.
    #[serde(default = "constant")]
    pub schedule: ScheduleKind,
    /// Must be 0.
    #[serde(default)]
    pub momentum: f64,
    /// Must be 0.
    #[serde(default)]
    pub weight_decay: f64,
    /// Must be 0: no clipping.
    #[serde(default)]
    pub clip_norm: f64,
    /// Must be 0.
    #[serde(default)]
    pub warmup: f64,
}

fn lr() -> f64 {
    0.008
}

fn batch_size() -> usize {
    256
}

fn constant() -> ScheduleKind {
    ScheduleKind::Constant
}

impl Default for Descent {
    fn default() -> Self {
        Self {
            lr: lr(),
            batch_size: batch_size(),
            method: Method::Sgd,
            schedule: constant(),
            momentum: 0.0,
            weight_decay: 0.0,
            clip_norm: 0.0,
            warmup: 0.0,
        }
    }
}

impl Descent {
    /// `unsupported_optimizer`: what breaks the recursion.
    pub(super) fn problems(&self, field: &str) -> Vec<Problem> {
        let broken = [
            ("method", self.method != Method::Sgd, "\"sgd\""),
            (
                "schedule",
                self.schedule != ScheduleKind::Constant,
                "\"constant\"",
            ),
            ("momentum", self.momentum != 0.0, "0"),
            ("weight_decay", self.weight_decay != 0.0, "0"),
            ("clip_norm", self.clip_norm != 0.0, "0"),
            ("warmup", self.warmup != 0.0, "0"),
        ];
        let problem = |(key, _, only): (&str, bool, &str)| Problem {
            field: format!("{field}.{key}"),
            code: "unsupported_optimizer",
            message: format!(
                "the solver goes backward through plain gradient descent; `{key}` can only be {only}"
            ),
            hint: Some(format!("leave `{key}` out")),
        };
        broken
            .into_iter()
            .filter(|broken| broken.1)
            .map(problem)
            .collect()
    }
}
