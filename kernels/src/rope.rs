//! Rotary position embedding in the rotate-half form (Su et al. 2021, eq. 34, with the pairs `(i, i + d/2)` that Hugging
//! Face's llama uses, not the interleaved pairs of the paper).

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{self, Differentiable, Operation};
use crate::simd::{multiply_add, vectorised};

/// Rotates each head's vector by its position's angles, which are constants.
///
/// # Shapes
/// `x_bthd`: `[b, t, h, d]` with even `d`; `cos_td`, `sin_td`: `[t, d/2]`, the angle of pair `i` at each position.
pub fn rope(x_bthd: Tensor<4>, cos_td: Tensor<2>, sin_td: Tensor<2>) -> Tensor<4> {
    let [_, t, _, d] = x_bthd.dims();
    assert!(d % 2 == 0, "the width of a head is even");
    assert_eq!(
        (cos_td.dims(), sin_td.dims()),
        ([t, d / 2], [t, d / 2]),
        "one angle for each position and pair"
    );
    if !flex::is_fused(&x_bthd) {
        return reference(x_bthd, cos_td, sin_td);
    }
    Tensor::from_dispatch(Dispatch::fused_rope(
        x_bthd.into_dispatch(),
        cos_td.into_dispatch(),
        sin_td.into_dispatch(),
    ))
}

/// The operation composed of burn's.
pub(crate) fn reference(x_bthd: Tensor<4>, cos_td: Tensor<2>, sin_td: Tensor<2>) -> Tensor<4> {
    let [_, t, _, d] = x_bthd.dims();
    let half = d / 2;
    let cos: Tensor<4> = cos_td.reshape([1, t, 1, half]);
    let sin: Tensor<4> = sin_td.reshape([1, t, 1, half]);
    let left = x_bthd.clone().narrow(3, 0, half);
    let right = x_bthd.narrow(3, half, half);
    let rotated_left = left.clone() * cos.clone() - right.clone() * sin.clone();
    let rotated_right = right * cos + left * sin;
    Tensor::cat(vec![rotated_left, rotated_right], 3)
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
    fn forward(&self, [x]: [&FlexTensor; 1]) -> FlexTensor {
        self.apply(x, 1.0)
    }

    /// A rotation's transpose is its inverse.
    fn backward(&self, _: [&FlexTensor; 1], gradient: &FlexTensor) -> [FlexTensor; 1] {
        [self.apply(gradient, -1.0)]
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
                )
            });
        }
    }
}
