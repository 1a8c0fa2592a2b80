//! The fused body of attention.

use std::sync::Arc;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::mask::{Mask, Row};
use crate::flex::{self, Operation};
use crate::matrix::{Shared, View, multiply, multiply_into};
use crate::simd::{exponentials, sum2, vectorised};

/// Queries handled at once: scores of a block against the keys it sees are held, never those of all queries.
const BLOCK: usize = 64;

/// The fused body: one task a sequence and key/value head, a block of queries of one head at a time. Only `q`, `k` and `v`
/// are kept; the backward pass works the probabilities out again.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    /// Multiplies the scores.
    pub(crate) scale: f64,
    /// Which keys are seen, and what is added to their scores.
    pub(crate) mask: Mask,
    /// Where each query sequence stands.
    pub(crate) rows: Arc<[Row]>,
}

/// Sizes and strides of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) t: usize,
    pub(super) s: usize,
    pub(super) h: usize,
    pub(super) g: usize,
    pub(super) d: usize,
}

/// A block of queries of one head, and the keys that some of them see.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Where the block's first query begins in `q` and in the result.
    offset: usize,
    /// Where the first key begins in `k` and `v`.
    keys_offset: usize,
    sequence: usize,
    head: usize,
    /// The first query.
    start: usize,
    /// Queries.
    rows: usize,
    /// The first key.
    first: usize,
    /// Keys.
    keys: usize,
}

impl Sizes {
    fn new(q: &FlexTensor, k: &FlexTensor) -> Self {
        let ([_, t, h, d], [_, s, g, _]) = (flex::dims(q), flex::dims(k));
        Self { t, s, h, g, d }
    }

    /// Where a key of a key/value head begins in `k` and `v`.
    pub(super) fn key(self, row: usize, key: usize, group: usize) -> usize {
        ((row * self.s + key) * self.g + group) * self.d
    }

    /// The block's rows of `q`, or of a tensor of its shape.
    fn queries(self, data: &[f32], block: Block) -> View<'_> {
        View::new(&data[block.offset..], block.rows, self.d, self.h * self.d)
    }

    /// The block's rows of `k` or `v`.
    fn seen(self, data: &[f32], block: Block) -> View<'_> {
        View::new(&data[block.keys_offset..], block.keys, self.d, self.g * self.d)
    }
}

impl Attention {
    /// The blocks of a sequence's heads that read one key/value head, in order; blocks that see nothing are left out.
    fn blocks(&self, sizes: Sizes, sequence: usize, group: usize) -> impl Iterator<Item = Block> {
        let (row, heads) = (self.rows[sequence], sizes.h / sizes.g);
        let blocks = (group * heads..(group + 1) * heads)
            .flat_map(move |head| (0..sizes.t).step_by(BLOCK).map(move |start| (head, start)));
        blocks.filter_map(move |(head, start)| {
            let rows = BLOCK.min(sizes.t - start);
            // Neither end of what a query sees lies before that of the query before it.
            let first = self.mask.keys(row, start).start;
            let last = self.mask.keys(row, start + rows - 1);
            (!last.is_empty()).then(|| Block {
                offset: ((sequence * sizes.t + start) * sizes.h + head) * sizes.d,
                keys_offset: sizes.key(row.row, first, group),
                sequence,
                head,
                start,
                rows,
                first,
                keys: last.end - first,
            })
        })
    }

    /// Room for the scores of any block.
    fn room(&self, sizes: Sizes) -> usize {
        let past = self.rows.iter().map(|row| row.past).max().unwrap_or(0);
        let seen = self.mask.window.unwrap_or(usize::MAX).saturating_add(BLOCK);
        BLOCK.min(sizes.t) * (past + sizes.t).min(seen)
    }

    /// The block's probabilities, row by row, zero where a key is hidden.
    fn probabilities(&self, p: &mut [f32], q: View, k: View, block: Block) {
        multiply_into(p, false, q, k.transposed(), self.scale as f32);
        for (i, p) in p.chunks_exact_mut(block.keys).enumerate() {
            let keys = self.mask.keys(self.rows[block.sequence], block.start + i);
            let (before, p) = p.split_at_mut(keys.start.saturating_sub(block.first).min(p.len()));
            let (seen, after) = p.split_at_mut(keys.len());
            before.fill(0.0);
            after.fill(0.0);
            self.softmax(seen, block.head);
        }
    }

    /// Softmax of a query's scores for the keys it sees, the last of which is its own; `head` chooses the slope.
    pub(super) fn softmax(&self, scores: &mut [f32], head: usize) {
        let slope = self.mask.slopes.as_ref().map(|slopes| slopes[head] as f32);
        softmax(scores, slope);
    }
}

