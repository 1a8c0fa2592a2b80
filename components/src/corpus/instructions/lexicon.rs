//! The words of the synthetic language, their classes and their codes.

/// Words in a class.
pub(super) const WORDS: usize = 16;

/// Classes by name, each with its words. No word occurs twice.
pub(super) const CLASSES: [(&str, [&str; WORDS]); 8] = [
    (
        "animals",
        [
            "cat", "dog", "horse", "cow", "sheep", "goat", "pig", "duck", "hen", "fox", "wolf", "bear",
            "lion", "mouse", "rabbit", "deer",
        ],
    ),
    (
        "fruits",
        [
            "apple", "pear", "plum", "grape", "lemon", "melon", "peach", "cherry", "mango", "fig", "lime",
            "olive", "quince", "banana", "apricot", "papaya",
        ],
    ),
    (
        "colours",
        [
            "red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink", "purple", "violet",
            "crimson", "beige", "amber", "teal", "indigo",
        ],
    ),
    (
        "tools",
        [
            "hammer", "saw", "nail", "drill", "axe", "spade", "rake", "knife", "chisel", "wrench", "pliers",
            "anvil", "brush", "ladder", "shovel", "needle",
        ],
    ),
    (
        "clothes",
        [
            "shirt", "coat", "hat", "shoe", "sock", "glove", "scarf", "belt", "dress", "skirt", "vest",
            "boot", "cap", "cloak", "apron", "jacket",
        ],
    ),
    (
        "weathers",
        [
            "rain", "snow", "wind", "storm", "fog", "frost", "hail", "cloud", "thunder", "sun", "mist",
            "sleet", "breeze", "gale", "drought", "flood",
        ],
    ),
    (
        "metals",
        [
            "iron", "gold", "silver", "copper", "tin", "lead", "zinc", "nickel", "steel", "bronze", "brass",
            "chrome", "cobalt", "titanium", "mercury", "platinum",
        ],
    ),
    (
        "places",
        [
            "river", "hill", "lake", "forest", "field", "road", "bridge", "valley", "island", "shore",
            "cave", "desert", "meadow", "harbour", "village", "tower",
        ],
    ),
];

/// A word: its class, and its number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) class: usize,
    pub(super) number: usize,
}

impl Word {
    pub(super) fn text(self) -> &'static str {
        CLASSES[self.class].1[self.number]
    }

    /// What the word is in code: four letters that follow from nothing but a table, so that they have to be learned by
    /// heart.
    pub(super) fn code(self) -> String {
        const CONSONANTS: &[u8] = b"bdfgklmnprstvwxz";
        const VOWELS: &[u8] = b"aeiou";
        let number = self.class * WORDS + self.number;
        let syllable = |n: usize| {
            let n = n % (CONSONANTS.len() * VOWELS.len());
            [
                CONSONANTS[n / VOWELS.len()] as char,
                VOWELS[n % VOWELS.len()] as char,
            ]
        };
        [syllable(7 * number + 3), syllable(29 * number / 3 + 17)]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_and_no_code_occurs_twice() {
        let all = (0..CLASSES.len()).flat_map(|class| (0..WORDS).map(move |number| Word { class, number }));
        let mut known = BTreeSet::new();
        for word in all {
            assert!(known.insert(word.text().to_owned()), "{word:?}");
            assert!(known.insert(word.code()), "{word:?} has the code {}", word.code());
        }
        assert_eq!(known.len(), 2 * 128);
    }
}
