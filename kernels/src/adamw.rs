//! One step of AdamW (Loshchilov and Hutter 2019, algorithm 2, with PyTorch's order of operations).

use burn::tensor::Tensor;

/// Hyperparameters of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// Updates one parameter: gives the new `(parameter, first moment, second moment)`.
///
/// `θ ← θ(1 − lr·decay)`; `m ← β1·m + (1−β1)g`; `v ← β2·v + (1−β2)g²`; `θ ← θ − lr·m̂ / (√v̂ + ε)` with bias-corrected
/// moments. All tensors have one shape and lie outside the graph.
pub fn adamw_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    settings: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let AdamW {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step,
    } = settings;
    let first = first * beta1 + gradient.clone() * (1.0 - beta1);
    let second = second * beta2 + gradient.square() * (1.0 - beta2);
    let corrected1 = 1.0 - beta1.powf(step as f64);
    let corrected2 = 1.0 - beta2.powf(step as f64);
    let update = first.clone() / corrected1 / ((second.clone() / corrected2).sqrt() + eps);
    (parameter * (1.0 - lr * weight_decay) - update * lr, first, second)
}
