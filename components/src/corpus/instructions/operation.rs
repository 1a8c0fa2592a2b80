//! What can be asked in the synthetic language: phrases, and what they do to words.

use super::lexicon::{CLASSES, Word};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ways to say the same.
pub(super) const PHRASINGS: usize = 3;
/// What a list without words is called.
const NOTHING: &str = "none";

/// What an instruction asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The words as they are.
    Copy,
    /// The words from last to first.
    Reverse,
    /// The words in alphabetical order.
    Sort,
    /// The words with the first moved to the end.
    Rotate,
    /// The words of one class, in order.
    Keep,
    /// The words that are not of one class, in order.
    Drop,
    /// Every word in code: a table of four-letter words to be learned by heart.
    Translate,
    /// The first word.
    First,
    /// The last word.
    Last,
    /// How many words of one class there are.
    Count,
    /// Any word of one class: there are as many right answers as such words.
    Choose,
    /// The word that a list of pairs gives for another.
    Lookup,
    /// The sum of two numbers.
    Add,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Copy,
        Self::Reverse,
        Self::Sort,
        Self::Rotate,
        Self::Keep,
        Self::Drop,
        Self::Translate,
        Self::First,
        Self::Last,
        Self::Count,
        Self::Choose,
        Self::Lookup,
        Self::Add,
    ];

    /// The name in parameters and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Reverse => "reverse",
            Self::Sort => "sort",
            Self::Rotate => "rotate",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Translate => "translate",
            Self::First => "first",
            Self::Last => "last",
            Self::Count => "count",
            Self::Choose => "choose",
            Self::Lookup => "lookup",
            Self::Add => "add",
        }
    }

    /// Whether it makes words of words that something else may be done to.
    pub(super) fn may_come_first(self) -> bool {
        matches!(
            self,
            Self::Reverse | Self::Sort | Self::Rotate | Self::Keep | Self::Drop
        )
    }

    /// Whether it may be done to what another has left.
    pub(super) fn may_come_second(self) -> bool {
        !matches!(self, Self::Copy | Self::Lookup | Self::Add)
    }

    /// Whether it speaks of a class of words.
    pub(super) fn has_class(self) -> bool {
        matches!(self, Self::Keep | Self::Drop | Self::Count | Self::Choose)
    }
}

/// A family with the class or the word that it speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) family: Family,
    /// Where the family has one.
    pub(super) class: usize,
    /// Of a look-up, the word that is looked up.
    pub(super) key: Option<Word>,
}

impl Operation {
    /// As a request in lower case; there are [`PHRASINGS`] of each.
    pub(super) fn phrase(self, phrasing: usize) -> String {
        let class = CLASSES[self.class].0;
        let key = self.key.map_or("", Word::text);
        let phrases = match self.family {
            Family::Copy => ["repeat the words", "say the words again", "copy the words"],
            Family::Reverse => [
                "reverse the words",
                "put the words in reverse order",
                "say the words from last to first",
            ],
            Family::Sort => [
                "sort the words",
                "put the words in alphabetical order",
                "say the words from a to z",
            ],
            Family::Rotate => [
                "move the first word to the end",
                "put the first word last",
                "say the first word after the others",
            ],
            Family::Keep => ["keep the CLASS", "leave only the CLASS", "say only the CLASS"],
            Family::Drop => ["drop the CLASS", "leave out the CLASS", "say all but the CLASS"],
            Family::Translate => [
                "translate the words",
                "put the words in code",
                "say the words in code",
            ],
            Family::First => [
                "give the first word",
                "say which word comes first",
                "name the word at the start",
            ],
            Family::Last => [
                "give the last word",
                "say which word comes last",
                "name the word at the end",
            ],
            Family::Count => [
                "count the CLASS",
                "say how many CLASS there are",
                "give the number of CLASS",
            ],
            Family::Choose => [
                "name one of the CLASS",
                "pick one of the CLASS",
                "give any of the CLASS",
            ],
            Family::Lookup => [
                "say what stands beside KEY",
                "give the word paired with KEY",
                "find the partner of KEY",
            ],
            Family::Add => [
                "add the numbers",
                "sum the numbers",
                "say what the numbers come to",
            ],
        };
        phrases[phrasing % PHRASINGS]
            .replace("CLASS", class)
            .replace("KEY", key)
    }

