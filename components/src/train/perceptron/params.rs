//! What `train.perceptron` takes.

use crate::component::Problem;
use crate::reference::{self, Ref};
use crate::reweight::{Reweight, only_for_decoders};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Full-batch gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerceptronDescent {
    /// Rate η.
    #[schemars(extend("exclusiveMinimum" = 0.0), example = 0.1)]
    pub lr: f64,
    /// Steps T.
    #[schemars(range(min = 1, max = 100_000_000), extend("x-unit" = "steps"), example = 2000)]
    pub steps: u64,
}

/// Measures the loss on other examples along the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerceptronEvaluation {
    /// What the loss is measured on.
    pub data: Ref<reference::Documents>,
    /// Steps between measurements; the last step is always measured.
    #[serde(default = "one")]
    #[schemars(range(min = 1), extend("x-unit" = "steps"))]
    pub every: u64,
}

/// What `train.perceptron` takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerceptronParams {
    /// Labelled inputs (`corpus.teacher_student`).
    pub data: Ref<reference::Documents>,
    /// The optimizer.
    pub optim: PerceptronDescent,
    /// Measures the loss on other examples along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval: Option<PerceptronEvaluation>,
    /// Weights of the examples at every step, found for these examples; equal ones where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Ref<reference::Policy>>,
    /// Weighs examples by what they do for a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reweight: Option<Reweight>,
    /// Gives every step the length that it has in the training of that perceptron: a control, which shows how much of what
    /// weights gain is longer steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_steps: Option<Ref<reference::Model>>,
    /// Steps between checkpoints, from which a stopped training goes on. Changing it makes nothing new.
    #[serde(default = "checkpoint")]
    #[schemars(range(min = 1), extend("x-unit" = "steps", "x-runtime" = true))]
    pub checkpoint_every: u64,
}

fn one() -> u64 {
    1
}
fn checkpoint() -> u64 {
    10_000
}

impl PerceptronParams {
    /// What the schema cannot say.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = match &self.reweight {
            Some(reweight) => only_for_decoders(reweight, "reweight"),
            None => Vec::new(),
        };
        if self.policy.is_some() && self.reweight.is_some() {
            problems.push(Problem {
                field: "reweight".to_owned(),
                code: "not_exactly_one",
                message: "`policy` and `reweight` both give the examples' weights".to_owned(),
                hint: Some("leave one of them out".to_owned()),
            });
        }
        problems
    }
}
