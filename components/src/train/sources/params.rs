//! Where batches come from, as a user writes it.

use crate::component::Problem;
use crate::inference::Sampling;
use crate::reference::{self, Ref};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is learnt from instead of the data as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceParams {
    /// What the model itself, or a mixture of it and a teacher, answers to the data's prompts while it is being trained.
    Rollouts(Rollouts),
    /// What a teacher answers to the data's prompts, written once before the training.
    Responses(Responses),
    /// A teacher's answer beside one of the model's own to each of the data's prompts.
    Preferences(Preferences),
}

/// How responses are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drawing {
    /// The most tokens of a response, its end included.
    #[schemars(range(min = 1, max = 1_048_576), extend("x-unit" = "tokens"))]
    pub max_tokens: usize,
    /// Divides the logits.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Draws among this many most likely tokens; 0: among all.
    pub top_k: usize,
    /// Draws among the fewest most likely tokens whose probabilities add up to this.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub top_p: f64,
}

impl Default for Drawing {
    /// From the whole distribution, at most 256 tokens.
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
        }
    }
}

impl Drawing {
    /// The engine's settings.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            ..Sampling::default()
        }
    }

    /// Whether tokens are drawn from the models' own distributions.
    pub(super) fn is_plain(&self) -> bool {
        self.temperature == 1.0 && self.top_k == 0 && self.top_p == 1.0
    }
}

/// Responses of the model being trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollouts {
    /// The teacher that is mixed in and whose log-likelihoods are the rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Ref<reference::Model>>,
    /// The teacher's share α of the distribution that is drawn from, at least 0 and below 1.
    #[serde(default)]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub teacher_mix: f64,
    /// Share of the collections that the model writes; the others are the data as it is (GKD's λ).
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub on_policy: f64,
    /// Responses that are drawn together, from the model as it then is: a multiple of the batch size.
    #[serde(default = "rollouts")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rollouts: u64,
    /// Passes over them, each in an order of its own, before others are drawn.
    #[serde(default = "inner_epochs")]
    #[schemars(range(min = 1, max = 1000))]
    pub inner_epochs: u64,
    /// How they are drawn.
    #[serde(default)]
    pub sampling: Drawing,
}

fn one() -> f64 {
    1.0
}
fn rollouts() -> u64 {
    256
}
fn inner_epochs() -> u64 {
    4
}

/// Responses of a teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Responses {
    /// The teacher that writes.
    pub teacher: Ref<reference::Model>,
    /// Of packed text, how many tokens of a block the teacher is given; it writes the rest, and all of it is learnt. A block
    /// that is no longer stays as it is. Of pairs the prompt is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("x-unit" = "tokens"))]
    pub prompt_tokens: Option<usize>,
    /// How they are drawn.
    #[serde(default)]
    pub sampling: Drawing,
}

/// Which response is the preferred one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// One that the teacher writes, once for every prompt.
    #[default]
    Teacher,
    /// The data's own.
    Gold,
}

/// Responses to compare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    /// The teacher: it writes the preferred responses, and its log-likelihoods are the reference.
    pub teacher: Ref<reference::Model>,
    /// Which response is the preferred one.
    #[serde(default)]
    pub chosen: Chosen,
    /// Steps between two drawings of the model's own responses; 0: once, from the model as it is before the training. One pass
    /// over the data where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unit" = "steps"), example = 100)]
    pub refresh_every: Option<u64>,
    /// How responses are drawn.
    #[serde(default)]
    pub sampling: Drawing,
}

impl SourceParams {
    /// The teacher it asks, if it asks one.
    pub(crate) fn teacher(&self) -> Option<&Ref<reference::Model>> {
        match self {
            Self::Rollouts(rollouts) => rollouts.teacher.as_ref(),
            Self::Responses(responses) => Some(&responses.teacher),
            Self::Preferences(preferences) => Some(&preferences.teacher),
        }
    }

    /// Mistakes that a schema cannot express, in the table called `field`, for batches of `batch_size` rows.
    pub(crate) fn problems(&self, field: &str, batch_size: usize) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Self::Rollouts(rollouts) = self {
            let (count, rows) = (rollouts.rollouts, batch_size as u64);
            if !count.is_multiple_of(rows) {
                problems.push(Problem {
                    field: format!("{field}.rollouts"),
                    code: "out_of_range",
                    message: format!("{count} rollouts are no multiple of a batch of {rows}"),
                    hint: Some(format!(
                        "take {} rollouts, or another `optim.batch_size`",
                        count.next_multiple_of(rows)
                    )),
                });
            }
            if rollouts.teacher_mix > 0.0 && rollouts.teacher.is_none() {
                problems.push(Problem {
                    field: format!("{field}.teacher"),
                    code: "missing_key",
                    message: "`teacher_mix` needs a `teacher` to mix in".into(),
                    hint: Some("name a model: `teacher = \"@teacher\"`".into()),
                });
            }
        }
        problems
    }
}
