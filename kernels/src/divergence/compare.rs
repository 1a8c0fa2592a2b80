//! What the fused bodies make of rows of log-probabilities.

// See `simd`.
#![allow(clippy::inline_always)]

use super::Divergence;
use crate::simd::{LANES, exp, ln, log_sum_exp, sum_lanes};

/// `(x + bias) · scale` less the logarithm of the sum of its exponentials.
#[inline(always)]
pub(super) fn log_softmax<const FMA: bool>(x: &mut [f32], bias: &[f32], scale: f32) {
    for (value, bias) in x.iter_mut().zip(bias) {
        *value += bias;
    }
    if scale != 1.0 {
        for value in x.iter_mut() {
            *value *= scale;
        }
    }
    let (max, log_sum) = log_sum_exp::<FMA>(x);
    for value in x.iter_mut() {
        *value = (*value - max) - log_sum;
    }
}

/// `e^x`, and zero below what [`exp`] tells apart.
#[inline(always)]
pub(super) fn probability<const FMA: bool>(log: f32) -> f32 {
    if log < -87.0 { 0.0 } else { exp::<FMA>(log) }
}

/// `weight · x`; what has no weight contributes nothing, whatever `x`.
#[inline(always)]
fn weigh(weight: f32, x: f32) -> f32 {
    if weight == 0.0 { 0.0 } else { weight * x }
}

/// The divergence between the distributions with logarithms `s` (student) and `t` (teacher), which are replaced by the
/// slopes `q·∂f/∂q` (up to a multiple of `q`, see the reference) and by `q`; and the sum of the slopes.
#[inline(always)]
pub(super) fn compare<const FMA: bool>(divergence: Divergence, s: &mut [f32], t: &mut [f32]) -> (f32, f32) {
    match divergence {
        Divergence::SoftCrossEntropy => each::<FMA>(s, t, |p, _, _, s| (weigh(p, -s), -p)),
        Divergence::ForwardKl => each::<FMA>(s, t, |p, _, t, s| (weigh(p, t - s), -p)),
        Divergence::ReverseKl => each::<FMA>(s, t, |_, q, t, s| {
            let term = weigh(q, s - t);
            (term, term)
        }),
        Divergence::JensenShannon { beta } => {
            let (a, b) = (beta as f32, (1.0 - beta) as f32);
            each::<FMA>(s, t, |p, q, t, s| {
                let log_m = ln::<FMA>(a * p + b * q);
                let slope = b * weigh(q, s - log_m);
                (a * weigh(p, t - log_m) + slope, slope)
            })
        }
        Divergence::SkewForwardKl { skew } => {
            let (a, b) = (skew as f32, (1.0 - skew) as f32);
            each::<FMA>(s, t, |p, q, t, _| {
                let m = a * p + b * q;
                (weigh(p, t - ln::<FMA>(m)), -b * weigh(q, p / m))
            })
        }
        Divergence::SkewReverseKl { skew } => {
            let (a, b) = (skew as f32, (1.0 - skew) as f32);
            each::<FMA>(s, t, |p, q, _, s| {
                let m = b * p + a * q;
                let log_ratio = s - ln::<FMA>(m);
                (weigh(q, log_ratio), weigh(q, log_ratio - a * q / m))
            })
        }
        Divergence::TotalVariation => each::<FMA>(s, t, |p, q, _, _| {
            let difference = q - p;
            let sign = if difference > 0.0 {
                0.5
            } else if difference < 0.0 {
                -0.5
            } else {
                0.0
            };
            (0.5 * difference.abs(), q * sign)
        }),
    }
}

/// Sums both results of `f(p, q, log p, log q)`, lane by lane; the second takes the place of `s`, `q` that of `t`.
#[inline(always)]
fn each<const FMA: bool>(
    s: &mut [f32],
    t: &mut [f32],
    f: impl Fn(f32, f32, f32, f32) -> (f32, f32),
) -> (f32, f32) {
    let (mut terms, mut slopes) = ([0.0; LANES], [0.0; LANES]);
    let mut step = |lane: usize, s: &mut f32, t: &mut f32| {
        let (p, q) = (probability::<FMA>(*t), probability::<FMA>(*s));
        let (term, slope) = f(p, q, *t, *s);
        terms[lane] += term;
        slopes[lane] += slope;
        (*s, *t) = (slope, q);
    };
    let (mut s_chunks, mut t_chunks) = (s.chunks_exact_mut(LANES), t.chunks_exact_mut(LANES));
    for (s, t) in s_chunks.by_ref().zip(t_chunks.by_ref()) {
        for lane in 0..LANES {
            step(lane, &mut s[lane], &mut t[lane]);
        }
    }
    let rest = s_chunks
        .into_remainder()
        .iter_mut()
        .zip(t_chunks.into_remainder());
    for (lane, (s, t)) in rest.enumerate() {
        step(lane, s, t);
    }
    (sum_lanes(terms), sum_lanes(slopes))
}
