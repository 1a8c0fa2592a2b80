//! Angles of the rotary position embedding.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};

/// Cosine and sine of `position · theta^(−2i/d)`, each `[positions, d/2]` (Su et al. 2021, eq. 15).
pub(crate) fn angles(
    positions: usize,
    head_dim: usize,
    theta: f64,
    dtype: DType,
    device: &Device,
) -> [Tensor<2>; 2] {
    let half = head_dim / 2;
    let angle = |index: usize| {
        let (position, pair) = (index / half, index % half);
        position as f64 * theta.powf(-2.0 * pair as f64 / head_dim as f64)
    };
    [f64::cos, f64::sin].map(|function| {
        let values: Vec<f64> = (0..positions * half)
            .map(|index| function(angle(index)))
            .collect();
        let options = TensorCreationOptions::new(device.clone()).with_dtype(dtype);
        Tensor::from_data(TensorData::new(values, [positions, half]), options)
    })
}
