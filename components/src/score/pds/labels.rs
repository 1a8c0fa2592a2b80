//! From scores to what a scorer is trained on, and how its predictions are judged (PDS, sheet 2.3).

use crate::{Error, Result};

/// Mean and spread of the scores that labels were made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Population standard deviation.
    pub deviation: f64,
}

/// Scores less their mean, in standard deviations, cut at ± `clip`.
///
/// # Errors
/// `zero_variance`: all scores are equal, or there is one.
pub fn z_scores(scores: &[f64], clip: f64) -> Result<(Vec<f64>, Moments)> {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let deviation = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / n).sqrt();
    // A spread that is rounding only is none.
    let largest = scores
        .iter()
        .fold(0.0_f64, |largest, score| largest.max(score.abs()));
    if scores.len() < 2 || deviation <= largest * f64::EPSILON {
        let message = format!("{} scores without any spread cannot be learnt from", scores.len());
        return Err(Error::data("zero_variance", message).hint("score more items"));
    }
    let label = |score: &f64| ((score - mean) / deviation).clamp(-clip, clip);
    Ok((scores.iter().map(label).collect(), Moments { mean, deviation }))
}

/// Which of the values belong to the highest `share`, truncated; of equal values the first.
pub fn highest(values: &[f64], share: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]).then(i.cmp(&j)));
    let mut chosen = vec![false; values.len()];
    let count = (share * values.len() as f64) as usize;
    order[..count].iter().for_each(|&i| chosen[i] = true);
    chosen
}

/// Accuracy, and F1 of the chosen, of `found` against `expected`. F1 is 0 where nothing is chosen in both.
pub fn accuracy_and_f1(expected: &[bool], found: &[bool]) -> (f64, f64) {
    let pairs = || expected.iter().zip(found);
    let equal = pairs().filter(|(a, b)| a == b).count() as f64;
    let both = pairs().filter(|(a, b)| **a && **b).count() as f64;
    let either: usize = [expected, found]
        .iter()
        .map(|side| side.iter().filter(|chosen| **chosen).count())
        .sum();
    (
        equal / expected.len() as f64,
        2.0 * both / (either as f64).max(1.0),
    )
}
