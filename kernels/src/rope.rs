//! Rotary position embedding (Su et al. 2021, eq. 34), of whole heads or their first part, in both orders of pairs.

// See `simd`.
#![allow(clippy::inline_always)]

use burn::backend::Dispatch;
#[cfg(feature = "cube")]
use burn::tensor::DType;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::linear::widened;
use crate::simd::{multiply_add, vectorised};

/// Elements of one task.
const CHUNK: usize = 1 << 14;

/// Which two elements of a head's rotated part turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `(i, i + r)` (rotate-half, as in llama and gpt-neox).
    Halves,
    /// `(2i, 2i + 1)` (as in the paper and gpt-j).
    Interleaved,
}

/// Rotates the first `2·r` elements of each head's vector by its position's angles, which are constants, of any type; the others pass.
///
/// # Shapes
/// `x_bthd`: `[b, t, h, d]`; `cos_tr`, `sin_tr`: `[t, r]` with `2·r ≤ d`, the angle of pair `i` at each position.
pub fn rope(x_bthd: Tensor<4>, cos_tr: Tensor<2>, sin_tr: Tensor<2>, pairing: Pairing) -> Tensor<4> {
    let heads = x_bthd.dims()[2];
    rope_heads(x_bthd, cos_tr, sin_tr, pairing, heads)
}

/// [`rope`] of the first `heads` heads, as where values lie behind queries and keys; the others pass.
pub fn rope_heads(
    x_bthd: Tensor<4>,
    cos_tr: Tensor<2>,
    sin_tr: Tensor<2>,
    pairing: Pairing,
    heads: usize,
) -> Tensor<4> {
    let ([_, t, h, d], [_, r]) = (x_bthd.dims(), cos_tr.dims());
    assert!(2 * r <= d, "the rotated part fits the head");
    assert!(heads <= h, "no more heads turn than there are");
    assert_eq!(
        (cos_tr.dims(), sin_tr.dims()),
        ([t, r], [t, r]),
        "one angle for each position and pair"
    );
    #[cfg(feature = "cube")]
    if cube::takes(&x_bthd) && pairing == Pairing::Halves && 2 * r == d && heads == h {
        let [cos_tr, sin_tr] = [cos_tr, sin_tr].map(|x_tr| widened(x_tr, DType::F32));
        return cube::rope(x_bthd, cos_tr, sin_tr);
    }
    let [cos_tr, sin_tr] = [cos_tr, sin_tr].map(|x_tr| widened(x_tr, x_bthd.dtype()));
    if !flex::is_fused(&x_bthd) {
        return reference(x_bthd, cos_tr, sin_tr, pairing, heads);
    }
    Tensor::from_dispatch(Dispatch::fused_rope(
        x_bthd.into_dispatch(),
        cos_tr.into_dispatch(),
        sin_tr.into_dispatch(),
        pairing,
        heads,
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(
    x_bthd: Tensor<4>,
    cos_tr: Tensor<2>,
    sin_tr: Tensor<2>,
    pairing: Pairing,
    heads: usize,
) -> Tensor<4> {
    let ([b, t, h, d], [_, r]) = (x_bthd.dims(), cos_tr.dims());
    if heads == 0 {
        return x_bthd;
    }
    if heads < h {
        let [turned, passed] =
            [(0, heads), (heads, h - heads)].map(|(first, count)| x_bthd.clone().narrow(2, first, count));
        let turned = reference(turned, cos_tr, sin_tr, pairing, heads);
        return Tensor::cat(vec![turned, passed], 2);
    }
    let rotated = x_bthd.clone().narrow(3, 0, 2 * r);
    // Pairs along the last but one axis or the last.
    let (shape, axis) = match pairing {
        Pairing::Halves => ([b, t, h, 2, r], 3),
        Pairing::Interleaved => ([b, t, h, r, 2], 4),
    };
    let pairs = rotated.reshape(shape);
    let [cos, sin] = [cos_tr, sin_tr].map(|x_tr| x_tr.reshape([1, t, 1, r]).unsqueeze_dim::<5>(axis));
    let [left, right] = [0, 1].map(|side| pairs.clone().narrow(axis, side, 1));
    let rotated_left = left.clone() * cos.clone() - right.clone() * sin.clone();
    let rotated_right = right * cos + left * sin;
    let rotated = Tensor::cat(vec![rotated_left, rotated_right], axis).reshape([b, t, h, 2 * r]);
    if 2 * r == d {
        return rotated;
    }
    Tensor::cat(vec![rotated, x_bthd.narrow(3, 2 * r, d - 2 * r)], 3)
}

/// The fused body.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    cos: FlexTensor,
    sin: FlexTensor,
    pairing: Pairing,
    /// How many of the first heads turn.
    heads: usize,
}

impl Rope {
    /// A rotation by these angles, `[t, r]`.
    pub(crate) fn new(cos: &FlexTensor, sin: &FlexTensor, pairing: Pairing, heads: usize) -> Self {
        Self {
            cos: cos.to_contiguous(),
            sin: sin.to_contiguous(),
            pairing,
            heads,
        }
    }

    /// Rotates by the angles times `sign`.
    fn apply(&self, x: &FlexTensor, sign: f32) -> FlexTensor {
        let [_, t, h, d] = flex::dims(x);
        let [_, r] = flex::dims(&self.cos);
        let turn = Turn {
            cos: self.cos.storage(),
            sin: self.sin.storage(),
            sizes: [t, h, d, r],
            pairing: self.pairing,
            heads: self.heads,
            sign,
        };
        let xs = x.storage::<f32>();
        let mut values = vec![0.0; xs.len()];
        let positions = (CHUNK / (h * d).max(1)).max(1);
        let chunk = (positions * h * d).max(1);
        values
            .par_chunks_mut(chunk)
            .zip(xs.par_chunks(chunk))
            .enumerate()
            .for_each(|(task, (value, x))| rotate(value, x, task * positions, turn));
        flex::tensor(values, x.layout().shape().clone())
    }
}

impl Operation<1> for Rope {
    const NAMES: [&'static str; 2] = ["rope", "rope, backward"];

    fn forward(&self, [x]: [&FlexTensor; 1]) -> FlexTensor {
        self.apply(x, 1.0)
    }

    /// A rotation's transpose is its inverse.
    fn backward(&self, _: [&FlexTensor; 1], gradient: &FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.apply(gradient, -1.0))]
    }
}

/// How vectors turn.
#[derive(Clone, Copy)]
struct Turn<'a> {
    /// `[t, r]`.
    cos: &'a [f32],
    sin: &'a [f32],
    /// `[t, h, d, r]`.
    sizes: [usize; 4],
    pairing: Pairing,
    heads: usize,
    sign: f32,
}

