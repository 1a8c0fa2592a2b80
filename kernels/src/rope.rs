//! Rotary position embedding in the rotate-half form (Su et al. 2021, eq. 34, with the pairs `(i, i + d/2)` that Hugging
//! Face's llama uses, not the interleaved pairs of the paper).

use burn::tensor::Tensor;

/// Rotates each head's vector by its position's angles.
///
/// # Shapes
/// `x_bthd`: `[b, t, h, d]` with even `d`; `cos_td`, `sin_td`: `[t, d/2]`, the angle of pair `i` at each position.
pub fn rope(x_bthd: Tensor<4>, cos_td: Tensor<2>, sin_td: Tensor<2>) -> Tensor<4> {
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
