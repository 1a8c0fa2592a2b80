//! What a user may say about the policy gradient.

use super::Start;
use crate::component::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of two descriptions of the method is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What the authors' released code computes: a discounted return that begins with the token itself, whitened; importance
    /// weights inside the clipped ratio of the policy gradient and on nothing else.
    #[default]
    Reference,
    /// What the paper says: an undiscounted return of the tokens that follow, not whitened; importance weights on the policy
    /// gradient and on the single step.
    Paper,
}

/// How advantages are brought to mean 0 and variance 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whiten {
    /// Over all places of the batch, those behind the responses' ends included, as the released code does it.
    Reference,
    /// The same with the variance of a sample, as the released code does it in one process.
    ReferenceSample,
    /// Over the responses' tokens only, so that a batch's width changes nothing.
    Masked,
    /// Not at all.
    None,
}

/// How far a token may move the student in one set of rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clipping {
    /// `max(−A·ρ, −A·clip(ρ, 1−ε, 1+ε))` (PPO).
    Advantage,
    /// `−A·min(ρ, clip(ρ, 1−ε, 1+ε))`, whatever the sign of `A` (MiniLLM's paper).
    Ratio,
}

/// The policy gradient of responses that were drawn, as a user writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGradient {
    /// Whether there is one; without it only the exact single step is left.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether the released code or the paper is followed; it sets the defaults of `gamma` and `whiten`.
    #[serde(default)]
    pub mode: Mode,
    /// Discount of the rewards of later tokens: 0.95 with `reference`, 1 with `paper`, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0), example = 0.95)]
    pub gamma: Option<f64>,
    /// Whether a return is divided by the number of tokens whose rewards it sums.
    #[serde(default = "yes")]
    pub length_norm: bool,
    /// How advantages are whitened: `reference` or `none` (with `paper`), where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"masked")]
    pub whiten: Option<Whiten>,
    /// Farthest from 1 that the ratio of a token's probability now to that when it was drawn has a gradient.
    #[serde(default = "default_clip")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip: f64,
    /// What rewards `log p − log q` are divided by.
    #[serde(default = "default_scaling")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub reward_scaling: f64,
    /// Largest magnitude of a reward, after scaling.
    #[serde(default = "default_reward_clip")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub reward_clip: f64,
    /// Whether the reverse KL of the next token at the visited places is minimised beside it.
    #[serde(default = "yes")]
    pub single_step: bool,
}

fn yes() -> bool {
    true
}
fn default_clip() -> f64 {
    0.2
}
fn default_scaling() -> f64 {
    0.5
}
fn default_reward_clip() -> f64 {
    100.0
}

impl Default for PolicyGradient {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Mode::default(),
            gamma: None,
            length_norm: true,
            whiten: None,
            clip: default_clip(),
            reward_scaling: default_scaling(),
            reward_clip: default_reward_clip(),
            single_step: true,
        }
    }
}

/// The same with every choice made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Discount of later rewards.
    pub gamma: f64,
    /// Where a return begins.
    pub start: Start,
    /// Whether a return is divided by its number of summands.
    pub length_norm: bool,
    /// How advantages are whitened.
    pub whiten: Whiten,
    /// Largest distance of a ratio from 1.
    pub clip: f64,
    /// What is clipped.
    pub clipping: Clipping,
    /// What rewards are divided by.
    pub reward_scaling: f64,
    /// Largest magnitude of a reward.
    pub reward_clip: f64,
    /// Whether importance weights stand on the single step too.
    pub weigh_single_step: bool,
}

impl PolicyGradient {
    /// Every choice made.
    pub fn recipe(&self) -> Recipe {
        let paper = self.mode == Mode::Paper;
        Recipe {
            gamma: self.gamma.unwrap_or(if paper { 1.0 } else { 0.95 }),
            start: if paper { Start::Following } else { Start::Current },
            length_norm: self.length_norm,
            whiten: self
                .whiten
                .unwrap_or(if paper { Whiten::None } else { Whiten::Reference }),
            clip: self.clip,
            clipping: if paper {
                Clipping::Ratio
            } else {
                Clipping::Advantage
            },
            reward_scaling: self.reward_scaling,
            reward_clip: self.reward_clip,
            weigh_single_step: paper,
        }
    }

    /// What the schema cannot say; `field` is the table's own path. `no_objective`.
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        if self.enabled || self.single_step {
            return Vec::new();
        }
        vec![Problem {
            field: field.to_owned(),
            code: "no_objective",
            message: "`enabled = false` and `single_step = false` leave nothing to minimise".into(),
            hint: Some("leave one of the two out".into()),
        }]
    }
}

impl Recipe {
    /// Weights of the reverse KL at every place so that their sum is the term: the mean over the responses' tokens, each
    /// times its importance where the paper is followed.
    ///
    /// # Shapes
    /// `mask`, `importance` and the result: `[rows · width]`.
    pub fn single_step_weights(&self, mask: &[f32], importance: &[f64]) -> Vec<f64> {
        let tokens: f64 = mask.iter().map(|mask| f64::from(*mask)).sum();
        let places = mask.iter().zip(importance);
        places
            .map(|(mask, w)| f64::from(*mask) / tokens * if self.weigh_single_step { *w } else { 1.0 })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> PolicyGradient {
        serde_json::from_str(text).expect("a valid table")
    }

    #[test]
    fn the_mode_sets_what_is_left_out_and_nothing_else() {
        assert_eq!(parsed("{}"), PolicyGradient::default());
        let reference = parsed("{}").recipe();
        assert_eq!((reference.gamma, reference.whiten), (0.95, Whiten::Reference));
        assert_eq!(
            (reference.start, reference.clipping),
            (Start::Current, Clipping::Advantage)
        );
        let paper = parsed(r#"{ "mode": "paper" }"#).recipe();
        assert_eq!((paper.gamma, paper.whiten), (1.0, Whiten::None));
        assert_eq!((paper.start, paper.clipping), (Start::Following, Clipping::Ratio));
        let mixed = parsed(r#"{ "mode": "paper", "gamma": 0.5, "whiten": "masked" }"#).recipe();
        assert_eq!((mixed.gamma, mixed.whiten), (0.5, Whiten::Masked));
        assert_eq!(
            mixed.single_step_weights(&[1.0, 1.0, 0.0], &[0.5, 2.0, 9.0]),
            [0.25, 1.0, 0.0]
        );
        assert_eq!(
            reference.single_step_weights(&[1.0, 1.0], &[0.5, 2.0]),
            [0.5, 0.5]
        );
    }

    #[test]
    fn something_must_be_left_to_minimise() {
        assert!(
            parsed(r#"{ "enabled": false }"#)
                .problems("policy_gradient")
                .is_empty()
        );
        let nothing = parsed(r#"{ "enabled": false, "single_step": false }"#);
        let problems = nothing.problems("policy_gradient");
        assert_eq!(
            (problems[0].code, problems[0].field.as_str()),
            ("no_objective", "policy_gradient")
        );
    }
}
