//! Measures of what models write.

use super::write::Written;
use crate::artifact::{Place, Table};
use crate::evaluate::questions::{Question, groups};
use crate::metrics::{Rouge, Variant, distinct, exact_match};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A measure of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of texts equal to a reference but for case, punctuation and white space.
    ExactMatch,
    /// F of tokens in common.
    #[serde(rename = "rouge_1")]
    Rouge1,
    /// F of pairs of tokens in common.
    #[serde(rename = "rouge_2")]
    Rouge2,
    /// F of the longest common subsequence.
    RougeL,
    /// Different words as a share of all words of a draw.
    #[serde(rename = "distinct_1")]
    Distinct1,
    /// Different pairs of words as a share of all pairs of a draw.
    #[serde(rename = "distinct_2")]
    Distinct2,
    /// Different runs of three words as a share of all of a draw.
    #[serde(rename = "distinct_3")]
    Distinct3,
    /// Different runs of four words as a share of all of a draw.
    #[serde(rename = "distinct_4")]
    Distinct4,
    /// Tokens that were written, the one that ends a text included.
    Tokens,
    /// Share of texts that ended before they had as many tokens as were asked for.
    Ended,
}

/// How a metric is worked out.
enum Kind {
    /// Of each text.
    Text(fn(&mut Rouge, &Question, &Written) -> f64),
    /// Of all texts of a draw: over runs of so many words.
    Draw(usize),
}

impl Metric {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::Rouge1 => "rouge_1",
            Self::Rouge2 => "rouge_2",
            Self::RougeL => "rouge_l",
            Self::Distinct1 => "distinct_1",
            Self::Distinct2 => "distinct_2",
            Self::Distinct3 => "distinct_3",
            Self::Distinct4 => "distinct_4",
            Self::Tokens => "tokens",
            Self::Ended => "ended",
        }
    }

    fn kind(self) -> Kind {
        fn best(rouge: &mut Rouge, variant: Variant, question: &Question, written: &Written) -> f64 {
            let references = question.references.iter().map(String::as_str);
            rouge.best(variant, references, written.text.trim()).f
        }
        match self {
            Self::ExactMatch => Kind::Text(|_, question, written| {
                let equal = |one: &String| exact_match(one, &written.text);
                f64::from(question.references.iter().any(equal))
            }),
            Self::Rouge1 => {
                Kind::Text(|rouge, question, written| best(rouge, Variant::One, question, written))
            }
            Self::Rouge2 => {
                Kind::Text(|rouge, question, written| best(rouge, Variant::Two, question, written))
            }
            Self::RougeL => Kind::Text(|rouge, question, written| best(rouge, Variant::L, question, written)),
            Self::Tokens => Kind::Text(|_, _, written| written.tokens as f64),
            Self::Ended => Kind::Text(|_, _, written| f64::from(written.ended)),
            Self::Distinct1 => Kind::Draw(1),
            Self::Distinct2 => Kind::Draw(2),
            Self::Distinct3 => Kind::Draw(3),
            Self::Distinct4 => Kind::Draw(4),
        }
    }
}

/// Some of the questions, and what they are called.
struct Group {
    name: Option<String>,
    places: Vec<usize>,
}

/// All questions; then those of each length of the first reference, in words; then those of each group.
fn parts(questions: &[Question], buckets: &[u64]) -> Vec<Group> {
    let mut parts = vec![Group {
        name: None,
        places: (0..questions.len()).collect(),
    }];
    let words = |question: &Question| question.references[0].split_whitespace().count() as u64;
    if !buckets.is_empty() {
        for bucket in 0..=buckets.len() {
            let low = bucket.checked_sub(1).map_or(0, |before| buckets[before] + 1);
            let high = buckets.get(bucket);
            let inside = |place: &usize| {
                let words = words(&questions[*place]);
                words >= low && high.is_none_or(|&high| words <= high)
            };
            let name = match high {
                Some(&high) if high == low => format!("{low} words"),
                Some(high) => format!("{low}–{high} words"),
                None => format!("{low} words and more"),
            };
            parts.push(Group {
                name: Some(name),
                places: (0..questions.len()).filter(inside).collect(),
            });
        }
    }
    let named = groups(questions).into_iter().map(|(name, places)| Group {
        name: Some(name.to_owned()),
        places,
    });
    parts.extend(named);
    parts.retain(|part| !part.places.is_empty());
    parts
}

/// What models are measured by.
pub(super) struct Measuring<'a> {
    pub(super) metrics: &'a [Metric],
    pub(super) stemmer: bool,
    pub(super) buckets: &'a [u64],
    pub(super) draws: usize,
}

impl Measuring<'_> {
    /// Adds a model's figures; `texts` holds the draws of every question.
    pub(super) fn compare(
        &self,
        questions: &[Question],
        texts: &[Vec<Written>],
        label: &str,
        table: &mut Table,
    ) {
        let mut rouge = Rouge::new(self.stemmer);
        let parts = parts(questions, self.buckets);
        for metric in self.metrics {
            let scores: Option<Vec<Vec<f64>>> = match metric.kind() {
                Kind::Draw(_) => None,
                Kind::Text(score) => {
                    let each = questions.iter().zip(texts).map(|(question, draws)| {
                        let scores = draws.iter().map(|text| score(&mut rouge, question, text));
                        scores.collect()
                    });
                    Some(each.collect())
                }
            };
            for part in &parts {
                let place = Place::of(label, metric.name()).within(part.name.as_deref());
                let means = match (&scores, metric.kind()) {
                    (Some(scores), _) => {
                        let instances: Vec<u64> =
                            part.places.iter().map(|&i| questions[i].instance).collect();
                        let own: Vec<f64> = part.places.iter().map(|&i| mean(&scores[i])).collect();
                        table.mean(place, &instances, &own);
                        let of_draw =
                            |draw| mean(&part.places.iter().map(|&i| scores[i][draw]).collect::<Vec<_>>());
                        (0..self.draws).map(of_draw).collect::<Vec<f64>>()
                    }
                    (None, Kind::Draw(n)) => {
                        let means: Vec<f64> = (0..self.draws)
                            .map(|draw| share_of_distinct(part.places.iter().map(|&i| &texts[i][draw]), n))
                            .collect();
                        // The draws are what it varies over: with one, nothing is known of its error.
                        let error = (self.draws > 1).then(|| deviation(&means) / (self.draws as f64).sqrt());
                        table.figure(place, mean(&means), part.places.len() as u64, error);
                        means
                    }
                    (None, Kind::Text(_)) => unreachable!("texts were scored above"),
                };
                if self.draws > 1 && part.name.is_none() {
                    let name = format!("{}_std", metric.name());
                    let place = Place::of(label, &name);
                    table.figure(place, deviation(&means), self.draws as u64, None);
                }
            }
        }
    }
}

/// Of texts without a run of `n` words the share is 0.
fn share_of_distinct<'a>(texts: impl Iterator<Item = &'a Written>, n: usize) -> f64 {
    let words: Vec<Vec<&str>> = texts.map(|text| text.text.split_whitespace().collect()).collect();
    let (different, all) = distinct(&words, n);
    different as f64 / all.max(1) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample's standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|x| (x - centre).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}
