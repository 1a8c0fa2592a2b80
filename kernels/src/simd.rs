//! Loops compiled once for each instruction set and chosen at run time.

// Helpers must be inlined into the function compiled for an instruction set, or they are compiled for the baseline.
#![allow(clippy::inline_always)]

use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) mod forced;
mod vector;

#[cfg(target_arch = "x86_64")]
pub(crate) use vector::x86;
pub(crate) use vector::{Array, Vector, with_vectors};

/// Floats handled side by side; sums are kept in as many lanes, on every instruction set.
pub(crate) const LANES: usize = 16;

/// What the processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg(target_arch = "x86_64")]
pub(crate) enum Level {
    /// The architecture's baseline.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 with its byte/word, double/quad-word and vector-length parts.
    Avx512,
}

/// The best level of this processor; in tests no better than the thread is allowed.
#[cfg(target_arch = "x86_64")]
pub(crate) fn level() -> Level {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let best = match (fma, wide) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    };
    #[cfg(test)]
    let best = best.min(forced::most());
    best
}

/// The vector instructions that fused bodies use here, as this processor has them.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match level() {
        Level::Avx512 => return "AVX-512",
        Level::Avx2 => return "AVX2",
        Level::Portable => {}
    }
    "none beyond the architecture's baseline"
}

