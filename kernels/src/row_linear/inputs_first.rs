//! Weights `[k, v]`, row by row or in panels. The inputs are cut into parts, whose sums are taken one by one and then added in
//! order: so a single row reads its weights in one long run a part, and several rows hold a tile's sums in registers while
//! its weights pass by. Panels lie in the order in which tiles read them, for any number of rows.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::{Product, run};
use crate::matrix::Shared;
use crate::panels;
use crate::simd::{LANES, Vector, prefetch, vectorised, with_vectors};
use crate::weights::Weight;

/// Inputs of a part.
const PART: usize = 64;

/// Vectors of a tile.
const VECTORS: usize = panels::WIDTH / LANES;

/// How the weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Input by input.
    Rows,
    /// In panels of outputs.
    Panels,
}

/// Rows whose sums are held in registers at once with those of a tile's vectors, where there are enough registers.
const MANY: usize = 8;

/// The same where there are fewer.
const FEW: usize = 2;

/// Fills `values`, `[n, v]`, which are zeros.
pub(super) fn multiply<W: Weight>(values: &mut [f32], product: Product<W>, layout: Layout) {
    let Product { n, k, v, .. } = product;
    if n == 1 && layout == Layout::Rows {
        return one_row(values, product);
    }
    // Row by row beside each other, so that an input's values lie in one place.
    let mut x = vec![0.0; k * n];
    for (row, values) in product.x.chunks_exact(k.max(1)).enumerate() {
        for (i, value) in values.iter().enumerate() {
            x[i * n + row] = *value;
        }
    }
    let product = Product { x: &x, ..product };
    let target = Shared::new(values);
    // An output's sum does not depend on how the outputs are cut.
    let blocks = if product.is_large() {
        2 * rayon::current_num_threads()
    } else {
        1
    };
    let width = v.div_ceil(VECTORS * LANES).div_ceil(blocks) * VECTORS * LANES;
    run(v.div_ceil(width.max(1)), product.is_large(), |index| {
        let first = index * width;
        block(target, product, first..v.min(first + width), layout);
    });
}

/// A single row: every part is a task.
fn one_row<W: Weight>(values: &mut [f32], product: Product<W>) {
    let Product { k, v, bias, .. } = product;
    let parts = k.div_ceil(PART);
    let mut sums = vec![0.0; parts * v];
    let shared = Shared::new(&mut sums);
    run(parts, product.is_large(), |index| {
        let first = index * PART;
        // SAFETY: a part's own sums.
        let sums = unsafe { shared.slice(index * v, v) };
        stream(sums, product, first..k.min(first + PART));
    });
    add_parts(values, &sums, bias);
}

