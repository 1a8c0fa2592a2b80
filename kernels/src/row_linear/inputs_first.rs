//! Weights `[k, v]`: a tile's sums stay in registers while its columns of weights pass by.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use burn::tensor::bf16;

use super::{Product, ROWS, TILE};
use crate::matrix::Shared;
use crate::simd::{LANES, Vector, prefetch, with_vectors};
use crate::weights::Weight;

/// Inputs whose weights are laid side by side before several groups of rows use them (16 KiB).
const PANEL: usize = 64;

/// Inputs by which reading runs ahead: their weights lie far apart, where the processor does not look by itself.
const AHEAD: usize = 16;

/// Vectors of a tile.
const VECTORS: usize = TILE / LANES;

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
    let Product { x, w, bias, n, k, v } = product;
    // SAFETY: the target is `[n, v]`, and these outputs are this task's own.
    let row = |i: usize| unsafe { target.slice(i * v + first, count) };
    if count == TILE && n <= ROWS {
        // SAFETY: the tile lies in the weights, `[k, v]`.
        let weights = |i: usize| {
            prefetch(w, (i + AHEAD) * v + first, TILE);
            unsafe { w.as_ptr().add(i * v + first) }
        };
        rows::<V, W>(n, x, k, 0..k, weights, row);
    } else {
        let mut panel = [[0.0; TILE]; PANEL];
        for start in (0..k).step_by(PANEL) {
            let inputs = start..k.min(start + PANEL);
            for (panel, i) in panel.iter_mut().zip(inputs.clone()) {
                prefetch(w, (i + AHEAD) * v + first, count);
                for (panel, w) in panel.iter_mut().zip(&w[i * v + first..][..count]) {
                    *panel = w.wide();
                }
            }
            rows::<V, f32>(n, x, k, inputs, |i| panel[i - start].as_ptr(), row);
        }
    }
    if !bias.is_empty() {
        let bias = &bias[first..first + count];
        for i in 0..n {
            row(i)
                .iter_mut()
                .zip(bias)
                .for_each(|(value, bias)| *value += bias);
        }
    }
}

/// Adds the products of these inputs to the outputs of `n` rows, in groups. `weights` points to a tile's width.
#[inline(always)]
fn rows<'t, V: Vector, W: Weight>(
    n: usize,
    x: &[f32],
    k: usize,
    inputs: Range<usize>,
    weights: impl Fn(usize) -> *const W,
    target: impl Fn(usize) -> &'t mut [f32],
) {
    for start in (0..n).step_by(ROWS) {
        let x = &x[start * k..];
        let target = |i| target(start + i);
        match n - start {
            1 => group::<V, 1, W>(x, k, inputs.clone(), &weights, target),
            2 => group::<V, 2, W>(x, k, inputs.clone(), &weights, target),
            3 => group::<V, 3, W>(x, k, inputs.clone(), &weights, target),
            _ => group::<V, ROWS, W>(x, k, inputs.clone(), &weights, target),
        }
    }
}

#[inline(always)]
fn group<'t, V: Vector, const R: usize, W: Weight>(
    x: &[f32],
    k: usize,
    inputs: Range<usize>,
    weights: impl Fn(usize) -> *const W,
    target: impl Fn(usize) -> &'t mut [f32],
) {
    let x: [&[f32]; R] = std::array::from_fn(|r| &x[r * k..][..k][inputs.clone()]);
    let mut lanes = [[0.0; TILE]; R];
    for (r, lanes) in lanes.iter_mut().enumerate() {
        let target = target(r);
        lanes[..target.len()].copy_from_slice(target);
    }
    // SAFETY: a tile's width of lanes and of weights lies at each place, and `x` holds one value for each input.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; R];
        for r in 0..R {
            for c in 0..VECTORS {
                sums[r][c] = V::load(lanes[r].as_ptr().add(c * LANES));
            }
        }
        for (i, input) in inputs.enumerate() {
            let weights = weights(input);
            let mut w = [V::splat(0.0); VECTORS];
            for c in 0..VECTORS {
                w[c] = W::load::<V>(weights.add(c * LANES));
            }
            for r in 0..R {
                let x = V::splat(*x[r].get_unchecked(i));
                for c in 0..VECTORS {
                    sums[r][c] = sums[r][c].add_product(x, w[c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..VECTORS {
                sums[r][c].store(lanes[r].as_mut_ptr().add(c * LANES));
            }
        }
    }
    for (r, lanes) in lanes.iter().enumerate() {
        let target = target(r);
        target.copy_from_slice(&lanes[..target.len()]);
    }
}