/// Defines a function whose body is compiled for every level. `FMA` says in the body whether a multiply-add is one
/// instruction (see [`multiply_add`]).
macro_rules! vectorised {
    ($(#[$doc:meta])* $vis:vis fn $name:ident<$fma:ident>($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)] // A kernel's operands; a struct for each would only rename them.
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body<const $fma: bool>($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $out)? {
                    body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $out)? {
                    body::<true>($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: `level` has asked this processor for exactly these features.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use vectorised;

/// `a · b + c`, fused where that is one instruction (elsewhere a fused one would be a slow library call).
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` for `x ≤ 0`, to about one unit in the last place; NaN stays NaN, below -87 the result stays at `e^-87`.
///
/// `x = k·ln 2 + r` with `|r| ≤ ln 2 / 2`: a polynomial in `r` times `2^k`, which is put together from bits.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding this rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23
    // Written so that NaN passes.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that its product with k is exact.
    let r = multiply_add::<FMA>(k, -0.693_359_4, x);
    let r = multiply_add::<FMA>(k, 2.121_944_4e-4, r);
    let p = 1.0 / 5040.0;
    let p = multiply_add::<FMA>(p, r, 1.0 / 720.0);
    let p = multiply_add::<FMA>(p, r, 1.0 / 120.0);
    let p = multiply_add::<FMA>(p, r, 1.0 / 24.0);
    let p = multiply_add::<FMA>(p, r, 1.0 / 6.0);
    let p = multiply_add::<FMA>(p, r, 0.5);
    let p = multiply_add::<FMA>(p, r, 1.0);
    let p = multiply_add::<FMA>(p, r, 1.0);
    // The low bits of `shifted` hold k; the shift drops the rest.
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// `ln x` for normal `x > 0`, to about two units in the last place (of one, near one); zero gives about -88, NaN stays NaN.
///
/// `x = m·2^k` with `m` within a factor `√2` of one: `ln m = 2·artanh((m − 1) / (m + 1))`, by its series.
#[inline(always)]
pub(crate) fn ln<const FMA: bool>(x: f32) -> f32 {
    let k = (x.to_bits() as i32).wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits((x.to_bits() as i32).wrapping_sub(k << 23) as u32);
    let s = (m - 1.0) / (m + 1.0);
    let series = polynomial::<FMA, 5>([2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0], s * s);
    // ln 2 in two parts, as in `exp`.
    let k = k as f32;
    let low = multiply_add::<FMA>(k, -2.121_944_4e-4, s * series);
    let sum = multiply_add::<FMA>(k, 0.693_359_4, low);
    if x.is_nan() { x } else { sum }
}

/// The logistic function, without overflow for any `x`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// The polynomial with these coefficients, the constant one first.
#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = multiply_add::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// The error function, to 2e-7; NaN stays NaN. Below one it is `x` times a polynomial in `x²`, above `1 − e^-P(x)`, both
/// fitted at Chebyshev nodes.
#[inline(always)]
pub(crate) fn erf<const FMA: bool>(x: f32) -> f32 {
    const SMALL: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_26,
        0.112_835_97,
        -0.026_854_33,
        0.005_189_312,
        -8.018_855e-4,
        7.882_497e-5,
    ];
    const LARGE: [f32; 8] = [
        7.569_686e-4,
        1.125_926,
        0.639_093_3,
        0.103_318_98,
        -0.022_621_986,
        0.003_436_867_7,
        -3.175_720_3e-4,
        1.330_939e-5,
    ];
    let size = x.abs();
    // From four on it is one.
    let bounded = if size > 4.0 { 4.0 } else { size };
    let small = x * polynomial::<FMA, 7>(SMALL, x * x);
    let large = (1.0 - exp::<FMA>(-polynomial::<FMA, 8>(LARGE, bounded))).copysign(x);
    if size < 1.0 { small } else { large }
}

/// `Σ f(x_i, y_i)`, in lanes and then pairwise: the order never depends on anything but the length.
#[inline(always)]
pub(crate) fn sum2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_rest, y_rest) = (x_chunks.remainder(), y_chunks.remainder());
    for (x, y) in x_chunks.zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane += f(*x, *y);
    }
    sum_lanes(lanes)
}

/// The sum of all lanes, pairwise.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Asks for `count` elements to be brought near. They need not exist: a prefetch of any address is harmless.
#[inline(always)]
pub(crate) fn prefetch<T>(from: *const T, count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        /// Bytes of a cache line.
        const LINE: usize = 64;
        for line in 0..(count * size_of::<T>()).div_ceil(LINE) {
            let address = from.cast::<i8>().wrapping_add(line * LINE);
            // SAFETY: nothing is read.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}

/// The greatest of `x`; NaN are passed over (they come through the exponentials).
#[inline(always)]
fn maximum(x: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = greater(lanes[lane], chunk[lane]);
        }
    }
    rest.iter()
        .chain(&lanes)
        .copied()
        .fold(f32::NEG_INFINITY, greater)
}

/// Replaces `x` by `e^(x - max)`; gives `max` and the sum of the exponentials.
#[inline(always)]
pub(crate) fn exponentials<const FMA: bool>(x: &mut [f32]) -> (f32, f32) {
    let max = maximum(x);
    let mut lanes = [0.0; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            chunk[lane] = exp::<FMA>(chunk[lane] - max);
            lanes[lane] += chunk[lane];
        }
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        // Side by side as well; lanes without a value are left out of the sum.
        let mut chunk = [max; LANES];
        chunk[..rest.len()].copy_from_slice(rest);
        for value in &mut chunk {
            *value = exp::<FMA>(*value - max);
        }
        rest.copy_from_slice(&chunk[..rest.len()]);
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += *value;
        }
    }
    (max, sum_lanes(lanes))
}

/// A tensor times a number; one is left alone, and a tensor that no one else holds is changed in place.
pub(crate) fn scaled(tensor: FlexTensor, factor: f32) -> FlexTensor {
    /// Elements of one task.
    const CHUNK: usize = 1 << 16;
    if factor == 1.0 {
        return tensor;
    }
    let mut tensor = crate::flex::owned(tensor);
    tensor
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .for_each(|values| values.iter_mut().for_each(|value| *value *= factor));
    tensor
}

/// The greatest of `x` and `ln Σ e^(x - max)`.
#[inline(always)]
pub(crate) fn log_sum_exp<const FMA: bool>(x: &[f32]) -> (f32, f32) {
    let max = maximum(x);
    (max, sum2(x, x, |value, _| exp::<FMA>(value - max)).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_is_accurate_and_lets_nan_through() {
        for ln in [ln::<true>, ln::<false>] {
            for i in -870_000..870_000 {
                let x = (f64::from(i) * 1e-4).exp() as f32;
                let expected = f64::from(x).ln();
                let error = (f64::from(ln(x)) - expected).abs() / expected.abs().max(1.0);
                assert!(error < 2.5e-7, "ln({x}): error {error}");
            }
            assert_eq!(ln(1.0), 0.0);
            assert!(ln(f32::NAN).is_nan());
            assert!(ln(0.0) < -87.0);
        }
    }

    #[test]
    fn exp_is_accurate_and_lets_nan_through() {
        for fma in [false, true] {
            let exp = if fma { exp::<true> } else { exp::<false> };
            for i in 0..870_000 {
                let x = -(i as f32) * 1e-4;
                let expected = f64::from(x).exp();
                let error = (f64::from(exp(x)) - expected).abs() / expected;
                assert!(error < 2.5e-7, "exp({x}): relative error {error}");
            }
            assert_eq!(exp(0.0), 1.0);
            assert!(exp(f32::NAN).is_nan());
            assert!(exp(-300.0) < 2e-38 && exp(f32::NEG_INFINITY) < 2e-38);
        }
    }

    #[test]
    fn erf_is_accurate_and_lets_nan_through() {
        for erf in [erf::<true>, erf::<false>] {
            // Its defining integral by the midpoint rule, along the way.
            let (step, mut integral) = (1e-4, 0.0);
            for i in 0..60_000 {
                let middle = (f64::from(i) + 0.5) * step;
                integral += (-middle * middle).exp() * step * std::f64::consts::FRAC_2_SQRT_PI;
                let x = (f64::from(i) + 1.0) * step;
                for sign in [1.0, -1.0] {
                    let error = (f64::from(erf((sign * x) as f32)) - sign * integral).abs();
                    assert!(error < 2.5e-7, "erf({x}): error {error}");
                }
            }
            assert_eq!((erf(0.0), erf(90.0), erf(f32::NEG_INFINITY)), (0.0, 1.0, -1.0));
            assert!(erf(f32::NAN).is_nan());
        }
    }

    #[test]
    fn sigmoid_is_finite_at_both_ends() {
        assert_eq!(sigmoid::<false>(300.0), 1.0);
        assert!(sigmoid::<false>(-300.0) < 2e-38);
        assert_eq!(sigmoid::<false>(0.0), 0.5);
        assert!(sigmoid::<false>(f32::NAN).is_nan());
    }
}
