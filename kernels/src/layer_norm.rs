//! Layer normalisation (Ba et al. 2016, eq. 4).

use burn::tensor::Tensor;

/// `(x − mean(x)) / sqrt(variance(x) + eps) · weight + bias` over the last axis; the variance is the biased one.
///
/// # Shapes
/// `x`: `[…, d]`, `weight_d` and `bias_d`: `[d]`; the result has the shape of `x`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight_d: Tensor<1>,
    bias_d: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let d = x.dims()[D - 1];
    assert_eq!(
        d,
        weight_d.dims()[0],
        "one weight for each element of the last axis"
    );
    if let Some(bias_d) = &bias_d {
        assert_eq!(d, bias_d.dims()[0], "one bias for each element of the last axis");
    }
    reference(x, weight_d, bias_d, eps)
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(
    x: Tensor<D>,
    weight_d: Tensor<1>,
    bias_d: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    let normal = centred * (variance + eps).sqrt().recip() * weight_d.unsqueeze();
    match bias_d {
        Some(bias_d) => normal + bias_d.unsqueeze(),
        None => normal,
    }
}
