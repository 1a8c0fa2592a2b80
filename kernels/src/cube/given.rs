//! A value whose gradients are known beforehand.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::Shape;

use super::{Backwards, Differentiable};

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Given<B: Backend> {
    /// The gradients of the two inputs.
    pub(super) by: [FloatTensor<B>; 2],
}

impl<B: Backwards> Differentiable<B, 2> for Given<B> {
    fn backward(&self, _: [FloatTensor<B>; 2], gradient: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        self.by.clone().map(|by| {
            let ones = Shape::from(vec![1; by.shape().num_dims()]);
            B::float_mul(by, B::float_reshape(gradient.clone(), ones))
        })
    }
}
