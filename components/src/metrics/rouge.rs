//! ROUGE (Lin 2004): how much of a reference's words a prediction has, and of the prediction's words the reference.
//!
//! Equal to the package `rouge-score` 0.1.2. A token is a run of `[a-z0-9]` after lower-casing, everything else
//! separates; with the stemmer, tokens of more than three characters become their stems. Of |r| and |p| tokens (or
//! n-grams), h in common: precision h / |p|, recall h / |r|, F = 2PR / (P + R), all 0 where a side is empty. In common
//! are for ROUGE-n the n-grams, each as often as it stands on both sides; for ROUGE-L the longest common subsequence.

use super::porter::stem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Tokens are forgotten when more than so many are known.
const MOST_TOKENS: usize = 1 << 20;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Tokens in common.
    #[serde(rename = "rouge_1")]
    One,
    /// Pairs of neighbouring tokens in common.
    #[serde(rename = "rouge_2")]
    Two,
    /// The longest common subsequence.
    #[serde(rename = "rouge_l")]
    L,
}

/// One comparison; every number is between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Share of the prediction that is in the reference.
    pub precision: f64,
    /// Share of the reference that is in the prediction.
    pub recall: f64,
    /// Their harmonic mean.
    pub f: f64,
}

impl Score {
    fn of(common: usize, reference: usize, prediction: usize) -> Self {
        if common == 0 {
            return Self::default();
        }
        let precision = common as f64 / prediction as f64;
        let recall = common as f64 / reference as f64;
        Self {
            precision,
            recall,
            f: 2.0 * precision * recall / (precision + recall),
        }
    }
}

/// Compares texts, and remembers the tokens it met so that each is stemmed once.
#[derive(Debug, Clone)]
pub struct Rouge {
    stemmer: bool,
    /// Ids of tokens as they stand in texts.
    ids: HashMap<Box<[u8]>, u32>,
    /// Ids of stems.
    stems: HashMap<String, u32>,
    places: Places,
    word: Vec<u8>,
}

impl Rouge {
    /// With Porter's stemmer or without.
    pub fn new(stemmer: bool) -> Self {
        Self {
            stemmer,
            ids: HashMap::new(),
            stems: HashMap::new(),
            places: Places::default(),
            word: Vec::new(),
        }
    }

    /// Compares a prediction with a reference.
    pub fn score(&mut self, variant: Variant, reference: &str, prediction: &str) -> Score {
        if self.ids.len() > MOST_TOKENS {
            self.ids.clear();
            self.stems.clear();
        }
        let mut reference = self.tokens(reference);
        let mut prediction = self.tokens(prediction);
        match variant {
            Variant::One => overlap(&mut reference, &mut prediction),
            Variant::Two => overlap(&mut pairs(&reference), &mut pairs(&prediction)),
            Variant::L => {
                let common = self.places.common_subsequence(&reference, &prediction);
                Score::of(common, reference.len(), prediction.len())
            }
        }
    }

    /// The comparison with the best F among several references; the first of equals. Zero without any.
    pub fn best<'a>(
        &mut self,
        variant: Variant,
        references: impl IntoIterator<Item = &'a str>,
        prediction: &str,
    ) -> Score {
        let mut best = None::<Score>;
        for reference in references {
            let score = self.score(variant, reference, prediction);
            if best.is_none_or(|best| score.f > best.f) {
                best = Some(score);
            }
        }
        best.unwrap_or_default()
    }

    /// The ids of a text's tokens.
    fn tokens(&mut self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 5 + 1);
        // Only some letters beyond ASCII have ASCII in their lower case (the Kelvin sign, a dotted capital I).
        let lowered;
        let bytes = if text.is_ascii() {
            text.as_bytes()
        } else {
            lowered = text.to_lowercase();
            lowered.as_bytes()
        };
        let tokens = bytes
            .split(|byte| !byte.is_ascii_alphanumeric())
            .filter(|token| !token.is_empty());
        for token in tokens {
            self.word.clear();
            self.word.extend(token.iter().map(u8::to_ascii_lowercase));
            let known = self.ids.get(self.word.as_slice()).copied();
            ids.push(known.unwrap_or_else(|| self.learn()));
        }
        ids
    }

    /// Gives the token in `word` an id: that of its stem.
    fn learn(&mut self) -> u32 {
        let token: String = self.word.iter().copied().map(char::from).collect();
        let stem = if self.stemmer && token.len() > 3 {
            stem(&token)
        } else {
            token
        };
        let fresh = self.stems.len() as u32;
        let id = *self.stems.entry(stem).or_insert(fresh);
        self.ids.insert(self.word.as_slice().into(), id);
        id
    }
}

/// Neighbouring tokens as one number.
fn pairs(tokens: &[u32]) -> Vec<u64> {
    let pair = |pair: &[u32]| u64::from(pair[0]) << 32 | u64::from(pair[1]);
    tokens.windows(2).map(pair).collect()
}

