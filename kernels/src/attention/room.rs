//! What a task works in: keys and values as the products read them, laid out once, and a block's scores against the keys it sees;
//! never those of all queries.

use std::ops::Range;

use super::bias;
use super::operands::gather;
use super::panels::Panels;
use super::softmax::{softmax, softmax_backward};
use super::tiles::{SPARE, add_transposed, mix, scores};
use super::training::{Block, Call};
use crate::simd::LANES;

/// A task's memory.
#[derive(Default)]
pub(super) struct Room {
    /// The keys that are laid out.
    keys: Range<usize>,
    /// Vectors as they are read.
    vectors: Vec<f32>,
    /// Keys and values, side by side (transposed) and beneath each other.
    k_across: Panels,
    k_down: Panels,
    v_across: Panels,
    v_down: Panels,
    /// A block's queries.
    q: Vec<f32>,
    q_down: Panels,
    /// Gradients of its values.
    by_value: Vec<f32>,
    by_value_down: Panels,
    /// The keys that each of its queries sees, counted from [`Room::base`].
    seen: Vec<Range<usize>>,
    /// Probabilities, zero where a key is not seen.
    p: Vec<f32>,
    /// Gradients of them, then of the scores.
    by_p: Vec<f32>,
    /// From a query's probabilities to the next one's.
    stride: usize,
    /// A block's values or gradients.
    out: Vec<f32>,
    /// Gradients of keys and values.
    by_k: Vec<f32>,
    by_v: Vec<f32>,
}

impl Room {
    /// A vector's elements, filled up to whole panels.
    pub(super) fn width(d: usize) -> usize {
        d.next_multiple_of(LANES)
    }

    /// Lays out the keys and values of a key sequence and head; for the backward pass as well, if asked.
    pub(super) fn lay_out(
        &mut self,
        call: Call,
        [row, group]: [usize; 2],
        keys: Range<usize>,
        backward: bool,
    ) {
        let Call {
            operands,
            turn,
            attention,
            ..
        } = call;
        let d = operands.d;
        let place = [row, keys.start, group];
        operands.gather(1, &mut self.vectors, place, keys.len());
        if let Some(turn) = turn {
            turn.apply(&mut self.vectors, d, [row, keys.start], attention.sight.t, 1.0);
        }
        self.k_across.take_transposed(&self.vectors, d);
        if backward {
            self.k_down.take(&self.vectors, d);
        }
        operands.gather(2, &mut self.vectors, place, keys.len());
        if backward {
            self.v_across.take_transposed(&self.vectors, d);
            for sums in [&mut self.by_k, &mut self.by_v] {
                sums.clear();
                sums.resize(keys.len() * Self::width(d), 0.0);
            }
        } else {
            self.v_down.take(&self.vectors, d);
        }
        self.keys = keys;
    }

    /// The key at which the first panel begins that holds one the block sees, counted from the first that is laid out.
    fn base(&self, block: &Block) -> usize {
        (block.keys.start - self.keys.start) / LANES * LANES
    }

    /// Keys from [`base`](Self::base) to the last that the block sees.
    fn columns(&self, block: &Block) -> usize {
        block.keys.end - self.keys.start - self.base(block)
    }

    /// The block's probabilities, query by query.
    pub(super) fn probabilities(&mut self, call: Call, block: &Block) {
        let Call {
            operands,
            turn,
            attention,
            biases,
            ..
        } = call;
        let (d, sight) = (operands.d, &attention.sight);
        let place = [block.sequence, block.start];
        operands.gather(
            0,
            &mut self.q,
            [block.sequence, block.start, block.head],
            block.rows,
        );
        if let Some(turn) = turn {
            turn.apply(&mut self.q, d, place, sight.t, 1.0);
        }
        self.q.resize((block.rows + SPARE) * d, 0.0);
        let (base, columns) = (self.base(block), self.columns(block));
        let first = self.keys.start + base;
        self.seen.clear();
        self.seen.extend((0..block.rows).map(|i| {
            let keys = sight.keys(block.sequence, block.start + i);
            keys.start.saturating_sub(first)..keys.end.saturating_sub(first)
        }));
        // An odd number of vectors, so that a column's elements do not share a few places of the cache.
        self.stride = (columns.div_ceil(LANES) | 1) * LANES;
        self.p.resize((block.rows + SPARE) * self.stride, 0.0);
        let right = self.k_across.at_column(base, columns);
        scores(
            &mut self.p,
            self.stride,
            &self.q,
            d,
            right,
            attention.scale as f32,
            &self.seen,
        );
        let row = sight.rows[block.sequence];
        for (i, (p, seen)) in self.p.chunks_exact_mut(self.stride).zip(&self.seen).enumerate() {
            p[..seen.start].fill(0.0);
            p[seen.end..].fill(0.0);
            let keys = first + seen.start..first + seen.end;
            let biases = biases.of(block.head, row.past + block.start + i, row.row, &keys);
            softmax(&mut p[seen.clone()], biases);
        }
    }

