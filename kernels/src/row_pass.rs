//! Passes over the rows of a small matrix that is gone through many times: what training a perceptron consists of. Rows are taken
//! a few at a time, so that they are still in the first cache when they are added up.

// Helpers must be inlined into the function compiled for an instruction set, or they are compiled for the baseline.
#![allow(clippy::inline_always)]

mod lanes;
mod sums;
#[cfg(test)]
mod tests;

use crate::exp::{exp, logistic};
use lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d};
use sums::{add_rows, dots};

/// Rows that stay in the first cache between their products and their sum.
const ROWS: usize = 16;
/// Registers of a sum over rows that are kept at once; as many products are under way at once.
const SUMS: usize = 8;

/// Whether a multiply-add is one instruction of the architecture's baseline.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// Inputs with a label and a weight each.
#[derive(Debug, Clone, Copy)]
pub struct LabelledRows<'a, T> {
    /// `[n, d]`.
    pub inputs: &'a [T],
    /// 0 or 1, `[n]`.
    pub labels: &'a [f64],
    /// What each counts.
    pub weights: RowWeights<'a, T>,
}

/// What each row counts.
#[derive(Debug, Clone, Copy)]
pub enum RowWeights<'a, T> {
    /// All alike.
    Equal(f64),
    /// `[n]`.
    Each(&'a [T]),
}

/// f32 or f64. Products and sums over rows are formed in it, what happens to single numbers between them in f64. Rows are taken
/// in their order, those without weight left out, and nothing else decides about rounding.
pub trait RowElement: Copy + Send + Sync + 'static {
    /// `Σ_n w_n l_n` of the logistic loss `l_n = ln(1 + exp s_n) − y_n s_n`, `s_n = ⟨x_n, θ⟩`, and its gradient
    /// `Σ_n w_n (σ(s_n) − y_n) x_n` added to `gradient_d`.
    ///
    /// # Panics
    /// Where shapes do not fit together.
    fn logistic_loss(rows: LabelledRows<Self>, theta_d: &[Self], gradient_d: &mut [Self]) -> f64;

    /// `(σ(s_n) − y_n) ⟨x_n, v⟩` in `products_n`, the products of the losses' gradients with `v`, and the product of the weighted
    /// loss's Hessian with it, `Σ_n w_n σ(s_n) (1 − σ(s_n)) ⟨x_n, v⟩ x_n`, added to `curvature_d`.
    ///
    /// # Panics
    /// As above.
    fn logistic_products(
        rows: LabelledRows<Self>,
        theta_d: &[Self],
        v_d: &[Self],
        products_n: &mut [f64],
        curvature_d: &mut [Self],
    );
}

impl<T: Copy> LabelledRows<'_, T> {
    /// The first `count` rows.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn first(self, count: usize) -> Self {
        let width = self.inputs.len() / self.labels.len().max(1);
        Self {
            inputs: &self.inputs[..count * width],
            labels: &self.labels[..count],
            weights: match self.weights {
                RowWeights::Equal(weight) => RowWeights::Equal(weight),
                RowWeights::Each(weights) => RowWeights::Each(&weights[..count]),
            },
        }
    }

    /// # Panics
    /// Where shapes do not fit together.
    fn check(&self, d: usize) {
        let n = self.labels.len();
        assert_eq!(self.inputs.len(), n * d, "inputs are `[n, d]`");
        if let RowWeights::Each(weights) = self.weights {
            assert_eq!(weights.len(), n, "a weight a row");
        }
    }

    /// Where row `n` is, of `d` numbers.
    #[inline(always)]
    fn row(&self, n: usize, d: usize) -> *const T {
        self.inputs[n * d..(n + 1) * d].as_ptr()
    }

    #[inline(always)]
    fn weight<L: Lanes<Element = T>>(&self, n: usize) -> f64 {
        match self.weights {
            RowWeights::Equal(weight) => weight,
            RowWeights::Each(weights) => L::wide(weights[n]),
        }
    }

    /// The next rows with a weight, from `next` on, their number at the end; `next` is moved behind them.
    #[inline(always)]
    fn used<L: Lanes<Element = T>>(&self, next: &mut usize) -> ([usize; ROWS], usize) {
        let (mut used, mut count) = ([0; ROWS], 0);
        while *next < self.labels.len() && count < ROWS {
            // Written in any case, so that nothing branches.
            used[count] = *next;
            count += usize::from(self.weight::<L>(*next) != 0.0);
            *next += 1;
        }
        (used, count)
    }
}

