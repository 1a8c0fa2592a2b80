//! The bridge to burn's GPU backends: bodies written once for every GPU, compiled for it when they are first used.
//!
//! They read and write f32 or bf16 and reckon in f32, one cube a row or one unit an element, and give the same bytes every
//! time on one device. What they are tested against is the composed body of each operation.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
#[cfg(feature = "fusion")]
use burn::tensor::Shape;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::adamw::AdamW;
use crate::gelu::Gelu;

mod adamw;
mod attention;
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

pub(crate) use attention::fits;
use graph::Differentiable;
use rows::{empty_like, greatest, owned, total, units};

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

/// Operations with a backward pass, which [`Backwards`] has.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait Forwards: Backend {
    #[fusion(dtype = gate, shape = gate)]
    fn cube_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = x, shape = x)]
    fn cube_gelu(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self>;
    #[fusion(dtype = x, shape = x)]
    fn cube_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> FloatTensor<Self>;
    #[fusion(dtype = x, shape = x)]
    fn cube_rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = x, shape = x)]
    fn cube_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = table, shape = Shape::new([ids[0], table[1]]))]
    fn cube_rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = value, shape = value)]
    fn cube_given(
        value: FloatTensor<Self>,
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        by_x: FloatTensor<Self>,
        by_y: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    #[fusion(dtype = a, shape = product::shape(a, b))]
    fn cube_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = qkv, shape = Shape::new([qkv[0], qkv[1], qkv[2] - 2 * groups, qkv[3]]))]
    fn cube_attention(
        qkv: FloatTensor<Self>,
        ranges: IntTensor<Self>,
        scale: f64,
        groups: usize,
    ) -> FloatTensor<Self>;
}

