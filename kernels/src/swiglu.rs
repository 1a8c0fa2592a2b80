//! The gated activation of llama-style feed-forward layers (Shazeer 2020, SwiGLU).

use burn::backend::Dispatch;
use burn::tensor::{Tensor, activation::silu};
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::simd::{multiply_add, sigmoid, vectorised};

/// Elements of one task.
const CHUNK: usize = 8192;

/// `silu(gate) · up`, element by element; both have the same shape.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "gate and up have one shape");
    #[cfg(feature = "cube")]
    if cube::takes(&gate) && up.dtype() == gate.dtype() {
        return cube::swiglu(gate, up);
    }
    if !flex::is_fused(&gate) {
        return reference(gate, up);
    }
    Tensor::from_dispatch(Dispatch::fused_swiglu(gate.into_dispatch(), up.into_dispatch()))
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct SwiGlu;

impl Operation<2> for SwiGlu {
    const NAMES: [&'static str; 2] = ["swiglu", "swiglu, backward"];

    fn forward(&self, [gate, up]: [&FlexTensor; 2]) -> FlexTensor {
        let (gates, ups) = (gate.storage::<f32>(), up.storage::<f32>());
        let mut values = vec![0.0; gates.len()];
        values
            .par_chunks_mut(CHUNK)
            .zip(gates.par_chunks(CHUNK))
            .zip(ups.par_chunks(CHUNK))
            .for_each(|((value, gate), up)| forward(value, gate, up));
        flex::tensor(values, gate.layout().shape().clone())
    }

    fn backward(
        &self,
        [gate, up]: [&FlexTensor; 2],
        gradient: &FlexTensor,
        _: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (gates, ups, gradients) = (
            gate.storage::<f32>(),
            up.storage::<f32>(),
            gradient.storage::<f32>(),
        );
        let (mut by_gate, mut by_up) = (vec![0.0; gates.len()], vec![0.0; gates.len()]);
        by_gate
            .par_chunks_mut(CHUNK)
            .zip(by_up.par_chunks_mut(CHUNK))
            .zip(
                gates
                    .par_chunks(CHUNK)
                    .zip(ups.par_chunks(CHUNK))
                    .zip(gradients.par_chunks(CHUNK)),
            )
            .for_each(|((by_gate, by_up), ((gate, up), gradient))| {
                backward(by_gate, by_up, gate, up, gradient);
            });
        let shape = gate.layout().shape();
        [
            flex::tensor(by_gate, shape.clone()),
            flex::tensor(by_up, shape.clone()),
        ]
        .map(Some)
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
        for shape in [[1, 1, 1], [1, 3, 7], [2, 129, 65]] {
            let n = shape.iter().product();
            check(
                &[(values(1, n, 3.0), shape), (values(2, n, 1.0), shape)],
                |[gate, up]| swiglu(gate, up),
            );
        }
    }

    #[test]
    fn large_gates_stay_finite() {
        let gates = vec![300.0, -300.0, 88.0, -88.0, 0.0];
        check(
            &[(gates, [5]), (vec![1.0, -1.0, 2.0, 3.0, 4.0], [5])],
            |[gate, up]| swiglu(gate, up),
        );
    }
}
