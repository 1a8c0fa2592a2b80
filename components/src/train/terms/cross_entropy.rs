//! Negative log-likelihood of the next token.

use super::params::{CrossEntropyTerm, Reduction};
use super::{Pass, Term, TermLoss};
use crate::Result;
use burn::tensor::Tensor;
use lyceum_kernels::linear_cross_entropy;

/// Negative log-likelihood of the next token, times a factor.
#[derive(Debug)]
pub(crate) struct CrossEntropy {
    weight: f64,
    reduction: Reduction,
}

impl CrossEntropy {
    /// The plain term.
    pub(crate) fn alone() -> Box<dyn Term> {
        Box::new(Self {
            weight: 1.0,
            reduction: Reduction::default(),
        })
    }

    /// Its factor.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    /// Weights of the rows, without its factor.
    pub(super) fn weights_n(&self, pass: &Pass) -> Tensor<1> {
        pass.weights_n(self.reduction)
    }

    pub(super) fn new(term: &CrossEntropyTerm) -> Self {
        Self {
            weight: term.weight,
            reduction: term.reduction,
        }
    }
}

impl Term for CrossEntropy {
    fn loss(&self, pass: &Pass) -> Result<TermLoss> {
        let entropy = linear_cross_entropy(
            pass.hidden_nd.clone(),
            pass.head_vd.clone(),
            pass.head_bias_v.clone(),
            pass.labels_n.clone(),
            self.weights_n(pass),
            pass.products,
        );
        Ok(TermLoss::named(pass, "cross_entropy", entropy.loss, self.weight))
    }
}
