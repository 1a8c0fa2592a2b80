//! Products with a few rows, and their weighted sum.

// Helpers must be inlined into the function compiled for an instruction set, or they are compiled for the baseline.
#![allow(clippy::inline_always)]

use super::lanes::Lanes;
use super::{ROWS, SUMS};

/// `⟨x, v⟩` of `R` rows with each of `V` vectors.
///
/// # Safety
/// All point to `d` numbers.
#[inline(always)]
pub(super) unsafe fn dots<L: Lanes, const R: usize, const V: usize>(
    x: [*const L::Element; R],
    v: [*const L::Element; V],
    d: usize,
) -> [[f64; R]; V] {
    let mut sums = [[L::splat(L::Element::default()); R]; V];
    let mut i = 0;
    while i + L::COUNT <= d {
        // SAFETY: so many numbers are left.
        let v = v.map(|v| unsafe { L::load(v.add(i)) });
        for row in 0..R {
            // SAFETY: as above.
            let x = unsafe { L::load(x[row].add(i)) };
            for vector in 0..V {
                sums[vector][row] = sums[vector][row].add_product(x, v[vector]);
            }
        }
        i += L::COUNT;
    }
    let mut dots = [[0.0; R]; V];
    for (dots, sums) in dots.iter_mut().zip(&sums) {
        for (dots, sums) in dots
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(sums.as_chunks::<4>().0)
        {
            *dots = L::sums(*sums);
        }
    }
    for i in i..d {
        for (dots, v) in dots.iter_mut().zip(v) {
            for (dot, x) in dots.iter_mut().zip(x) {
                // SAFETY: `i < d`.
                *dot += unsafe { L::wide(*x.add(i)) * L::wide(*v.add(i)) };
            }
        }
    }
    dots
}

/// `sum_d += Σ weight · x` over the first `count` rows.
///
/// # Safety
/// Those rows point to `sum_d.len()` numbers.
#[inline(always)]
pub(super) unsafe fn add_rows<L: Lanes>(
    x: &[*const L::Element; ROWS],
    weights: &[L::Element; ROWS],
    count: usize,
    sum_d: &mut [L::Element],
) {
    let rows = || x.iter().zip(weights).take(count);
    let (d, sum) = (sum_d.len(), sum_d.as_mut_ptr());
    let mut i = 0;
    // SAFETY of all blocks: so many numbers are left, of the sum and of every row.
    while i + SUMS * L::COUNT <= d {
        let mut sums: [L; SUMS] = std::array::from_fn(|k| unsafe { L::load(sum.add(i + k * L::COUNT)) });
        for (x, weight) in rows() {
            let weight = L::splat(*weight);
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add_product(weight, unsafe { L::load(x.add(i + k * L::COUNT)) });
            }
        }
        for (k, sums) in sums.into_iter().enumerate() {
            unsafe { sums.store(sum.add(i + k * L::COUNT)) };
        }
        i += SUMS * L::COUNT;
    }
    while i + L::COUNT <= d {
        let mut sums = unsafe { L::load(sum.add(i)) };
        for (x, weight) in rows() {
            sums = sums.add_product(L::splat(*weight), unsafe { L::load(x.add(i)) });
        }
        unsafe { sums.store(sum.add(i)) };
        i += L::COUNT;
    }
    for (i, sum) in sum_d.iter_mut().enumerate().skip(i) {
        let add = |sum, (x, weight): (&*const L::Element, &L::Element)| {
            sum + L::wide(*weight) * unsafe { L::wide(*x.add(i)) }
        };
        *sum = L::of(rows().fold(L::wide(*sum), add));
    }
}
