//! Attention of sequences over themselves that never holds the scores of all pairs (Dao et al. 2022), its queries, keys and
//! values in one tensor, read where they lie.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, cubecl::dtype_to_storage_type};
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::{Backwards, Differentiable, empty_like};

mod block;
mod by_keys;
mod by_queries;
mod forward;
#[cfg(test)]
mod tests;
mod tiles;

use block::Sizes;
use tiles::{LANES, TILE};

/// Elements of a vector of the type: sixteen bytes.
fn vector(dtype: DType) -> usize {
    16 / dtype.size()
}

/// Whether heads of `d` elements can be worked on: whole tiles, and a row of a head whole vectors.
pub(crate) fn fits(d: usize) -> bool {
    d.is_multiple_of(TILE) && d <= 128
}

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Attention<B: Backend> {
    /// The first key that each query sees, and the first after them, `[b, t, 2]`.
    pub(super) ranges: IntTensor<B>,
    /// `ln Σ exp(score)` of each query and head, `[b, h, t]` in f32.
    pub(super) sums: FloatTensor<B>,
    /// The values, `[b, t, h, d]`.
    pub(super) values: FloatTensor<B>,
    pub(super) scale: f64,
    /// Heads of keys, and of values.
    pub(super) groups: usize,
}

impl<B: Backwards> Differentiable<B, 1> for Attention<B> {
    fn backward(&self, [qkv]: [FloatTensor<B>; 1], gradient: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [B::cube_attention_backward(
            qkv,
            self.ranges.clone(),
            self.sums.clone(),
            self.values.clone(),
            gradient,
            self.scale,
            self.groups,
        )]
    }
}

/// The sizes of a call with `[b, t, heads of all, d]`.
fn sizes(qkv: &CubeTensor, groups: usize) -> Sizes {
    let [_, _, all, d] = qkv.shape().dims();
    let elem = dtype_to_storage_type(qkv.dtype);
    let cmma = &qkv.client.properties().features.matmul.cmma;
    let tile = TILE as u32;
    let accelerated = qkv.dtype == DType::BF16
        && cmma
            .iter()
            .any(|with| with.a_type == elem && with.b_type == elem && [with.m, with.n, with.k] == [tile; 3]);
    Sizes {
        heads: all - 2 * groups,
        groups,
        d,
        vector: vector(qkv.dtype),
        // Without tensor cores shared memory may be small as well.
        block: if accelerated { 64 } else { TILE },
        accelerated,
    }
}

impl Sizes {
    /// A cube for each block of `count` rows and each of `heads` heads.
    fn cubes(self, count: usize, heads: usize) -> CubeCount {
        CubeCount::Static(count.div_ceil(self.block) as u32, heads as u32, 1)
    }

    fn cube(self) -> CubeDim {
        CubeDim::new_2d(LANES as u32, (self.units() / LANES) as u32)
    }
}

/// `ln Σ exp(score)` of each query and head, `[b, h, t]` in f32.
pub(super) fn sums(qkv: CubeTensor, ranges: CubeTensor, scale: f64, groups: usize) -> CubeTensor {
    let [qkv, ranges] = [qkv, ranges].map(into_contiguous);
    let sizes = sizes(&qkv, groups);
    let [b, t, _, _] = qkv.shape().dims();
    let sums = empty_like(&qkv, Shape::new([b, sizes.heads, t]), DType::F32);
    let dtypes = [qkv.dtype, ranges.dtype].map(dtype_to_storage_type);
    forward::sums_kernel::launch(
        &qkv.client.clone(),
        sizes.cubes(t, b * sizes.heads),
        sizes.cube(),
        sizes.vector,
        qkv.into_tensor_arg(),
        ranges.into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        scale as f32,
        sizes,
        dtypes,
    );
    sums
}

/// The values, `[b, t, h, d]`.
pub(super) fn values(
    qkv: CubeTensor,
    ranges: CubeTensor,
    sums: CubeTensor,
    scale: f64,
    groups: usize,
) -> CubeTensor {
    let [qkv, ranges, sums] = [qkv, ranges, sums].map(into_contiguous);
    let sizes = sizes(&qkv, groups);
    let [b, t, _, d] = qkv.shape().dims();
    let values = empty_like(&qkv, Shape::new([b, t, sizes.heads, d]), qkv.dtype);
    let dtypes = [qkv.dtype, ranges.dtype].map(dtype_to_storage_type);
    forward::values_kernel::launch(
        &qkv.client.clone(),
        sizes.cubes(t, b * sizes.heads),
        sizes.cube(),
        sizes.vector,
        qkv.into_tensor_arg(),
        ranges.into_tensor_arg(),
        sums.into_tensor_arg(),
        values.clone().into_tensor_arg(),
        scale as f32,
        sizes,
        dtypes,
    );
    values
}

/// The gradient of queries, keys and values, `[b, t, heads of all, d]`.
pub(super) fn backward(
    [qkv, ranges, sums, values, gradient]: [CubeTensor; 5],
    scale: f64,
    groups: usize,
) -> CubeTensor {
    let [qkv, ranges, sums, values, gradient] = [qkv, ranges, sums, values, gradient].map(into_contiguous);
    let sizes = sizes(&qkv, groups);
    let [b, t, _, _] = qkv.shape().dims();
    let client = qkv.client.clone();
    let by_qkv = empty_like(&qkv, qkv.shape(), qkv.dtype);
    let levels = empty_like(&qkv, Shape::new([b, sizes.heads, t]), DType::F32);
    let dtypes = [qkv.dtype, ranges.dtype].map(dtype_to_storage_type);
    let count = b * t * sizes.heads;
    let dim = CubeDim::new(&client, count);
    by_queries::levels_kernel::launch(
        &client,
        calculate_cube_count_elemwise(&client, count, dim),
        dim,
        sizes.vector,
        values.into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        levels.clone().into_tensor_arg(),
        sizes,
        dtypes[0],
    );
    by_queries::queries_kernel::launch(
        &client,
        sizes.cubes(t, b * sizes.heads),
        sizes.cube(),
        sizes.vector,
        qkv.clone().into_tensor_arg(),
        ranges.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        levels.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        by_qkv.clone().into_tensor_arg(),
        scale as f32,
        sizes,
        dtypes,
    );
    by_keys::keys_kernel::launch(
        &client,
        sizes.cubes(t, b * groups),
        sizes.cube(),
        sizes.vector,
        qkv.into_tensor_arg(),
        ranges.into_tensor_arg(),
        sums.into_tensor_arg(),
        levels.into_tensor_arg(),
        gradient.into_tensor_arg(),
        by_qkv.clone().into_tensor_arg(),
        scale as f32,
        sizes,
        dtypes,
    );
    by_qkv
}