    /// The words that it leaves of `words`, where it leaves words.
    pub(super) fn words(self, words: &[Word]) -> Vec<Word> {
        let of_class = |word: &&Word| word.class == self.class;
        match self.family {
            Family::Reverse => words.iter().rev().copied().collect(),
            Family::Sort => {
                let mut sorted = words.to_vec();
                sorted.sort_by_key(|word| word.text());
                sorted
            }
            Family::Rotate => {
                let mut rotated = words.to_vec();
                rotated.rotate_left(1.min(words.len()));
                rotated
            }
            Family::Keep => words.iter().filter(of_class).copied().collect(),
            Family::Drop => words.iter().filter(|word| !of_class(word)).copied().collect(),
            _ => words.to_vec(),
        }
    }

    /// Every right answer to what it asks of `words`; at least one. Look-ups and sums are asked of other things.
    pub(super) fn answers(self, words: &[Word]) -> Vec<String> {
        let of_class = || words.iter().filter(|word| word.class == self.class);
        let joined = |words: &[Word]| match words {
            [] => NOTHING.to_owned(),
            words => words.iter().map(|word| word.text()).collect::<Vec<_>>().join(" "),
        };
        match self.family {
            Family::Translate if words.is_empty() => vec![NOTHING.to_owned()],
            Family::Translate => {
                let codes: Vec<String> = words.iter().map(|word| word.code()).collect();
                vec![codes.join(" ")]
            }
            Family::First => vec![joined(&words[..1.min(words.len())])],
            Family::Last => vec![joined(&words[words.len().saturating_sub(1)..])],
            Family::Count => vec![of_class().count().to_string()],
            Family::Choose if of_class().next().is_none() => vec![NOTHING.to_owned()],
            Family::Choose => of_class().map(|word| word.text().to_owned()).collect(),
            _ => vec![joined(&self.words(words))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        let find = |(class, (_, words)): (usize, &(&str, [&str; 16]))| {
            let number = words.iter().position(|word| *word == text)?;
            Some(Word { class, number })
        };
        CLASSES
            .iter()
            .enumerate()
            .find_map(find)
            .expect("a word of the language")
    }

    #[test]
    fn every_family_does_what_it_says() {
        let words: Vec<Word> = ["dog", "red", "cat", "iron"].map(word).to_vec();
        let answers = |family| {
            let operation = Operation {
                family,
                class: 0,
                key: None,
            };
            operation.answers(&words)
        };
        for (family, expected) in [
            (Family::Copy, "dog red cat iron"),
            (Family::Reverse, "iron cat red dog"),
            (Family::Sort, "cat dog iron red"),
            (Family::Rotate, "red cat iron dog"),
            (Family::Keep, "dog cat"),
            (Family::Drop, "red iron"),
            (Family::First, "dog"),
            (Family::Last, "iron"),
            (Family::Count, "2"),
        ] {
            assert_eq!(answers(family), [expected], "{family:?}");
        }
        assert_eq!(answers(Family::Choose), ["dog", "cat"]);
        let codes = answers(Family::Translate);
        assert_eq!(codes[0].split(' ').count(), 4);
        assert_eq!(codes[0].split(' ').nth(2), Some(word("cat").code().as_str()));
    }

    #[test]
    fn nothing_has_a_name() {
        let words = [word("red")];
        let answers = |family, words: &[Word]| {
            let operation = Operation {
                family,
                class: 0,
                key: None,
            };
            operation.answers(words)
        };
        for family in [Family::Keep, Family::Choose] {
            assert_eq!(answers(family, &words), ["none"]);
        }
        for family in [Family::Translate, Family::First, Family::Last, Family::Sort] {
            assert_eq!(answers(family, &[]), ["none"]);
        }
    }
}