/// Backward passes, and what has none.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait Backwards: Backend {
    #[fusion(meta = |gate, up, _gradient| (gate.clone(), up.clone()))]
    fn cube_swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    #[fusion(dtype = x, shape = x)]
    fn cube_gelu_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, kind: Gelu)
    -> FloatTensor<Self>;
    /// The gradients of `x`, weight and bias.
    #[fusion(meta = |x, weight, _gradient, _eps, _centred| (x.clone(), weight.clone(), weight.clone()))]
    fn cube_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        eps: f64,
        centred: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    #[fusion(dtype = gradient, shape = gradient)]
    fn cube_rope_backward(
        gradient: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// The sum of all rows, in f32.
    #[fusion(dtype = DType::F32, shape = Shape::new([x[x.num_dims() - 1]]))]
    fn cube_sum_rows(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The sum of all squares, in f32.
    #[fusion(dtype = DType::F32, shape = Shape::new([1]))]
    fn cube_squared_norm(x: FloatTensor<Self>) -> FloatTensor<Self>;
    #[fusion(dtype = table, shape = table)]
    fn cube_rows_backward(
        table: FloatTensor<Self>,
        ids: IntTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    #[fusion(dtype = dtype, shape = product::shape(a, b))]
    fn cube_product_as(a: FloatTensor<Self>, b: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;
    /// `ln Σ exp(score)` of each query and head, `[b, h, t]`.
    #[fusion(dtype = DType::F32, shape = Shape::new([qkv[0], qkv[2] - 2 * groups, qkv[1]]))]
    fn cube_attention_sums(
        qkv: FloatTensor<Self>,
        ranges: IntTensor<Self>,
        scale: f64,
        groups: usize,
    ) -> FloatTensor<Self>;
    #[fusion(dtype = qkv, shape = Shape::new([qkv[0], qkv[1], qkv[2] - 2 * groups, qkv[3]]))]
    fn cube_attention_values(
        qkv: FloatTensor<Self>,
        ranges: IntTensor<Self>,
        sums: FloatTensor<Self>,
        scale: f64,
        groups: usize,
    ) -> FloatTensor<Self>;
    #[fusion(dtype = qkv, shape = qkv)]
    fn cube_attention_backward(
        qkv: FloatTensor<Self>,
        ranges: IntTensor<Self>,
        sums: FloatTensor<Self>,
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        scale: f64,
        groups: usize,
    ) -> FloatTensor<Self>;
    /// The negative log-likelihoods, and the gradients of their weighted sum with respect to the logits.
    #[fusion(meta = |logits, _targets, weights, _v| (weights.clone(), logits.clone()))]
    fn cube_softmax(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
        v: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The negative log-likelihoods alone.
    #[fusion(dtype = DType::F32, shape = Shape::new([logits[0]]))]
    fn cube_nll(logits: FloatTensor<Self>, targets: IntTensor<Self>, v: usize) -> FloatTensor<Self>;
    #[fusion(meta = |parameter, _gradient, first, second, _settings| (parameter.clone(), first.clone(), second.clone()))]
    fn cube_adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        settings: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl Forwards for CubeBackend {
    fn cube_swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        swiglu::forward(gate, up)
    }

    fn cube_gelu(x: CubeTensor, kind: Gelu) -> CubeTensor {
        gelu::forward(x, kind)
    }

    fn cube_norm(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, eps: f64, centred: bool) -> CubeTensor {
        norm::forward(x, weight, bias, eps, centred)
    }

    fn cube_rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor) -> CubeTensor {
        rope::rotate(x, cos, sin, 1.0)
    }

    fn cube_bias(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        sums::bias(x, bias)
    }

    fn cube_rows(table: CubeTensor, ids: CubeTensor) -> CubeTensor {
        CubeBackend::float_select(table, 0, ids)
    }

    fn cube_given(
        value: CubeTensor,
        _x: CubeTensor,
        _y: CubeTensor,
        _by_x: CubeTensor,
        _by_y: CubeTensor,
    ) -> CubeTensor {
        value
    }

    fn cube_product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
        let dtype = a.dtype;
        product::product(a, b, dtype)
    }

    fn cube_attention(qkv: CubeTensor, ranges: CubeTensor, scale: f64, groups: usize) -> CubeTensor {
        let sums = attention::sums(qkv.clone(), ranges.clone(), scale, groups);
        attention::values(qkv, ranges, sums, scale, groups)
    }
}

impl Backwards for CubeBackend {
    fn cube_swiglu_backward(
        gate: CubeTensor,
        up: CubeTensor,
        gradient: CubeTensor,
    ) -> (CubeTensor, CubeTensor) {
        swiglu::backward(gate, up, gradient)
    }

    fn cube_gelu_backward(x: CubeTensor, gradient: CubeTensor, kind: Gelu) -> CubeTensor {
        gelu::backward(x, gradient, kind)
    }

    fn cube_norm_backward(
        x: CubeTensor,
        weight: CubeTensor,
        gradient: CubeTensor,
        eps: f64,
        centred: bool,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        norm::backward(x, weight, gradient, eps, centred)
    }

    fn cube_rope_backward(gradient: CubeTensor, cos: CubeTensor, sin: CubeTensor) -> CubeTensor {
        // A rotation's transpose is its inverse.
        rope::rotate(gradient, cos, sin, -1.0)
    }

    fn cube_sum_rows(x: CubeTensor) -> CubeTensor {
        sums::over_rows(x)
    }

    fn cube_squared_norm(x: CubeTensor) -> CubeTensor {
        sums::squares(x)
    }

    fn cube_rows_backward(table: CubeTensor, ids: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        table::backward(table, ids, gradient)
    }

    fn cube_product_as(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
        product::product(a, b, dtype)
    }

    fn cube_attention_sums(qkv: CubeTensor, ranges: CubeTensor, scale: f64, groups: usize) -> CubeTensor {
        attention::sums(qkv, ranges, scale, groups)
    }

    fn cube_attention_values(
        qkv: CubeTensor,
        ranges: CubeTensor,
        sums: CubeTensor,
        scale: f64,
        groups: usize,
    ) -> CubeTensor {
        attention::values(qkv, ranges, sums, scale, groups)
    }

    fn cube_attention_backward(
        qkv: CubeTensor,
        ranges: CubeTensor,
        sums: CubeTensor,
        values: CubeTensor,
        gradient: CubeTensor,
        scale: f64,
        groups: usize,
    ) -> CubeTensor {
        attention::backward([qkv, ranges, sums, values, gradient], scale, groups)
    }

    fn cube_softmax(
        logits: CubeTensor,
        targets: CubeTensor,
        weights: CubeTensor,
        v: usize,
    ) -> (CubeTensor, CubeTensor) {
        cross_entropy::softmax(logits, targets, weights, v)
    }

    fn cube_nll(logits: CubeTensor, targets: CubeTensor, v: usize) -> CubeTensor {
        cross_entropy::nll(logits, targets, v)
    }

    fn cube_adamw(
        parameter: CubeTensor,
        gradient: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        settings: AdamW,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        adamw::step(parameter, gradient, first, second, settings)
    }
}
