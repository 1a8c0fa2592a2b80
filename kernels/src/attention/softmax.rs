//! The softmax of one query's scores, and its backward pass.

use crate::simd::{exponentials, sum2, vectorised};

vectorised! {
    /// Softmax of a query's scores after what is added to them, by distance and by key, of which each may be empty. A key
    /// whose bias is −∞ gets nothing, and so do all where each one's is.
    pub(super) fn softmax<FMA>(scores: &mut [f32], biases: [&[f32]; 2]) {
        let [by_distance, by_key] = biases;
        if scores.is_empty() {
            return;
        }
        for (score, bias) in scores.iter_mut().zip(by_distance) {
            *score += bias;
        }
        for (score, bias) in scores.iter_mut().zip(by_key) {
            *score = if *bias == f32::NEG_INFINITY { *bias } else { *score + bias };
        }
        let (_, sum) = exponentials::<FMA>(scores);
        let scale = 1.0 / sum;
        for score in scores.iter_mut() {
            *score *= scale;
        }
        // The exponential of −∞ is not quite zero.
        for (score, bias) in scores.iter_mut().zip(by_key) {
            *score = if *bias == f32::NEG_INFINITY { 0.0 } else { *score };
        }
    }
}

vectorised! {
    /// `∂scores = p · (∂p - Σ p·∂p)`, in place of `∂p`.
    pub(super) fn softmax_backward<FMA>(by_p: &mut [f32], p: &[f32]) {
        let along = sum2(p, by_p, |p, by_p| p * by_p);
        for (by_p, p) in by_p.iter_mut().zip(p) {
            *by_p = p * (*by_p - along);
        }
    }
}
