//! `reweight = { … }`: what a user may say about weighing examples while training.

use super::rules::{Rule, Weigh};
use crate::component::Problem;
use crate::reference::{self, Ref};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How ⟨∇L_target, ∇l_n⟩ is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Contribution {
    /// Exactly, by the step's own forward and backward pass.
    #[default]
    PerExampleDot,
    /// By central differences of the examples' losses: two more forward passes.
    Difference,
}

/// What the target's gradient is divided by before examples are held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// √m₂ + ε of the optimizer, elementwise: what a step of Adam does with a gradient.
    Adam,
}

/// Examples of each step are weighed by how much they lower the loss on a target: c = ⟨∇L_target, ∇l⟩ (Learning law, arXiv
/// 2402.17759, in its practical form).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reweight {
    /// What the examples should help with. The training does not read it, and it should not be what the result is evaluated on.
    pub target: Ref<reference::Scorable>,
    /// How contributions become weights.
    #[serde(default)]
    pub rule: Rule,
    /// Steps from one gradient of the target to the next.
    #[serde(default = "refresh_every")]
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "steps"))]
    pub refresh_every: u64,
    /// Target examples of one gradient; they take turns. Where left out as many as a step of `train.lm` reads, and all of
    /// them in `train.perceptron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "examples"), example = 64)]
    pub target_batch: Option<usize>,
    /// How contributions are had.
    #[serde(default)]
    pub contribution: Contribution,
    /// Euclidean length of the displacement of `difference`.
    #[serde(default = "difference_step")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub difference_step: f64,
    /// Multiplier of `project`; one over the temperature of `softmax`.
    #[serde(default = "strength")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub strength: f64,
    /// Share that `top_fraction` keeps.
    #[serde(default = "fraction")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub fraction: f64,
    /// Share of equal weights that is mixed in.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mix_uniform: f64,
    /// First steps with equal weights.
    #[serde(default)]
    #[schemars(extend("x-unit" = "steps"))]
    pub warmup_steps: u64,
    /// Whether the weighted gradient gets the length that the gradient under equal weights has: a control, since weights lengthen
    /// steps.
    #[serde(default)]
    pub match_norm: bool,
    /// What the target's gradient is divided by.
    #[serde(default)]
    pub precondition: Precondition,
}

fn refresh_every() -> u64 {
    8
}
fn difference_step() -> f64 {
    0.01
}
fn strength() -> f64 {
    10.0
}
fn fraction() -> f64 {
    0.5
}

impl Reweight {
    /// The rule with its numbers.
    pub fn weigh(&self) -> Weigh {
        Weigh {
            rule: self.rule,
            strength: self.strength,
            fraction: self.fraction,
            mix_uniform: self.mix_uniform,
        }
    }

    /// Whether the target's gradient is taken anew at a step.
    pub fn refreshes_at(&self, step: u64) -> bool {
        step >= self.warmup_steps && (step - self.warmup_steps).is_multiple_of(self.refresh_every)
    }

    /// How many of `count` target examples make a gradient; `usual` unless something else was said.
    pub fn target_examples(&self, count: usize, usual: usize) -> usize {
        self.target_batch.unwrap_or(usual).min(count)
    }

    /// Which of `count` target examples make the gradient of a step that refreshes: `size` of them, in turns.
    pub fn turn(&self, step: u64, count: usize, size: usize) -> Vec<usize> {
        let turn = step.saturating_sub(self.warmup_steps) / self.refresh_every;
        let first = (u128::from(turn) * size as u128 % count.max(1) as u128) as usize;
        (0..size).map(|i| (first + i) % count).collect()
    }
}

/// Keys that a model in closed form has no use for.
pub(crate) fn only_for_decoders(reweight: &Reweight, field: &str) -> Vec<Problem> {
    let set = [
        ("contribution", reweight.contribution != Contribution::default()),
        ("precondition", reweight.precondition != Precondition::default()),
    ];
    let problem = |(key, _): (&str, bool)| Problem {
        field: format!("{field}.{key}"),
        code: "bad_value",
        message: format!("a perceptron trained by plain descent has `{key}` at its default only"),
        hint: Some(format!("leave `{key}` out")),
    };
    set.into_iter().filter(|(_, set)| *set).map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_take_turns_and_gradients_are_taken_at_their_steps() {
        let reweight: Reweight = serde_json::from_value(serde_json::json!({
            "target": "@target", "refresh_every": 3, "target_batch": 4, "warmup_steps": 2,
        }))
        .expect("fits");
        let refreshes: Vec<u64> = (0..10).filter(|&step| reweight.refreshes_at(step)).collect();
        assert_eq!(refreshes, [2, 5, 8]);
        let size = reweight.target_examples(6, 1);
        assert_eq!(reweight.turn(2, 6, size), [0, 1, 2, 3]);
        assert_eq!(reweight.turn(4, 6, size), [0, 1, 2, 3]);
        assert_eq!(reweight.turn(5, 6, size), [4, 5, 0, 1]);
        assert_eq!(reweight.target_examples(3, 9), 3);
    }
}
