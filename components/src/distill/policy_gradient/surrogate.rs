//! The loss whose gradient is the policy gradient.

use super::Clipping;
use crate::distill::likelihoods::with_derivative;
use burn::tensor::Tensor;

/// What is known of drawn tokens, each `[n]`; constants of the graph.
#[derive(Debug, Clone)]
pub struct DrawnTokens {
    /// Log-likelihood in nats under the student that drew them.
    pub old_logp_n: Tensor<1>,
    /// Importance weight `w`.
    pub importance_n: Tensor<1>,
    /// Advantage `A`.
    pub advantage_n: Tensor<1>,
    /// What the token counts in the sum: 1 / number of tokens for their mean. Where it is 0 nothing else is looked at.
    pub weight_n: Tensor<1>,
}

/// What [`surrogate`] gives.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// `Σ_n weight_n · loss_n`, of shape `[1]`, differentiable.
    pub loss: Tensor<1>,
    /// `ρ = w · q / q_old`, outside the graph.
    pub ratio_n: Tensor<1>,
    /// 1 where the token has a gradient, 0 where its ratio is clipped or it does not count; outside the graph.
    pub live_n: Tensor<1>,
}

/// The clipped surrogate of the policy gradient: `−A·ρ` of every token, held where `ρ` is too far from 1 to be followed.
///
/// # Shapes
/// `logp_n`, the log-likelihoods under the student as it is now, and all of `tokens`: `[n]`.
pub fn surrogate(logp_n: Tensor<1>, tokens: &DrawnTokens, clip: f64, clipping: Clipping) -> Surrogate {
    let [old_n, importance_n, advantage_n, weight_n] = [
        &tokens.old_logp_n,
        &tokens.importance_n,
        &tokens.advantage_n,
        &tokens.weight_n,
    ]
    .map(|tensor| tensor.clone().without_autodiff());
    // What does not count is replaced before the exponential, so that nothing infinite meets a weight of 0.
    let unused_n = weight_n.clone().equal_elem(0.0);
    let moved_n = logp_n.clone().without_autodiff() - old_n;
    let moved_n = moved_n.mask_fill(unused_n.clone(), 0.0);
    let scale_n = (advantage_n.clone() * weight_n)
        .mask_fill(unused_n.clone(), 0.0)
        .neg();
    let ratio_n = moved_n.exp() * importance_n;

    let above_n = ratio_n.clone().greater_elem(1.0 + clip);
    let held_n = match clipping {
        Clipping::Ratio => above_n,
        Clipping::Advantage => {
            let falls_n = advantage_n.lower_elem(0.0);
            let below_n = ratio_n.clone().lower_elem(1.0 - clip);
            let rises_n = falls_n.clone().bool_not();
            falls_n.bool_and(below_n).bool_or(rises_n.bool_and(above_n))
        }
    };
    let bound_n = ratio_n.clone().clamp(1.0 - clip, 1.0 + clip);
    let value = (ratio_n.clone().mask_where(held_n.clone(), bound_n) * scale_n.clone()).sum();
    // ∂ρ/∂log q = ρ
    let by_logp_n = (ratio_n.clone() * scale_n).mask_fill(held_n.clone(), 0.0);
    let live_n = ratio_n.ones_like().mask_fill(held_n.bool_or(unused_n), 0.0);
    Surrogate {
        loss: with_derivative(value, logp_n, by_logp_n),
        ratio_n,
        live_n,
    }
}

impl Surrogate {
    /// The share of the tokens that count whose ratio is clipped, of shape `[1]`.
    pub fn clip_fraction(&self, weight_n: &Tensor<1>) -> Tensor<1> {
        let weight_n = weight_n.clone().without_autodiff();
        let unused_n = weight_n.equal_elem(0.0);
        let counts = self.live_n.ones_like().mask_fill(unused_n, 0.0).sum();
        (counts.clone() - self.live_n.clone().sum()) / counts
    }
}
