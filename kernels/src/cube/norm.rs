//! Layer and root-mean-square normalisation, one cube a row.

use burn::backend::tensor::FloatTensor;
use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type, ops::FloatTensorOps};
use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, cubecl, tensor::CubeTensor};

use super::{Backwards, Differentiable, empty_like, total, units};

/// Rows whose share of a weight's gradient one unit adds up.
const ROWS: usize = 64;

/// Units of a cube that adds up columns.
const COLUMNS: usize = 128;

/// The backward pass.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    /// Added to the mean square.
    pub(super) eps: f64,
    /// Whether the mean is taken off first, as in layer normalisation.
    pub(super) centred: bool,
}

impl<B: Backwards> Differentiable<B, 3> for Norm {
    fn backward(&self, [x, weight, _]: [FloatTensor<B>; 3], gradient: FloatTensor<B>) -> [FloatTensor<B>; 3] {
        B::cube_norm_backward(x, weight, gradient, self.eps, self.centred).into()
    }
}

/// The mean of a row, or zero.
#[cube]
fn mean<F: Float>(
    x: &Tensor<F>,
    start: usize,
    d: usize,
    #[comptime] units: usize,
    #[comptime] centred: bool,
) -> f32 {
    if centred {
        let mut sum = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < d {
            sum += f32::cast_from(x[start + i]);
            i += units;
        }
        total(sum, units) / d as f32
    } else {
        0.0f32.runtime()
    }
}

/// `1 / sqrt(mean((x − mean)²) + eps)` of a row.
#[cube]
fn scale<F: Float>(
    x: &Tensor<F>,
    start: usize,
    d: usize,
    mean: f32,
    eps: f32,
    #[comptime] units: usize,
) -> f32 {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < d {
        let x = f32::cast_from(x[start + i]) - mean;
        sum += x * x;
        i += units;
    }
    1.0 / (total(sum, units) / d as f32 + eps).sqrt()
}

#[cube(launch)]
fn forward_kernel<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<F>,
    bias: &Tensor<F>,
    value: &mut Tensor<F>,
    eps: f32,
    #[comptime] units: usize,
    #[comptime] centred: bool,
    #[define(F)] _dtype: ElemType,
) {
    let (row, d) = (CUBE_POS, weight.len());
    let start = row * d;
    if start >= x.len() {
        terminate!();
    }
    let mean = mean(x, start, d, units, centred);
    let scale = scale(x, start, d, mean, eps, units);
    let mut i = UNIT_POS as usize;
    while i < d {
        let mut normal = (f32::cast_from(x[start + i]) - mean) * scale * f32::cast_from(weight[i]);
        if centred {
            normal += f32::cast_from(bias[i]);
        }
        value[start + i] = F::cast_from(normal);
        i += units;
    }
}

/// With `n` the normal row, `r` its scale and `u = gradient · weight`: `∂x = r·(u − n·mean(u·n) − mean(u))`, the last only
/// where rows are centred. Leaves every row's mean and scale for [`columns_kernel`].
#[cube(launch)]
fn rows_kernel<F: Float>(
    x: &Tensor<F>,
    weight: &Tensor<F>,
    gradient: &Tensor<F>,
    by_x: &mut Tensor<F>,
    means: &mut Tensor<f32>,
    scales: &mut Tensor<f32>,
    eps: f32,
    #[comptime] units: usize,
    #[comptime] centred: bool,
    #[define(F)] _dtype: ElemType,
) {
    let (row, d) = (CUBE_POS, weight.len());
    let start = row * d;
    if start >= x.len() {
        terminate!();
    }
    let mean = mean(x, start, d, units, centred);
    let scale = scale(x, start, d, mean, eps, units);
    let mut along = 0.0f32;
    let mut level = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < d {
        let u = f32::cast_from(gradient[start + i]) * f32::cast_from(weight[i]);
        along += u * ((f32::cast_from(x[start + i]) - mean) * scale);
        level += u;
        i += units;
    }
    along = total(along, units) / d as f32;
    if centred {
        level = total(level, units) / d as f32;
    } else {
        level = 0.0;
    }
    let mut i = UNIT_POS as usize;
    while i < d {
        let u = f32::cast_from(gradient[start + i]) * f32::cast_from(weight[i]);
        let normal = (f32::cast_from(x[start + i]) - mean) * scale;
        by_x[start + i] = F::cast_from(scale * (u - normal * along - level));
        i += units;
    }
    if UNIT_POS == 0 {
        means[row] = mean;
        scales[row] = scale;
    }
}

