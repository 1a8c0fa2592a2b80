//! The terms of an objective.

use super::source::HostBatch;
use burn::tensor::{Int, Tensor};
use lyceum_kernels::{Products, linear_cross_entropy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// One term of the loss, as a user writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TermParams {
    /// Negative log-likelihood of the next token.
    CrossEntropy {
        /// Factor of this term.
        #[serde(default = "one")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        weight: f64,
    },
}

fn one() -> f64 {
    1.0
}

/// What a term sees of a pass. `n` rows are batch × positions.
pub(crate) struct Pass<'a> {
    /// Final hidden states.
    pub(crate) hidden_nd: Tensor<2>,
    /// Output head.
    pub(crate) head_vd: Tensor<2>,
    /// Its bias, if the family has one.
    pub(crate) head_bias_v: Option<Tensor<1>>,
    /// Next tokens.
    pub(crate) labels_n: Tensor<1, Int>,
    /// Weights of the tokens, already divided by the weight of the whole step.
    pub(crate) weights_n: Tensor<1>,
    /// How matrix products are formed.
    pub(crate) products: Products,
    /// The batch as its source made it.
    pub(crate) batch: &'a HostBatch,
}

/// A part of the loss: a weighted sum over tokens.
pub(crate) trait Term: Send + Sync + Debug {
    /// The term's loss, of shape `[1]`, differentiable.
    fn loss(&self, pass: &Pass) -> Tensor<1>;
}

/// Negative log-likelihood of the next token, times a factor.
#[derive(Debug)]
struct CrossEntropy {
    weight: f64,
}

impl Term for CrossEntropy {
    fn loss(&self, pass: &Pass) -> Tensor<1> {
        let entropy = linear_cross_entropy(
            pass.hidden_nd.clone(),
            pass.head_vd.clone(),
            pass.head_bias_v.clone(),
            pass.labels_n.clone(),
            pass.weights_n.clone(),
            pass.products,
        );
        if self.weight == 1.0 {
            entropy.loss
        } else {
            entropy.loss * self.weight
        }
    }
}

impl TermParams {
    /// The term.
    pub(crate) fn build(&self) -> Box<dyn Term> {
        match self {
            Self::CrossEntropy { weight } => Box::new(CrossEntropy { weight: *weight }),
        }
    }
}
