//! Learning byte-pair merges (Sennrich et al. 2016) so that equal words give equal merges, byte for byte.
//!
//! The `tokenizers` crate's own trainer keeps partial position sets under equal keys in its queue, filled in the order
//! of a randomly seeded hash map, so equal runs need not agree. Here the queue's order is total: the more frequent pair
//! first, then the one with smaller ids.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

type Pair = (u32, u32);

/// A vocabulary (the id is the position) and the merges in order of rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Learnt {
    pub(super) vocabulary: Vec<String>,
    pub(super) merges: Vec<(String, String)>,
}

/// Learns merges until the vocabulary has `vocab_size` entries or no pair is met `min_frequency` times. `vocabulary`
/// holds what is there before, the single characters of all words among it.
pub(super) fn learn(
    words: &BTreeMap<String, u64>,
    mut vocabulary: Vec<String>,
    vocab_size: usize,
    min_frequency: u64,
    mut step: impl FnMut() -> crate::Result<()>,
) -> crate::Result<Learnt> {
    let mut ids: HashMap<String, u32> = vocabulary.iter().cloned().zip(0..).collect();
    let mut state = State::new(words, &ids);
    let mut merges = Vec::new();
    while vocabulary.len() < vocab_size {
        let Some((pair, count)) = state.pop() else { break };
        if count < min_frequency.max(1) {
            break;
        }
        let (left, right) = (&vocabulary[pair.0 as usize], &vocabulary[pair.1 as usize]);
        let merged = format!("{left}{right}");
        merges.push((left.clone(), right.clone()));
        // Two pairs may spell the same token; it keeps its first id.
        let id = *ids.entry(merged.clone()).or_insert_with(|| {
            vocabulary.push(merged);
            vocabulary.len() as u32 - 1
        });
        state.merge(pair, id);
        step()?;
    }
    Ok(Learnt { vocabulary, merges })
}

struct State {
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// Words a pair was ever seen in.
    places: HashMap<Pair, Vec<u32>>,
    /// Every pair with a count that is its own or, being stale, larger.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl State {
    fn new(words: &BTreeMap<String, u64>, ids: &HashMap<String, u32>) -> Self {
        let spell = |word: &str| -> Vec<u32> {
            let mut buffer = [0; 4];
            word.chars()
                .filter_map(|c| ids.get(&*c.encode_utf8(&mut buffer)).copied())
                .collect()
        };
        let words: Vec<_> = words.iter().map(|(word, &count)| (spell(word), count)).collect();
        let mut counts: HashMap<Pair, u64> = HashMap::new();
        let mut places: HashMap<Pair, Vec<u32>> = HashMap::new();
        for (number, (word, count)) in words.iter().enumerate() {
            for pair in pairs(word) {
                *counts.entry(pair).or_default() += count;
                note(places.entry(pair).or_default(), number as u32);
            }
        }
        // The order of insertion does not matter: the queue's order is total.
        let queue = counts
            .iter()
            .map(|(&pair, &count)| (count, Reverse(pair)))
            .collect();
        Self {
            words,
            counts,
            places,
            queue,
        }
    }

    /// The most frequent pair.
    fn pop(&mut self) -> Option<(Pair, u64)> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            let actual = self.counts.get(&pair).copied().unwrap_or(0);
            if actual == count && count > 0 {
                return Some((pair, count));
            }
            if actual > 0 {
                self.queue.push((actual, Reverse(pair)));
            }
        }
        None
    }

    /// Replaces `pair` by `id` in every word.
    fn merge(&mut self, pair: Pair, id: u32) {
        let places = self.places.remove(&pair).unwrap_or_default();
        let mut grown = Vec::new();
        for number in places {
            let (word, count) = &mut self.words[number as usize];
            let merged = replace(word, pair, id);
            if merged.len() == word.len() {
                continue;
            }
            for old in pairs(word) {
                *self
                    .counts
                    .get_mut(&old)
                    .expect("every pair of a word is counted") -= *count;
            }
            for new in pairs(&merged) {
                *self.counts.entry(new).or_default() += *count;
                if new.0 == id || new.1 == id {
                    note(self.places.entry(new).or_default(), number);
                    grown.push(new);
                }
            }
            *word = merged;
        }
        self.counts.remove(&pair);
        grown.sort_unstable();
        grown.dedup();
        for new in grown {
            let count = self.counts.get(&new).copied().unwrap_or(0);
            if count > 0 {
                self.queue.push((count, Reverse(new)));
            }
        }
    }
}

fn pairs(word: &[u32]) -> impl Iterator<Item = Pair> + '_ {
    word.windows(2).map(|pair| (pair[0], pair[1]))
}

/// Adds a word unless it was the last one added.
fn note(places: &mut Vec<u32>, word: u32) {
    if places.last() != Some(&word) {
        places.push(word);
    }
}

/// `word` with every `pair`, from the left, replaced by `id`.
fn replace(word: &[u32], pair: Pair, id: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(word.len());
    let mut i = 0;
    while i < word.len() {
        let here = word.get(i + 1).is_some_and(|&next| (word[i], next) == pair);
        merged.push(if here { id } else { word[i] });
        i += if here { 2 } else { 1 };
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::models::bpe::{BPE, BpeTrainer};
    use tokenizers::tokenizer::Trainer;

    fn alphabet(words: &BTreeMap<String, u64>) -> Vec<String> {
        let letters: std::collections::BTreeSet<char> = words.keys().flat_map(|w| w.chars()).collect();
        letters.into_iter().map(String::from).collect()
    }

    fn count(text: &str) -> BTreeMap<String, u64> {
        let mut words = BTreeMap::new();
        for word in text.split_whitespace() {
            *words.entry(word.to_owned()).or_default() += 1;
        }
        words
    }

    #[test]
    fn merges_of_the_textbook_example() {
        // Sennrich et al., algorithm 1: low ×5, lower ×2, newest ×6, widest ×3.
        let words: BTreeMap<_, _> = [("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]
            .map(|(word, count)| (word.to_owned(), count))
            .into();
        let learnt = learn(&words, alphabet(&words), 13, 2, || Ok(())).expect("learns");
        let joined: Vec<_> = learnt.merges.iter().map(|(a, b)| format!("{a}{b}")).collect();
        assert_eq!(joined, ["es", "est", "lo"]);
    }

    #[test]
    fn agrees_with_the_trainer_of_the_tokenizers_crate() {
        let text = include_str!("bpe.rs");
        let words = count(text);
        let ours = learn(&words, alphabet(&words), 400, 2, || Ok(())).expect("learns");
        let mut trainer = BpeTrainer::builder()
            .vocab_size(400)
            .min_frequency(2)
            .show_progress(false)
            .build();
        trainer
            .feed(text.split_whitespace(), |word| Ok(vec![word.to_owned()]))
            .expect("feeds");
        let mut model = BPE::default();
        trainer.train(&mut model).expect("trains");
        let mut theirs: Vec<_> = model.get_vocab().into_iter().collect();
        theirs.sort_by_key(|(_, id)| *id);
        let theirs: Vec<_> = theirs.into_iter().map(|(token, _)| token).collect();
        assert_eq!(ours.vocabulary, theirs);
    }

    #[test]
    fn rare_pairs_are_not_merged() {
        let words = count("ab ab cd");
        let learnt = learn(&words, alphabet(&words), 100, 2, || Ok(())).expect("learns");
        assert_eq!(learnt.merges, [("a".to_owned(), "b".to_owned())]);
    }
}
