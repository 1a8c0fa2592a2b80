//! Products of few rows with a matrix of weights, as decoding needs them.

use burn::tensor::Tensor;

use crate::linear;

/// Which axis of a matrix of weights comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// `[k, v]`: a row holds the weights of one input.
    InputsFirst,
    /// `[v, k]`: a row holds the weights of one output.
    OutputsFirst,
}

/// `x · w + b`, or `x · wᵀ + b` for outputs first. Each row's bytes are the same whatever the number of rows and threads:
/// one output is always added up in the same order. The weights are f32 or bfloat16. The result lies outside the graph.
///
/// # Shapes
/// `x_nk`: `[n, k]`, `w`: `[k, v]` or `[v, k]`, `bias_v`: `[v]`; the result is `[n, v]`.
pub fn row_linear(
    x_nk: Tensor<2>,
    w: Tensor<2>,
    orientation: Orientation,
    bias_v: Option<Tensor<1>>,
) -> Tensor<2> {
    let (x_nk, w) = (x_nk.without_autodiff(), w.without_autodiff());
    let bias_v = bias_v.map(Tensor::without_autodiff);
    let w_kv = match orientation {
        Orientation::InputsFirst => w,
        Orientation::OutputsFirst => w.transpose(),
    };
    assert_eq!(x_nk.dims()[1], w_kv.dims()[0], "one weight for each input");
    linear::reference(x_nk, w_kv, bias_v)
}
