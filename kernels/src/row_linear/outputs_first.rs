//! Weights `[v, k]`: an output's sum runs along its row of weights, in lanes.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use burn::tensor::bf16;

use super::{Product, ROWS};
use crate::matrix::Shared;
use crate::simd::{LANES, Vector, sum_lanes, with_vectors};
use crate::weights::Weight;

/// Outputs whose sums are held in registers at once.
const OUTPUTS: usize = 4;

with_vectors! {
    /// The outputs `(first, count)` of every row.
    pub(super) fn tile_f32<V>(target: Shared, product: Product<f32>, outputs: (usize, usize)) {
        tile::<V, f32>(target, product, outputs);
    }
}

with_vectors! {
    /// As above.
    pub(super) fn tile_bf16<V>(target: Shared, product: Product<bf16>, outputs: (usize, usize)) {
        tile::<V, bf16>(target, product, outputs);
    }
}

#[inline(always)]
fn tile<V: Vector, W: Weight>(target: Shared, product: Product<W>, (first, count): (usize, usize)) {
    for start in (0..product.n).step_by(ROWS) {
        match product.n - start {
            1 => rows::<V, 1, W>(target, product, start, (first, count)),
            2 => rows::<V, 2, W>(target, product, start, (first, count)),
            3 => rows::<V, 3, W>(target, product, start, (first, count)),
            _ => rows::<V, ROWS, W>(target, product, start, (first, count)),
        }
    }
}

/// The tile's outputs of `R` rows from `start` on.
#[inline(always)]
fn rows<V: Vector, const R: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    start: usize,
    (first, count): (usize, usize),
) {
    let Product { x, w, bias, k, v, .. } = product;
    let x: [&[f32]; R] = std::array::from_fn(|r| &x[(start + r) * k..][..k]);
    // SAFETY: the target is `[n, v]`, and these outputs are this task's own.
    let row = |r: usize| unsafe { target.slice((start + r) * v + first, count) };
    let bias = |output: usize| bias.get(first + output).copied().unwrap_or(0.0);
    let mut output = 0;
    while output < count {
        let weights = |o: usize| &w[(first + output + o) * k..][..k];
        if output + OUTPUTS <= count {
            let sums = dots::<V, R, OUTPUTS, W>(x, std::array::from_fn(weights));
            for r in 0..R {
                for o in 0..OUTPUTS {
                    row(r)[output + o] = sums[r][o] + bias(output + o);
                }
            }
            output += OUTPUTS;
        } else {
            let sums = dots::<V, R, 1, W>(x, [weights(0)]);
            for r in 0..R {
                row(r)[output] = sums[r][0] + bias(output);
            }
            output += 1;
        }
    }
}

/// Every row's product with every output's weights; element `i` is added to lane `i % LANES`.
#[inline(always)]
pub(crate) fn dots<V: Vector, const R: usize, const O: usize, W: Weight>(
    x: [&[f32]; R],
    w: [&[W]; O],
) -> [[f32; O]; R] {
    let k = x[0].len();
    let whole = k - k % LANES;
    let mut sums = [[V::splat(0.0); O]; R];
    // SAFETY: every slice holds `k` values; the rests are as wide as a vector.
    unsafe {
        for start in (0..whole).step_by(LANES) {
            for o in 0..O {
                let w = W::load::<V>(w[o].as_ptr().add(start));
                for r in 0..R {
                    sums[r][o] = sums[r][o].add_product(V::load(x[r].as_ptr().add(start)), w);
                }
            }
        }
        if whole < k {
            for o in 0..O {
                let w = V::load(rest(&w[o][whole..]).as_ptr());
                for r in 0..R {
                    sums[r][o] = sums[r][o].add_product(V::load(rest(&x[r][whole..]).as_ptr()), w);
                }
            }
        }
    }
    sums.map(|sums| sums.map(|sum| sum_lanes(sum.lanes())))
}

/// Fewer values than lanes, the others zero.
#[inline(always)]
fn rest<W: Weight>(values: &[W]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (lane, value) in lanes.iter_mut().zip(values) {
        *lane = value.wide();
    }
    lanes
}
