//! Returns, their normalisation by length, whitening: from rewards to advantages.

use super::{Recipe, Whiten};
use std::ops::Range;

/// Added to a variance before its root is taken.
const EPS: f64 = 1e-8;

/// Where the return of a token begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With its own reward: `R_t`.
    Current,
    /// With the next one's, since the single step accounts for its own: `R_{t+1}`.
    Following,
}

/// The advantage of every token: its return, by length and whitened as the recipe says.
///
/// # Shapes
/// `rewards`, `mask` and the result: row-major `[rows, width]`.
pub fn advantages(recipe: &Recipe, rewards: &[f64], mask: &[f32], width: usize) -> Vec<f64> {
    let mut values = discounted_returns(rewards, width, recipe.gamma, recipe.start);
    if recipe.length_norm {
        let left = tokens_left(mask, width, recipe.start);
        values
            .iter_mut()
            .zip(left)
            .for_each(|(value, left)| *value /= left);
    }
    whitened(values, mask, recipe.whiten)
}

/// `Σ_{s≥t} γ^{s−t} r_s`, or the same from the next token on. Rewards behind a response's end are 0.
///
/// # Shapes
/// As [`advantages`].
pub fn discounted_returns(rewards: &[f64], width: usize, gamma: f64, start: Start) -> Vec<f64> {
    backwards(rewards, width, start, |sum, reward| reward + gamma * sum)
}

/// How many rewards the return of a token sums, at least 1. Behind a response's end it is 1.
///
/// # Shapes
/// As [`advantages`].
pub fn tokens_left(mask: &[f32], width: usize, start: Start) -> Vec<f64> {
    let mask: Vec<f64> = mask.iter().map(|mask| f64::from(*mask)).collect();
    let mut counts = backwards(&mask, width, start, |sum, mask| mask + sum);
    for count in &mut counts {
        *count = count.max(1.0);
    }
    counts
}

/// Folds each row from its end on; a place gets the sum that begins where `start` says.
fn backwards(values: &[f64], width: usize, start: Start, fold: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut folded = vec![0.0; values.len()];
    for (values, folded) in values.chunks(width).zip(folded.chunks_mut(width)) {
        let mut sum = 0.0;
        for (value, folded) in values.iter().zip(folded).rev() {
            let before = sum;
            sum = fold(sum, *value);
            *folded = match start {
                Start::Current => sum,
                Start::Following => before,
            };
        }
    }
    folded
}

/// `(A − mean) / √(variance + 1e-8)`, with mean and variance over what `how` says.
///
/// # Shapes
/// As [`advantages`].
pub fn whitened(mut values: Vec<f64>, mask: &[f32], how: Whiten) -> Vec<f64> {
    let all = vec![1.0_f32; mask.len()];
    let (over, sample) = match how {
        Whiten::None => return values,
        Whiten::Reference => (all.as_slice(), 0.0),
        Whiten::ReferenceSample => (all.as_slice(), 1.0),
        Whiten::Masked => (mask, 0.0),
    };
    let count: f64 = over.iter().map(|over| f64::from(*over)).sum();
    let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
        let places = values.iter().zip(over);
        places.map(|(value, over)| of(*value) * f64::from(*over)).sum()
    };
    let mean = sum(&|value| value) / count;
    let variance = sum(&|value| (value - mean).powi(2)) / (count - sample).max(1.0);
    let scale = (variance + EPS).sqrt().recip();
    for (value, over) in values.iter_mut().zip(over) {
        *value = (*value - mean) * scale * f64::from(*over);
    }
    values
}

/// The places of row `row`.
pub(super) fn row(row: usize, width: usize) -> Range<usize> {
    row * width..(row + 1) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [f32; 6] = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];

    #[test]
    fn a_return_begins_with_its_own_reward_or_with_the_next() {
        let rewards = [1.0, 2.0, 4.0, 8.0, 0.0, 0.0];
        let current = discounted_returns(&rewards, 3, 0.5, Start::Current);
        assert_eq!(current, [3.0, 4.0, 4.0, 8.0, 0.0, 0.0]);
        let following = discounted_returns(&rewards, 3, 0.5, Start::Following);
        assert_eq!(following, [4.0, 4.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(
            tokens_left(&MASK, 3, Start::Current),
            [3.0, 2.0, 1.0, 1.0, 1.0, 1.0]
        );
        assert_eq!(
            tokens_left(&MASK, 3, Start::Following),
            [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        );
    }

    #[test]
    fn padding_changes_the_reference_whitening_and_no_other() {
        let values = vec![3.0, -1.0, 2.0, 5.0, 0.0, 0.0];
        let narrow = (vec![3.0, -1.0, 2.0, 5.0], [1.0_f32; 4]);
        for (how, same) in [
            (Whiten::Masked, true),
            (Whiten::None, true),
            (Whiten::Reference, false),
            (Whiten::ReferenceSample, false),
        ] {
            let wide = whitened(values.clone(), &MASK, how);
            let found = whitened(narrow.0.clone(), &narrow.1, how);
            assert_eq!(wide[..4] == found, same, "{how:?}");
        }
    }

    #[test]
    fn in_one_process_the_variance_is_that_of_a_sample() {
        let values = vec![3.0, -1.0, 2.0, 5.0, 0.0, 0.0];
        let [whole, sample] =
            [Whiten::Reference, Whiten::ReferenceSample].map(|how| whitened(values.clone(), &MASK, how));
        // Of n values the variance of a sample is n / (n − 1) times as large.
        for (whole, sample) in whole.iter().zip(&sample) {
            assert!(
                (sample - whole * (5.0_f64 / 6.0).sqrt()).abs() < 1e-8,
                "{sample} {whole}"
            );
        }
        assert_eq!(whitened(vec![2.0], &[1.0], Whiten::ReferenceSample), [0.0]);
    }
}