vectorised! {
    /// The sum of all parts and the bias.
    fn add_parts<FMA>(values: &mut [f32], sums: &[f32], bias: &[f32]) {
        for sums in sums.chunks_exact(values.len().max(1)) {
            for (value, sum) in values.iter_mut().zip(sums) {
                *value += sum;
            }
        }
        for (value, bias) in values.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

with_vectors! {
    /// Adds the products of these inputs to `sums`, one for each output.
    fn stream<V, W: Weight>(sums: &mut [f32], product: Product<W>, inputs: Range<usize>) {
        /// Inputs at once: each sum is then loaded and stored once for all of them.
        const INPUTS: usize = 8;
        let (x, w) = (&product.x[inputs.clone()], &product.w[inputs.start * product.v..]);
        let eights = x.len() / INPUTS;
        for i in 0..eights {
            add_inputs::<V, INPUTS, W>(sums, &x[i * INPUTS..], &w[i * INPUTS * product.v..]);
        }
        for i in eights * INPUTS..x.len() {
            add_inputs::<V, 1, W>(sums, &x[i..], &w[i * product.v..]);
        }
    }
}

/// Adds the products of `I` inputs, whose weights lie one after the other.
#[inline(always)]
fn add_inputs<V: Vector, const I: usize, W: Weight>(sums: &mut [f32], x: &[f32], w: &[W]) {
    let v = sums.len();
    let (x, w) = (&x[..I], &w[..I * v]);
    let whole = v - v % LANES;
    let mut values = [V::splat(0.0); I];
    for i in 0..I {
        values[i] = V::splat(x[i]);
    }
    for column in (0..whole).step_by(LANES) {
        // SAFETY: a vector lies at `column` in `sums` and in every input's `v` weights.
        unsafe {
            let place = sums.as_mut_ptr().add(column);
            let mut sum = V::load(place);
            for i in 0..I {
                sum = sum.add_product(values[i], W::load::<V>(w.as_ptr().add(i * v + column)));
            }
            sum.store(place);
        }
    }
    for column in whole..v {
        for i in 0..I {
            let sum = V::splat(sums[column]).add_product(values[i], V::splat(w[i * v + column].wide()));
            sums[column] = sum.lanes()[0];
        }
    }
}

with_vectors! {
    /// All rows of these outputs, which begin with a panel; `x` is `[k, n]`.
    fn block<V, W: Weight>(target: Shared, product: Product<W>, outputs: Range<usize>, layout: Layout) {
        let Product { n, k, v, bias, .. } = product;
        let parts = || (0..k).step_by(PART).map(|first| first..k.min(first + PART));
        match layout {
            // The tiles of one part of the inputs follow each other, so that their weights lie in the same pages.
            Layout::Rows => {
                for inputs in parts() {
                    let weights = Lying { weights: product.w, first: 0, stride: v };
                    tiles::<V, W>(target, product, weights, &inputs, outputs.clone());
                }
            }
            Layout::Panels => {
                for panel in outputs.clone().step_by(panels::WIDTH) {
                    let end = outputs.end.min(panel + panels::WIDTH);
                    let weights = Lying {
                        weights: &product.w[panel * k..end * k],
                        first: panel,
                        stride: v.min(panel + panels::WIDTH) - panel,
                    };
                    for inputs in parts() {
                        tiles::<V, W>(target, product, weights, &inputs, panel..end);
                    }
                }
            }
        }
        if !bias.is_empty() {
            for i in 0..n {
                // SAFETY: these outputs are this task's own.
                let row = unsafe { target.slice(i * v + outputs.start, outputs.len()) };
                row.iter_mut().zip(&bias[outputs.clone()]).for_each(|(value, bias)| *value += bias);
            }
        }
    }
}

/// Weights of outputs from `first` on: those of an input lie beside each other, `stride` after those of the input before.
#[derive(Clone, Copy)]
struct Lying<'a, W> {
    weights: &'a [W],
    first: usize,
    stride: usize,
}

/// Adds a part's products to every row's outputs.
#[inline(always)]
fn tiles<V: Vector, W: Weight>(
    target: Shared,
    product: Product<W>,
    weights: Lying<W>,
    inputs: &Range<usize>,
    outputs: Range<usize>,
) {
    let mut output = outputs.start;
    while output < outputs.end {
        let left = outputs.end - output;
        if left >= VECTORS * LANES && V::MANY {
            tile::<V, MANY, VECTORS, W>(target, product, weights, inputs, output);
            output += VECTORS * LANES;
        } else if left >= VECTORS * LANES {
            tile::<V, FEW, VECTORS, W>(target, product, weights, inputs, output);
            output += VECTORS * LANES;
        } else if left >= LANES {
            tile::<V, 4, 1, W>(target, product, weights, inputs, output);
            output += LANES;
        } else {
            narrow::<V, W>(target, product, weights, inputs, output..outputs.end);
            output = outputs.end;
        }
    }
}

/// Adds a part's products to `C` vectors of every row's outputs, `R` rows at a time.
#[inline(always)]
fn tile<V: Vector, const R: usize, const C: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    weights: Lying<W>,
    inputs: &Range<usize>,
    output: usize,
) {
    let mut row = 0;
    while row + R <= product.n {
        rows::<V, R, C, W>(target, product, weights, inputs, output, row);
        row += R;
    }
    while R > 4 && row + 4 <= product.n {
        rows::<V, 4, C, W>(target, product, weights, inputs, output, row);
        row += 4;
    }
    while row < product.n {
        rows::<V, 1, C, W>(target, product, weights, inputs, output, row);
        row += 1;
    }
}

