//! What the examples of a perceptron weigh at each step.

use crate::Result;
use crate::policy::Policy;
use crate::reweight::{Doubt, Reweight};
use crate::trajectory::{Examples, Number, Perceptron, Weighted};
use lyceum_kernels::RowElement;

/// Where weights come from.
pub(super) enum Weights<N> {
    /// All alike.
    Equal,
    /// A policy that was found before.
    Followed(Policy),
    /// Contributions to a target.
    Reweighted {
        params: Reweight,
        target: Examples<N>,
        /// The target's gradient when it was last taken.
        direction: Vec<N>,
    },
}

impl<N: Number + RowElement> Weights<N> {
    /// Whether nothing is carried over into step `step` from earlier ones.
    pub(super) fn begins_anew(&self, step: u64) -> bool {
        match self {
            Self::Equal | Self::Followed(_) => true,
            Self::Reweighted { params, .. } => step < params.warmup_steps || params.refreshes_at(step),
        }
    }

    /// Sets the perceptron's weights for step `step` from θ. `no_positive`, where a target says nothing over and over.
    pub(super) fn set(
        &mut self,
        perceptron: &mut Perceptron<N>,
        step: u64,
        theta: &[N],
        doubt: &mut Doubt,
    ) -> Result<()> {
        let count = perceptron.train.len();
        match self {
            Self::Equal => {}
            Self::Followed(policy) => {
                let row = policy.at(step as usize).iter();
                let weights = perceptron.policy_mut().iter_mut();
                weights
                    .zip(row)
                    .for_each(|(weight, given)| *weight = N::of(f64::from(*given)));
            }
            Self::Reweighted {
                params,
                target,
                direction,
            } => {
                let equal = 1.0 / count as f64;
                let mut factors = None;
                if step >= params.warmup_steps {
                    if params.refreshes_at(step) {
                        let size = params.target_examples(target.len(), target.len());
                        let chosen = subset(target, &params.turn(step, target.len(), size), theta.len());
                        direction.resize(theta.len(), N::default());
                        perceptron.mean(&chosen, theta, direction);
                    }
                    let mut contributions = vec![0.0; count];
                    perceptron.contributions(theta, direction, &mut contributions)?;
                    factors = params.weigh().factors(&contributions);
                    doubt.note(factors.is_none())?;
                }
                for (n, weight) in perceptron.policy_mut().iter_mut().enumerate() {
                    let factor = factors.as_ref().map_or(1.0, |factors| factors[n]);
                    *weight = N::of(factor * equal);
                }
            }
        }
        Ok(())
    }

    /// FLOPs that the weights of a step take.
    pub(super) fn flops(&self, step: u64, examples: f64, width: f64) -> f64 {
        match self {
            Self::Reweighted { params, target, .. } if step >= params.warmup_steps => {
                let taken = if params.refreshes_at(step) {
                    params.target_examples(target.len(), target.len()) as f64
                } else {
                    0.0
                };
                4.0 * width * (examples + taken)
            }
            _ => 0.0,
        }
    }
}

/// The chosen examples.
fn subset<N: Number>(examples: &Examples<N>, chosen: &[usize], width: usize) -> Examples<N> {
    let inputs = chosen
        .iter()
        .flat_map(|&i| &examples.inputs[i * width..(i + 1) * width]);
    Examples {
        inputs: inputs.copied().collect(),
        labels: chosen.iter().map(|&i| examples.labels[i]).collect(),
    }
}
