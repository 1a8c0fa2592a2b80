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
    if n == 1 {
        stream::<V, W>(row(0), &x[..k], w, v, first);
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

/// One row's outputs from `first` on: the weights of several inputs pass by at once, each in a long run.
#[inline(always)]
fn stream<V: Vector, W: Weight>(target: &mut [f32], x: &[f32], w: &[W], v: usize, first: usize) {
    /// Inputs at once.
    const INPUTS: usize = 8;
    let count = target.len();
    let whole = count - count % LANES;
    let mut input = 0;
    while input < x.len() {
        let inputs = INPUTS.min(x.len() - input);
        let weights = |i: usize| &w[(input + i) * v + first..][..count];
        if inputs == INPUTS {
            let weights: [&[W]; INPUTS] = std::array::from_fn(weights);
            let values: [f32; INPUTS] = std::array::from_fn(|i| x[input + i]);
            // SAFETY: every run of weights is as long as the target.
            unsafe {
                let values = values.map(V::splat);
                for column in (0..whole).step_by(LANES) {
                    let place = target.as_mut_ptr().add(column);
                    let mut sum = V::load(place);
                    for i in 0..INPUTS {
                        sum = sum.add_product(values[i], W::load::<V>(weights[i].as_ptr().add(column)));
                    }
                    sum.store(place);
                }
            }
        } else {
            for i in 0..inputs {
                // SAFETY: as above.
                unsafe {
                    let (value, weights) = (V::splat(x[input + i]), weights(i).as_ptr());
                    for column in (0..whole).step_by(LANES) {
                        let place = target.as_mut_ptr().add(column);
                        V::load(place)
                            .add_product(value, W::load::<V>(weights.add(column)))
                            .store(place);
                    }
                }
            }
        }
        for i in 0..inputs {
            for (target, w) in target[whole..].iter_mut().zip(&weights(i)[whole..]) {
                *target = multiply_add_one::<V>(x[input + i], w.wide(), *target);
            }
        }
        input += inputs;
    }
}

/// `a · b + c` as the vectors take it.
#[inline(always)]
fn multiply_add_one<V: Vector>(a: f32, b: f32, c: f32) -> f32 {
    V::splat(c).add_product(V::splat(a), V::splat(b)).lanes()[0]
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
