//! The operations that GPUs have bodies of, as burn's dispatch and its graph know them.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::DType;
#[cfg(feature = "fusion")]
use burn::tensor::Shape;

#[cfg(feature = "fusion")]
use super::product;
use crate::adamw::AdamW;
use crate::gelu::Gelu;

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
    #[fusion(dtype = *dtype, shape = product::shape(a, b))]
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
