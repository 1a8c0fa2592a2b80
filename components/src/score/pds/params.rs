//! What `score.pds_proxy` takes.

use super::descent::Descent;
use crate::component::Problem;
use crate::reference::{self, Ref, Refs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the states of the trajectory are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// In the scratch folder: a stopped step goes on at its last stored state.
    #[default]
    Disk,
    /// In memory.
    Memory,
}

/// What `score.pds_proxy` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyParams {
    /// The corpus. The short training reads its first blocks, in order; the blocks that get scores are drawn from the others.
    pub data: Ref<reference::Blocks>,
    /// What the training is judged by: any packed tokens. Its mean loss over blocks is the target loss.
    pub target: Ref<reference::Blocks>,
    /// Models that the short training starts from, as checkpoints of one model; the scores are averaged over them.
    pub models: Refs<reference::Model>,
    /// How many blocks are drawn to get a score.
    #[schemars(range(min = 1), extend("x-unit" = "blocks"), example = 2000)]
    pub proxy: u64,
    /// Steps T of the short training.
    #[serde(default = "steps")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "steps"))]
    pub steps: usize,
    /// Plain gradient descent at a constant rate.
    #[serde(default)]
    pub optim: Descent,
    /// Steps from one that is scored to the next; a tenth of `steps`, at least 1, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"), example = 10)]
    pub score_every: Option<usize>,
    /// Target blocks drawn anew at every step; all of them where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "blocks"), example = 32)]
    pub target_sample: Option<usize>,
    /// Times that weights of the drawn blocks are improved. With more than one, the training reads the drawn blocks under
    /// these weights, which begin equal, follow the scores and stay on the simplex; the last weights are the scores.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub outer_epochs: usize,
    /// Rate at which the weights follow the scores, with several outer epochs.
    #[serde(default = "outer_lr")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub outer_lr: f64,
    /// How far parameters θ are moved to take a difference, as a share of 1 + ‖θ‖; 1e-4 in f32 and 3e-7 in f64 where left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1e-2), extend("exclusiveMinimum" = 0.0), example = 1e-4)]
    pub rel_step: Option<f64>,
    /// Blocks that go through a model together.
    #[serde(default = "crate::score::batch_size")]
    #[schemars(range(min = 1, max = 65536), extend("x-unit" = "blocks"))]
    pub micro_batch: usize,
    /// Steps from one stored state to the next; those between are computed again on the way back. ⌊√steps⌋ where left out.
    /// Changing it makes nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "steps", "x-runtime" = true), example = 10)]
    pub checkpoint_every: Option<usize>,
    /// Where stored states are kept. Changing it makes nothing new.
    #[serde(default)]
    #[schemars(extend("x-runtime" = true))]
    pub trajectory: Keep,
}

fn steps() -> usize {
    100
}

fn one() -> usize {
    1
}

fn outer_lr() -> f64 {
    1.0
}

impl ProxyParams {
    /// What the schema cannot say.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.optim.problems("optim");
        for (field, value) in [
            ("score_every", self.score_every),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            if value.is_some_and(|value| value > self.steps) {
                problems.push(Problem {
                    field: field.to_owned(),
                    code: "out_of_range",
                    message: format!("`{field}` is more than the {} steps there are", self.steps),
                    hint: None,
                });
            }
        }
        problems
    }

    /// Whether the training reads the drawn blocks, under weights.
    pub(super) fn weighted(&self) -> bool {
        self.outer_epochs > 1
    }

    /// Steps from one that is scored to the next.
    pub(super) fn interval(&self) -> usize {
        self.score_every.unwrap_or((self.steps / 10).max(1))
    }

    /// Steps whose states meet the drawn blocks.
    pub(super) fn scored_steps(&self) -> usize {
        self.steps.div_ceil(self.interval())
    }
}
