//! One query a sequence, as decoding asks for: no products of matrices, each key read once.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use rayon::prelude::*;

use super::fused::{Attention, Sizes};
use crate::matrix::Shared;
use crate::row_linear::dots;
use crate::simd::{LANES, Vector, with_vectors};

/// Multiply-adds from which a call is worth several threads.
const PARALLEL: usize = 1 << 18;

/// Keys whose scores are taken side by side.
const KEYS: usize = LANES;

/// The keys or values of one head that a query sees.
#[derive(Clone, Copy)]
struct Seen<'a> {
    /// From the first key's on.
    data: &'a [f32],
    /// From one key to the next.
    stride: usize,
}

impl<'a> Seen<'a> {
    #[inline(always)]
    fn key(self, key: usize, d: usize) -> &'a [f32] {
        &self.data[key * self.stride..][..d]
    }
}

/// Fills `values`, which has the shape of `q`; one task a sequence and key/value head.
pub(super) fn forward(attention: &Attention, sizes: Sizes, values: &mut [f32], [q, k, v]: [&[f32]; 3]) {
    let Sizes { h, g, d, .. } = sizes;
    let shared = Shared::new(values);
    let keys = |sequence: usize| attention.mask.keys(attention.rows[sequence], 0);
    let task = |scores: &mut Vec<f32>, task: usize| {
        let (sequence, group) = (task / g, task % g);
        let Range { start, end } = keys(sequence);
        if start == end {
            return;
        }
        let first = sizes.key(attention.rows[sequence].row, start, group);
        let [k, v] = [k, v].map(|data| Seen {
            data: &data[first..],
            stride: g * d,
        });
        scores.resize(end - start, 0.0);
        for head in group * (h / g)..(group + 1) * (h / g) {
            let offset = (sequence * h + head) * d;
            take_scores(scores, &q[offset..offset + d], k, attention.scale as f32);
            attention.softmax(scores, head);
            // SAFETY: a head's part of the result, in which no other task writes.
            mix(unsafe { shared.slice(offset, d) }, scores, v);
        }
    };
    let seen: usize = (0..attention.rows.len())
        .map(|sequence| keys(sequence).len())
        .sum();
    let tasks = 0..attention.rows.len() * g;
    if seen * h * d * 2 < PARALLEL {
        let mut scores = Vec::new();
        tasks.for_each(|index| task(&mut scores, index));
    } else {
        tasks.into_par_iter().for_each_init(Vec::new, task);
    }
}

with_vectors! {
    /// `scale · q · k` for every key.
    fn take_scores<V>(scores: &mut [f32], q: &[f32], k: Seen, scale: f32) {
        for (group, scores) in scores.chunks_mut(KEYS).enumerate() {
            let mut keys = [q; KEYS];
            for (i, key) in keys.iter_mut().enumerate().take(scores.len()) {
                *key = k.key(group * KEYS + i, q.len());
            }
            let [dots] = dots::<V, 1, KEYS, f32>([q], keys);
            for i in 0..scores.len() {
                scores[i] = scale * dots[i];
            }
        }
    }
}

with_vectors! {
    /// `Σ p · v` over the keys.
    fn mix<V>(value: &mut [f32], p: &[f32], v: Seen) {
        /// Vectors whose sums are held at once.
        const WIDE: usize = 4;
        let d = value.len();
        let mut column = 0;
        while column + WIDE * LANES <= d {
            columns::<V, WIDE>(&mut value[column..], p, v, column);
            column += WIDE * LANES;
        }
        while column + LANES <= d {
            columns::<V, 1>(&mut value[column..], p, v, column);
            column += LANES;
        }
        for column in column..d {
            value[column] = p.iter().enumerate().map(|(key, p)| p * v.data[key * v.stride + column]).sum();
        }
    }
}

/// `C` vectors of the mixture, from `column` on.
#[inline(always)]
fn columns<V: Vector, const C: usize>(value: &mut [f32], p: &[f32], v: Seen, column: usize) {
    let mut sums = [V::splat(0.0); C];
    for (key, p) in p.iter().enumerate() {
        let from = &v.data[key * v.stride + column..][..C * LANES];
        let p = V::splat(*p);
        for c in 0..C {
            // SAFETY: `from` holds as many vectors.
            sums[c] = sums[c].add_product(p, unsafe { V::load(from.as_ptr().add(c * LANES)) });
        }
    }
    let value = &mut value[..C * LANES];
    for c in 0..C {
        // SAFETY: as above, for `value`.
        unsafe { sums[c].store(value.as_mut_ptr().add(c * LANES)) };
    }
}
