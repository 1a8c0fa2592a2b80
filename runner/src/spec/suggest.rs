//! The nearest valid name.

use std::cmp::Reverse;

/// The candidate nearest to `wrong`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3)) / 3)
        // Of two as near, the one that shares more of its beginning and end is meant.
        .min_by_key(|(distance, candidate)| (*distance, Reverse(shared(&lower, candidate)), candidate.len()))
        .map(|(_, candidate)| candidate)
}

/// How many characters two words share at the beginning and at the end.
fn shared(one: &str, other: &str) -> usize {
    let run = |pairs: &mut dyn Iterator<Item = (char, char)>| pairs.take_while(|(a, b)| a == b).count();
    run(&mut one.chars().zip(other.chars())) + run(&mut one.chars().rev().zip(other.chars().rev()))
}

/// A hint that names the nearest candidate, or else all of them if they are few.
pub(crate) fn hint<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(name) = nearest(wrong, candidates.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match candidates.len() {
        0 => None,
        1..=12 => Some(format!("there is {}", list(&candidates))),
        _ => Some(format!(
            "there are {}, and {} more",
            list(&candidates[..10]),
            candidates.len() - 10
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposition_and_a_missing_letter_are_near_and_another_word_is_not() {
        let names = ["corpus", "vocab_size", "tokenizer"];
        assert_eq!(nearest("corpsu", names), Some("corpus"));
        assert_eq!(nearest("vocabsize", names), Some("vocab_size"));
        assert_eq!(nearest("banana", names), None);
    }
}
