//! One step of AdamW, one unit a parameter.

use burn::backend::TensorMetadata;
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::owned;
use crate::adamw::AdamW;

#[cube(launch)]
fn step_kernel(
    parameter: &mut Tensor<f32>,
    gradient: &Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    keep: f32,
    rate: f32,
    root: f32,
    eps: f32,
    old1: f32,
    new1: f32,
    old2: f32,
    new2: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= gradient.len() {
        terminate!();
    }
    let g = gradient[i];
    let m = old1 * first[i] + new1 * g;
    let v = old2 * second[i] + new2 * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = keep * parameter[i] - rate * m / (root * v.sqrt() + eps);
}

/// The step; tensors that no one else holds are updated in place.
pub(super) fn step(
    parameter: CubeTensor,
    gradient: CubeTensor,
    first: CubeTensor,
    second: CubeTensor,
    settings: AdamW,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let gradient = into_contiguous(gradient);
    let [parameter, first, second] = [parameter, first, second].map(owned);
    let AdamW {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step,
    } = settings;
    let corrected = [beta1, beta2].map(|beta| 1.0 - beta.powf(step as f64));
    let (client, count) = (gradient.client.clone(), gradient.shape().num_elements());
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        step_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            parameter.clone().into_tensor_arg(),
            gradient.into_tensor_arg(),
            first.clone().into_tensor_arg(),
            second.clone().into_tensor_arg(),
            (1.0 - lr * weight_decay) as f32,
            (lr / corrected[0]) as f32,
            corrected[1].sqrt().recip() as f32,
            eps as f32,
            beta1 as f32,
            (1.0 - beta1) as f32,
            beta2 as f32,
            (1.0 - beta2) as f32,
        );
    }
    (parameter, first, second)
}
