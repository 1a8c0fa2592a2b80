//! How sure a model is of what it chooses.

use super::item::{Ask, Item};
use super::measure::Settings;
use super::requests::pairs;
use crate::inference::{LanguageModel, PairScore, score_pairs};
use crate::{Device, Error, Result};
use serde::{Deserialize, Serialize};

/// The answer that a model holds for the most probable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The item's number.
    pub number: u64,
    /// Its probability among the answers there are.
    pub confidence: f64,
    /// Whether it is the right one.
    pub correct: bool,
}

/// Asks the model items that have answers to choose from; `done` hears how many were scored.
///
/// # Errors
/// `no_choices`: an item has none; and those of scoring.
pub fn choose(
    items: &[Item],
    model: &LanguageModel,
    settings: &Settings,
    device: &Device,
    done: &mut (dyn FnMut(u64) -> Result<()> + Send),
) -> Result<Vec<Chosen>> {
    if !items.iter().all(|item| matches!(item.ask, Ask::Choose { .. })) {
        return Err(
            Error::data("no_choices", "the task has no answers to choose from")
                .hint("take a task with `[multiple_choice]` or `[classification]`"),
        );
    }
    let scores = score_pairs(model, &pairs(items, model)?, settings.batch_size, device, done)?;
    Ok(chosen(items, &scores))
}

fn chosen(items: &[Item], scores: &[PairScore]) -> Vec<Chosen> {
    let mut rest = scores;
    let mut all = Vec::new();
    for item in items {
        let Ask::Choose { contexts, gold, .. } = &item.ask else {
            continue;
        };
        let (own, after) = rest.split_at(contexts.len().min(rest.len()));
        rest = after;
        let sums: Vec<f64> = own
            .iter()
            .map(|score| score.token_logprobs.iter().sum())
            .collect();
        let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = sums.iter().map(|sum| (sum - most).exp()).sum();
        all.push(Chosen {
            number: item.number,
            confidence: 1.0 / total,
            correct: sums.iter().position(|&sum| sum == most) == Some(*gold),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_the_share_of_the_likeliest_answer() {
        let item = |number, gold| Item {
            number,
            ask: Ask::Choose {
                contexts: vec![String::new(); 2],
                continuations: vec![String::new(); 2],
                bytes: vec![1; 2],
                gold,
            },
        };
        let score = |logprobs: &[f64]| PairScore {
            token_logprobs: logprobs.to_vec(),
            greedy: false,
        };
        let scores = [
            score(&[-1.0, 0.25_f64.ln()]),
            score(&[-1.0, 0.75_f64.ln()]),
            score(&[0.5_f64.ln()]),
            score(&[0.5_f64.ln()]),
        ];
        let found = chosen(&[item(4, 1), item(7, 1)], &scores);
        assert!((found[0].confidence - 0.75).abs() < 1e-12 && found[0].correct);
        assert!(
            (found[1].confidence - 0.5).abs() < 1e-12 && !found[1].correct,
            "of equal ones the first"
        );
        assert_eq!((found[0].number, found[1].number), (4, 7));
    }
}
