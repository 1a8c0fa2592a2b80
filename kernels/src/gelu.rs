//! The Gaussian error linear unit (Hendrycks and Gimpel 2016).

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::simd::{erf, exp, sigmoid, vectorised};

/// Elements of one task.
const CHUNK: usize = 8192;

/// Which of the two formulas of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gelu {
    /// `x · Φ(x)`, with the normal distribution's own cumulative function.
    Erf,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    Tanh,
}

/// The factor of `x³` in the approximation.
const CUBIC: f64 = 0.044_715;

/// The unit, element by element; the result has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>, kind: Gelu) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if cube::takes(&x) {
        return cube::gelu(x, kind);
    }
    if !flex::is_fused(&x) {
        return reference(x, kind);
    }
    Tensor::from_dispatch(Dispatch::fused_gelu(x.into_dispatch(), kind))
}

/// The operation composed of burn's.
pub(crate) fn reference<const D: usize>(x: Tensor<D>, kind: Gelu) -> Tensor<D> {
    let inner = match kind {
        Gelu::Erf => (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf(),
        Gelu::Tanh => {
            let root = (2.0 * std::f64::consts::FRAC_1_PI).sqrt();
            ((x.clone().powi_scalar(3) * CUBIC + x.clone()) * root).tanh()
        }
    };
    x * 0.5 * (inner + 1.0)
}

impl Operation<1> for Gelu {
    const NAMES: [&'static str; 2] = ["gelu", "gelu, backward"];

    fn forward(&self, [x]: [&FlexTensor; 1]) -> FlexTensor {
        let xs = x.storage::<f32>();
        let mut values = vec![0.0; xs.len()];
        if xs.len() <= CHUNK {
            forward(&mut values, xs, *self);
        } else {
            values
                .par_chunks_mut(CHUNK)
                .zip(xs.par_chunks(CHUNK))
                .for_each(|(value, x)| forward(value, x, *self));
        }
        flex::tensor(values, x.layout().shape().clone())
    }

    fn backward(
        &self,
        [x]: [&FlexTensor; 1],
        gradient: &FlexTensor,
        _: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let (xs, gradients) = (x.storage::<f32>(), gradient.storage::<f32>());
        let mut by_x = vec![0.0; xs.len()];
        by_x.par_chunks_mut(CHUNK)
            .zip(xs.par_chunks(CHUNK))
            .zip(gradients.par_chunks(CHUNK))
            .for_each(|((by_x, x), gradient)| backward(by_x, x, gradient, *self));
        [Some(flex::tensor(by_x, x.layout().shape().clone()))]
    }
}

/// `2 √(2/π)`: half of one plus a tanh is the logistic function of twice its argument.
const DOUBLED_ROOT: f32 = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;

/// `1 / √(2π)`.
const DENSITY: f32 = 0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;

vectorised! {
    fn forward<FMA>(value: &mut [f32], x: &[f32], kind: Gelu) {
        match kind {
            Gelu::Erf => {
                for (value, x) in value.iter_mut().zip(x) {
                    *value = 0.5 * x * (1.0 + erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2));
                }
            }
            Gelu::Tanh => {
                for (value, x) in value.iter_mut().zip(x) {
                    *value = x * sigmoid::<FMA>(DOUBLED_ROOT * x * (1.0 + CUBIC as f32 * x * x));
                }
            }
        }
    }
}

vectorised! {
    fn backward<FMA>(by_x: &mut [f32], x: &[f32], gradient: &[f32], kind: Gelu) {
        let inputs = x.iter().zip(gradient);
        match kind {
            Gelu::Erf => {
                for (by_x, (x, gradient)) in by_x.iter_mut().zip(inputs) {
                    let cumulative = 0.5 * (1.0 + erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2));
                    *by_x = gradient * (cumulative + x * DENSITY * exp::<FMA>(-0.5 * x * x));
                }
            }
            Gelu::Tanh => {
                for (by_x, (x, gradient)) in by_x.iter_mut().zip(inputs) {
                    let sigma = sigmoid::<FMA>(DOUBLED_ROOT * x * (1.0 + CUBIC as f32 * x * x));
                    let slope = DOUBLED_ROOT * (1.0 + 3.0 * CUBIC as f32 * x * x);
                    *by_x = gradient * (sigma + x * sigma * (1.0 - sigma) * slope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, values};

    #[test]
    fn fused_equals_reference_and_differences() {
        for kind in [Gelu::Erf, Gelu::Tanh] {
            for shape in [[1, 1], [3, 7], [129, 65]] {
                check(&[(values(1, shape[0] * shape[1], 5.0), shape)], |[x]| {
                    gelu(x, kind)
                });
            }
            check(&[(vec![60.0, -60.0, 9.0, -9.0, 0.0], [5])], |[x]| gelu(x, kind));
        }
    }
}
