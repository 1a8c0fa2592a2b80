//! Rotary positions inside the fused body.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::rope::{Pairing, rope};
use crate::simd::{multiply_add, vectorised};

/// Positions as rotations of queries and keys, by angles that are constants.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Cosines of the angles of each position's pairs: `[t, r]` for all sequences, or `[b·t, r]`.
    pub cos_pr: Tensor<2>,
    /// Their sines.
    pub sin_pr: Tensor<2>,
    /// Which elements make a pair.
    pub pairing: Pairing,
}

impl Rotation {
    /// Rotates the first `2·r` elements of each head's vector.
    ///
    /// # Shapes
    /// `x_bthd`: `[b, t, h, d]` with `2·r ≤ d`, and so is the result.
    pub fn apply(self, x_bthd: Tensor<4>) -> Tensor<4> {
        let [b, t, h, d] = x_bthd.dims();
        if self.cos_pr.dims()[0] == t {
            return rope(x_bthd, self.cos_pr, self.sin_pr, self.pairing);
        }
        let x_bthd = x_bthd.reshape([1, b * t, h, d]);
        rope(x_bthd, self.cos_pr, self.sin_pr, self.pairing).reshape([b, t, h, d])
    }

    /// Pairs of a head, of `b` sequences of `t` positions with heads `d` wide.
    pub(super) fn pairs(&self, [b, t, d]: [usize; 3]) -> usize {
        let [positions, pairs] = self.cos_pr.dims();
        assert_eq!(self.sin_pr.dims(), [positions, pairs], "as many sines as cosines");
        assert!(
            positions == t || positions == b * t,
            "one angle for each position and pair"
        );
        assert!(2 * pairs <= d, "the rotated part fits the head");
        pairs
    }
}

/// [`Rotation`] as the fused body reads it.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    cos: FlexTensor,
    sin: FlexTensor,
    turned: Turned,
}

/// What of a head turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turned {
    /// Pairs, `r`; none where positions are no rotations.
    pub(super) pairs: usize,
    pub(super) pairing: Pairing,
}

impl Turn {
    /// Angles `[p, r]` with all in one line, empty for none.
    pub(crate) fn new(cos: &FlexTensor, sin: &FlexTensor, turned: Turned) -> Option<Self> {
        (turned.pairs > 0).then(|| Self {
            cos: cos.to_contiguous(),
            sin: sin.to_contiguous(),
            turned,
        })
    }

    /// Rotates vectors of consecutive positions in place by their angles times `sign`; they begin `stride` apart. `t` positions
    /// a sequence.
    pub(super) fn apply(&self, x: &mut [f32], stride: usize, place: [usize; 2], t: usize, sign: f32) {
        let [sequence, position] = place;
        let (cos, sin) = (self.cos.storage::<f32>(), self.sin.storage::<f32>());
        let pairs = self.turned.pairs;
        let first = if cos.len() == t * pairs {
            position
        } else {
            sequence * t + position
        };
        let (cos, sin) = (&cos[first * pairs..], &sin[first * pairs..]);
        match self.turned.pairing {
            Pairing::Halves => halves(x, stride, cos, sin, pairs, sign),
            Pairing::Interleaved => interleaved(x, stride, cos, sin, pairs, sign),
        }
    }
}

vectorised! {
    fn halves<FMA>(x: &mut [f32], stride: usize, cos: &[f32], sin: &[f32], pairs: usize, sign: f32) {
        let angles = cos.chunks_exact(pairs).zip(sin.chunks_exact(pairs));
        for (x, (cos, sin)) in x.chunks_exact_mut(stride).zip(angles) {
            let (left, right) = x[..2 * pairs].split_at_mut(pairs);
            for i in 0..pairs {
                let (a, b, sin) = (left[i], right[i], sign * sin[i]);
                left[i] = multiply_add::<FMA>(a, cos[i], -(b * sin));
                right[i] = multiply_add::<FMA>(b, cos[i], a * sin);
            }
        }
    }
}

vectorised! {
    fn interleaved<FMA>(x: &mut [f32], stride: usize, cos: &[f32], sin: &[f32], pairs: usize, sign: f32) {
        let angles = cos.chunks_exact(pairs).zip(sin.chunks_exact(pairs));
        for (x, (cos, sin)) in x.chunks_exact_mut(stride).zip(angles) {
            for (i, pair) in x[..2 * pairs].chunks_exact_mut(2).enumerate() {
                let (a, b, sin) = (pair[0], pair[1], sign * sin[i]);
                pair[0] = multiply_add::<FMA>(a, cos[i], -(b * sin));
                pair[1] = multiply_add::<FMA>(b, cos[i], a * sin);
            }
        }
    }
}
