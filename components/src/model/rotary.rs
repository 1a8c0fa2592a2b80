//! Angles of the rotary position embedding (Su et al. 2021).

use crate::{Error, Result};
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use lyceum_kernels::Pairing;

/// How heads are rotated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Angle a position, of each pair of elements; the first twice as many elements of a head are rotated.
    pub frequencies: Vec<f64>,
    /// Multiplies cosine and sine (YaRN's attention factor); 1 elsewhere.
    pub scale: f64,
    /// Which elements make a pair.
    pub pairing: Pairing,
}

impl Rotary {
    /// `theta^(−2i/d)` for the pairs of `dims` elements (eq. 15).
    pub fn new(dims: usize, theta: f64, pairing: Pairing) -> Self {
        let frequency = |i: usize| theta.powf(-2.0 * i as f64 / dims as f64);
        Self {
            frequencies: (0..dims / 2).map(frequency).collect(),
            scale: 1.0,
            pairing,
        }
    }

    /// `bad_config` unless it rotates something that a head has.
    pub(crate) fn check(&self, head_dim: usize) -> Result<()> {
        let rotated = 2 * self.frequencies.len();
        let bad = |what: String| Err(Error::data("bad_config", what));
        if rotated == 0 || rotated > head_dim {
            return bad(format!(
                "{rotated} elements of a head are rotated; expected 2 to {head_dim}"
            ));
        }
        if !self.frequencies.iter().all(|f| f.is_finite()) || !self.scale.is_finite() {
            return bad(
                "the rotary angles are not finite: look at `rope_theta` and `rope_scaling`".to_owned(),
            );
        }
        Ok(())
    }

    /// Cosine and sine of `position · frequency`, each `[positions, pairs]`.
    pub(crate) fn angles(&self, positions: usize, dtype: DType, device: &Device) -> [Tensor<2>; 2] {
        let pairs = self.frequencies.len();
        let angle = |index: usize| (index / pairs) as f64 * self.frequencies[index % pairs];
        [f64::cos, f64::sin].map(|function| {
            let values: Vec<f64> = (0..positions * pairs)
                .map(|index| function(angle(index)) * self.scale)
                .collect();
            let options = TensorCreationOptions::new(device.clone()).with_dtype(dtype);
            Tensor::from_data(TensorData::new(values, [positions, pairs]), options)
        })
    }
}