vectorised! {
    /// Turns all heads of some positions, `first` being the number of the first one, counted through all sequences.
    fn rotate<FMA>(value: &mut [f32], x: &[f32], first: usize, turn: Turn<'_>) {
        let [t, h, d, r] = turn.sizes;
        for (i, (value, x)) in value.chunks_exact_mut(h * d).zip(x.chunks_exact(h * d)).enumerate() {
            let angle = (first + i) % t * r;
            let (cos, sin) = (&turn.cos[angle..angle + r], &turn.sin[angle..angle + r]);
            let (value, passed) = value.split_at_mut(turn.heads * d);
            passed.copy_from_slice(&x[turn.heads * d..]);
            for (value, x) in value.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                let (value, passed) = value.split_at_mut(2 * r);
                passed.copy_from_slice(&x[2 * r..]);
                match turn.pairing {
                    Pairing::Halves => {
                        let ((new_left, new_right), (left, right)) = (value.split_at_mut(r), x[..2 * r].split_at(r));
                        for i in 0..r {
                            let sin = turn.sign * sin[i];
                            (new_left[i], new_right[i]) = turned::<FMA>(left[i], right[i], cos[i], sin);
                        }
                    }
                    Pairing::Interleaved => {
                        let pairs = value.as_chunks_mut::<2>().0.iter_mut().zip(x.as_chunks::<2>().0);
                        for ((new, pair), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                            (new[0], new[1]) = turned::<FMA>(pair[0], pair[1], *cos, turn.sign * sin);
                        }
                    }
                }
            }
        }
    }
}

/// A pair after its turn.
#[inline(always)]
fn turned<const FMA: bool>(left: f32, right: f32, cos: f32, sin: f32) -> (f32, f32) {
    (
        multiply_add::<FMA>(left, cos, -(right * sin)),
        multiply_add::<FMA>(right, cos, left * sin),
    )
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, check, host, tensor, values};

    /// Angles `[t, r]`, as cosines and sines.
    fn angles([t, r]: [usize; 2], dtype: DType) -> [Tensor<2>; 2] {
        let angles = values(3, t * r, 3.0);
        [f64::cos, f64::sin].map(|of| {
            let values: Vec<f64> = angles.iter().map(|angle| of(*angle)).collect();
            tensor(&values, [t, r], dtype, false)
        })
    }

    #[test]
    fn fused_equals_reference_and_differences() {
        // b, t, h, d, pairs, heads that turn: one pair; whole heads; their first part; some of them; several tasks.
        for [b, t, h, d, r, heads] in [
            [1, 1, 1, 2, 1, 1],
            [2, 5, 3, 6, 3, 3],
            [3, 17, 2, 32, 16, 2],
            [2, 5, 3, 11, 4, 3],
            [2, 7, 5, 8, 4, 2],
            [1, 3, 2, 40, 17, 1],
            [1, 2, 2, 4, 2, 0],
            [2, 150, 3, 64, 24, 2],
        ] {
            for pairing in [Pairing::Halves, Pairing::Interleaved] {
                check(&[(values(1, b * t * h * d, 1.0), [b, t, h, d])], |[x]| {
                    let [cos, sin] = angles([t, r], x.dtype());
                    rope_heads(x, cos, sin, pairing, heads)
                });
            }
        }
    }

    /// By the definition: `(x_i + i·x_j) · e^(i·angle)` of each pair, whatever else there is passes.
    #[test]
    fn pairs_turn_by_their_angles_and_the_rest_passes() {
        let [b, t, h, d, r, heads] = [2, 3, 3, 7, 2, 2];
        let x = values(1, b * t * h * d, 1.0);
        let angles_tr = values(3, t * r, 3.0);
        for (pairing, pairs) in [
            (Pairing::Halves, [[0, 2], [1, 3]]),
            (Pairing::Interleaved, [[0, 1], [2, 3]]),
        ] {
            let mut expected = x.clone();
            for (place, head) in expected.chunks_mut(d).enumerate() {
                if place % h < heads {
                    for (pair, [i, j]) in pairs.into_iter().enumerate() {
                        let (sin, cos) = angles_tr[place / h % t * r + pair].sin_cos();
                        (head[i], head[j]) = (head[i] * cos - head[j] * sin, head[i] * sin + head[j] * cos);
                    }
                }
            }
            for dtype in [DType::F32, DType::F64] {
                let [cos, sin] = angles([t, r], dtype);
                let x = tensor(&x, [b, t, h, d], dtype, false);
                let found = host(rope_heads(x, cos, sin, pairing, heads));
                assert_close(&format!("{pairing:?} {dtype:?}"), &found, &expected, 1e-6);
            }
        }
    }
}
