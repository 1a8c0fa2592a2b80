//! N-grams of token ids or of words, hashed into buckets.
//!
//! Hashes are part of what scores mean: they depend on neither machine nor version, and `tests/golden/make_baselines.py`
//! computes them anew.

/// Which n-grams are taken, and into how many buckets they fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NGrams {
    /// Tokens or words of the longest, at least 1; all shorter ones are taken too.
    pub longest: usize,
    /// Number of buckets, at least 1.
    pub buckets: u32,
}

impl NGrams {
    /// Adds the buckets of the n-grams of `ids`: at each place those that begin there, shortest first.
    pub fn of_ids(self, ids: &[u32], buckets: &mut Vec<u32>) {
        self.of_units(ids, |&id| u64::from(id), buckets);
    }

    /// The same of the words of `text` in lower case: runs of letters, digits and `_`, and runs of other characters
    /// between spaces. Gives the number of words.
    pub fn of_text(self, text: &str, buckets: &mut Vec<u32>) -> usize {
        let text = text.to_lowercase();
        let hashes: Vec<u64> = words(&text).map(fnv1a).collect();
        self.of_units(&hashes, |&hash| hash, buckets);
        hashes.len()
    }

    fn of_units<T>(self, units: &[T], hash: impl Fn(&T) -> u64, buckets: &mut Vec<u32>) {
        for from in 0..units.len() {
            let mut whole = 0;
            for unit in units[from..].iter().take(self.longest) {
                whole = mix(whole ^ hash(unit));
                // The upper half of hash × buckets spreads hashes evenly, without a division.
                let bucket = (u128::from(whole) * u128::from(self.buckets)) >> 64;
                buckets.push(bucket as u32);
            }
        }
    }
}

/// Pieces of a text: maximal runs of word characters, and of other characters that are not spaces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    #[derive(PartialEq)]
    enum Class {
        Space,
        Word,
        Other,
    }
    let class = |c: char| match c {
        c if c.is_whitespace() => Class::Space,
        c if c.is_alphanumeric() || c == '_' => Class::Word,
        _ => Class::Other,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = class(rest.chars().next()?);
        let end = rest.find(|c| class(c) != first).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// Fowler, Noll and Vo's hash of bytes (FNV-1a, 64 bits).
fn fnv1a(word: &str) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    word.bytes().fold(0xcbf2_9ce4_8422_2325, add)
}

/// The next output of SplitMix64 in state `x`: every bit of it depends on every bit of `x`.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_one_class() {
        let of = |text| words(text).collect::<Vec<_>>();
        assert_eq!(
            of("don't stop_me: 3.5 — où?"),
            ["don", "'", "t", "stop_me", ":", "3", ".", "5", "—", "où", "?"]
        );
        assert_eq!(of(" \n\t"), [""; 0]);
    }

    #[test]
    fn equal_ngrams_share_a_bucket_and_order_matters() {
        let ngrams = NGrams {
            longest: 2,
            buckets: u32::MAX,
        };
        let of = |ids: &[u32]| {
            let mut buckets = Vec::new();
            ngrams.of_ids(ids, &mut buckets);
            buckets
        };
        // Of a, b, c: a, ab, b, bc, c.
        let abc = of(&[1, 2, 3]);
        assert_eq!(abc.len(), 5);
        assert_eq!(of(&[1, 2]), abc[..3]);
        assert_ne!(of(&[2, 1])[1], abc[1]);
        let mut different = abc.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 5);
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        assert_eq!(ngrams.of_text("The End", &mut upper), 2);
        ngrams.of_text("the end", &mut lower);
        assert_eq!(upper, lower);
    }

    #[test]
    fn buckets_fill_evenly() {
        let ngrams = NGrams {
            longest: 1,
            buckets: 16,
        };
        let mut buckets = Vec::new();
        ngrams.of_ids(&(0..16_000).collect::<Vec<_>>(), &mut buckets);
        for bucket in 0..16 {
            let count = buckets.iter().filter(|&&b| b == bucket).count();
            assert!((900..1100).contains(&count), "{bucket}: {count}");
        }
    }
}
