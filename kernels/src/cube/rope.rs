//! Rotary position embedding of whole heads in halves, one unit a pair.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, cubecl::dtype_to_storage_type};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like};

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Rope<B: Backend> {
    /// The angles' cosines, `[t, d/2]`.
    pub(super) cos: FloatTensor<B>,
    /// Their sines.
    pub(super) sin: FloatTensor<B>,
}

impl<B: Backwards> Differentiable<B, 1> for Rope<B> {
    fn backward(&self, _: [FloatTensor<B>; 1], gradient: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [B::cube_rope_backward(
            gradient,
            self.cos.clone(),
            self.sin.clone(),
        )]
    }
}

/// Rotates pairs `(i, i + d/2)` of `[b, t, h, d]` by angles `[t, d/2]` in f32, or back.
#[cube(launch)]
fn rotate_kernel<F: Float>(
    x: &Tensor<F>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    value: &mut Tensor<F>,
    sign: f32,
    #[define(F)] _dtype: ElemType,
) {
    let pair = ABSOLUTE_POS;
    if pair >= x.len() / 2 {
        terminate!();
    }
    let (t, h, d) = (x.shape(1), x.shape(2), x.shape(3));
    let half = d / 2;
    let (head, i) = (pair / half, pair % half);
    let angle = (head / h) % t * half + i;
    let left = head * d + i;
    let (a, b) = (f32::cast_from(x[left]), f32::cast_from(x[left + half]));
    let (c, s) = (cos[angle], sign * sin[angle]);
    value[left] = F::cast_from(a * c - b * s);
    value[left + half] = F::cast_from(b * c + a * s);
}

pub(super) fn rotate(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, sign: f32) -> CubeTensor {
    let [x, cos, sin] = [x, cos, sin].map(into_contiguous);
    let (client, dtype, pairs) = (x.client.clone(), x.dtype, x.shape().num_elements() / 2);
    let value = empty_like(&x, x.shape(), dtype);
    if pairs > 0 {
        let cube_dim = CubeDim::new(&client, pairs);
        rotate_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, pairs, cube_dim),
            cube_dim,
            x.into_tensor_arg(),
            cos.into_tensor_arg(),
            sin.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            sign,
            dtype_to_storage_type(dtype),
        );
    }
    value
}
