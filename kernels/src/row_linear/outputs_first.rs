//! Weights `[v, k]`: an output's sum runs along its row of weights, in lanes.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use super::{Product, TILE, run};
use crate::matrix::Shared;
use crate::simd::{LANES, Vector, prefetch, with_vectors};
use crate::weights::Weight;

/// Fills `values`, `[n, v]`.
pub(super) fn multiply<W: Weight>(values: &mut [f32], product: Product<W>) {
    let (v, target) = (product.v, Shared::new(values));
    run(v.div_ceil(TILE), product.is_large(), |index| {
        let first = index * TILE;
        tile(target, product, (first, TILE.min(v - first)));
    });
}

with_vectors! {
    /// The outputs `(first, count)` of every row.
    fn tile<V, W: Weight>(target: Shared, product: Product<W>, outputs: (usize, usize)) {
        // A single row is bound by reading: one output's weights after the other are one long run. Of several rows as many
        // sums are held as there are registers.
        if product.n == 1 {
            tile_by::<V, 1, 1, W>(target, product, outputs);
        } else if V::MANY {
            tile_by::<V, 4, 4, W>(target, product, outputs);
        } else {
            tile_by::<V, 2, 3, W>(target, product, outputs);
        }
    }
}

/// The outputs `(first, count)` of every row, `R` rows and `O` outputs at a time.
#[inline(always)]
fn tile_by<V: Vector, const R: usize, const O: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    (first, count): (usize, usize),
) {
    for output in (first..first + count).step_by(O) {
        if output + O <= first + count {
            some::<V, R, O, W>(target, product, output);
        } else {
            for output in output..first + count {
                some::<V, R, 1, W>(target, product, output);
            }
        }
    }
}

/// `O` outputs from `output` on, of every row, `R` rows at a time.
#[inline(always)]
fn some<V: Vector, const R: usize, const O: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    output: usize,
) {
    let Product { n, k, w, .. } = product;
    // The next outputs' weights are asked for meanwhile, every row's share by itself; a run is foreseen without.
    let ahead = w.as_ptr().wrapping_add((output + O) * k);
    let mut row = 0;
    while row < n {
        let taken = if row + R <= n { R } else { 1 };
        if n > 1 {
            prefetch(ahead.wrapping_add(O * k * row / n), (O * k * taken).div_ceil(n));
        }
        if taken == R {
            rows::<V, R, O, W>(target, product, row, output);
        } else {
            rows::<V, 1, O, W>(target, product, row, output);
        }
        row += taken;
    }
}

/// `R` rows from `row` on.
#[inline(always)]
fn rows<V: Vector, const R: usize, const O: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    row: usize,
    output: usize,
) {
    let Product { x, w, bias, k, v, .. } = product;
    let (mut values, mut weights) = ([&x[..0]; R], [&w[..0]; O]);
    for r in 0..R {
        values[r] = &x[(row + r) * k..][..k];
    }
    for o in 0..O {
        weights[o] = &w[(output + o) * k..][..k];
    }
    let sums = dots::<V, R, O, W>(values, weights);
    for r in 0..R {
        // SAFETY: the target is `[n, v]`, and these outputs are this task's own.
        let target = unsafe { target.slice((row + r) * v + output, O) };
        for o in 0..O {
            target[o] = sums[r][o] + bias.get(output + o).copied().unwrap_or(0.0);
        }
    }
}

/// Every row's product with every output's weights. At most `LANES` of them.
#[inline(always)]
fn dots<V: Vector, const R: usize, const O: usize, W: Weight>(x: [&[f32]; R], w: [&[W]; O]) -> [[f32; O]; R] {
    let sums = in_lanes::<V, R, O, W>(x, w);
    let mut dots = [[0.0; O]; R];
    if R * O == LANES {
        let mut vectors = [V::splat(0.0); LANES];
        for i in 0..LANES {
            vectors[i] = sums[i / O][i % O];
        }
        let all = V::sums(vectors);
        for i in 0..LANES {
            dots[i / O][i % O] = all[i];
        }
    } else {
        for r in 0..R {
            for o in 0..O {
                dots[r][o] = sums[r][o].sum();
            }
        }
    }
    dots
}

/// The lanes of [`dots`] before they are added up: the product of element `i` is added to lane `i % LANES`.
#[inline(always)]
pub(crate) fn in_lanes<V: Vector, const R: usize, const O: usize, W: Weight>(
    x: [&[f32]; R],
    w: [&[W]; O],
) -> [[V; O]; R] {
    let k = x[0].len();
    for x in x {
        assert_eq!(x.len(), k, "rows are equally long");
    }
    for w in w {
        assert_eq!(w.len(), k, "one weight for each input");
    }
    let whole = k - k % LANES;
    let mut sums = [[V::splat(0.0); O]; R];
    // SAFETY: every slice holds `k` values; the rests are as wide as a vector.
    unsafe {
        for start in (0..whole).step_by(LANES) {
            for part in 0..V::PARTS {
                let mut values = [V::splat(0.0); R];
                for r in 0..R {
                    values[r] = V::load(x[r].as_ptr().add(start));
                }
                for o in 0..O {
                    let w = W::load::<V>(w[o].as_ptr().add(start));
                    for r in 0..R {
                        sums[r][o] = sums[r][o].add_part(part, values[r], w);
                    }
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
    sums
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
