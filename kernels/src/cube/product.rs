//! Products of matrices, batch by batch: by NVIDIA's library where there is one, else by burn's kernels.

use burn::backend::tensor::FloatTensor;
use burn::backend::{TensorMetadata, ops::FloatTensorOps};
use burn::tensor::DType;
#[cfg(any(feature = "cuda", feature = "fusion"))]
use burn::tensor::Shape;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use super::{Backwards, Differentiable};

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Product;

impl<B: Backwards> Differentiable<B, 2> for Product {
    fn backward(&self, [a, b]: [FloatTensor<B>; 2], gradient: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        let turned = |x: FloatTensor<B>| {
            let rank = x.shape().num_dims();
            B::float_swap_dims(x, rank - 2, rank - 1)
        };
        let (a_type, b_type) = (a.dtype(), b.dtype());
        [
            B::cube_product_as(gradient.clone(), turned(b), a_type),
            B::cube_product_as(turned(a), gradient, b_type),
        ]
    }
}

/// The shape of `[…, m, k] · […, k, n]`.
#[cfg(any(feature = "cuda", feature = "fusion"))]
pub(super) fn shape(a: &Shape, b: &Shape) -> Shape {
    let mut shape = a.clone();
    let rank = shape.num_dims();
    shape[rank - 1] = b[rank - 1];
    shape
}

/// `a · b` in this type. Where one of them is bfloat16, both are taken so; sums are in f32 always.
pub(super) fn product(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
    let narrow = if [a.dtype, b.dtype].contains(&DType::BF16) {
        DType::BF16
    } else {
        a.dtype
    };
    let [a, b] = [a, b].map(|x| {
        if x.dtype == narrow {
            x
        } else {
            CubeBackend::float_cast(x, narrow.into())
        }
    });
    #[cfg(feature = "cuda")]
    if let Some(product) = super::cublas::product(&a, &b, dtype) {
        return product;
    }
    let product =
        matmul(a, b, None, MatmulStrategy::default(), narrow).expect("burn has a kernel for every product");
    if dtype == narrow {
        product
    } else {
        CubeBackend::float_cast(product, dtype.into())
    }
}
