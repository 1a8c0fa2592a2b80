//! Cross-entropy composed of burn's operations, chunk by chunk.

#[cfg(feature = "cube")]
use burn::tensor::DType;
use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::{Gradients, Likelihoods};
#[cfg(feature = "cube")]
use crate::cube;
use crate::product::Products;
use crate::projection::{Backward, Projection};

/// [`super::gradients`] composed of burn's operations.
pub(super) fn reference_gradients(
    projection: &Projection,
    targets_n: Tensor<1, Int>,
    weights_n: Tensor<1>,
    products: Products,
) -> Gradients {
    let mut nll = Vec::new();
    let mut by = Backward::new(projection, products);
    for (start, rows) in projection.chunks() {
        let target_c = targets_n.clone().narrow(0, start, rows);
        let weight_c = weights_n.clone().narrow(0, start, rows);
        let (nll_c, by_logits_cv) = softmax(projection.logits(start, rows, products), target_c, weight_c);
        nll.push(nll_c);
        by = by.add(start, &by_logits_cv);
    }
    Gradients {
        nll_n: Tensor::cat(nll, 0),
        by: by.finish(),
    }
}

/// Negative log-likelihoods of the targets, and the gradient of their weighted sum with respect to the logits.
pub(super) fn softmax(
    logits_cv: Tensor<2>,
    target_c: Tensor<1, Int>,
    weight_c: Tensor<1>,
) -> (Tensor<1>, Tensor<2>) {
    #[cfg(feature = "cube")]
    if cube::takes(&logits_cv) && logits_cv.dtype() == DType::F32 {
        let v = logits_cv.dims()[1];
        return cube::likelihoods(logits_cv, target_c, weight_c, v);
    }
    let target_c1 = target_c.unsqueeze_dim::<2>(1);
    let weight_c1 = weight_c.unsqueeze_dim::<2>(1);
    let log_p_cv = log_softmax(logits_cv, 1);
    let nll_c = costs(log_p_cv.clone(), target_c1.clone());
    let gradient_cv =
        (log_p_cv.exp() * weight_c1.clone()).scatter(1, target_c1, weight_c1.neg(), IndexingUpdateOp::Add);
    (nll_c, gradient_cv)
}

/// Minus the log-probabilities of the targets.
fn costs(log_p_cv: Tensor<2>, target_c1: Tensor<2, Int>) -> Tensor<1> {
    log_p_cv.gather(1, target_c1).neg().squeeze_dim(1)
}

/// [`super::linear_nll`] composed of burn's operations.
pub(super) fn reference_nll(
    projection: &Projection,
    targets_n: Tensor<1, Int>,
    products: Products,
) -> Tensor<1> {
    let parts = projection.chunks().map(|(start, rows)| {
        let target_c = targets_n.clone().narrow(0, start, rows);
        let logits_cv = projection.logits(start, rows, products);
        #[cfg(feature = "cube")]
        if cube::takes(&logits_cv) && logits_cv.dtype() == DType::F32 {
            let v = logits_cv.dims()[1];
            return cube::nll(logits_cv, target_c, v);
        }
        costs(log_softmax(logits_cv, 1), target_c.unsqueeze_dim(1))
    });
    Tensor::cat(parts.collect(), 0)
}

/// [`super::linear_likelihoods`] composed of burn's operations.
pub(super) fn reference_likelihoods(
    projection: &Projection,
    targets_n: Tensor<1, Int>,
    products: Products,
) -> Likelihoods {
    let (mut nll, mut least) = (Vec::new(), Vec::new());
    for (start, rows) in projection.chunks() {
        let target_c1 = targets_n.clone().narrow(0, start, rows).unsqueeze_dim::<2>(1);
        let log_p_cv = log_softmax(projection.logits(start, rows, products), 1);
        nll.push(costs(log_p_cv.clone(), target_c1));
        least.push(log_p_cv.max_dim(1).neg().squeeze_dim::<1>(1));
    }
    Likelihoods {
        nll_n: Tensor::cat(nll, 0),
        least_n: Tensor::cat(least, 0),
    }
}