#[inline(always)]
fn loss<L: Lanes, const FMA: bool>(
    rows: LabelledRows<L::Element>,
    theta_d: &[L::Element],
    gradient_d: &mut [L::Element],
) -> f64 {
    let d = theta_d.len();
    rows.check(d);
    assert_eq!(gradient_d.len(), d, "a gradient is as wide as a row");
    let mut losses = [0.0; ROWS];
    let mut next = 0;
    loop {
        let (mut used, count) = rows.used::<L>(&mut next);
        if count == 0 {
            return losses.iter().sum();
        }
        // What is taken along to fill the last rows has no weight.
        let last = used[count - 1];
        used[count..].fill(last);
        let x = used.map(|n| rows.row(n, d));
        let (mut s, mut y, mut w) = ([0.0; ROWS], [0.0; ROWS], [0.0; ROWS]);
        for first in (0..count).step_by(SUMS) {
            let x: [_; SUMS] = std::array::from_fn(|i| x[first + i]);
            // SAFETY: rows of `d` numbers.
            let [products] = unsafe { dots::<L, SUMS, 1>(x, [theta_d.as_ptr()], d) };
            s[first..first + SUMS].copy_from_slice(&products);
        }
        for i in 0..count {
            (y[i], w[i]) = (rows.labels[used[i]], rows.weight::<L>(used[i]));
        }
        let mut factors = [L::Element::default(); ROWS];
        for i in 0..ROWS {
            let (p, softplus) = logistic::<FMA>(s[i]);
            losses[i] += w[i] * (softplus - y[i] * s[i]);
            factors[i] = L::of(w[i] * (p - y[i]));
        }
        // SAFETY: as above.
        unsafe { add_rows::<L>(&x, &factors, count, gradient_d) };
    }
}

#[inline(always)]
fn products<L: Lanes, const FMA: bool>(
    rows: LabelledRows<L::Element>,
    theta_d: &[L::Element],
    v_d: &[L::Element],
    products_n: &mut [f64],
    curvature_d: &mut [L::Element],
) {
    const HALF: usize = SUMS / 2;
    let (n, d) = (rows.labels.len(), theta_d.len());
    rows.check(d);
    assert_eq!(
        (v_d.len(), curvature_d.len()),
        (d, d),
        "vectors are as wide as a row"
    );
    assert_eq!(products_n.len(), n, "a product a row");
    for (first, products) in (0..).step_by(ROWS).zip(products_n.chunks_mut(ROWS)) {
        let count = products.len();
        let mut x: [_; ROWS] = std::array::from_fn(|i| rows.row((first + i).min(n - 1), d));
        let (mut s, mut u, mut y, mut w) = ([0.0; ROWS], [0.0; ROWS], [0.0; ROWS], [0.0; ROWS]);
        for first in (0..count).step_by(HALF) {
            let x: [_; HALF] = std::array::from_fn(|i| x[first + i]);
            // SAFETY: rows of `d` numbers.
            let [by_theta, by_v] = unsafe { dots::<L, HALF, 2>(x, [theta_d.as_ptr(), v_d.as_ptr()], d) };
            s[first..first + HALF].copy_from_slice(&by_theta);
            u[first..first + HALF].copy_from_slice(&by_v);
        }
        for i in 0..count {
            (y[i], w[i]) = (rows.labels[first + i], rows.weight::<L>(first + i));
        }
        let mut factors = [L::Element::default(); ROWS];
        for i in 0..ROWS {
            let e = exp::<FMA>(-s[i].abs());
            let q = 1.0 / (1.0 + e);
            let p = if s[i] >= 0.0 { q } else { e * q };
            y[i] = (p - y[i]) * u[i];
            factors[i] = L::of(w[i] * (p * (1.0 - p)) * u[i]);
        }
        products.copy_from_slice(&y[..count]);
        let mut used = 0;
        for i in 0..count {
            (x[used], factors[used]) = (x[i], factors[i]);
            used += usize::from(factors[i] != L::Element::default());
        }
        // SAFETY: as above.
        unsafe { add_rows::<L>(&x, &factors, used, curvature_d) };
    }
}

/// Both passes, compiled for the baseline and, with registers of 256 bits, for AVX2, which AVX-512 takes as well.
macro_rules! element {
    ($type:ident, $count:literal, $register:ident) => {
        impl RowElement for $type {
            fn logistic_loss(rows: LabelledRows<Self>, theta_d: &[Self], gradient_d: &mut [Self]) -> f64 {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2(rows: LabelledRows<$type>, theta_d: &[$type], gradient_d: &mut [$type]) -> f64 {
                        loss::<lanes::x86::Avx2<$register>, true>(rows, theta_d, gradient_d)
                    }
                    if crate::simd::level() >= crate::simd::Level::Avx2 {
                        // SAFETY: `level` has asked this processor for exactly these features.
                        return unsafe { avx2(rows, theta_d, gradient_d) };
                    }
                }
                loss::<Plain<$type, $count, FUSED>, FUSED>(rows, theta_d, gradient_d)
            }

            fn logistic_products(
                rows: LabelledRows<Self>,
                theta_d: &[Self],
                v_d: &[Self],
                products_n: &mut [f64],
                curvature_d: &mut [Self],
            ) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn avx2(
                        rows: LabelledRows<$type>,
                        theta_d: &[$type],
                        v_d: &[$type],
                        products_n: &mut [f64],
                        curvature_d: &mut [$type],
                    ) {
                        products::<lanes::x86::Avx2<$register>, true>(
                            rows,
                            theta_d,
                            v_d,
                            products_n,
                            curvature_d,
                        );
                    }
                    if crate::simd::level() >= crate::simd::Level::Avx2 {
                        // SAFETY: as above.
                        return unsafe { avx2(rows, theta_d, v_d, products_n, curvature_d) };
                    }
                }
                products::<Plain<$type, $count, FUSED>, FUSED>(rows, theta_d, v_d, products_n, curvature_d);
            }
        }
    };
}

element!(f64, 4, __m256d);
element!(f32, 8, __m256);
