//! The fused body of attention.

use burn_flex::FlexTensor;
use rayon::prelude::*;

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
}

/// Sizes and strides of one call.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    b: usize,
    t: usize,
    s: usize,
    h: usize,
    g: usize,
    d: usize,
}

/// A block of queries of one head.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Where the block's first query begins in `q` and in the result.
    offset: usize,
    /// Queries.
    rows: usize,
    /// Keys that the first query sees; each further one sees one more.
    visible: usize,
}

impl Sizes {
    fn new(q: &FlexTensor, k: &FlexTensor) -> Self {
        let ([b, t, h, d], [_, s, g, _]) = (flex::dims(q), flex::dims(k));
        Self { b, t, s, h, g, d }
    }

    /// Tasks: every key/value head of every sequence.
    fn tasks(self) -> usize {
        self.b * self.g
    }

    /// Where a task's keys begin in `k` and `v`.
    fn keys(self, task: usize) -> usize {
        (task / self.g * self.s * self.g + task % self.g) * self.d
    }

    /// The blocks of all query heads of a task, in order.
    fn blocks(self, task: usize) -> impl Iterator<Item = Block> {
        let (sequence, group) = (task / self.g, task % self.g);
        let heads = self.h / self.g;
        (group * heads..(group + 1) * heads).flat_map(move |head| {
            (0..self.t).step_by(BLOCK).map(move |start| Block {
                offset: ((sequence * self.t + start) * self.h + head) * self.d,
                rows: BLOCK.min(self.t - start),
                visible: self.s - self.t + start + 1,
            })
        })
    }

    /// The block's rows of `q`, or of a tensor of its shape.
    fn queries(self, data: &[f32], block: Block) -> View<'_> {
        View::new(&data[block.offset..], block.rows, self.d, self.h * self.d)
    }

    /// The rows of `k` or `v` that some query of the block sees.
    fn seen(self, data: &[f32], task: usize, block: Block) -> View<'_> {
        View::new(&data[self.keys(task)..], block.keys(), self.d, self.g * self.d)
    }
}

impl Block {
    /// Keys that some query sees.
    fn keys(self) -> usize {
        self.visible + self.rows - 1
    }
}

impl Attention {
    /// The block's probabilities, row by row, zero where a key is hidden.
    fn probabilities(&self, p: &mut [f32], q: View, k: View, block: Block) {
        multiply_into(p, false, q, k.transposed(), self.scale as f32);
        softmax_rows(p, block.keys(), block.visible);
    }
}

impl Operation<3> for Attention {
    fn forward(&self, [q, k, v]: [&FlexTensor; 3]) -> FlexTensor {
        let sizes = Sizes::new(q, k);
        let (qs, ks, vs) = (q.storage::<f32>(), k.storage::<f32>(), v.storage::<f32>());
        let mut values = vec![0.0; qs.len()];
        let shared = Shared::new(&mut values);
        (0..sizes.tasks()).into_par_iter().for_each_init(
            || vec![0.0; BLOCK * sizes.s],
            |p, task| {
                for block in sizes.blocks(task) {
                    let p = &mut p[..block.rows * block.keys()];
                    self.probabilities(p, sizes.queries(qs, block), sizes.seen(ks, task, block), block);
                    let p = View::new(p, block.rows, block.keys(), block.keys());
                    // SAFETY: the result has the shape of q, so the block's rows lie in it; blocks do not overlap.
                    unsafe {
                        let target = shared.at(block.offset);
                        multiply(
                            target,
                            sizes.h * sizes.d,
                            false,
                            p,
                            sizes.seen(vs, task, block),
                            1.0,
                        );
                    }
                }
            },
        );
        flex::tensor(values, q.layout().shape().clone())
    }

    fn backward(&self, [q, k, v]: [&FlexTensor; 3], gradient: &FlexTensor) -> [FlexTensor; 3] {
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
        (0..sizes.tasks()).into_par_iter().for_each_init(
            || (vec![0.0; BLOCK * sizes.s], vec![0.0; BLOCK * sizes.s]),
            |(p, by_p), task| {
                for block in sizes.blocks(task) {
                    let size = block.rows * block.keys();
                    let (p, by_p) = (&mut p[..size], &mut by_p[..size]);
                    let (q, k) = (sizes.queries(qs, block), sizes.seen(ks, task, block));
                    let (v, gradient) = (sizes.seen(vs, task, block), sizes.queries(gradients, block));
                    self.probabilities(p, q, k, block);
                    multiply_into(by_p, false, gradient, v.transposed(), 1.0);
                    softmax_backward(by_p, p, block.keys());
                    let p = View::new(p, block.rows, block.keys(), block.keys());
                    let by_scores = View::new(by_p, block.rows, block.keys(), block.keys());
                    // SAFETY: the gradients have the shapes of q, k and v, so the rows lie in them. A block's rows of q
                    // are its own; rows of k and v are written by one task only, whose blocks follow each other.
                    unsafe {
                        let keys = sizes.keys(task);
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
    }
}

vectorised! {
    /// Softmax of each row's first elements, `visible` in the first row and one more in each; the rest becomes zero.
    fn softmax_rows<FMA>(p: &mut [f32], keys: usize, visible: usize) {
        for (i, row) in p.chunks_exact_mut(keys).enumerate() {
            let (seen, hidden) = row.split_at_mut(visible + i);
            let (_, sum) = exponentials::<FMA>(seen);
            let scale = 1.0 / sum;
            for value in seen {
                *value *= scale;
            }
            hidden.fill(0.0);
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
