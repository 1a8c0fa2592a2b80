//! The square of a tensor's Euclidean norm.

use burn::backend::Dispatch;
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{self, Plain};
use crate::simd::{sum2, vectorised};

/// Elements of one task.
const CHUNK: usize = 1 << 16;

/// Elements that are added up in f32; their sums are in f64.
const PART: usize = 1024;

/// `Σ x²`, of shape `[1]`, outside the graph.
pub fn squared_norm<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let x = x.without_autodiff();
    #[cfg(feature = "cube")]
    if crate::cube::takes(&x) {
        return crate::cube::squared_norm(x);
    }
    if !flex::is_fused(&x) {
        return x.square().sum();
    }
    Tensor::from_dispatch(Dispatch::fused_squared_norm(x.into_dispatch()))
}

/// The fused body.
pub(crate) fn flex_squared_norm(x: &FlexTensor) -> FlexTensor {
    let x = x.to_contiguous();
    let sums: Vec<f64> = x.storage::<f32>().par_chunks(CHUNK).map(sum).collect();
    flex::tensor(vec![sums.iter().sum::<f64>() as f32], Shape::new([1]))
}

vectorised! {
    fn sum<FMA>(x: &[f32]) -> f64 {
        let mut sum = 0.0;
        for part in x.chunks(PART) {
            sum += f64::from(sum2(part, part, |x, y| x * y));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{host, on_every_level, on_gpu, on_threads, tensor, values};
    use burn::tensor::DType;

    #[test]
    fn it_is_the_sum_of_squares_on_any_number_of_threads() {
        on_every_level(|| {
            for count in [0, 1, 17, 3 * CHUNK + 5] {
                let x = values(1, count, 3.0);
                let exact: f64 = x.iter().map(|x| f64::from(*x as f32).powi(2)).sum();
                let norm = || host(squared_norm(tensor(&x, [count], DType::F32, false)))[0];
                // A GPU adds up in f32.
                let allowed = if on_gpu() { 1e-5 } else { 2e-7 };
                assert!((norm() - exact).abs() <= allowed * exact, "{count} elements");
                assert_eq!(on_threads(1, norm), on_threads(3, norm));
            }
            let x = tensor(&values(1, 9, 3.0), [3, 3], DType::F64, false);
            assert_eq!(host(squared_norm(x.clone())), host(x.square().sum()));
        });
    }
}
