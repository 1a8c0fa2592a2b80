//! One step of AdamW (Loshchilov and Hutter 2019, algorithm 2, with PyTorch's order of operations).

use burn::backend::Dispatch;
#[cfg(feature = "cube")]
use burn::tensor::DType;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Plain};
use crate::simd::{multiply_add, vectorised};

/// Elements of one task.
const CHUNK: usize = 8192;

/// Hyperparameters of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// Updates one parameter: gives the new `(parameter, first moment, second moment)`.
///
/// `θ ← θ(1 − lr·decay)`; `m ← β1·m + (1−β1)g`; `v ← β2·v + (1−β2)g²`; `θ ← θ − lr·m̂ / (√v̂ + ε)` with bias-corrected
/// moments. All tensors have one shape and lie outside the graph.
pub fn adamw_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    settings: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    #[cfg(feature = "cube")]
    if cube::takes(&parameter)
        && !parameter.device().is_autodiff()
        && [&parameter, &gradient, &first, &second].map(Tensor::dtype) == [DType::F32; 4]
    {
        return cube::adamw_step(parameter, gradient, first, second, settings);
    }
    if !flex::is_fused(&parameter) || parameter.device().is_autodiff() {
        return reference(parameter, gradient, first, second, settings);
    }
    let (parameter, first, second) = Dispatch::fused_adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        settings,
    );
    (
        Tensor::from_dispatch(parameter),
        Tensor::from_dispatch(first),
        Tensor::from_dispatch(second),
    )
}

/// The step composed of burn's operations.
pub(crate) fn reference<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<D>,
    second: Tensor<D>,
    settings: AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let AdamW {
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step,
    } = settings;
    let first = first * beta1 + gradient.clone() * (1.0 - beta1);
    let second = second * beta2 + gradient.square() * (1.0 - beta2);
    let corrected1 = 1.0 - beta1.powf(step as f64);
    let corrected2 = 1.0 - beta2.powf(step as f64);
    let update = first.clone() / corrected1 / ((second.clone() / corrected2).sqrt() + eps);
    (parameter * (1.0 - lr * weight_decay) - update * lr, first, second)
}

/// The fused body; tensors that no one else holds are updated in place.
pub(crate) fn flex_step(
    parameter: FlexTensor,
    gradient: &FlexTensor,
    first: FlexTensor,
    second: FlexTensor,
    settings: AdamW,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let gradient = gradient.to_contiguous();
    let [mut parameter, mut first, mut second] = [parameter, first, second].map(flex::owned);
    let shape = gradient.layout().shape();
    for tensor in [&parameter, &first, &second] {
        assert_eq!(tensor.layout().shape(), shape, "all tensors have one shape");
    }
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(first.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(second.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(gradient.storage::<f32>().par_chunks(CHUNK))
        .for_each(|(((parameter, first), second), gradient)| {
            update(parameter, first, second, gradient, &settings);
        });
    (parameter, first, second)
}

vectorised! {
    fn update<FMA>(
        parameter: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32], settings: &AdamW,
    ) {
        let AdamW { lr, beta1, beta2, eps, weight_decay, step } = *settings;
        let corrected1 = 1.0 - beta1.powf(step as f64);
        let corrected2 = 1.0 - beta2.powf(step as f64);
        let (keep, rate) = ((1.0 - lr * weight_decay) as f32, (lr / corrected1) as f32);
        let (root, eps) = (corrected2.sqrt().recip() as f32, eps as f32);
        let (old1, new1) = (beta1 as f32, (1.0 - beta1) as f32);
        let (old2, new2) = (beta2 as f32, (1.0 - beta2) as f32);
        let state = parameter.iter_mut().zip(first).zip(second);
        for (((parameter, first), second), gradient) in state.zip(gradient) {
            *first = multiply_add::<FMA>(*first, old1, new1 * gradient);
            *second = multiply_add::<FMA>(*second, old2, new2 * gradient * gradient);
            let update = *first / multiply_add::<FMA>(second.sqrt(), root, eps);
            *parameter = multiply_add::<FMA>(*parameter, keep, -(rate * update));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, host, on_every_level, on_threads, tensor, values};
    use burn::tensor::DType;

    const SETTINGS: AdamW = AdamW {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 1,
    };

    /// Parameter, first and second moment after three steps.
    fn three_steps(dtype: DType, n: usize) -> [Vec<f64>; 3] {
        let mut state =
            [values(1, n, 1.0), vec![0.0; n], vec![0.0; n]].map(|x| tensor(&x, [n], dtype, false));
        for step in 1..=3 {
            let gradient = tensor(&values(10 + step, n, 1e-3), [n], dtype, false);
            let [parameter, first, second] = state;
            let settings = AdamW { step, ..SETTINGS };
            state = adamw_step(parameter, gradient, first, second, settings).into();
        }
        state.map(host)
    }

    /// The same, one element at a time, as the paper writes it.
    fn by_hand(n: usize) -> [Vec<f64>; 3] {
        let [mut parameter, mut first, mut second] = [values(1, n, 1.0), vec![0.0; n], vec![0.0; n]];
        for step in 1..=3 {
            let gradient = values(10 + step, n, 1e-3);
            let AdamW {
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                ..
            } = SETTINGS;
            for i in 0..n {
                first[i] = beta1 * first[i] + (1.0 - beta1) * gradient[i];
                second[i] = beta2 * second[i] + (1.0 - beta2) * gradient[i].powi(2);
                let unbiased1 = first[i] / (1.0 - beta1.powi(step as i32));
                let unbiased2 = second[i] / (1.0 - beta2.powi(step as i32));
                parameter[i] -= lr * (unbiased1 / (unbiased2.sqrt() + eps) + weight_decay * parameter[i]);
            }
        }
        [parameter, first, second]
    }

    #[test]
    fn both_bodies_follow_the_paper() {
        on_every_level(|| {
            for n in [1, 17, 20_003] {
                let expected = by_hand(n);
                for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6)] {
                    for (found, expected) in three_steps(dtype, n).iter().zip(&expected) {
                        assert_close("state", found, expected, tolerance);
                    }
                }
            }
        });
    }

    #[test]
    fn bytes_do_not_depend_on_threads() {
        on_every_level(|| {
            let single = on_threads(1, || three_steps(DType::F32, 20_003));
            for threads in [2, 3] {
                assert!(on_threads(threads, || three_steps(DType::F32, 20_003)) == single);
            }
        });
    }

    #[test]
    fn a_shared_tensor_is_not_changed() {
        let parameter = tensor(&[1.0], [1], DType::F32, false);
        let zero = parameter.zeros_like();
        let (updated, ..) = adamw_step(parameter.clone(), parameter.clone(), zero.clone(), zero, SETTINGS);
        assert_eq!(host(parameter), [1.0]);
        assert_ne!(host(updated), [1.0]);
    }
}
