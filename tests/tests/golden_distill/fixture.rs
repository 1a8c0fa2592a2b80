//! Tensors of fixtures, and logits as what a head makes of hidden states.

use burn::tensor::{DType, Device, Int, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::Projection;
use lyceum_tests::assert_close;

pub(crate) fn tensor<const D: usize>(
    values: &[f64],
    shape: [usize; D],
    dtype: DType,
    tracked: bool,
) -> Tensor<D> {
    let device = if tracked {
        Device::flex().autodiff()
    } else {
        Device::flex()
    };
    let options = TensorCreationOptions::new(device).with_dtype(dtype);
    let tensor = Tensor::from_data(TensorData::new(values.to_vec(), shape), options);
    if tracked { tensor.require_grad() } else { tensor }
}

pub(crate) fn vector(values: &[f64], dtype: DType) -> Tensor<1> {
    tensor(values, [values.len()], dtype, false)
}

pub(crate) fn ids(values: &[i64]) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Logits of `[n, v]` as a projection: the hidden states are the logits, the head the identity.
pub(crate) fn logits(values: &[f64], v: usize, dtype: DType, tracked: bool) -> Projection {
    through_identity(tensor(values, [values.len() / v, v], dtype, tracked))
}

/// The same of a tensor.
pub(crate) fn through_identity(logits_nv: Tensor<2>) -> Projection {
    let [_, v] = logits_nv.dims();
    let identity: Vec<f64> = (0..v * v).map(|i| f64::from(i / v == i % v)).collect();
    let head_vd = tensor(&identity, [v, v], logits_nv.dtype(), false);
    Projection {
        head_vd: if logits_nv.device().is_autodiff() {
            head_vd.autodiff()
        } else {
            head_vd
        },
        hidden_nd: logits_nv,
        bias_v: None,
    }
}

/// As [`assert_close`], with one as the least magnitude: some values are all zero.
#[track_caller]
pub(crate) fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let with_one = |values: &[f64]| values.iter().copied().chain([1.0]).collect::<Vec<f64>>();
    assert_close(what, &with_one(found), &with_one(expected), tolerance);
}
