//! The bridge to burn's GPU backends: bodies written once for every GPU, compiled for it when they are first used.
//!
//! They read and write f32 or bf16 and reckon in f32, one cube a row or one unit an element, and give the same bytes every
//! time on one device. What they are tested against is the composed body of each operation.

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor};

use crate::adamw::AdamW;
use crate::gelu::Gelu;

mod adamw;
mod attention;
mod backend;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub(crate) mod cublas;
mod gelu;
mod given;
mod graph;
mod norm;
mod product;
mod rope;
mod rows;
mod sums;
mod swiglu;
mod table;
mod traits;

pub(crate) use attention::fits;
use graph::Differentiable;
use rows::{empty_like, greatest, owned, total, units};
pub(crate) use traits::{Backwards, Forwards};

/// Whether a tensor takes the bodies here: f32 or bf16 on a GPU.
pub(crate) fn takes<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device: Device = tensor.device().without_autodiff();
    matches!(tensor.dtype(), DType::F32 | DType::BF16)
        && matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

/// [`crate::swiglu`].
pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cube_swiglu(gate.into_dispatch(), up.into_dispatch()))
}

/// [`crate::gelu`].
pub(crate) fn gelu<const D: usize>(x: Tensor<D>, kind: Gelu) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cube_gelu(x.into_dispatch(), kind))
}

/// [`crate::layer_norm`] with a bias, [`crate::rms_norm`] without.
pub(crate) fn norm<const D: usize>(
    x: Tensor<D>,
    weight_d: Tensor<1>,
    bias_d: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let centred = bias_d.is_some();
    let bias_d = bias_d.unwrap_or_else(|| weight_d.clone().detach());
    Tensor::from_dispatch(Dispatch::cube_norm(
        x.into_dispatch(),
        weight_d.into_dispatch(),
        bias_d.into_dispatch(),
        eps,
        centred,
    ))
}

/// [`crate::rope`] of whole heads in halves.
pub(crate) fn rope(x_bthd: Tensor<4>, cos_tr: Tensor<2>, sin_tr: Tensor<2>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::cube_rope(
        x_bthd.into_dispatch(),
        cos_tr.into_dispatch(),
        sin_tr.into_dispatch(),
    ))
}

/// `[…, m, k] · […, k, n]` in the type of `a`; where one of them is bfloat16, both are taken so.
pub(crate) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cube_product(a.into_dispatch(), b.into_dispatch()))
}

/// `x + bias` for every row; the bias is f32.
pub(crate) fn bias(x_nv: Tensor<2>, bias_v: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::cube_bias(x_nv.into_dispatch(), bias_v.into_dispatch()))
}

/// Rows of a table, `[n, d]`.
pub(crate) fn rows(table_vd: Tensor<2>, ids_n: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::cube_rows(
        table_vd.into_dispatch(),
        ids_n.into_dispatch(),
    ))
}

/// `value`, of shape `[1]`, whose gradients by two tensors are `by`.
pub(crate) fn given(value: Tensor<1>, of: [Tensor<2>; 2], by: [Tensor<2>; 2]) -> Tensor<1> {
    let ([x, y], [by_x, by_y]) = (of, by);
    Tensor::from_dispatch(Dispatch::cube_given(
        value.into_dispatch(),
        x.into_dispatch(),
        y.into_dispatch(),
        by_x.into_dispatch(),
        by_y.into_dispatch(),
    ))
}

/// [`crate::squared_norm`].
pub(crate) fn squared_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::cube_squared_norm(x.into_dispatch()))
}

/// [`product`] in another type, outside the graph.
pub(crate) fn product_as<const D: usize>(a: Tensor<D>, b: Tensor<D>, dtype: DType) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cube_product_as(
        a.into_dispatch(),
        b.into_dispatch(),
        dtype,
    ))
}

/// Attention over the keys in `ranges`, `[b, t, 2]`, of queries, keys and values in one tensor, `[b, t, h + 2·groups, d]`: the
/// values, `[b, t, h, d]`.
pub(crate) fn self_attention(
    qkv_bthd: Tensor<4>,
    ranges: Tensor<3, Int>,
    scale: f64,
    groups: usize,
) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::cube_attention(
        qkv_bthd.into_dispatch(),
        ranges.into_dispatch(),
        scale,
        groups,
    ))
}

/// Negative log-likelihoods of the targets, and the gradient of their weighted sum with respect to the logits, which takes
/// the logits' place, and zeros that of what stands behind the first `v`. The likelihoods and weights are f32.
pub(crate) fn likelihoods(
    logits_cv: Tensor<2>,
    targets_c: Tensor<1, Int>,
    weights_c: Tensor<1>,
    v: usize,
) -> (Tensor<1>, Tensor<2>) {
    let (nll_c, gradient_cv) = Dispatch::cube_softmax(
        logits_cv.into_dispatch(),
        targets_c.into_dispatch(),
        weights_c.into_dispatch(),
        v,
    );
    (Tensor::from_dispatch(nll_c), Tensor::from_dispatch(gradient_cv))
}

/// Negative log-likelihoods of the targets among the first `v` logits, in f32.
pub(crate) fn nll(logits_cv: Tensor<2>, targets_c: Tensor<1, Int>, v: usize) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::cube_nll(
        logits_cv.into_dispatch(),
        targets_c.into_dispatch(),
        v,
    ))
}

/// [`crate::adamw_step`].
pub(crate) fn adamw_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    settings: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (parameter, first, second) = Dispatch::cube_adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        settings,
    );
    (
        Tensor::from_dispatch(parameter),
        Tensor::from_dispatch(first),
        Tensor::from_dispatch(second),
    )
}
