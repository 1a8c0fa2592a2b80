//! Attention's products: tiles of a few rows by a vector or two, whose sums stay in registers and are taken in order, so that an
//! element's bytes do not depend on how the rest is cut.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::panels::Right;
use crate::simd::{LANES, Vector, with_vectors};

/// Rows that may be written, or read, after the last.
pub(super) const SPARE: usize = 8;

/// Which columns the rows of a block are about; neither end lies before that of the row before.
pub(super) type Seen<'a> = &'a [Range<usize>];

/// The columns that some row of these sees.
#[inline(always)]
fn together(seen: Seen, rows: Range<usize>) -> Range<usize> {
    let last = seen.len().min(rows.end) - 1;
    seen[rows.start].start..seen[last].end
}

with_vectors! {
    /// `scale · left · right` for the rows of a block; panels that no row of a tile sees are left as they are. Rows of `left`
    /// are `depth` long, those of the target `stride`; both have [`SPARE`] more.
    pub(super) fn scores<V>(target: &mut [f32], stride: usize, left: &[f32], depth: usize, right: Right, scale: f32, seen: Seen) {
        if V::MANY {
            scores_in::<V, 8, 2>(target, stride, left, depth, right, scale, seen);
        } else {
            scores_in::<V, 6, 1>(target, stride, left, depth, right, scale, seen);
        }
    }
}

#[inline(always)]
fn scores_in<V: Vector, const R: usize, const C: usize>(
    target: &mut [f32],
    stride: usize,
    left: &[f32],
    depth: usize,
    right: Right,
    scale: f32,
    seen: Seen,
) {
    let mut panel = 0;
    while panel < right.count {
        if panel + C <= right.count {
            scores_of::<V, R, C>(target, stride, left, depth, right, scale, seen, panel);
            panel += C;
        } else {
            scores_of::<V, R, 1>(target, stride, left, depth, right, scale, seen, panel);
            panel += 1;
        }
    }
}

/// [`scores`] of `C` panels.
#[allow(clippy::too_many_arguments)] // As in `with_vectors`.
#[inline(always)]
fn scores_of<V: Vector, const R: usize, const C: usize>(
    target: &mut [f32],
    stride: usize,
    left: &[f32],
    depth: usize,
    right: Right,
    scale: f32,
    seen: Seen,
    panel: usize,
) {
    let columns = panel * LANES..(panel + C) * LANES;
    for row in (0..seen.len()).step_by(R) {
        let keys = together(seen, row..row + R);
        if keys.start.max(columns.start) >= keys.end.min(columns.end) {
            continue;
        }
        let left = Left::new(&left[row * depth..], [depth, 1], depth);
        let sums = sums::<V, R, C>(left, right, panel, 0);
        for r in 0..R {
            for c in 0..C {
                store(
                    &mut target[(row + r) * stride + columns.start + c * LANES..],
                    scaled(sums[r][c], scale),
                );
            }
        }
    }
}

with_vectors! {
    /// `scale · left · right` for the rows of a block, whose elements are zero but for the columns each sees. Rows of `left` lie
    /// `stride` apart, those of the target hold whole panels; both have [`SPARE`] more.
    pub(super) fn mix<V>(target: &mut [f32], left: &[f32], stride: usize, right: Right, scale: f32, seen: Seen) {
        if V::MANY {
            mix_in::<V, 8, 2>(target, left, stride, right, scale, seen);
        } else {
            mix_in::<V, 6, 1>(target, left, stride, right, scale, seen);
        }
    }
}

#[inline(always)]
fn mix_in<V: Vector, const R: usize, const C: usize>(
    target: &mut [f32],
    left: &[f32],
    stride: usize,
    right: Right,
    scale: f32,
    seen: Seen,
) {
    let width = right.count * LANES;
    let mut panel = 0;
    while panel < right.count {
        let wide = panel + C <= right.count;
        for row in (0..seen.len()).step_by(R) {
            let keys = together(seen, row..row + R);
            let (from, depth) = (keys.start, keys.len());
            let left = Left::new(&left[row * stride + from..], [stride, 1], depth);
            if wide {
                let sums = sums::<V, R, C>(left, right, panel, from);
                for r in 0..R {
                    for c in 0..C {
                        store(
                            &mut target[(row + r) * width + (panel + c) * LANES..],
                            scaled(sums[r][c], scale),
                        );
                    }
                }
            } else {
                let sums = sums::<V, R, 1>(left, right, panel, from);
                for r in 0..R {
                    store(
                        &mut target[(row + r) * width + panel * LANES..],
                        scaled(sums[r][0], scale),
                    );
                }
            }
        }
        panel += if wide { C } else { 1 };
    }
}

