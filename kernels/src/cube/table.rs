//! Rows of a table by their numbers: the gradient adds up what came back for each row in the order of the numbers, each cube for
//! rows of its own.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, cubecl::dtype_to_storage_type};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like};

/// Rows of the table that are one cube's.
const ROWS: usize = 16;

/// Units of a cube, and numbers that it looks at at once.
const UNITS: usize = 256;

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Rows<B: Backend> {
    /// `[n]`.
    pub(super) ids: IntTensor<B>,
}

impl<B: Backwards> Differentiable<B, 1> for Rows<B> {
    fn backward(&self, [table]: [FloatTensor<B>; 1], gradient: FloatTensor<B>) -> [FloatTensor<B>; 1] {
        [B::cube_rows_backward(table, self.ids.clone(), gradient)]
    }
}

#[cube(launch)]
fn backward_kernel<F: Float, G: Float, I: Int>(
    ids: &Tensor<I>,
    gradient: &Tensor<G>,
    by_table: &mut Tensor<F>,
    #[comptime] rows: usize,
    #[comptime] units: usize,
    #[define(F, G, I)] _dtypes: [ElemType; 3],
) {
    let d = by_table.shape(1);
    let first = CUBE_POS * rows;
    let mut end = (first + rows) * d;
    if end > by_table.len() {
        end = by_table.len();
    }
    let unit = UNIT_POS as usize;
    // A unit's columns are its own from here on, so that it waits for no other.
    for row in 0..rows {
        let mut column = unit;
        while column < d {
            let place = (first + row) * d + column;
            if place < end {
                by_table[place] = F::new(0.0);
            }
            column += units;
        }
    }
    let mut near = Shared::<[u32]>::new_slice(units);
    let mut start = 0usize;
    while start < ids.len() {
        // Which of the next numbers are of rows here: their place among them, or one that is none.
        let mut place = comptime!(rows as u32).runtime();
        if start + unit < ids.len() {
            let id = u32::cast_from(ids[start + unit]) as usize;
            if id >= first && id < first + rows {
                place = (id - first) as u32;
            }
        }
        near[unit] = place;
        sync_cube();
        for i in 0..units {
            let row = near[i] as usize;
            if row < rows {
                let mut column = unit;
                while column < d {
                    let sum = f32::cast_from(by_table[(first + row) * d + column])
                        + f32::cast_from(gradient[(start + i) * d + column]);
                    by_table[(first + row) * d + column] = F::cast_from(sum);
                    column += units;
                }
            }
        }
        sync_cube();
        start += units;
    }
}

/// The gradient of a table `[v, d]`, from that of its rows `ids`, `[n, d]`.
pub(super) fn backward(table: CubeTensor, ids: CubeTensor, gradient: CubeTensor) -> CubeTensor {
    let [ids, gradient] = [ids, gradient].map(into_contiguous);
    let by_table = empty_like(&table, table.shape(), table.dtype);
    let [v, d] = table.shape().dims();
    if v * d > 0 {
        let dtypes = [table.dtype, gradient.dtype, ids.dtype].map(dtype_to_storage_type);
        backward_kernel::launch(
            &table.client.clone(),
            CubeCount::Static(v.div_ceil(ROWS) as u32, 1, 1),
            CubeDim::new_1d(UNITS as u32),
            ids.into_tensor_arg(),
            gradient.into_tensor_arg(),
            by_table.clone().into_tensor_arg(),
            ROWS,
            UNITS,
            dtypes,
        );
    }
    by_table
}
