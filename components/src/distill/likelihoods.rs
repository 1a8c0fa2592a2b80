//! Losses that are functions of tokens' log-likelihoods, through the output head.

use burn::tensor::{Int, Tensor};
use lyceum_kernels::{
    Counts, Divergence, Labels, OfLikelihood, Products, Projection, Teacher, linear_cross_entropy,
    linear_divergence_and_labels, linear_nll,
};

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

/// A divergence from a teacher at the same rows, at temperature 1.
#[derive(Debug, Clone)]
pub struct Beside {
    /// The teacher.
    pub teacher: Teacher,
    /// The divergence.
    pub divergence: Divergence,
    /// What each row counts, `[n]`.
    pub weights_n: Tensor<1>,
}

/// A loss that is any differentiable function of the targets' log-likelihoods, in chunks of rows.
///
/// The function is differentiated by itself; its derivatives are then the weights of a cross-entropy, whose backward pass
/// leads through the head. So the head is applied twice, and logits of all rows are never held.
///
/// # Shapes
/// Those of [`Projection`]; `targets_n` and what `loss` is given: `[n]`; what it gives first: `[1]`.
pub fn of_likelihoods<T>(
    projection: Projection,
    targets_n: Tensor<1, Int>,
    products: Products,
    loss: impl FnOnce(Tensor<1>) -> (Tensor<1>, T),
) -> OfLikelihoods<T> {
    let (found, by_logp_n) = differentiated(&projection, &targets_n, products, loss);
    let Projection {
        hidden_nd,
        head_vd,
        bias_v,
    } = projection;
    if !hidden_nd.device().is_autodiff() {
        return found;
    }
    let nll_weights_n = by_logp_n.neg().autodiff();
    let entropy = linear_cross_entropy(hidden_nd, head_vd, bias_v, targets_n, nll_weights_n, products);
    found.with_gradient_of(entropy.loss)
}

/// A sum over the targets of functions of their log-likelihoods, each known by its derivative, and a divergence. Both come of
/// one pass through the head. `value` gives the sum from the log-likelihoods. Beside it the divergence at every row.
///
/// # Shapes
/// As [`of_likelihoods`]; those of [`Beside`].
pub fn of_likelihoods_beside<T>(
    projection: Projection,
    targets_n: Tensor<1, Int>,
    beside: Beside,
    derivative: OfLikelihood,
    value: impl FnOnce(&[f64]) -> (f64, T),
) -> (OfLikelihoods<T>, Tensor<1>) {
    let labels = Labels {
        targets_n,
        counts: Counts::Of(derivative),
    };
    let Beside {
        teacher,
        divergence,
        weights_n,
    } = beside;
    let weights_n = weights_n.without_autodiff();
    let joined = linear_divergence_and_labels(projection, teacher, divergence, weights_n, labels);
    let logp_n = joined.nll_n.neg();
    let logp: Vec<f64> = logp_n.clone().into_data().iter().collect();
    let (sum, other) = value(&logp);
    let found = OfLikelihoods {
        loss: joined.loss + sum,
        logp_n,
        other,
    };
    (found, joined.value_n)
}

/// The loss outside the graph, and its derivatives by the log-likelihoods.
fn differentiated<T>(
    projection: &Projection,
    targets_n: &Tensor<1, Int>,
    products: Products,
    loss: impl FnOnce(Tensor<1>) -> (Tensor<1>, T),
) -> (OfLikelihoods<T>, Tensor<1>) {
    let Projection {
        hidden_nd,
        head_vd,
        bias_v,
    } = projection.clone();
    let tracked = hidden_nd.device().is_autodiff();
    let logp_n = linear_nll(hidden_nd, head_vd, bias_v, targets_n.clone(), products).neg();
    let nothing_n = logp_n.zeros_like();
    if !tracked {
        let (loss, other) = loss(logp_n.clone());
        return (OfLikelihoods { loss, logp_n, other }, nothing_n);
    }
    let leaf_n = logp_n.clone().autodiff().require_grad();
    let (value, other) = loss(leaf_n.clone());
    let loss = value.clone().without_autodiff();
    // A loss that does not look at the likelihoods has no gradient.
    let by_logp_n = leaf_n.grad(&value.backward()).unwrap_or(nothing_n);
    (OfLikelihoods { loss, logp_n, other }, by_logp_n)
}

impl<T> OfLikelihoods<T> {
    /// The loss as a value that has the gradient of `linear`.
    fn with_gradient_of(mut self, linear: Tensor<1>) -> Self {
        let difference = self.loss - linear.clone().without_autodiff();
        self.loss = linear + difference.autodiff();
        self
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
