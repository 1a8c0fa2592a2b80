//! Layer normalisation (Ba et al. 2016, eq. 4).

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

/// `(x − mean(x)) / sqrt(variance(x) + eps) · weight + bias` over the last axis; the variance is the biased one.
/// Weights and biases of another type are taken in that of `x`.
///
/// # Shapes
/// `x`: `[…, d]`, `weight_d` and `bias_d`: `[d]`; the result has the shape of `x`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight_d: Tensor<1>,
    bias_d: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let d = x.dims()[D - 1];
    assert_eq!(
        d,
        weight_d.dims()[0],
        "one weight for each element of the last axis"
    );
    if let Some(bias_d) = &bias_d {
        assert_eq!(d, bias_d.dims()[0], "one bias for each element of the last axis");
    }
    let weight_d = widened(weight_d, x.dtype());
    let bias_d = bias_d.map(|bias_d| widened(bias_d, x.dtype()));
    #[cfg(feature = "cube")]
    if cube::takes(&x) {
        let bias_d = bias_d.unwrap_or_else(|| weight_d.zeros_like().detach());
        return cube::norm(x, weight_d, Some(bias_d), eps);
    }
    if !flex::is_fused(&x) {
        return reference(x, weight_d, bias_d, eps);
    }
    let bias_d = bias_d.unwrap_or_else(|| weight_d.zeros_like().detach());
    Tensor::from_dispatch(Dispatch::fused_layer_norm(
        x.into_dispatch(),
        weight_d.into_dispatch(),
        bias_d.into_dispatch(),
        eps,
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(
    x: Tensor<D>,
    weight_d: Tensor<1>,
    bias_d: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let variance = centred.clone().square().mean_dim(D - 1);
    let normal = centred * (variance + eps).sqrt().recip() * weight_d.unsqueeze();
    match bias_d {
        Some(bias_d) => normal + bias_d.unsqueeze(),
        None => normal,
    }
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    /// Added to the variance.
    pub(crate) eps: f64,
}

impl Operation<3> for LayerNorm {
    const NAMES: [&'static str; 2] = ["layer_norm", "layer_norm, backward"];

    fn forward(&self, [x, weight, bias]: [&FlexTensor; 3]) -> FlexTensor {
        let (xs, weight, bias) = (x.storage::<f32>(), weight.storage::<f32>(), bias.storage::<f32>());
        let mut values = vec![0.0; xs.len()];
        let chunk = CHUNK * weight.len();
        if xs.len() <= chunk {
            forward(&mut values, xs, weight, bias, self.eps as f32);
        } else {
            values
                .par_chunks_mut(chunk)
                .zip(xs.par_chunks(chunk))
                .for_each(|(value, x)| forward(value, x, weight, bias, self.eps as f32));
        }
        flex::tensor(values, x.layout().shape().clone())
    }

    fn backward(
        &self,
        [x, weight, _]: [&FlexTensor; 3],
        gradient: &FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let (xs, weight, gradients) = (
            x.storage::<f32>(),
            weight.storage::<f32>(),
            gradient.storage::<f32>(),
        );
        let (d, chunk) = (weight.len(), CHUNK * weight.len());
        let mut by_x = vec![0.0; xs.len()];
        let parts: Vec<[Vec<f32>; 2]> = by_x
            .par_chunks_mut(chunk)
            .zip(xs.par_chunks(chunk))
            .zip(gradients.par_chunks(chunk))
            .map(|((by_x, x), gradient)| {
                let (mut by_weight, mut by_bias) = (vec![0.0; d], vec![0.0; d]);
                backward(
                    by_x,
                    &mut by_weight,
                    &mut by_bias,
                    x,
                    weight,
                    gradient,
                    self.eps as f32,
                );
                [by_weight, by_bias]
            })
            .collect();
        let mut sums = [vec![0.0; d], vec![0.0; d]];
        for part in parts {
            for (sum, part) in sums.iter_mut().zip(part) {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
        let [by_weight, by_bias] = sums.map(|sum| flex::tensor(sum, Shape::new([d])));
        [flex::tensor(by_x, x.layout().shape().clone()), by_weight, by_bias].map(Some)
    }
}

vectorised! {
    fn forward<FMA>(value: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
        let d = weight.len();
        for (value, x) in value.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            let mean = sum2(x, x, |a, _| a) / d as f32;
            let variance = sum2(x, x, |a, _| (a - mean) * (a - mean)) / d as f32;
            let scale = 1.0 / (variance + eps).sqrt();
            for (((value, x), weight), bias) in value.iter_mut().zip(x).zip(weight).zip(bias) {
                *value = (x - mean) * scale * weight + bias;
            }
        }
    }
}

vectorised! {
    /// With `n = (x − mean) · r`, `r = 1 / sqrt(variance + eps)` and `u = gradient · weight`:
    /// `∂x = r (u − mean(u) − n · mean(u·n))`, `∂weight += gradient · n`, `∂bias += gradient`.
    fn backward<FMA>(
        by_x: &mut [f32], by_weight: &mut [f32], by_bias: &mut [f32], x: &[f32], weight: &[f32], gradient: &[f32],
        eps: f32,
    ) {
        let d = weight.len();
        for ((by_x, x), gradient) in by_x.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(gradient.chunks_exact(d)) {
            let mean = sum2(x, x, |a, _| a) / d as f32;
            let variance = sum2(x, x, |a, _| (a - mean) * (a - mean)) / d as f32;
            let scale = 1.0 / (variance + eps).sqrt();
            for ((u, gradient), weight) in by_x.iter_mut().zip(gradient).zip(weight) {
                *u = gradient * weight;
            }
            let level = sum2(by_x, x, |u, _| u) / d as f32;
            let along = sum2(by_x, x, |u, x| u * ((x - mean) * scale)) / d as f32;
            let sums = by_weight.iter_mut().zip(&mut *by_bias);
            for (((by_x, (by_weight, by_bias)), x), gradient) in by_x.iter_mut().zip(sums).zip(x).zip(gradient) {
                let normal = (x - mean) * scale;
                *by_x = scale * (*by_x - level - normal * along);
                *by_weight += gradient * normal;
                *by_bias += gradient;
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
            let inputs = [
                (values(1, rows * d, 2.0), [rows, d]),
                (values(2, d, 1.0), [1, d]),
                (values(3, d, 1.0), [1, d]),
            ];
            check(&inputs, |[x, weight, bias]| {
                layer_norm(x, weight.squeeze_dim(0), Some(bias.squeeze_dim(0)), 1e-1)
            });
            check(&[inputs[0].clone(), inputs[1].clone()], |[x, weight]| {
                layer_norm(x, weight.squeeze_dim(0), None, 1e-1)
            });
        }
    }

    #[test]
    fn weights_in_bfloat16_are_widened() {
        let [weight, bias] =
            [2, 3].map(|seed| tensor(&values(seed, 6, 1.0), [6], DType::F32, false).cast(DType::BF16));
        for tracked in [false, true] {
            let x = tensor(&values(1, 30, 2.0), [5, 6], DType::F32, tracked);
            let [narrow, wide] = [DType::BF16, DType::F32].map(|dtype| {
                let [weight, bias] = [&weight, &bias].map(|operand| {
                    let operand = operand.clone().cast(dtype);
                    if tracked { operand.autodiff() } else { operand }
                });
                let value = layer_norm(x.clone(), weight, Some(bias), 1e-5);
                assert_eq!(value.dtype(), DType::F32);
                host(value)
            });
            assert_eq!(narrow, wide);
        }
    }
}
