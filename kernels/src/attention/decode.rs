//! One query a sequence, as decoding asks for: no products of matrices, each key read once.

// See `simd`.
#![allow(clippy::inline_always)]
// An index runs over several arrays of registers.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;

use super::bias::Biases;
use super::fused::Attention;
use super::mask::Row;
use super::operands::Operands;
use super::softmax::softmax;
use crate::matrix::Shared;
use crate::row_linear::in_lanes;
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

/// The values of all queries, `[b, 1, h, d]`; one task a sequence and key/value head.
pub(super) fn forward(attention: &Attention, operands: Operands, biases: &Biases) -> Vec<f32> {
    let Operands {
        data, heads, h, g, d, ..
    } = operands;
    let sight = &attention.sight;
    let mut values = vec![0.0; sight.rows.len() * h * d];
    let shared = Shared::new(&mut values);
    let task = |scores: &mut Vec<f32>, task: usize| {
        let (sequence, group) = (task / g, task % g);
        let keys = sight.keys(sequence, 0);
        if keys.is_empty() {
            return;
        }
        let Row { row, past, .. } = sight.rows[sequence];
        let [k, v] = [1, 2].map(|which| Seen {
            data: &data[which][heads[which].place(row, keys.start, group)..],
            stride: heads[which].position,
        });
        scores.resize(keys.len(), 0.0);
        for head in group * (h / g)..(group + 1) * (h / g) {
            let offset = (sequence * h + head) * d;
            take_scores(scores, &data[0][offset..offset + d], k, attention.scale as f32);
            softmax(scores, biases.of(head, past, row, &keys));
            // SAFETY: a head's part of the result, in which no other task writes.
            mix(unsafe { shared.slice(offset, d) }, scores, v);
        }
    };
    let seen: usize = (0..sight.rows.len())
        .map(|sequence| sight.keys(sequence, 0).len())
        .sum();
    let tasks = 0..sight.rows.len() * g;
    if seen * h * d * 2 < PARALLEL {
        let mut scores = Vec::new();
        tasks.for_each(|index| task(&mut scores, index));
    } else {
        tasks.into_par_iter().for_each_init(Vec::new, task);
    }
    values
}

with_vectors! {
    /// `scale · q · k` for every key.
    fn take_scores<V>(scores: &mut [f32], q: &[f32], k: Seen, scale: f32) {
        for (group, scores) in scores.chunks_mut(KEYS).enumerate() {
            let mut keys = [q; KEYS];
            for (i, key) in keys.iter_mut().enumerate().take(scores.len()) {
                *key = k.key(group * KEYS + i, q.len());
            }
            // As many sums at once as registers hold.
            let dots = if V::MANY {
                V::sums(in_lanes::<V, 1, KEYS, f32>([q], keys)[0])
            } else {
                V::sums(by_fours(q, &keys))
            };
            for i in 0..scores.len() {
                scores[i] = scale * dots[i];
            }
        }
    }
}

/// The lanes of the products with all keys, four at a time.
#[inline(always)]
fn by_fours<V: Vector>(q: &[f32], keys: &[&[f32]; KEYS]) -> [V; KEYS] {
    const FOUR: usize = 4;
    let mut lanes = [V::splat(0.0); KEYS];
    for first in (0..KEYS).step_by(FOUR) {
        let mut four = [q; FOUR];
        four.copy_from_slice(&keys[first..first + FOUR]);
        let [found] = in_lanes::<V, 1, FOUR, f32>([q], four);
        lanes[first..first + FOUR].copy_from_slice(&found);
    }
    lanes
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
