//! Sums over rows and over all elements, in parts that many units work on at once and in a fixed order.

use burn::backend::tensor::FloatTensor;
use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type, ops::FloatTensorOps};
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like, total};

/// Rows that one unit adds up.
const ROWS: usize = 64;

/// Units of a cube that adds up columns.
const COLUMNS: usize = 128;

/// Units of a cube that adds up elements.
const UNITS: usize = 256;

/// Elements that one cube adds up.
const PART: usize = 1 << 14;

/// Sums of some rows of `[rows, columns]`, one unit a column.
#[cube(launch)]
fn rows_kernel<F: Float>(
    x: &Tensor<F>,
    sums: &mut Tensor<f32>,
    columns: usize,
    #[comptime] rows: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (column, part) = (ABSOLUTE_POS_X as usize, CUBE_POS_Y as usize);
    if column >= columns {
        terminate!();
    }
    let mut sum = 0.0f32;
    let mut place = part * rows * columns + column;
    let mut end = (part + 1) * rows * columns;
    if end > x.len() {
        end = x.len();
    }
    while place < end {
        sum += f32::cast_from(x[place]);
        place += columns;
    }
    sums[part * columns + column] = sum;
}

/// The sum of all rows of `[…, columns]`, `[columns]` in f32.
pub(super) fn over_rows(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let shape = x.shape();
    let columns = shape[shape.num_dims() - 1];
    let mut rows = shape.num_elements() / columns.max(1);
    let mut sums = x;
    loop {
        let parts = rows.div_ceil(ROWS).max(1);
        let next = empty_like(&sums, Shape::new([parts, columns]), DType::F32);
        if columns > 0 {
            rows_kernel::launch(
                &sums.client.clone(),
                CubeCount::Static(columns.div_ceil(COLUMNS) as u32, parts as u32, 1),
                CubeDim::new_1d(COLUMNS as u32),
                sums.clone().into_tensor_arg(),
                next.clone().into_tensor_arg(),
                columns,
                ROWS,
                dtype_to_storage_type(sums.dtype),
            );
        }
        (sums, rows) = (next, parts);
        if rows == 1 {
            return CubeBackend::float_reshape(sums, Shape::new([columns]));
        }
    }
}

/// Sums of parts of the elements or their squares, one cube a part.
#[cube(launch)]
fn parts_kernel<F: Float>(
    x: &Tensor<F>,
    sums: &mut Tensor<f32>,
    #[comptime] squared: bool,
    #[comptime] part: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    if CUBE_POS >= sums.len() {
        terminate!();
    }
    let mut end = (CUBE_POS + 1) * part;
    if end > x.len() {
        end = x.len();
    }
    let mut sum = 0.0f32;
    let mut i = CUBE_POS * part + UNIT_POS as usize;
    while i < end {
        let value = f32::cast_from(x[i]);
        if squared {
            sum += value * value;
        } else {
            sum += value;
        }
        i += units;
    }
    let sum = total(sum, units);
    if UNIT_POS == 0 {
        sums[CUBE_POS] = sum;
    }
}

/// `Σ x²`, `[1]` in f32.
pub(super) fn squares(x: CubeTensor) -> CubeTensor {
    let mut sums = into_contiguous(x);
    let mut squared = true;
    loop {
        let parts = sums.shape().num_elements().div_ceil(PART).max(1);
        let next = empty_like(&sums, Shape::new([parts]), DType::F32);
        parts_kernel::launch(
            &sums.client.clone(),
            calculate_cube_count_elemwise(&sums.client, parts, CubeDim::new_single()),
            CubeDim::new_1d(UNITS as u32),
            sums.clone().into_tensor_arg(),
            next.clone().into_tensor_arg(),
            squared,
            PART,
            UNITS,
            dtype_to_storage_type(sums.dtype),
        );
        (sums, squared) = (next, false);
        if parts == 1 {
            return sums;
        }
    }
}

/// The backward pass of adding a bias to every row.
#[derive(Debug, Clone)]
pub(super) struct Bias;

impl<B: Backwards> Differentiable<B, 2> for Bias {
    fn backward(&self, _: [FloatTensor<B>; 2], gradient: FloatTensor<B>) -> [FloatTensor<B>; 2] {
        [gradient.clone(), B::cube_sum_rows(gradient)]
    }
}

#[cube(launch)]
fn bias_kernel<F: Float>(
    x: &Tensor<F>,
    bias: &Tensor<f32>,
    value: &mut Tensor<F>,
    #[define(F)] _dtype: ElemType,
) {
    let i = ABSOLUTE_POS;
    if i >= x.len() {
        terminate!();
    }
    value[i] = F::cast_from(f32::cast_from(x[i]) + bias[i % bias.len()]);
}

/// `x + bias` for every row; the bias is f32.
pub(super) fn bias(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
    let [x, bias] = [x, bias].map(into_contiguous);
    let (client, count) = (x.client.clone(), x.shape().num_elements());
    let value = empty_like(&x, x.shape(), x.dtype);
    if count > 0 {
        let cube_dim = CubeDim::new(&client, count);
        bias_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, count, cube_dim),
            cube_dim,
            x.clone().into_tensor_arg(),
            bias.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            dtype_to_storage_type(x.dtype),
        );
    }
    value
}
