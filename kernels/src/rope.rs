//! Rotary position embedding (Su et al. 2021, eq. 34), of whole heads or their first part, in both orders of pairs.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(feature = "cube")]
use crate::cube;
use crate::flex::{self, Differentiable, Operation};
use crate::simd::{multiply_add, vectorised};

/// Which two elements of a head's rotated part turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `(i, i + r)` (rotate-half, as in llama and gpt-neox).
    Halves,
    /// `(2i, 2i + 1)` (as in the paper and gpt-j).
    Interleaved,
}

/// Rotates the first `2·r` elements of each head's vector by its position's angles, which are constants; the others pass.
///
/// # Shapes
/// `x_bthd`: `[b, t, h, d]`; `cos_tr`, `sin_tr`: `[t, r]` with `2·r ≤ d`, the angle of pair `i` at each position.
pub fn rope(x_bthd: Tensor<4>, cos_tr: Tensor<2>, sin_tr: Tensor<2>, pairing: Pairing) -> Tensor<4> {
    let ([_, t, _, d], [_, r]) = (x_bthd.dims(), cos_tr.dims());
    assert!(2 * r <= d, "the rotated part fits the head");
    assert_eq!(
        (cos_tr.dims(), sin_tr.dims()),
        ([t, r], [t, r]),
        "one angle for each position and pair"
    );
    #[cfg(feature = "cube")]
    if cube::takes(&x_bthd)
        && pairing == Pairing::Halves
        && 2 * r == d
        && [&cos_tr, &sin_tr].map(Tensor::dtype) == [x_bthd.dtype(); 2]
    {
        return cube::rope(x_bthd, cos_tr, sin_tr);
    }
    if !flex::is_fused(&x_bthd) || pairing == Pairing::Interleaved || 2 * r < d {
        return reference(x_bthd, cos_tr, sin_tr, pairing);
    }
    Tensor::from_dispatch(Dispatch::fused_rope(
        x_bthd.into_dispatch(),
        cos_tr.into_dispatch(),
        sin_tr.into_dispatch(),
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(
    x_bthd: Tensor<4>,
    cos_tr: Tensor<2>,
    sin_tr: Tensor<2>,
    pairing: Pairing,
) -> Tensor<4> {
    let ([b, t, h, d], [_, r]) = (x_bthd.dims(), cos_tr.dims());
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
}

impl Rope {
    /// A rotation by these angles, `[t, d/2]`.
    pub(crate) fn new(cos: &FlexTensor, sin: &FlexTensor) -> Self {
        Self {
            cos: cos.to_contiguous(),
            sin: sin.to_contiguous(),
        }
    }

    /// Rotates by the angles times `sign`.
    fn apply(&self, x: &FlexTensor, sign: f32) -> FlexTensor {
        let [_, t, h, d] = flex::dims(x);
        let (cos, sin) = (self.cos.storage::<f32>(), self.sin.storage::<f32>());
        let xs = x.storage::<f32>();
        let mut values = vec![0.0; xs.len()];
        // One task a sequence.
        values
            .par_chunks_mut((t * h * d).max(1))
            .zip(xs.par_chunks((t * h * d).max(1)))
            .for_each(|(value, x)| {
                rotate(value, x, cos, sin, h, d, sign);
            });
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

vectorised! {
    fn rotate<FMA>(value: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], h: usize, d: usize, sign: f32) {
        let half = d / 2;
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        for ((value, x), (cos, sin)) in value.chunks_exact_mut(h * d).zip(x.chunks_exact(h * d)).zip(angles) {
            for (value, x) in value.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                let ((new_left, new_right), (left, right)) = (value.split_at_mut(half), x.split_at(half));
                for i in 0..half {
                    let sin = sign * sin[i];
                    new_left[i] = multiply_add::<FMA>(left[i], cos[i], -(right[i] * sin));
                    new_right[i] = multiply_add::<FMA>(right[i], cos[i], left[i] * sin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, tensor, values};

    #[test]
    fn fused_equals_reference_and_differences() {
        for [b, t, h, d] in [[1, 1, 1, 2], [2, 5, 3, 6], [3, 17, 2, 32]] {
            let angles = values(3, t * d / 2, 3.0);
            let (cos, sin): (Vec<f64>, Vec<f64>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
            check(&[(values(1, b * t * h * d, 1.0), [b, t, h, d])], |[x]| {
                let dtype = x.dtype();
                rope(
                    x,
                    tensor(&cos, [t, d / 2], dtype, false),
                    tensor(&sin, [t, d / 2], dtype, false),
                    Pairing::Halves,
                )
            });
        }
    }
}
