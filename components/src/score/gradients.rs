//! How alike two gradients are.

use crate::gradients::gradient;
use crate::model::Decoder;
use crate::tokens::Batch;
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
        similarity(Similarity::Dot, direction, &gradient.numbers())
    };
    (0..batch.rows).map(row).collect()
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
