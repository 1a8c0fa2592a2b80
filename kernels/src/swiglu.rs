//! The gated activation of llama-style feed-forward layers (Shazeer 2020, SwiGLU).

use burn::backend::Dispatch;
use burn::tensor::{Shape, Tensor, activation::silu};
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::simd::{multiply_add, sigmoid, vectorised};

/// Elements of one task, at least.
const CHUNK: usize = 8192;

/// `silu(gate) · up`, where a row holds first its gates and then as many ups: so they come from one product, and their
/// gradient goes back as one.
///
/// # Shapes
/// `gate_up_ni`: `[n, 2·i]`; the result is `[n, i]`.
pub fn swiglu(gate_up_ni: Tensor<2>) -> Tensor<2> {
    assert_eq!(gate_up_ni.dims()[1] % 2, 0, "as many gates as ups");
    #[cfg(feature = "cube")]
    if cube::takes(&gate_up_ni) {
        let [gate, up] = halves(gate_up_ni);
        return cube::swiglu(gate, up);
    }
    if !flex::is_fused(&gate_up_ni) {
        return reference(gate_up_ni);
    }
    Tensor::from_dispatch(Dispatch::fused_swiglu(gate_up_ni.into_dispatch()))
}

/// The operation composed of burn's.
pub(crate) fn reference(gate_up_ni: Tensor<2>) -> Tensor<2> {
    let [gate, up] = halves(gate_up_ni);
    silu(gate) * up
}

fn halves(gate_up_ni: Tensor<2>) -> [Tensor<2>; 2] {
    let inner = gate_up_ni.dims()[1] / 2;
    [0, inner].map(|first| gate_up_ni.clone().narrow(1, first, inner))
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct SwiGlu;

/// Gates, or ups, of a row; and rows of one task.
fn sizes(gate_up: &FlexTensor) -> (usize, usize) {
    let [_, width] = flex::dims(gate_up);
    let inner = (width / 2).max(1);
    (inner, CHUNK.div_ceil(inner))
}

impl Operation<1> for SwiGlu {
    const NAMES: [&'static str; 2] = ["swiglu", "swiglu, backward"];

    fn forward(&self, [gate_up]: [&FlexTensor; 1]) -> FlexTensor {
        let ([n, width], (inner, rows)) = (flex::dims(gate_up), sizes(gate_up));
        let mut values = vec![0.0; n * width / 2];
        values
            .par_chunks_mut(rows * inner)
            .zip(gate_up.storage::<f32>().par_chunks(2 * rows * inner))
            .for_each(|(values, gate_up)| {
                for (value, gate_up) in values
                    .chunks_exact_mut(inner)
                    .zip(gate_up.chunks_exact(2 * inner))
                {
                    let (gate, up) = gate_up.split_at(inner);
                    forward(value, gate, up);
                }
            });
        flex::tensor(values, Shape::new([n, width / 2]))
    }

    fn backward(
        &self,
        [gate_up]: [&FlexTensor; 1],
        gradient: &FlexTensor,
        _: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let (inner, rows) = sizes(gate_up);
        let gates_ups = gate_up.storage::<f32>();
        let mut by_gates_ups = vec![0.0; gates_ups.len()];
        by_gates_ups
            .par_chunks_mut(2 * rows * inner)
            .zip(gates_ups.par_chunks(2 * rows * inner))
            .zip(gradient.storage::<f32>().par_chunks(rows * inner))
            .for_each(|((by, gate_up), gradient)| {
                let rows = by
                    .chunks_exact_mut(2 * inner)
                    .zip(gate_up.chunks_exact(2 * inner));
                for ((by, gate_up), gradient) in rows.zip(gradient.chunks_exact(inner)) {
                    let ((by_gate, by_up), (gate, up)) = (by.split_at_mut(inner), gate_up.split_at(inner));
                    backward(by_gate, by_up, gate, up, gradient);
                }
            });
        [Some(flex::tensor(by_gates_ups, gate_up.layout().shape().clone()))]
    }
}

vectorised! {
    fn forward<FMA>(value: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((value, gate), up) in value.iter_mut().zip(gate).zip(up) {
            *value = gate * sigmoid::<FMA>(*gate) * up;
        }
    }
}

vectorised! {
    /// `silu'(x) = σ(x)(1 + x(1 - σ(x)))`.
    fn backward<FMA>(by_gate: &mut [f32], by_up: &mut [f32], gate: &[f32], up: &[f32], gradient: &[f32]) {
        let inputs = gate.iter().zip(up).zip(gradient);
        for ((by_gate, by_up), ((x, up), gradient)) in by_gate.iter_mut().zip(by_up).zip(inputs) {
            let sigma = sigmoid::<FMA>(*x);
            *by_gate = gradient * up * sigma * multiply_add::<FMA>(*x, 1.0 - sigma, 1.0);
            *by_up = gradient * x * sigma;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, values};

    #[test]
    fn fused_equals_reference_and_differences() {
        for shape in [[1, 2], [3, 14], [258, 130], [3, 2 * 8200]] {
            let n = shape.iter().product();
            check(&[(values(1, n, 3.0), shape)], |[gate_up]| swiglu(gate_up));
        }
    }

    #[test]
    fn large_gates_stay_finite() {
        let values = vec![300.0, -300.0, 88.0, -88.0, 0.0, 1.0, -1.0, 2.0, 3.0, 4.0];
        check(&[(values, [1, 10])], |[gate_up]| swiglu(gate_up));
    }
}
