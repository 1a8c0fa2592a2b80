//! The Gaussian error linear unit, one unit an element.

// cubecl's `erf`, which the standard library may have one day.
#![allow(unstable_name_collisions)]

use burn::backend::tensor::FloatTensor;
use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like};
use crate::gelu::Gelu;

/// The factor of `x³` in the approximation by a tanh.
const CUBIC: f32 = 0.044_715;

/// `2 √(2/π)`: half of one plus a tanh is the logistic function of twice its argument.
const DOUBLED_ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;

/// `1 / √(2π)`.
const DENSITY: f32 = 0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;

impl<B: Backwards> Differentiable<B, 1> for Gelu {
    fn backward(&self, [x]: [FloatTensor<B>; 1], gradient: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [B::cube_gelu_backward(x, gradient, *self)]
    }
}

/// `Φ(x)`, or its approximation.
#[cube]
fn cumulative(x: f32, #[comptime] exact: bool) -> f32 {
    if exact {
        0.5 * (1.0 + (x * std::f32::consts::FRAC_1_SQRT_2).erf())
    } else {
        1.0 / (1.0 + (-DOUBLED_ROOT * x * (1.0 + CUBIC * x * x)).exp())
    }
}

/// The slope of `c`, the [`cumulative`] function at `x`.
#[cube]
fn density(x: f32, c: f32, #[comptime] exact: bool) -> f32 {
    if exact {
        DENSITY * (-(x * x) / 2.0).exp()
    } else {
        c * (1.0 - c) * DOUBLED_ROOT * (1.0 + 3.0 * CUBIC * x * x)
    }
}

#[cube(launch)]
fn forward_kernel<F: Float>(
    x: &Tensor<F>,
    value: &mut Tensor<F>,
    #[comptime] exact: bool,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= x.len() {
        terminate!();
    }
    let x = f32::cast_from(x[i]);
    value[i] = F::cast_from(x * cumulative(x, exact));
}

#[cube(launch)]
fn backward_kernel<F: Float>(
    x: &Tensor<F>,
    gradient: &Tensor<F>,
    by_x: &mut Tensor<F>,
    #[comptime] exact: bool,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= x.len() {
        terminate!();
    }
    let x = f32::cast_from(x[i]);
    let c = cumulative(x, exact);
    let slope = density(x, c, exact);
    by_x[i] = F::cast_from(f32::cast_from(gradient[i]) * (c + x * slope));
}

pub(super) fn forward(x: CubeTensor, kind: Gelu) -> CubeTensor {
    let x = into_contiguous(x);
    let (client, dtype, count) = (x.client.clone(), x.dtype, x.shape().num_elements());
    let value = empty_like(&x, x.shape(), dtype);
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        forward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            x.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            kind == Gelu::Erf,
            dtype_to_storage_type(dtype),
        );
    }
    value
}

pub(super) fn backward(x: CubeTensor, gradient: CubeTensor, kind: Gelu) -> CubeTensor {
    let [x, gradient] = [x, gradient].map(into_contiguous);
    let (client, dtype, count) = (x.client.clone(), x.dtype, x.shape().num_elements());
    let by_x = empty_like(&x, x.shape(), dtype);
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        backward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            x.into_tensor_arg(),
            gradient.into_tensor_arg(),
            by_x.clone().into_tensor_arg(),
            kind == Gelu::Erf,
            dtype_to_storage_type(dtype),
        );
    }
    by_x
}
