//! How little texts repeat themselves and each other.

use std::collections::HashSet;
use std::hash::Hash;

/// The runs of `n` tokens of some sequences: how many there are of different ones, and of all (distinct-n of Li et al.
/// 2016, over all sequences together). A sequence of fewer than `n` has none.
pub fn distinct<T: Eq + Hash, S: AsRef<[T]>>(sequences: &[S], n: usize) -> (usize, usize) {
    let runs = || sequences.iter().flat_map(|sequence| sequence.as_ref().windows(n));
    (runs().collect::<HashSet<_>>().len(), runs().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_over_all_sequences() {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let texts = [words("a b a b"), words("a b c"), words("a")];
        assert_eq!(distinct(&texts, 1), (3, 8));
        assert_eq!(distinct(&texts, 2), (3, 5));
        assert_eq!(distinct(&texts, 4), (1, 1));
        assert_eq!(distinct(&texts, 5), (0, 0));
    }
}
