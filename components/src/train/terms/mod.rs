//! The terms of an objective: what of a pass is added up to a loss.

mod cross_entropy;
mod divergence;
mod divergence_kind;
mod params;
mod pass;
mod policy_gradient;
mod preference;

pub(crate) use cross_entropy::CrossEntropy;
pub use divergence::DivergenceTerm;
pub use divergence_kind::DivergenceKind;
pub use params::{CrossEntropyTerm, Reduction, TermParams};
pub(crate) use pass::{Pass, Weights, places};
pub use policy_gradient::PolicyGradientTerm;
pub use preference::PreferenceTerm;

use crate::Result;
use burn::tensor::Tensor;
use std::fmt::Debug;

/// A part of the loss.
pub(crate) trait Term: Send + Sync + Debug {
    /// The term's loss.
    ///
    /// # Errors
    /// Of what it asks: a cache that is damaged, log-likelihoods that are not finite.
    fn loss(&self, pass: &Pass) -> Result<TermLoss>;

    /// Whether it looks at all positions, also those whose labels do not count.
    fn wants_all(&self) -> bool {
        false
    }

    /// Terms of the objective that it stands for.
    fn parts(&self) -> usize {
        1
    }

    /// FLOPs of a row of `width` inputs besides the model's own passes, if so many passes share what is kept of it.
    fn flops(&self, _width: usize, _passes: f64) -> f64 {
        0.0
    }
}

/// What a term gives.
pub(crate) struct TermLoss {
    /// Its share of the loss, of shape `[1]`, differentiable.
    pub(crate) loss: Tensor<1>,
    /// Figures for the curve. Those of a step's passes are added up.
    pub(crate) notes: Vec<(&'static str, f64)>,
}

impl TermLoss {
    /// A loss that is noted by name, times a factor.
    fn named(pass: &Pass, name: &'static str, loss: Tensor<1>, factor: f64) -> Self {
        let note = pass.noted.then(|| (name, number(&loss)));
        Self {
            notes: note.into_iter().collect(),
            loss: if factor == 1.0 { loss } else { loss * factor },
        }
    }
}

/// The value of a tensor of shape `[1]`.
pub(crate) fn number(value: &Tensor<1>) -> f64 {
    let data = value.clone().without_autodiff().into_data().convert::<f64>();
    data.try_into_vec::<f64>().expect("converted to f64")[0]
}
