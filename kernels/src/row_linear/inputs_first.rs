//! Weights `[k, v]`: a tile's sums stay in registers while its columns of weights pass by.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::tensor::bf16;

use super::{Product, ROWS, TILE};
use crate::matrix::Shared;
use crate::simd::{multiply_add, prefetch, vectorised};
use crate::weights::Weight;

/// Inputs whose weights are laid side by side before several groups of rows use them (16 KiB).
const PANEL: usize = 64;

/// Inputs by which reading runs ahead: their weights lie far apart, where the processor does not look by itself.
const AHEAD: usize = 16;

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
    let Product { x, w, bias, n, k, v } = product;
    // SAFETY: the target is `[n, v]`, and these outputs are this task's own.
    let row = |i: usize| unsafe { target.slice(i * v + first, count) };
    if count == TILE && n <= ROWS {
        let weights = |i: usize| {
            prefetch(w, (i + AHEAD) * v + first, TILE);
            &w[i * v + first..][..TILE]
        };
        rows::<FMA, W>(0..n, x, k, 0..k, weights, row);
    } else {
        let mut panel = [[0.0; TILE]; PANEL];
        for start in (0..k).step_by(PANEL) {
            let inputs = start..k.min(start + PANEL);
            for (panel, i) in panel.iter_mut().zip(inputs.clone()) {
                prefetch(w, (i + AHEAD) * v + first, TILE);
                for (panel, w) in panel.iter_mut().zip(&w[i * v + first..][..count]) {
                    *panel = w.wide();
                }
            }
            rows::<FMA, f32>(0..n, x, k, inputs, |i| &panel[i - start], row);
        }
    }
    for (i, bias) in (0..n).flat_map(|i| bias.get(first..first + count).map(|bias| (i, bias))) {
        row(i)
            .iter_mut()
            .zip(bias)
            .for_each(|(value, bias)| *value += bias);
    }
}

/// Adds the products of these inputs to the outputs of these rows, in groups.
#[inline(always)]
fn rows<'w, 't, const FMA: bool, W: Weight + 'w>(
    rows: std::ops::Range<usize>,
    x: &[f32],
    k: usize,
    inputs: std::ops::Range<usize>,
    weights: impl Fn(usize) -> &'w [W],
    target: impl Fn(usize) -> &'t mut [f32],
) {
    for start in rows.clone().step_by(ROWS) {
        let x = &x[start * k..];
        let target = |i| target(start + i);
        match rows.end - start {
            1 => group::<FMA, 1, W>(x, k, inputs.clone(), &weights, target),
            2 => group::<FMA, 2, W>(x, k, inputs.clone(), &weights, target),
            3 => group::<FMA, 3, W>(x, k, inputs.clone(), &weights, target),
            _ => group::<FMA, ROWS, W>(x, k, inputs.clone(), &weights, target),
        }
    }
}

#[inline(always)]
fn group<'w, 't, const FMA: bool, const R: usize, W: Weight + 'w>(
    x: &[f32],
    k: usize,
    inputs: std::ops::Range<usize>,
    weights: impl Fn(usize) -> &'w [W],
    target: impl Fn(usize) -> &'t mut [f32],
) {
    let mut sums = [[0.0; TILE]; R];
    for (i, sums) in sums.iter_mut().enumerate() {
        let target = target(i);
        sums[..target.len()].copy_from_slice(target);
    }
    for input in inputs {
        let weights: &[W; TILE] = weights(input).try_into().expect("a tile's width");
        for r in 0..R {
            let x = x[r * k + input];
            for c in 0..TILE {
                sums[r][c] = multiply_add::<FMA>(x, weights[c].wide(), sums[r][c]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let target = target(i);
        target.copy_from_slice(&sums[..target.len()]);
    }
}
