//! The gated activation, one unit an element.

use burn::backend::tensor::FloatTensor;
use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like};

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct SwiGlu;

impl<B: Backwards> Differentiable<B, 2> for SwiGlu {
    fn backward(&self, [gate, up]: [FloatTensor<B>; 2], gradient: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        B::cube_swiglu_backward(gate, up, gradient).into()
    }
}

#[cube(launch)]
fn forward_kernel<F: Float>(
    gate: &Tensor<F>,
    up: &Tensor<F>,
    value: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= gate.len() {
        terminate!();
    }
    let x = f32::cast_from(gate[i]);
    value[i] = F::cast_from(x / (1.0 + (-x).exp()) * f32::cast_from(up[i]));
}

/// With `s` the logistic function of the gate: `∂gate = gradient·up·s·(1 + gate·(1 − s))`, `∂up = gradient·gate·s`.
#[cube(launch)]
fn backward_kernel<F: Float>(
    gate: &Tensor<F>,
    up: &Tensor<F>,
    gradient: &Tensor<F>,
    by_gate: &mut Tensor<F>,
    by_up: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= gate.len() {
        terminate!();
    }
    let x = f32::cast_from(gate[i]);
    let g = f32::cast_from(gradient[i]);
    let s = 1.0 / (1.0 + (-x).exp());
    by_gate[i] = F::cast_from(g * f32::cast_from(up[i]) * s * (1.0 + x * (1.0 - s)));
    by_up[i] = F::cast_from(g * x * s);
}

pub(super) fn forward(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
    let [gate, up] = [gate, up].map(into_contiguous);
    let (client, dtype, count) = (gate.client.clone(), gate.dtype, gate.shape().num_elements());
    let value = empty_like(&gate, gate.shape(), dtype);
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        forward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            gate.into_tensor_arg(),
            up.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            dtype_to_storage_type(dtype),
        );
    }
    value
}

pub(super) fn backward(gate: CubeTensor, up: CubeTensor, gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
    let [gate, up, gradient] = [gate, up, gradient].map(into_contiguous);
    let (client, dtype, count) = (gate.client.clone(), gate.dtype, gate.shape().num_elements());
    let [by_gate, by_up] = [&gate, &up].map(|x| empty_like(x, x.shape(), dtype));
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        backward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            gate.into_tensor_arg(),
            up.into_tensor_arg(),
            gradient.into_tensor_arg(),
            by_gate.clone().into_tensor_arg(),
            by_up.clone().into_tensor_arg(),
            dtype_to_storage_type(dtype),
        );
    }
    (by_gate, by_up)
}
