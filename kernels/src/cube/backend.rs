//! The bodies of the operations.

use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use super::{
    Backwards, Forwards, adamw, attention, cross_entropy, gelu, norm, product, rope, sums, swiglu, table,
};
use crate::adamw::AdamW;
use crate::gelu::Gelu;

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
