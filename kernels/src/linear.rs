//! Products with weights, which may be held in bfloat16 beside f32 inputs.

use burn::tensor::{DType, Tensor};

/// `x · w + b`. Weights in bfloat16 beside wider inputs are widened; sums are taken in the inputs' type.
///
/// # Shapes
/// `x_nk`: `[n, k]`, `w_kv`: `[k, v]`, `bias_v`: `[v]`; the result is `[n, v]`.
pub fn linear(x_nk: Tensor<2>, w_kv: Tensor<2>, bias_v: Option<Tensor<1>>) -> Tensor<2> {
    assert_eq!(
        x_nk.dims()[1],
        w_kv.dims()[0],
        "one row of weights for each input"
    );
    reference(x_nk, w_kv, bias_v)
}

/// The operation composed of burn's.
pub(crate) fn reference(x_nk: Tensor<2>, w_kv: Tensor<2>, bias_v: Option<Tensor<1>>) -> Tensor<2> {
    let dtype = x_nk.dtype();
    let product_nv = x_nk.matmul(widened(w_kv, dtype));
    match bias_v {
        Some(bias_v) => product_nv + widened(bias_v, dtype).unsqueeze(),
        None => product_nv,
    }
}

/// A tensor in the type of what it is combined with.
pub(crate) fn widened<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        tensor.cast(dtype)
    }
}
