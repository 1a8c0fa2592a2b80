//! Root-mean-square normalisation (Zhang and Sennrich 2019, eq. 4).

use burn::tensor::Tensor;

/// `x / sqrt(mean(x²) + eps) · weight` over the last axis.
///
/// # Shapes
/// `x`: `[…, d]`, `weight_d`: `[d]`; the result has the shape of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight_d: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1);
    x * (mean_square + eps).sqrt().recip() * weight_d.unsqueeze()
}