/// [`tile`] for `R` rows from `row` on.
#[inline(always)]
fn rows<V: Vector, const R: usize, const C: usize, W: Weight>(
    target: Shared,
    product: Product<W>,
    weights: Lying<W>,
    inputs: &Range<usize>,
    output: usize,
    row: usize,
) {
    let Product { x, n, v, .. } = product;
    let Lying {
        weights,
        first,
        stride,
    } = weights;
    let last = inputs.len() - 1;
    let x = &x[inputs.start * n + row..][..last * n + R];
    let tile = &weights[inputs.start * stride + output - first..][..last * stride + C * LANES];
    // The tile after this one is asked for while this one is multiplied. Beside it lies its neighbour; in panels it lies
    // behind it, and the first rows share it out.
    let (ahead, step, vectors) = if stride > panels::WIDTH {
        let vectors = if row == 0 { C } else { 0 };
        (C * LANES, stride, vectors)
    } else {
        let vectors = usize::from(row / R < C);
        (inputs.len() * (stride + row / R * LANES), LANES, vectors)
    };
    let ahead = tile.as_ptr().wrapping_add(ahead);
    let mut sums = [[V::splat(0.0); C]; R];
    // SAFETY: `x` holds the rows' values of an input at every `n`, `tile` its weights at every `v`; the target is `[n, v]`,
    // and these outputs are this task's own.
    unsafe {
        for i in 0..=last {
            prefetch(ahead.wrapping_add(i * step), vectors * LANES);
            let (x, weights) = (x.as_ptr().add(i * n), tile.as_ptr().add(i * stride));
            // Whichever are fewer stay in registers beside the sums.
            if R < C {
                let mut values = [V::splat(0.0); R];
                for r in 0..R {
                    values[r] = V::splat(*x.add(r));
                }
                for c in 0..C {
                    let vector = W::load::<V>(weights.add(c * LANES));
                    for r in 0..R {
                        sums[r][c] = sums[r][c].add_product(values[r], vector);
                    }
                }
            } else {
                let mut vectors = [V::splat(0.0); C];
                for c in 0..C {
                    vectors[c] = W::load::<V>(weights.add(c * LANES));
                }
                for r in 0..R {
                    let value = V::splat(*x.add(r));
                    for c in 0..C {
                        sums[r][c] = sums[r][c].add_product(value, vectors[c]);
                    }
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                let place = target
                    .slice((row + r) * v + output + c * LANES, LANES)
                    .as_mut_ptr();
                V::load(place).add(sums[r][c]).store(place);
            }
        }
    }
}

/// [`tile`] for fewer outputs than a vector has lanes.
#[inline(always)]
fn narrow<V: Vector, W: Weight>(
    target: Shared,
    product: Product<W>,
    weights: Lying<W>,
    inputs: &Range<usize>,
    outputs: Range<usize>,
) {
    let Product { x, n, v, .. } = product;
    let Lying {
        weights: w,
        first,
        stride,
    } = weights;
    for row in 0..n {
        let mut sum = V::splat(0.0);
        for i in inputs.clone() {
            let mut weights = [0.0; LANES];
            for (lane, w) in weights
                .iter_mut()
                .zip(&w[i * stride + outputs.start - first..][..outputs.len()])
            {
                *lane = w.wide();
            }
            // SAFETY: the array is as wide as a vector.
            sum = sum.add_product(V::splat(x[i * n + row]), unsafe { V::load(weights.as_ptr()) });
        }
        // SAFETY: these outputs are this task's own.
        let target = unsafe { target.slice(row * v + outputs.start, outputs.len()) };
        for (target, sum) in target.iter_mut().zip(&sum.lanes()) {
            *target += sum;
        }
    }
}
