//! Likelihood and gradient of a chunk's logits, one cube a row: read twice and written once, or read once without gradient.

use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type};
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::{empty_like, greatest, owned, total, units};

/// Below every logit that is a number; an infinity cannot be written in every shading language.
const LOWEST: f32 = f32::MIN;

#[cube(launch)]
fn softmax_kernel<F: Float, I: Int>(
    logits: &mut Tensor<F>,
    targets: &Tensor<I>,
    weights: &Tensor<f32>,
    nll: &mut Tensor<f32>,
    v: usize,
    #[comptime] units: usize,
    #[comptime] graded: bool,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let (row, width) = (CUBE_POS, logits.shape(1));
    if row >= targets.len() {
        terminate!();
    }
    let start = row * width;
    // The greatest logit so far, and the sum of exponentials against it.
    let mut max = LOWEST.runtime();
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < v {
        let x = f32::cast_from(logits[start + i]);
        if x > max {
            sum *= (max - x).exp();
            max = x;
        }
        sum += (x - max).exp();
        i += units;
    }
    let highest = greatest(max, units);
    let sum = total(sum * (max - highest).exp(), units);
    let target = u32::cast_from(targets[row]) as usize;
    let at_target = f32::cast_from(logits[start + target]);
    if graded {
        let weight = weights[row];
        // No unit may overwrite the target's logit before all have read it.
        sync_cube();
        let scale = weight / sum;
        let mut i = UNIT_POS as usize;
        while i < v {
            let mut gradient = (f32::cast_from(logits[start + i]) - highest).exp() * scale;
            if i == target {
                gradient -= weight;
            }
            logits[start + i] = F::cast_from(gradient);
            i += units;
        }
        // What fills the row up takes no part.
        while i < width {
            logits[start + i] = F::new(0.0);
            i += units;
        }
    }
    if UNIT_POS == 0 {
        nll[row] = (highest - at_target) + sum.ln();
    }
}

/// The negative log-likelihoods, and in the logits' place the gradients of their weighted sum.
pub(super) fn softmax(
    logits: CubeTensor,
    targets: CubeTensor,
    weights: CubeTensor,
    v: usize,
) -> (CubeTensor, CubeTensor) {
    let logits = owned(logits);
    let nll = launch(&logits, targets, into_contiguous(weights), v, true);
    (nll, logits)
}

/// The negative log-likelihoods alone.
pub(super) fn nll(logits: CubeTensor, targets: CubeTensor, v: usize) -> CubeTensor {
    let logits = into_contiguous(logits);
    // Not read.
    let weights = empty_like(&logits, Shape::new([1]), DType::F32);
    launch(&logits, targets, weights, v, false)
}

/// Of rows whose first `v` logits are the vocabulary's.
fn launch(
    logits: &CubeTensor,
    targets: CubeTensor,
    weights: CubeTensor,
    v: usize,
    graded: bool,
) -> CubeTensor {
    let targets = into_contiguous(targets);
    let rows = logits.shape().dims::<2>()[0];
    let (client, units) = (logits.client.clone(), units(logits, v));
    let nll = empty_like(logits, Shape::new([rows]), DType::F32);
    if rows > 0 {
        let dtypes = [logits.dtype, targets.dtype].map(dtype_to_storage_type);
        softmax_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, rows, CubeDim::new_single()),
            CubeDim::new_1d(units as u32),
            logits.clone().into_tensor_arg(),
            targets.into_tensor_arg(),
            weights.into_tensor_arg(),
            nll.clone().into_tensor_arg(),
            v,
            units,
            graded,
            dtypes,
        );
    }
    nll
}