    /// The block's values, each filled up to whole panels.
    pub(super) fn values(&mut self, block: &Block) -> impl Iterator<Item = &[f32]> {
        let right = self.v_down.at_row(self.base(block));
        let width = right.count * LANES;
        self.out.resize((block.rows + SPARE) * width, 0.0);
        mix(&mut self.out, &self.p, self.stride, right, 1.0, &self.seen);
        self.out.chunks_exact(width)
    }

    /// The gradients of the block's scores, from those of its values inside `gradient`, `[b, t, h, d]`.
    pub(super) fn by_scores(&mut self, call: Call, block: &Block, gradient: &[f32]) {
        let (h, d, t) = (call.operands.h, call.operands.d, call.attention.sight.t);
        let place = ((block.sequence * t + block.start) * h + block.head) * d;
        gather(&mut self.by_value, &gradient[place..], h * d, d, block.rows);
        self.by_value.resize((block.rows + SPARE) * d, 0.0);
        self.by_p.resize(self.p.len(), 0.0);
        let right = self.v_across.at_column(self.base(block), self.columns(block));
        scores(
            &mut self.by_p,
            self.stride,
            &self.by_value,
            d,
            right,
            1.0,
            &self.seen,
        );
        let rows = self
            .by_p
            .chunks_exact_mut(self.stride)
            .zip(self.p.chunks_exact(self.stride));
        for ((by_p, p), seen) in rows.zip(&self.seen) {
            by_p[..seen.start].fill(0.0);
            by_p[seen.end..].fill(0.0);
            softmax_backward(&mut by_p[seen.clone()], &p[seen.clone()]);
        }
    }

    /// Adds the gradients of the block's scores to `sums`, `[h / g, span]`, by distance.
    pub(super) fn add_by_distance(&self, call: Call, block: &Block, sums: &mut [f32]) {
        let (operands, biases) = (call.operands, call.biases);
        let past = call.attention.sight.rows[block.sequence].past;
        let head = block.head % (operands.h / operands.g);
        let first = self.keys.start + self.base(block);
        for (i, (by_p, seen)) in self.by_p.chunks_exact(self.stride).zip(&self.seen).enumerate() {
            let index = biases.index(past + block.start + i, first + seen.start);
            let sums = &mut sums[head * biases.span() + index..];
            bias::add(sums, &by_p[seen.clone()]);
        }
    }

    /// Adds what the block contributes to the gradients of keys and values.
    pub(super) fn add_by_keys(&mut self, call: Call, block: &Block) {
        let (d, scale) = (call.operands.d, call.attention.scale as f32);
        self.q_down.take(&self.q[..block.rows * d], d);
        self.by_value_down.take(&self.by_value[..block.rows * d], d);
        let (columns, offset) = (self.columns(block), self.base(block) * Self::width(d));
        let (q, by_value) = (self.q_down.at_row(0), self.by_value_down.at_row(0));
        let (stride, seen) = (self.stride, &self.seen);
        add_transposed(
            &mut self.by_k[offset..],
            &self.by_p,
            stride,
            columns,
            q,
            scale,
            seen,
        );
        add_transposed(
            &mut self.by_v[offset..],
            &self.p,
            stride,
            columns,
            by_value,
            1.0,
            seen,
        );
    }

    /// The gradients of the block's queries, each filled up to whole panels.
    pub(super) fn by_queries(&mut self, call: Call, block: &Block) -> &mut [f32] {
        let right = self.k_down.at_row(self.base(block));
        self.out.resize((block.rows + SPARE) * right.count * LANES, 0.0);
        let scale = call.attention.scale as f32;
        mix(&mut self.out, &self.by_p, self.stride, right, scale, &self.seen);
        &mut self.out
    }

    /// The gradients of all keys and values that are laid out, each filled up to whole panels.
    pub(super) fn by_keys(&mut self) -> [&mut [f32]; 2] {
        [&mut self.by_k, &mut self.by_v]
    }
}