impl Operation<3> for Attention {
    const NAMES: [&'static str; 2] = ["attention", "attention, backward"];

    fn forward(&self, [q, k, v]: [&FlexTensor; 3]) -> FlexTensor {
        let sizes = Sizes::new(q, k);
        let (qs, ks, vs) = (q.storage::<f32>(), k.storage::<f32>(), v.storage::<f32>());
        let mut values = vec![0.0; qs.len()];
        // Only beside a cache: without one, a single position is handled as training handles it.
        if sizes.t == 1 && self.mask.rows.is_some() {
            super::decode::forward(self, sizes, &mut values, [qs, ks, vs]);
            return flex::tensor(values, q.layout().shape().clone());
        }
        let shared = Shared::new(&mut values);
        (0..self.rows.len() * sizes.g).into_par_iter().for_each_init(
            || vec![0.0; self.room(sizes)],
            |p, task| {
                for block in self.blocks(sizes, task / sizes.g, task % sizes.g) {
                    let p = &mut p[..block.rows * block.keys];
                    self.probabilities(p, sizes.queries(qs, block), sizes.seen(ks, block), block);
                    let p = View::new(p, block.rows, block.keys, block.keys);
                    // SAFETY: the result has the shape of q, so the block's rows lie in it; blocks do not overlap.
                    unsafe {
                        let target = shared.at(block.offset);
                        multiply(target, sizes.h * sizes.d, false, p, sizes.seen(vs, block), 1.0);
                    }
                }
            },
        );
        flex::tensor(values, q.layout().shape().clone())
    }

    fn backward(
        &self,
        [q, k, v]: [&FlexTensor; 3],
        gradient: &FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let sizes = Sizes::new(q, k);
        let (qs, ks, vs) = (q.storage::<f32>(), k.storage::<f32>(), v.storage::<f32>());
        let gradients = gradient.storage::<f32>();
        let (mut by_q, mut by_k, mut by_v) = (vec![0.0; qs.len()], vec![0.0; ks.len()], vec![0.0; vs.len()]);
        let (shared_q, shared_k, shared_v) = (
            Shared::new(&mut by_q),
            Shared::new(&mut by_k),
            Shared::new(&mut by_v),
        );
        let (query_stride, key_stride, scale) = (sizes.h * sizes.d, sizes.g * sizes.d, self.scale as f32);
        let [key_rows, ..] = flex::dims::<4>(k);
        // One task a key sequence and head: several query sequences may read one.
        (0..key_rows * sizes.g).into_par_iter().for_each_init(
            || (vec![0.0; self.room(sizes)], vec![0.0; self.room(sizes)]),
            |(p, by_p), task| {
                let sequences = (0..self.rows.len()).filter(|b| self.rows[*b].row == task / sizes.g);
                for block in sequences.flat_map(|sequence| self.blocks(sizes, sequence, task % sizes.g)) {
                    let size = block.rows * block.keys;
                    let (p, by_p) = (&mut p[..size], &mut by_p[..size]);
                    let (q, k) = (sizes.queries(qs, block), sizes.seen(ks, block));
                    let (v, gradient) = (sizes.seen(vs, block), sizes.queries(gradients, block));
                    self.probabilities(p, q, k, block);
                    multiply_into(by_p, false, gradient, v.transposed(), 1.0);
                    softmax_backward(by_p, p, block.keys);
                    let p = View::new(p, block.rows, block.keys, block.keys);
                    let by_scores = View::new(by_p, block.rows, block.keys, block.keys);
                    // SAFETY: the gradients have the shapes of q, k and v, so the rows lie in them. A block's rows of q
                    // are its own; rows of k and v are written by one task only, whose blocks follow each other.
                    unsafe {
                        let keys = block.keys_offset;
                        multiply(
                            shared_q.at(block.offset),
                            query_stride,
                            false,
                            by_scores,
                            k,
                            scale,
                        );
                        multiply(
                            shared_k.at(keys),
                            key_stride,
                            true,
                            by_scores.transposed(),
                            q,
                            scale,
                        );
                        multiply(shared_v.at(keys), key_stride, true, p.transposed(), gradient, 1.0);
                    }
                }
            },
        );
        let (query_shape, key_shape) = (q.layout().shape(), k.layout().shape());
        [
            flex::tensor(by_q, query_shape.clone()),
            flex::tensor(by_k, key_shape.clone()),
            flex::tensor(by_v, key_shape.clone()),
        ]
        .map(Some)
    }
}

vectorised! {
    /// Softmax; with a slope, `slope · (i − last)` is added to score `i` before.
    fn softmax<FMA>(scores: &mut [f32], slope: Option<f32>) {
        if scores.is_empty() {
            return;
        }
        if let Some(slope) = slope {
            let last = scores.len() as i32 - 1;
            for (i, score) in scores.iter_mut().enumerate() {
                *score += slope * (i as i32 - last) as f32;
            }
        }
        let (_, sum) = exponentials::<FMA>(scores);
        let scale = 1.0 / sum;
        for score in scores {
            *score *= scale;
        }
    }
}

vectorised! {
    /// `∂scores = p · (∂p - Σ p·∂p)`, in place of `∂p`.
    fn softmax_backward<FMA>(by_p: &mut [f32], p: &[f32], keys: usize) {
        for (by_p, p) in by_p.chunks_exact_mut(keys).zip(p.chunks_exact(keys)) {
            let along = sum2(p, by_p, |p, by_p| p * by_p);
            for (by_p, p) in by_p.iter_mut().zip(p) {
                *by_p = p * (*by_p - along);
            }
        }
    }
}
