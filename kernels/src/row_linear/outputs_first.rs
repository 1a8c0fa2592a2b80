//! Weights `[v, k]`: an output's sum runs along its row of weights, in lanes.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::tensor::bf16;

use super::{Product, ROWS};
use crate::matrix::Shared;
use crate::simd::{LANES, multiply_add, sum_lanes, vectorised};
use crate::weights::Weight;

/// Outputs whose sums are held in registers at once.
const OUTPUTS: usize = 4;

vectorised! {
    /// The outputs `(first, count)` of every row.
    pub(super) fn tile_f32<FMA>(target: Shared, product: Product<f32>, outputs: (usize, usize)) {
        tile::<FMA, f32>(target, product, outputs);
    }
}

vectorised! {
    /// As above.
    pub(super) fn tile_bf16<FMA>(target: Shared, product: Product<bf16>, outputs: (usize, usize)) {
        tile::<FMA, bf16>(target, product, outputs);
    }
}

#[inline(always)]
fn tile<const FMA: bool, W: Weight>(target: Shared, product: Product<W>, (first, count): (usize, usize)) {
    for start in (0..product.n).step_by(ROWS) {
        match product.n - start {
            1 => rows::<FMA, 1, W>(target, product, start, (first, count)),
            2 => rows::<FMA, 2, W>(target, product, start, (first, count)),
            3 => rows::<FMA, 3, W>(target, product, start, (first, count)),
            _ => rows::<FMA, ROWS, W>(target, product, start, (first, count)),
        }
    }
}

/// The tile's outputs of `R` rows from `start` on.
#[inline(always)]
fn rows<const FMA: bool, const R: usize, W: Weight>(
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
            let sums = dots::<FMA, R, OUTPUTS, W>(x, std::array::from_fn(weights));
            for r in 0..R {
                for o in 0..OUTPUTS {
                    row(r)[output + o] = sums[r][o] + bias(output + o);
                }
            }
            output += OUTPUTS;
        } else {
            let sums = dots::<FMA, R, 1, W>(x, [weights(0)]);
            for r in 0..R {
                row(r)[output] = sums[r][0] + bias(output);
            }
            output += 1;
        }
    }
}

/// Every row's product with every output's weights; element `i` is added to lane `i % LANES`.
#[inline(always)]
fn dots<const FMA: bool, const R: usize, const O: usize, W: Weight>(
    x: [&[f32]; R],
    w: [&[W]; O],
) -> [[f32; O]; R] {
    let k = x[0].len();
    let mut sums = [[[0.0; LANES]; O]; R];
    let whole = k - k % LANES;
    for start in (0..whole).step_by(LANES) {
        for o in 0..O {
            let w: &[W; LANES] = w[o][start..start + LANES].try_into().expect("as many lanes");
            for r in 0..R {
                let x: &[f32; LANES] = x[r][start..start + LANES].try_into().expect("as many lanes");
                for lane in 0..LANES {
                    sums[r][o][lane] = multiply_add::<FMA>(x[lane], w[lane].wide(), sums[r][o][lane]);
                }
            }
        }
    }
    for i in whole..k {
        for o in 0..O {
            for r in 0..R {
                let sum = &mut sums[r][o][i - whole];
                *sum = multiply_add::<FMA>(x[r][i], w[o][i].wide(), *sum);
            }
        }
    }
    std::array::from_fn(|r| std::array::from_fn(|o| sum_lanes(sums[r][o])))
}
