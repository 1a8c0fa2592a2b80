//! Root-mean-square normalisation (Zhang and Sennrich 2019, eq. 4).

use burn::backend::Dispatch;
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::linear::widened;
use crate::simd::{sum2, vectorised};

/// Rows of one task.
const CHUNK: usize = 64;

/// `x / sqrt(mean(x²) + eps) · weight` over the last axis. Weights of another type are taken in that of `x`.
///
/// # Shapes
/// `x`: `[…, d]`, `weight_d`: `[d]`; the result has the shape of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight_d: Tensor<1>, eps: f64) -> Tensor<D> {
    assert_eq!(
        x.dims()[D - 1],
        weight_d.dims()[0],
        "one weight for each element of the last axis"
    );
    let weight_d = widened(weight_d, x.dtype());
    #[cfg(feature = "cube")]
    if cube::takes(&x) {
        return cube::norm(x, weight_d, None, eps);
    }
    if !flex::is_fused(&x) {
        return reference(x, weight_d, eps);
    }
    Tensor::from_dispatch(Dispatch::fused_rms_norm(
        x.into_dispatch(),
        weight_d.into_dispatch(),
        eps,
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(x: Tensor<D>, weight_d: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1);
    x * (mean_square + eps).sqrt().recip() * weight_d.unsqueeze()
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct RmsNorm {
    /// Added to the mean square.
    pub(crate) eps: f64,
}

impl Operation<2> for RmsNorm {
    const NAMES: [&'static str; 2] = ["rms_norm", "rms_norm, backward"];

    fn forward(&self, [x, weight]: [&FlexTensor; 2]) -> FlexTensor {
        let (xs, weight) = (x.storage::<f32>(), weight.storage::<f32>());
        let mut values = vec![0.0; xs.len()];
        let chunk = CHUNK * weight.len();
        values
            .par_chunks_mut(chunk)
            .zip(xs.par_chunks(chunk))
            .for_each(|(value, x)| forward(value, x, weight, self.eps as f32));
        flex::tensor(values, x.layout().shape().clone())
    }

    fn backward(
        &self,
        [x, weight]: [&FlexTensor; 2],
        gradient: &FlexTensor,
        _: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (xs, weight, gradients) = (
            x.storage::<f32>(),
            weight.storage::<f32>(),
            gradient.storage::<f32>(),
        );
        let (d, chunk) = (weight.len(), CHUNK * weight.len());
        let mut by_x = vec![0.0; xs.len()];
        let parts: Vec<Vec<f32>> = by_x
            .par_chunks_mut(chunk)
            .zip(xs.par_chunks(chunk))
            .zip(gradients.par_chunks(chunk))
            .map(|((by_x, x), gradient)| {
                let mut by_weight = vec![0.0; d];
                backward(by_x, &mut by_weight, x, weight, gradient, self.eps as f32);
                by_weight
            })
            .collect();
        let mut by_weight = vec![0.0; d];
        for part in parts {
            by_weight
                .iter_mut()
                .zip(part)
                .for_each(|(sum, part)| *sum += part);
        }
        [
            flex::tensor(by_x, x.layout().shape().clone()),
            flex::tensor(by_weight, Shape::new([d])),
        ]
        .map(Some)
    }
}

vectorised! {
    fn forward<FMA>(value: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
        let d = weight.len();
        for (value, x) in value.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            let scale = 1.0 / (sum2(x, x, |a, b| a * b) / d as f32 + eps).sqrt();
            for ((value, x), weight) in value.iter_mut().zip(x).zip(weight) {
                *value = x * scale * weight;
            }
        }
    }
}

vectorised! {
    /// With `r = 1 / sqrt(mean(x²) + eps)` and `u = gradient · weight`: `∂x = r·u - x·r³·mean(u·x)`, `∂weight += gradient·x·r`.
    fn backward<FMA>(by_x: &mut [f32], by_weight: &mut [f32], x: &[f32], weight: &[f32], gradient: &[f32], eps: f32) {
        let d = weight.len();
        for ((by_x, x), gradient) in by_x.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(gradient.chunks_exact(d)) {
            let scale = 1.0 / (sum2(x, x, |a, b| a * b) / d as f32 + eps).sqrt();
            for ((u, gradient), weight) in by_x.iter_mut().zip(gradient).zip(weight) {
                *u = gradient * weight;
            }
            // The order keeps r² and x apart: r³ alone leaves f32's range before its product with x² does.
            let along = sum2(by_x, x, |u, x| u * (x * scale)) / d as f32;
            for (((by_x, by_weight), x), gradient) in by_x.iter_mut().zip(&mut *by_weight).zip(x).zip(gradient) {
                let normal = x * scale;
                *by_x = scale * (*by_x - normal * along);
                *by_weight += gradient * normal;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{check, host, tensor, values};

    #[test]
    fn fused_equals_reference_and_differences() {
        for (rows, d) in [(1, 1), (5, 7), (131, 48), (3, 100)] {
            let inputs = [(values(1, rows * d, 2.0), [rows, d]), (values(2, d, 1.0), [1, d])];
            check(&inputs, |[x, weight]| rms_norm(x, weight.squeeze_dim(0), 1e-5));
        }
    }

    #[test]
    fn weights_in_bfloat16_are_widened() {
        let weight = tensor(&values(2, 6, 1.0), [6], DType::F32, false).cast(DType::BF16);
        for tracked in [false, true] {
            let x = tensor(&values(1, 30, 2.0), [5, 6], DType::F32, tracked);
            let [narrow, wide] = [weight.clone(), weight.clone().cast(DType::F32)].map(|weight| {
                let weight = if tracked { weight.autodiff() } else { weight };
                let value = rms_norm(x.clone(), weight, 1e-5);
                assert_eq!(value.dtype(), DType::F32);
                host(value)
            });
            assert_eq!(narrow, wide);
        }
    }

    #[test]
    fn a_row_of_zeros_has_finite_gradients() {
        check(
            &[(vec![0.0; 4], [1, 4]), (values(2, 4, 1.0), [1, 4])],
            |[x, weight]| rms_norm(x, weight.squeeze_dim(0), 1e-2),
        );
    }
}
