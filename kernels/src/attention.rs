//! Causal softmax attention with grouped key/value heads (Ainslie et al. 2023).

use burn::backend::Dispatch;
use burn::tensor::{Bool, Int, Tensor, activation::softmax};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{self, Differentiable, Operation};
use crate::matrix::{Shared, View, multiply, multiply_into};
use crate::simd::{exponentials, sum2, vectorised};

/// Queries handled at once: scores of a block against the keys it sees are held, never those of all queries.
const BLOCK: usize = 64;

/// `softmax(scale · q kᵀ + mask) v`, where query `i` of `t` sees keys `0 ..= s - t + i` (bottom-right aligned, so that a
/// query shorter than its keys continues them).
///
/// # Shapes
/// `q_bthd`: `[b, t, h, d]`, `k_bsgd` and `v_bsgd`: `[b, s, g, d]`, `g` divides `h`; query head `i` reads key head `i·g/h`.
/// The result is `[b, t, h, d]`.
pub fn causal_attention(q_bthd: Tensor<4>, k_bsgd: Tensor<4>, v_bsgd: Tensor<4>, scale: f64) -> Tensor<4> {
    let ([b, t, h, d], [kb, s, g, kd]) = (q_bthd.dims(), k_bsgd.dims());
    assert_eq!(k_bsgd.dims(), v_bsgd.dims(), "keys and values have one shape");
    assert_eq!((b, d), (kb, kd), "queries and keys agree in batch and width");
    assert!(h % g == 0, "key/value heads divide the heads");
    assert!(t <= s, "every query has its key");
    if !flex::is_fused(&q_bthd) {
        return reference(q_bthd, k_bsgd, v_bsgd, scale);
    }
    Tensor::from_dispatch(Dispatch::fused_attention(
        q_bthd.into_dispatch(),
        k_bsgd.into_dispatch(),
        v_bsgd.into_dispatch(),
        scale,
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(q_bthd: Tensor<4>, k_bsgd: Tensor<4>, v_bsgd: Tensor<4>, scale: f64) -> Tensor<4> {
    let [_, t, h, _] = q_bthd.dims();
    let s = k_bsgd.dims()[1];
    let q_bhtd = q_bthd.swap_dims(1, 2);
    let k_bhsd = repeat_heads(k_bsgd.swap_dims(1, 2), h);
    let v_bhsd = repeat_heads(v_bsgd.swap_dims(1, 2), h);
    let scores_bhts = q_bhtd.matmul(k_bhsd.swap_dims(2, 3)) * scale;
    let hidden_ts = future_mask(t, s, &scores_bhts.device());
    let scores_bhts = scores_bhts.mask_fill(hidden_ts.unsqueeze(), f32::NEG_INFINITY);
    softmax(scores_bhts, 3).matmul(v_bhsd).swap_dims(1, 2)
}

/// True where key `j` lies in the future of query `i`.
fn future_mask(t: usize, s: usize, device: &burn::tensor::Device) -> Tensor<2, Bool> {
    let query_t1 = Tensor::<1, Int>::arange((s - t) as i64..s as i64, device).unsqueeze_dim::<2>(1);
    let key_1s = Tensor::<1, Int>::arange(0..s as i64, device).unsqueeze_dim::<2>(0);
    key_1s.repeat_dim(0, t).greater(query_t1.repeat_dim(1, s))
}

/// `[b, g, s, d]` with every head repeated so that there are `h`.
fn repeat_heads(x_bgsd: Tensor<4>, h: usize) -> Tensor<4> {
    let [b, g, s, d] = x_bgsd.dims();
    if g == h {
        return x_bgsd;
    }
    x_bgsd
        .reshape([b, g, 1, s, d])
        .repeat_dim(2, h / g)
        .reshape([b, h, s, d])
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, check, host, tensor, values};
    use burn::tensor::DType;

    #[test]
    fn fused_equals_reference_and_differences() {
        // b, t, s, h, g, d: one element; odd; grouped; one key head; queries shorter than keys; several blocks.
        for [b, t, s, h, g, d] in [
            [1, 1, 1, 1, 1, 1],
            [2, 5, 5, 3, 3, 7],
            [2, 9, 9, 4, 2, 6],
            [1, 8, 8, 4, 1, 5],
            [2, 3, 11, 4, 2, 4],
            [1, 67, 150, 2, 1, 8],
        ] {
            let q = (values(1, b * t * h * d, 2.0), [b, t, h, d]);
            let k = (values(2, b * s * g * d, 2.0), [b, s, g, d]);
            let v = (values(3, b * s * g * d, 1.0), [b, s, g, d]);
            check(&[q, k, v], |[q, k, v]| {
                causal_attention(q, k, v, (d as f64).sqrt().recip())
            });
        }
    }

    #[test]
    fn scores_of_three_hundred_stay_finite() {
        let [t, d] = [6, 2];
        let q = (values(1, t * d, 20.0), [1, t, 1, d]);
        let k = (values(2, t * d, 20.0), [1, t, 1, d]);
        let v = (values(3, t * d, 1.0), [1, t, 1, d]);
        check(&[q, k, v], |[q, k, v]| causal_attention(q, k, v, 0.5));
    }

    #[test]
    fn the_future_is_not_read() {
        let [t, d] = [70, 4];
        let (q, v) = (values(1, t * d, 1.0), values(3, t * d, 1.0));
        let run = |k: &[f64]| {
            let [q, k, v] = [&q[..], k, &v].map(|x| tensor(x, [1, t, 1, d], DType::F32, false));
            host(causal_attention(q, k, v, 0.5))
        };
        let mut k = values(2, t * d, 1.0);
        let before = run(&k);
        k[(t - 1) * d..].fill(9.0);
        let after = run(&k);
        assert_eq!(before[..(t - 1) * d], after[..(t - 1) * d]);
        assert_ne!(before[(t - 1) * d..], after[(t - 1) * d..]);
    }

    #[test]
    fn equal_keys_average_the_values_seen() {
        let v = values(3, 5, 1.0);
        let [q, k, values] =
            [&[1.0; 5], &[2.0; 5], &v[..]].map(|x: &[f64]| tensor(x, [1, 5, 1, 1], DType::F32, false));
        let means: Vec<f64> = (1..=5).map(|n| v[..n].iter().sum::<f64>() / n as f64).collect();
        assert_close("means", &host(causal_attention(q, k, values, 1.0)), &means, 1e-6);
    }
}