/// `Σ gradient · n` and `Σ gradient` of some rows, one unit a column.
#[cube(launch)]
fn columns_kernel<F: Float>(
    x: &Tensor<F>,
    gradient: &Tensor<F>,
    means: &Tensor<f32>,
    scales: &Tensor<f32>,
    by_weight: &mut Tensor<f32>,
    by_bias: &mut Tensor<f32>,
    #[comptime] rows: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (column, part) = (ABSOLUTE_POS_X as usize, CUBE_POS_Y as usize);
    let d = by_weight.shape(1);
    if column >= d {
        terminate!();
    }
    let mut weight = 0.0f32;
    let mut bias = 0.0f32;
    let mut row = part * rows;
    let mut end = row + rows;
    if end > means.len() {
        end = means.len();
    }
    while row < end {
        let g = f32::cast_from(gradient[row * d + column]);
        weight += g * ((f32::cast_from(x[row * d + column]) - means[row]) * scales[row]);
        bias += g;
        row += 1;
    }
    by_weight[part * d + column] = weight;
    by_bias[part * d + column] = bias;
}

pub(super) fn forward(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    eps: f64,
    centred: bool,
) -> CubeTensor {
    let [x, weight, bias] = [x, weight, bias].map(into_contiguous);
    let (client, dtype, d) = (x.client.clone(), x.dtype, weight.shape().num_elements());
    let (rows, units) = (x.shape().num_elements() / d, units(&x, d));
    let value = empty_like(&x, x.shape(), dtype);
    if rows > 0 {
        forward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, rows, CubeDim::new_single()),
            CubeDim::new_1d(units as u32),
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            bias.into_tensor_arg(),
            value.clone().into_tensor_arg(),
            eps as f32,
            units,
            centred,
            dtype_to_storage_type(dtype),
        );
    }
    value
}

pub(super) fn backward(
    x: CubeTensor,
    weight: CubeTensor,
    gradient: CubeTensor,
    eps: f64,
    centred: bool,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let [x, weight, gradient] = [x, weight, gradient].map(into_contiguous);
    let (client, dtype, d) = (x.client.clone(), x.dtype, weight.shape().num_elements());
    let (rows, units) = (x.shape().num_elements() / d, units(&x, d));
    let parts = rows.div_ceil(ROWS);
    let by_x = empty_like(&x, x.shape(), dtype);
    let [means, scales] = [&x, &x].map(|x| empty_like(x, Shape::new([rows]), DType::F32));
    let sums = [&x, &x].map(|x| empty_like(x, Shape::new([parts, d]), DType::F32));
    if rows > 0 {
        rows_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, rows, CubeDim::new_single()),
            CubeDim::new_1d(units as u32),
            x.clone().into_tensor_arg(),
            weight.into_tensor_arg(),
            gradient.clone().into_tensor_arg(),
            by_x.clone().into_tensor_arg(),
            means.clone().into_tensor_arg(),
            scales.clone().into_tensor_arg(),
            eps as f32,
            units,
            centred,
            dtype_to_storage_type(dtype),
        );
        columns_kernel::launch(
            &client,
            CubeCount::Static(d.div_ceil(COLUMNS) as u32, parts as u32, 1),
            CubeDim::new_1d(COLUMNS as u32),
            x.into_tensor_arg(),
            gradient.into_tensor_arg(),
            means.into_tensor_arg(),
            scales.into_tensor_arg(),
            sums[0].clone().into_tensor_arg(),
            sums[1].clone().into_tensor_arg(),
            ROWS,
            dtype_to_storage_type(dtype),
        );
    }
    let [by_weight, by_bias] = sums.map(|sum| {
        let sum = super::sums::over_rows(sum);
        if dtype == DType::F32 {
            sum
        } else {
            CubeBackend::float_cast(sum, dtype.into())
        }
    });
    (by_x, by_weight, by_bias)
}