with_vectors! {
    /// `target += scale · leftᵀ · right` for `columns` columns of `left`, whose rows lie `stride` apart and are zero but for the
    /// columns each sees. Rows of the target hold whole panels.
    pub(super) fn add_transposed<V>(target: &mut [f32], left: &[f32], stride: usize, columns: usize, right: Right, scale: f32, seen: Seen) {
        if V::MANY {
            add_in::<V, 8, 2>(target, left, stride, columns, right, scale, seen);
        } else {
            add_in::<V, 6, 1>(target, left, stride, columns, right, scale, seen);
        }
    }
}

#[inline(always)]
fn add_in<V: Vector, const R: usize, const C: usize>(
    target: &mut [f32],
    left: &[f32],
    stride: usize,
    columns: usize,
    right: Right,
    scale: f32,
    seen: Seen,
) {
    let width = right.count * LANES;
    for column in (0..columns).step_by(R) {
        let count = R.min(columns - column);
        // The rows that see one of these columns.
        let from = seen.partition_point(|keys| keys.end <= column);
        let to = seen.partition_point(|keys| keys.start < column + count);
        if from >= to {
            continue;
        }
        let left = Left::new(&left[from * stride + column..], [1, stride], to - from);
        let mut panel = 0;
        while panel < right.count {
            if panel + C <= right.count {
                let sums = sums::<V, R, C>(left, right, panel, from);
                for r in 0..count {
                    for c in 0..C {
                        add(
                            &mut target[(column + r) * width + (panel + c) * LANES..],
                            sums[r][c],
                            scale,
                        );
                    }
                }
                panel += C;
            } else {
                let sums = sums::<V, R, 1>(left, right, panel, from);
                for r in 0..count {
                    add(
                        &mut target[(column + r) * width + panel * LANES..],
                        sums[r][0],
                        scale,
                    );
                }
                panel += 1;
            }
        }
    }
}

/// A left factor of `R` rows: element `(r, i)` lies at `r · row + i · step`.
#[derive(Clone, Copy)]
struct Left<'a, const R: usize> {
    data: &'a [f32],
    row: usize,
    step: usize,
    depth: usize,
}

impl<'a, const R: usize> Left<'a, R> {
    /// Checks that all of it lies in its slice.
    #[inline(always)]
    fn new(data: &'a [f32], [row, step]: [usize; 2], depth: usize) -> Self {
        assert!(
            depth == 0 || (R - 1) * row + (depth - 1) * step < data.len(),
            "a left factor lies in its data"
        );
        Self {
            data,
            row,
            step,
            depth,
        }
    }
}

/// The products of `R` rows with `C` panels from `panel` on, whose rows are read from `from` on.
#[inline(always)]
fn sums<V: Vector, const R: usize, const C: usize>(
    left: Left<R>,
    right: Right,
    panel: usize,
    from: usize,
) -> [[V; C]; R] {
    let mut sums = [[V::splat(0.0); C]; R];
    if left.depth == 0 {
        return sums;
    }
    let right_data = &right.data[panel * right.stride + from * LANES..];
    assert!(
        (C - 1) * right.stride + left.depth * LANES <= right_data.len(),
        "panels lie in their data"
    );
    // SAFETY: checked above and in `Left::new`.
    unsafe {
        let (mut left_place, mut right_place) = (left.data.as_ptr(), right_data.as_ptr());
        for _ in 0..left.depth {
            let mut vectors = [V::splat(0.0); C];
            for c in 0..C {
                vectors[c] = V::load(right_place.add(c * right.stride));
            }
            for r in 0..R {
                let value = V::splat(*left_place.add(r * left.row));
                for c in 0..C {
                    sums[r][c] = sums[r][c].add_product(value, vectors[c]);
                }
            }
            left_place = left_place.wrapping_add(left.step);
            right_place = right_place.wrapping_add(LANES);
        }
    }
    sums
}

#[inline(always)]
fn scaled<V: Vector>(sum: V, scale: f32) -> V {
    V::splat(0.0).add_product(V::splat(scale), sum)
}

#[inline(always)]
fn store<V: Vector>(target: &mut [f32], value: V) {
    let target = &mut target[..LANES];
    // SAFETY: it has room for a vector.
    unsafe { value.store(target.as_mut_ptr()) }
}

/// `target += scale · value`.
#[inline(always)]
fn add<V: Vector>(target: &mut [f32], value: V, scale: f32) {
    let target = &mut target[..LANES];
    // SAFETY: it is as wide as a vector.
    unsafe {
        let sum = V::load(target.as_ptr()).add_product(V::splat(scale), value);
        sum.store(target.as_mut_ptr());
    }
}
