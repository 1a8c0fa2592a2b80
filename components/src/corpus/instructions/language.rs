//! Drawing sentences of the synthetic language.

use super::lexicon::{CLASSES, Word};
use super::operation::{Family, Operation};
use super::params::InstructionsParams;
use crate::random::Stream;

/// Classes that the words of one list come from.
pub(super) const CLASSES_OF_A_LIST: usize = 3;

/// An instruction with its right answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sentence {
    pub(super) families: Vec<Family>,
    pub(super) prompt: String,
    pub(super) input: String,
    /// The one that is shown.
    pub(super) response: String,
    /// All of them.
    pub(super) responses: Vec<String>,
}

/// Draws an instruction.
pub(super) fn draw(params: &InstructionsParams, stream: &mut Stream) -> Sentence {
    let families = params.families();
    let family = pick(&families, stream);
    let firsts: Vec<Family> = families
        .iter()
        .copied()
        .filter(|first| first.may_come_first() && *first != family)
        .collect();
    let composed = stream.uniform() < params.compose && family.may_come_second() && !firsts.is_empty();
    match family {
        Family::Add => sum(params, stream),
        Family::Lookup => look_up(params, stream),
        _ => {
            let words = list(params, stream);
            let first = composed.then(|| pick(&firsts, stream));
            of_words(params, first, family, &words, stream)
        }
    }
}

fn of_words(
    params: &InstructionsParams,
    first: Option<Family>,
    family: Family,
    words: &[Word],
    stream: &mut Stream,
) -> Sentence {
    let operation = |family: Family, words: &[Word], stream: &mut Stream| Operation {
        family,
        // A class that there is; after another operation it may be gone.
        class: if family.has_class() {
            pick(words, stream).class
        } else {
            0
        },
        key: None,
    };
    let first = first.map(|first| operation(first, words, stream));
    let second = operation(family, words, stream);
    let left = first.map_or_else(|| words.to_vec(), |first| first.words(words));
    let mut phrase = |operation: Operation| operation.phrase(stream.below(params.phrasings as u64) as usize);
    let prompt = match first {
        Some(first) => format!("{}, then {}", phrase(first), phrase(second)),
        None => phrase(second),
    };
    let responses = second.answers(&left);
    Sentence {
        families: first
            .into_iter()
            .chain([second])
            .map(|operation| operation.family)
            .collect(),
        prompt: sentence(&prompt),
        input: words.iter().map(|word| word.text()).collect::<Vec<_>>().join(" "),
        response: pick(&responses, stream),
        responses,
    }
}

fn look_up(params: &InstructionsParams, stream: &mut Stream) -> Sentence {
    let (keys, values) = (list(params, stream), list(params, stream));
    let pairs: Vec<(Word, Word)> = keys.into_iter().zip(values).collect();
    let (key, value) = pick(&pairs, stream);
    let operation = Operation {
        family: Family::Lookup,
        class: 0,
        key: Some(key),
    };
    let pair = |(key, value): &(Word, Word)| format!("{} {}", key.text(), value.text());
    Sentence {
        families: vec![Family::Lookup],
        prompt: sentence(&operation.phrase(stream.below(params.phrasings as u64) as usize)),
        input: pairs.iter().map(pair).collect::<Vec<_>>().join(", "),
        response: value.text().to_owned(),
        responses: vec![value.text().to_owned()],
    }
}

fn sum(params: &InstructionsParams, stream: &mut Stream) -> Sentence {
    let [a, b] = [(); 2].map(|()| stream.below(params.largest_number + 1));
    let operation = Operation {
        family: Family::Add,
        class: 0,
        key: None,
    };
    let answer = (a + b).to_string();
    Sentence {
        families: vec![Family::Add],
        prompt: sentence(&operation.phrase(stream.below(params.phrasings as u64) as usize)),
        input: format!("{a} {b}"),
        response: answer.clone(),
        responses: vec![answer],
    }
}

/// Different words of a few classes.
fn list(params: &InstructionsParams, stream: &mut Stream) -> Vec<Word> {
    let mut classes: Vec<usize> = (0..CLASSES.len()).collect();
    stream.shuffle(&mut classes);
    let mut words: Vec<Word> = classes[..CLASSES_OF_A_LIST]
        .iter()
        .flat_map(|&class| (0..params.words).map(move |number| Word { class, number }))
        .collect();
    stream.shuffle(&mut words);
    let length =
        params.length.min + stream.below((params.length.max - params.length.min + 1) as u64) as usize;
    words.truncate(length);
    words
}

fn pick<T: Clone>(from: &[T], stream: &mut Stream) -> T {
    from[stream.below(from.len() as u64) as usize].clone()
}

/// With a capital and a full stop.
fn sentence(phrase: &str) -> String {
    let (first, rest) = phrase.split_at(1);
    format!("{}{rest}.", first.to_uppercase())
}
