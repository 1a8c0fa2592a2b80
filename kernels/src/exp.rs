//! Exponentials in f64.

// See `simd`.
#![allow(clippy::inline_always)]

use crate::simd::vectorised;

/// Replaces every value by its exponential, to about one unit in the last place; NaN stays NaN. Values are at most 709,
/// below −708 the result is 0.
pub fn exponentials(values: &mut [f64]) {
    all(values);
}

vectorised! {
    fn all<FMA>(values: &mut [f64]) {
        for value in values {
            *value = exp::<FMA>(*value);
        }
    }
}

/// `x = k·ln 2 + r` with `|r| ≤ ln 2 / 2`: Taylor's polynomial in `r` times `2^k`, which is put together from bits.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f64) -> f64 {
    /// Adding this rounds to an integer and leaves it in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
    /// `1/n!` for n = 13 down to 0.
    const COEFFICIENTS: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // Written so that NaN passes.
    let bounded = if x < -708.0 { -708.0 } else { x };
    let shifted = multiply_add::<FMA>(bounded, std::f64::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that its product with k is exact.
    let r = multiply_add::<FMA>(k, -0.693_147_180_369_123_8, bounded);
    let r = multiply_add::<FMA>(k, -1.908_214_929_270_587_7e-10, r);
    let mut p = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        p = multiply_add::<FMA>(p, r, *coefficient);
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    if x < -708.0 { 0.0 } else { p * power }
}

#[inline(always)]
fn multiply_add<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The logistic function `σ(s)`, and `ln(1 + exp s)`, both to a few units in the last place and without overflow; NaN stays NaN.
#[inline(always)]
pub(crate) fn logistic<const FMA: bool>(s: f64) -> (f64, f64) {
    let e = exp::<FMA>(-s.abs());
    let (inverse, log) = inverse_and_log_of_one_plus::<FMA>(e);
    (if s >= 0.0 { inverse } else { e * inverse }, s.max(0.0) + log)
}

/// `1 / (1 + e)` and `ln(1 + e)` for `0 ≤ e ≤ 1`, with one division. `1 + e` is `m` or, above `√2`, `2 m`:
/// `ln m = 2·artanh((m − 1) / (m + 1))`, by its series.
#[inline(always)]
fn inverse_and_log_of_one_plus<const FMA: bool>(e: f64) -> (f64, f64) {
    /// `1/(2k + 1)` for k = 11 down to 0.
    const COEFFICIENTS: [f64; 12] = [
        1.0 / 23.0,
        1.0 / 21.0,
        1.0 / 19.0,
        1.0 / 17.0,
        1.0 / 15.0,
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        1.0 / 5.0,
        1.0 / 3.0,
        1.0,
    ];
    let doubled = e > std::f64::consts::SQRT_2 - 1.0;
    let (above, below) = if doubled { (e - 1.0, e + 3.0) } else { (e, e + 2.0) };
    let both = 1.0 / ((1.0 + e) * below);
    let root = above * ((1.0 + e) * both);
    let square = root * root;
    let mut series = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        series = multiply_add::<FMA>(series, square, *coefficient);
    }
    let base = if doubled { std::f64::consts::LN_2 } else { 0.0 };
    (below * both, multiply_add::<FMA>(2.0 * root, series, base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_every_level;

    #[test]
    fn exponentials_are_accurate_and_let_nan_through() {
        on_every_level(|| {
            let x: Vec<f64> = (0..1_000_000).map(|i| f64::from(i) * -7.08e-4 + 3.0).collect();
            let mut found = x.clone();
            exponentials(&mut found);
            for (x, found) in x.iter().zip(&found) {
                let expected = x.exp();
                assert!((found - expected).abs() <= 4e-16 * expected, "exp({x}): {found}");
            }
            let mut ends = [0.0, f64::NEG_INFINITY, -750.0, f64::NAN];
            exponentials(&mut ends);
            assert_eq!(ends[..3], [1.0, 0.0, 0.0]);
            assert!(ends[3].is_nan());
            for (exp, x) in [(exp::<true> as fn(f64) -> f64, -2.5), (exp::<false>, -2.5)] {
                assert!((exp(x) - x.exp()).abs() < 1e-16);
            }
        });
    }

    #[test]
    fn the_logistic_function_and_its_integral_are_accurate_at_both_ends() {
        for logistic in [logistic::<true>, logistic::<false>] {
            for i in -400_000..400_000 {
                let s = f64::from(i) * 1e-4;
                let (p, softplus) = logistic(s);
                let e = (-s.abs()).exp();
                let expected = if s >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
                assert!((p - expected).abs() <= 8e-16 * expected, "σ({s}): {p}");
                let expected = s.max(0.0) + e.ln_1p();
                assert!(
                    (softplus - expected).abs() <= 8e-16 * expected,
                    "ln(1 + exp {s}): {softplus}"
                );
            }
            assert_eq!(logistic(0.0).0, 0.5);
            assert_eq!(logistic(800.0), (1.0, 800.0));
            assert_eq!(logistic(-800.0), (0.0, 0.0));
            let (p, softplus) = logistic(f64::NAN);
            assert!(p.is_nan() && softplus.is_nan());
        }
    }
}
