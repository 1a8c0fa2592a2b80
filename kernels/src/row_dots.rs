//! Scalar products of the rows of two matrices.

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

/// `Σ_m x_bm · y_bm` for every row, outside the graph.
///
/// # Shapes
/// `x_bm`: `[b, m]`, `y_bm`: the same, or `[1, m]` for all rows; the result is `[b]`.
pub fn row_dots(x_bm: Tensor<2>, y_bm: Tensor<2>) -> Tensor<1> {
    let ([b, m], of_y) = (x_bm.dims(), y_bm.dims());
    assert!(of_y == [b, m] || of_y == [1, m], "as many elements in both");
    let (x_bm, y_bm) = (x_bm.without_autodiff(), y_bm.without_autodiff());
    if !flex::is_fused(&x_bm) || !flex::is_fused(&y_bm) {
        return (x_bm * y_bm).sum_dim(1).squeeze_dim(1);
    }
    Tensor::from_dispatch(Dispatch::fused_row_dots(
        x_bm.into_dispatch(),
        y_bm.into_dispatch(),
    ))
}

/// The fused body.
pub(crate) fn flex_row_dots(x: &FlexTensor, y: &FlexTensor) -> FlexTensor {
    let (x, y) = (x.to_contiguous(), y.to_contiguous());
    let (xs, ys) = (x.storage::<f32>(), y.storage::<f32>());
    let [b, m] = flex::dims(&x);
    let shared = flex::dims(&y) != [b, m];
    let tasks = m.div_ceil(CHUNK).max(1);
    let sums: Vec<f64> = (0..b * tasks)
        .into_par_iter()
        .map(|task| {
            let start = task % tasks * CHUNK;
            let end = (start + CHUNK).min(m);
            let row = task / tasks * m;
            let of_y = if shared { 0 } else { row };
            sum(&xs[row + start..row + end], &ys[of_y + start..of_y + end])
        })
        .collect();
    let rows = sums.chunks_exact(tasks);
    let values = rows.map(|row| row.iter().sum::<f64>() as f32).collect();
    flex::tensor(values, Shape::new([b]))
}

vectorised! {
    fn sum<FMA>(x: &[f32], y: &[f32]) -> f64 {
        let mut sum = 0.0;
        for (x, y) in x.chunks(PART).zip(y.chunks(PART)) {
            sum += f64::from(sum2(x, y, |x, y| x * y));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, host, on_threads, tensor, values};
    use burn::tensor::DType;

    #[test]
    fn one_row_may_stand_for_all() {
        for dtype in [DType::F32, DType::F64] {
            let x = tensor(&values(1, 3 * 40, 1.0), [3, 40], dtype, false);
            let y = tensor(&values(2, 40, 1.0), [1, 40], dtype, false);
            let each = row_dots(x.clone(), y.clone().repeat_dim(0, 3));
            assert_eq!(host(row_dots(x, y)), host(each));
        }
    }

    #[test]
    fn rows_equal_those_of_f64_on_any_number_of_threads() {
        for [b, m] in [[1, 1], [3, 0], [5, 17], [2, CHUNK + 5], [1, 3 * CHUNK]] {
            let [x, y] = [1, 2].map(|seed| values(seed, b * m, 3.0));
            let dots = |dtype| {
                let operand = |values: &[f64]| tensor(values, [b, m], dtype, false);
                host(row_dots(operand(&x), operand(&y)))
            };
            let exact = dots(DType::F64);
            let single = on_threads(1, || dots(DType::F32));
            // Beside the sum of magnitudes, which is what rounding goes by.
            let size = 9.0 * m as f64;
            let parts = |dots: &[f64]| -> Vec<f64> { dots.iter().map(|dot| dot / size.max(1.0)).collect() };
            assert_close("row", &parts(&single), &parts(&exact), 1e-7);
            for threads in [2, 3] {
                assert_eq!(on_threads(threads, || dots(DType::F32)), single);
            }
        }
    }
}
