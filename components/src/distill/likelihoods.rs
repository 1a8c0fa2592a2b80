//! Losses that are functions of tokens' log-likelihoods, through the output head.

use burn::tensor::{Int, Tensor};
use lyceum_kernels::{Products, Projection, linear_cross_entropy, linear_nll};

/// What a loss makes of log-likelihoods.
#[derive(Debug)]
pub struct OfLikelihoods<T> {
    /// The loss, of shape `[1]`, differentiable by hidden states, head and bias.
    pub loss: Tensor<1>,
    /// Log-likelihood of every target in nats, outside the graph.
    pub logp_n: Tensor<1>,
    /// What else the loss gave.
    pub other: T,
}

/// A loss that is any differentiable function of the targets' log-likelihoods, in chunks of rows.
///
/// The function is differentiated by itself; its derivatives are then the weights of a cross-entropy, whose backward pass
/// leads through the head. So the head is applied twice, and logits of all rows are never held.
///
/// # Shapes
/// Those of [`Projection`]; `targets_n` and what `loss` is given: `[n]`; what it gives: `[1]`.
pub fn of_likelihoods<T>(
    projection: Projection,
    targets_n: Tensor<1, Int>,
    products: Products,
    loss: impl FnOnce(Tensor<1>) -> (Tensor<1>, T),
) -> OfLikelihoods<T> {
    let Projection {
        hidden_nd,
        head_vd,
        bias_v,
    } = projection;
    let nll_n = linear_nll(
        hidden_nd.clone(),
        head_vd.clone(),
        bias_v.clone(),
        targets_n.clone(),
        products,
    );
    let logp_n = nll_n.neg();
    if !hidden_nd.device().is_autodiff() {
        let (loss, other) = loss(logp_n.clone());
        return OfLikelihoods { loss, logp_n, other };
    }
    let leaf_n = logp_n.clone().autodiff().require_grad();
    let (value, other) = loss(leaf_n.clone());
    let gradients = value.clone().backward();
    // A loss that does not look at the likelihoods has no gradient.
    let by_logp_n = leaf_n.grad(&gradients).unwrap_or_else(|| logp_n.zeros_like());
    let entropy = linear_cross_entropy(
        hidden_nd,
        head_vd,
        bias_v,
        targets_n,
        by_logp_n.neg().autodiff(),
        products,
    );
    let difference = value.without_autodiff() - entropy.loss.clone().without_autodiff();
    OfLikelihoods {
        loss: entropy.loss + difference.autodiff(),
        logp_n,
        other,
    }
}

/// `value`, of shape `[1]`, whose derivative by `x_n` is known; `value` itself outside a graph. Where the derivative is 0,
/// `x_n` may be infinite.
pub(super) fn with_derivative(value: Tensor<1>, x_n: Tensor<1>, by_x_n: Tensor<1>) -> Tensor<1> {
    if !x_n.device().is_autodiff() {
        return value;
    }
    let constant_n = by_x_n.clone().equal_elem(0.0).autodiff();
    let linear = (x_n.mask_fill(constant_n, 0.0) * by_x_n.autodiff()).sum();
    linear.clone() - linear.detach() + value.autodiff()
}
