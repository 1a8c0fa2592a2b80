//! What answers are worth.

use super::file::{Generation, GenerationMetric};
use super::item::{Ask, Item};
use super::task::{Kind, Task};
use crate::inference::PairScore;
use crate::metrics::{Rouge, exact_match};
use crate::table::bootstrap_error;
use serde::{Deserialize, Serialize};

/// A model's answers to the items of a task.
#[derive(Debug, Clone, Copy)]
pub enum Answered<'a> {
    /// The scores of all pairs, in the order in which items ask for them.
    Scored(&'a [PairScore]),
    /// What was written, a text an item.
    Written(&'a [String]),
}

/// A figure, and every item's part in it; the parts average to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// As tables call it.
    pub metric: String,
    /// The figure.
    pub value: f64,
    /// The items' numbers.
    pub instances: Vec<u64>,
    /// Their parts.
    pub parts: Vec<f64>,
}

impl Measured {
    /// The bootstrap's standard error.
    pub fn standard_error(&self) -> Option<f64> {
        bootstrap_error(&self.parts)
    }
}

/// The figures of a task: `acc` and `acc_norm` of multiple choice (only `acc` where one answer follows several questions,
/// and of labels), `acc` and `perplexity` of a last word, the metrics that a generation names.
pub fn results(task: &Task, items: &[Item], answered: Answered) -> Vec<Measured> {
    match (answered, &task.file.generation) {
        (Answered::Written(texts), Some(generation)) => written(generation, items, texts),
        (Answered::Scored(scores), _) => scored(task, items, scores),
        (Answered::Written(_), None) => Vec::new(),
    }
}

fn scored(task: &Task, items: &[Item], scores: &[PairScore]) -> Vec<Measured> {
    let mut rest = scores;
    let mut take = |count: usize| {
        let (these, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        these
    };
    let total = |score: &PairScore| score.token_logprobs.iter().sum::<f64>();
    let (mut plain, mut normalised, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        match &item.ask {
            Ask::Choose {
                contexts,
                bytes,
                gold,
                ..
            } => {
                let sums: Vec<f64> = take(contexts.len()).iter().map(total).collect();
                plain.push(f64::from(largest(&sums) == Some(*gold)));
                let per_byte = sums.iter().zip(bytes).map(|(sum, &n)| sum / n.max(1) as f64);
                normalised.push(f64::from(largest(&per_byte.collect::<Vec<_>>()) == Some(*gold)));
            }
            Ask::Continue { .. } => {
                for score in take(1) {
                    plain.push(f64::from(score.greedy));
                    words.push(-total(score));
                }
            }
            Ask::Write { .. } => {}
        }
    }
    let mut all = vec![mean("acc", items, plain)];
    match task.kind {
        Kind::Choices { .. } => all.push(mean("acc_norm", items, normalised)),
        Kind::LastWord { .. } => all.push(perplexity(items, words)),
        _ => {}
    }
    all
}

fn written(generation: &Generation, items: &[Item], texts: &[String]) -> Vec<Measured> {
    let mut rouge = Rouge::new(generation.stemmer);
    let cut = |text: &'_ str| -> String {
        generation
            .answer
            .as_ref()
            .map_or(text.trim(), |answer| answer.of(text))
            .to_owned()
    };
    let mut figure = |metric: GenerationMetric| {
        let parts = items.iter().zip(texts).filter_map(|(item, text)| {
            let Ask::Write { references, .. } = &item.ask else {
                return None;
            };
            let text = cut(text);
            let references: Vec<String> = references.iter().map(|one| cut(one)).collect();
            let mut references = references.iter().map(String::as_str);
            Some(match metric.rouge() {
                Some(variant) => rouge.best(variant, references, &text).f,
                None => f64::from(references.any(|one| exact_match(one, &text))),
            })
        });
        let parts = parts.collect();
        mean(metric.name(), items, parts)
    };
    generation.metrics.iter().map(|&metric| figure(metric)).collect()
}

fn mean(metric: &str, items: &[Item], parts: Vec<f64>) -> Measured {
    Measured {
        metric: metric.to_owned(),
        value: parts.iter().sum::<f64>() / parts.len() as f64,
        instances: items.iter().map(|item| item.number).collect(),
        parts,
    }
}

/// exp of the mean of words' negative log-probabilities. Parts are to first order around it, as a standard error is.
fn perplexity(items: &[Item], words: Vec<f64>) -> Measured {
    let loss = words.iter().sum::<f64>() / words.len() as f64;
    let value = loss.exp();
    Measured {
        metric: "perplexity".to_owned(),
        value,
        instances: items.iter().map(|item| item.number).collect(),
        parts: words.iter().map(|word| value * (1.0 + word - loss)).collect(),
    }
}

/// The place of the largest number; of equal ones the first.
fn largest(values: &[f64]) -> Option<usize> {
    let mut best = None::<(usize, f64)>;
    for (i, &value) in values.iter().enumerate() {
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((i, value));
        }
    }
    best.map(|(i, _)| i)
}
