//! Products with the rows of a small matrix that is gone through many times: what training a perceptron consists of. The
//! caller takes some rows at a time, so that they are still in the cache when they are added up.

use crate::simd::vectorised;

/// Partial sums of a product, so that no addition waits for the one before it.
const LANES: usize = 32;

/// f32 or f64.
pub trait RowElement: Copy + Send + Sync + 'static {
    /// `out_n[n] = ⟨x_n, v⟩` for rows of `v_d.len()` elements.
    fn rows_times(x_nd: &[Self], v_d: &[Self], out_n: &mut [f64]);

    /// `sum_d += Σ_n weight_n · x_n` for rows of `sum_d.len()` elements.
    fn add_rows(x_nd: &[Self], weight_n: &[Self], sum_d: &mut [Self]);
}

macro_rules! element {
    ($type:ident, $times:ident, $add:ident, $dot:ident, $multiply_add:ident) => {
        #[allow(clippy::inline_always)] // Else it is compiled for the baseline.
        #[inline(always)]
        fn $multiply_add<const FMA: bool>(a: $type, b: $type, c: $type) -> $type {
            if FMA { a.mul_add(b, c) } else { a * b + c }
        }

        #[allow(clippy::inline_always)] // As above.
        #[inline(always)]
        fn $dot<const FMA: bool>(a: &[$type], b: &[$type]) -> f64 {
            let mut lanes: [$type; LANES] = [0.0; LANES];
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            for (a, b) in a.iter().zip(b) {
                for i in 0..LANES {
                    lanes[i] = $multiply_add::<FMA>(a[i], b[i], lanes[i]);
                }
            }
            for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
                lanes[i] = $multiply_add::<FMA>(*a, *b, lanes[i]);
            }
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] += lanes[i + half];
                }
                half /= 2;
            }
            f64::from(lanes[0])
        }

        vectorised! {
            fn $times<FMA>(x_nd: &[$type], v_d: &[$type], out_n: &mut [f64]) {
                for (x_d, out) in x_nd.chunks_exact(v_d.len()).zip(out_n) {
                    *out = $dot::<FMA>(x_d, v_d);
                }
            }
        }

        vectorised! {
            fn $add<FMA>(x_nd: &[$type], weight_n: &[$type], sum_d: &mut [$type]) {
                let d = sum_d.len();
                // Four rows at a time, so that sums are read and written a quarter as often.
                let (fours, rest) = weight_n.as_chunks::<4>();
                let (x_fours, x_rest) = x_nd.split_at(fours.len() * 4 * d);
                for (x_4d, w) in x_fours.chunks_exact(4 * d).zip(fours) {
                    let (a, b) = x_4d.split_at(2 * d);
                    let ((a, b), (c, e)) = (a.split_at(d), b.split_at(d));
                    let rows = a.iter().zip(b).zip(c.iter().zip(e));
                    for (sum, ((a, b), (c, e))) in sum_d.iter_mut().zip(rows) {
                        let first = $multiply_add::<FMA>(w[0], *a, $multiply_add::<FMA>(w[1], *b, *sum));
                        *sum = $multiply_add::<FMA>(w[2], *c, $multiply_add::<FMA>(w[3], *e, first));
                    }
                }
                for (x_d, w) in x_rest.chunks_exact(d).zip(rest) {
                    for (sum, x) in sum_d.iter_mut().zip(x_d) {
                        *sum = $multiply_add::<FMA>(*w, *x, *sum);
                    }
                }
            }
        }

        impl RowElement for $type {
            fn rows_times(x_nd: &[Self], v_d: &[Self], out_n: &mut [f64]) {
                $times(x_nd, v_d, out_n);
            }

            fn add_rows(x_nd: &[Self], weight_n: &[Self], sum_d: &mut [Self]) {
                $add(x_nd, weight_n, sum_d);
            }
        }
    };
}

element!(f64, times_f64, add_f64, dot_f64, multiply_add_f64);
element!(f32, times_f32, add_f32, dot_f32, multiply_add_f32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_sums_are_those_of_plain_loops_at_every_width() {
        for d in [1, 3, 31, 32, 33, 128, 200] {
            for n in [1, 3, 4, 7, 9] {
                let value = |i: usize| ((i * 37 % 101) as f64 - 50.0) / 64.0;
                let x_nd: Vec<f64> = (0..n * d).map(value).collect();
                let v_d: Vec<f64> = (0..d).map(|i| value(i + 5)).collect();
                let weight_n: Vec<f64> = (0..n).map(|i| value(3 * i + 1)).collect();
                let mut out_n = vec![0.0; n];
                f64::rows_times(&x_nd, &v_d, &mut out_n);
                let mut sum_d = vec![0.5; d];
                f64::add_rows(&x_nd, &weight_n, &mut sum_d);
                for (row, out) in x_nd.chunks(d).zip(&out_n) {
                    let plain: f64 = row.iter().zip(&v_d).map(|(x, v)| x * v).sum();
                    assert!((plain - out).abs() < 1e-12, "{n} {d}");
                }
                for (i, sum) in sum_d.iter().enumerate() {
                    let plain: f64 = (0..n).map(|row| weight_n[row] * x_nd[row * d + i]).sum();
                    assert!((plain + 0.5 - sum).abs() < 1e-12, "{n} {d}");
                }
                // The values have few bits, so f32 is exact as well.
                let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
                let mut narrow_n = vec![0.0; n];
                f32::rows_times(&narrow(&x_nd), &narrow(&v_d), &mut narrow_n);
                let mut narrow_d = vec![0.5; d];
                f32::add_rows(&narrow(&x_nd), &narrow(&weight_n), &mut narrow_d);
                assert!(narrow_n.iter().zip(&out_n).all(|(a, b)| (a - b).abs() < 1e-5));
                assert!(
                    narrow_d
                        .iter()
                        .zip(&sum_d)
                        .all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
                );
            }
        }
    }
}
