//! What kernels share: tensors for their results, and sums over the units of a cube that works on one row.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{cubecl, tensor::CubeTensor};

/// Units of a cube that works on one row.
const UNITS: usize = 256;

/// A tensor without values, like another in all else.
pub(super) fn empty_like(tensor: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}

/// A contiguous tensor with these values that may be overwritten: the tensor itself where no one else holds it.
pub(super) fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// Units for rows of `d` elements: a power of two that the device takes.
pub(super) fn units(tensor: &CubeTensor, d: usize) -> usize {
    let most = tensor.client.properties().hardware.max_units_per_cube as usize;
    UNITS.min(most).min(d.next_power_of_two().max(32))
}

/// The sum of every unit's `value`, added up in a fixed order; every unit gets it.
#[cube]
pub(super) fn total(value: f32, #[comptime] units: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            shared[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    let sum = shared[0];
    sync_cube();
    sum
}

/// The greatest of every unit's `value`; every unit gets it.
#[cube]
pub(super) fn greatest(value: f32, #[comptime] units: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(units);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            if other > shared[unit] {
                shared[unit] = other;
            }
        }
        sync_cube();
        half /= 2;
    }
    let max = shared[0];
    sync_cube();
    max
}
