//! Gradients of losses as one vector over all parameters, and how alike two of them are.

use crate::inference::windows::floats;
use crate::model::Decoder;
use crate::tokens::Batch;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor, TensorData};
use lyceum_kernels::linear_cross_entropy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How two gradients are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// Their inner product: how far a small step on the one lowers the loss of the other.
    #[default]
    Dot,
    /// The cosine of their angle, which does not grow with their lengths.
    Cosine,
}

/// ⟨a, b⟩, or that over ‖a‖ · ‖b‖; 0 where either has no length.
pub fn similarity(kind: Similarity, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let length = || dot(a, a).sqrt() * dot(b, b).sqrt();
    match kind {
        Similarity::Dot => dot(a, b),
        Similarity::Cosine if length() == 0.0 => 0.0,
        Similarity::Cosine => dot(a, b) / length(),
    }
}

/// The gradient of Σ_n weight_n · nll_n with respect to every parameter, one after the other in the module's order.
///
/// `weights_n` has one entry a label of the batch, `rows · width`. The decoder lives on a device with automatic
/// differentiation.
pub(super) fn gradient(decoder: &Decoder, batch: &Batch, weights_n: Vec<f64>) -> Vec<f64> {
    let dtype = decoder.head().dtype();
    let device = decoder.device();
    let (rows, width) = (batch.rows, batch.width);
    let inputs_bt =
        Tensor::<2, Int>::from_data(TensorData::new(batch.inputs.clone(), [rows, width]), &device);
    let labels_n =
        Tensor::<1, Int>::from_data(TensorData::new(batch.labels.clone(), [rows * width]), &device);
    let weights_n = Tensor::<1>::from_data(TensorData::new(weights_n, [rows * width]), (&device, dtype));
    let hidden_btd = decoder.hidden(inputs_bt);
    let d = hidden_btd.dims()[2];
    let entropy = linear_cross_entropy(
        hidden_btd.reshape([rows * width, d]),
        decoder.head(),
        decoder.head_bias(),
        labels_n,
        weights_n,
        decoder.products(),
    );
    let mut flat = Flat {
        gradients: GradientsParams::from_grads(entropy.loss.backward(), decoder),
        values: Vec::new(),
    };
    decoder.visit(&mut flat);
    flat.values
}

/// ⟨direction, ∇ Σ_t weight_t · nll_t⟩ of every row of a batch, each by a backward pass of its own.
pub(super) fn row_dots(decoder: &Decoder, direction: &[f64], batch: &Batch, weights_n: &[f64]) -> Vec<f64> {
    let row = |row: usize| {
        let range = row * batch.width..(row + 1) * batch.width;
        let alone = Batch {
            inputs: batch.inputs[range.clone()].to_vec(),
            labels: batch.labels[range.clone()].to_vec(),
            mask: batch.mask[range.clone()].to_vec(),
            rows: 1,
            width: batch.width,
        };
        let gradient = gradient(decoder, &alone, weights_n[range].to_vec());
        similarity(Similarity::Dot, direction, &gradient)
    };
    (0..batch.rows).map(row).collect()
}

/// Gradients laid out one after the other; zeros for a parameter that has none.
struct Flat {
    gradients: GradientsParams,
    values: Vec<f64>,
}

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match self.gradients.remove::<D>(param.id) {
            Some(gradient) => self.values.extend(floats(gradient)),
            None => {
                let elements: usize = param.val().dims().iter().product();
                self.values.resize(self.values.len() + elements, 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_forgets_lengths_and_nothing_is_like_nothing() {
        let (a, b) = ([3.0, 4.0], [6.0, 8.0]);
        assert_eq!(similarity(Similarity::Dot, &a, &b), 50.0);
        assert!((similarity(Similarity::Cosine, &a, &b) - 1.0).abs() < 1e-15);
        assert_eq!(similarity(Similarity::Cosine, &a, &[-4.0, 3.0]), 0.0);
        assert_eq!(similarity(Similarity::Cosine, &a, &[0.0, 0.0]), 0.0);
    }
}