/// Compares two bags of things.
fn overlap<T: Ord>(reference: &mut [T], prediction: &mut [T]) -> Score {
    reference.sort_unstable();
    prediction.sort_unstable();
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < reference.len() && j < prediction.len() {
        let order = reference[i].cmp(&prediction[j]);
        common += usize::from(order.is_eq());
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    Score::of(common, reference.len(), prediction.len())
}

/// Where tokens stand in a text, a bit a place: what the bit-parallel longest common subsequence asks for.
#[derive(Debug, Clone, Default)]
struct Places {
    /// By token: the text it was last seen in, and its number among that text's distinct tokens.
    seen: Vec<(u64, u32)>,
    text: u64,
    /// By distinct token: its places, in words of 64.
    masks: Vec<u64>,
    state: Vec<u64>,
}

impl Places {
    /// Length of the longest common subsequence (Hyyrö 2004, "Bit-parallel LCS-length computation revisited"): bit i of
    /// the state is 0 where a longest subsequence of the first i + 1 tokens grows.
    fn common_subsequence(&mut self, one: &[u32], other: &[u32]) -> usize {
        let words = one.len().div_ceil(64);
        self.mark(one, words);
        self.state.clear();
        self.state.resize(words, u64::MAX);
        for token in other {
            let Some(number) = self.number(*token) else {
                continue;
            };
            let mask = &self.masks[number * words..][..words];
            let mut carry = false;
            for (state, mask) in self.state.iter_mut().zip(mask) {
                let both = *state & mask;
                let (sum, over) = state.overflowing_add(both);
                let (sum, again) = sum.overflowing_add(u64::from(carry));
                carry = over || again;
                *state = sum | (*state & !mask);
            }
        }
        self.state.iter().map(|state| state.count_zeros() as usize).sum()
    }

    fn mark(&mut self, text: &[u32], words: usize) {
        self.text += 1;
        self.masks.clear();
        let mut distinct = 0;
        for (place, &token) in text.iter().enumerate() {
            let token = token as usize;
            if self.seen.len() <= token {
                self.seen.resize(token + 1, (0, 0));
            }
            if self.seen[token].0 != self.text {
                self.seen[token] = (self.text, distinct);
                distinct += 1;
                self.masks.resize(distinct as usize * words, 0);
            }
            let number = self.seen[token].1 as usize;
            self.masks[number * words + place / 64] |= 1 << (place % 64);
        }
    }

    /// The number of a token in the text that was marked, if it stands there.
    fn number(&self, token: u32) -> Option<usize> {
        let (text, number) = *self.seen.get(token as usize)?;
        (text == self.text).then_some(number as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn tokens_and_pairs_are_counted_as_often_as_both_sides_have_them() {
        let mut rouge = Rouge::new(false);
        let one = rouge.score(Variant::One, "the cat the dog", "The the THE bird");
        assert_eq!((one.precision, one.recall, one.f), (0.5, 0.5, 0.5));
        let two = rouge.score(Variant::Two, "a b c d", "a b, x c d");
        assert_eq!((two.precision, two.recall), (0.5, 2.0 / 3.0));
        for variant in [Variant::One, Variant::Two, Variant::L] {
            assert_eq!(rouge.score(variant, "", "a b"), Score::default());
        }
        assert_eq!(rouge.score(Variant::Two, "a", "a"), Score::default());
    }

    #[test]
    fn the_best_reference_counts() {
        let mut rouge = Rouge::new(true);
        let best = rouge.best(Variant::L, ["nothing alike", "cats were running"], "the cat runs");
        assert!((best.f - 4.0 / 6.0).abs() < 1e-12, "{best:?}");
        assert_eq!(rouge.best(Variant::L, [], "x"), Score::default());
    }

    #[test]
    fn bits_find_what_a_table_finds_also_beyond_a_word() {
        fn by_table(one: &[u32], other: &[u32]) -> usize {
            let mut row = vec![0; other.len() + 1];
            for a in one {
                let mut diagonal = 0;
                for (j, b) in other.iter().enumerate() {
                    let above = row[j + 1];
                    row[j + 1] = if a == b { diagonal + 1 } else { above.max(row[j]) };
                    diagonal = above;
                }
            }
            row[other.len()]
        }
        let mut stream = Stream::new(5, "sequences");
        let mut places = Places::default();
        for round in 0..300 {
            let length = [3, 64, 65, 200][round % 4];
            let mut draw = |n: u64| -> Vec<u32> {
                let n = stream.below(n + 1);
                (0..n).map(|_| stream.below(12) as u32).collect()
            };
            let (one, other) = (draw(length), draw(length));
            assert_eq!(places.common_subsequence(&one, &other), by_table(&one, &other));
        }
    }
}
