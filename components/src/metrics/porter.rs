//! Porter's stemmer (Porter 1980, "An algorithm for suffix stripping"), with the changes that the Natural Language Toolkit
//! made to it and that the package `rouge-score` therefore has: a list of exceptions, `-ies` and `-ied` of four letters,
//! `y` after a consonant, `-alli` taken twice, `-bli`, `-fulli`, `-logi`.
//!
//! Words are lower-case ASCII letters and digits; a digit is a consonant. `m` is Porter's measure: how often a run of
//! vowels is followed by a run of consonants.

/// Words that the rules would spoil, with their stems.
const EXCEPTIONS: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Steps 2 and 3 as Porter lists them: suffix and replacement where m > 0 before the suffix.
const SECOND: [(&str, &str); 20] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
];
const THIRD: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// Step 4: suffixes that go where m > 1 before them.
const FOURTH: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word in lower-case ASCII. Words of one or two letters are their own.
pub fn stem(word: &str) -> String {
    if let Some((_, stem)) = EXCEPTIONS.iter().find(|(known, _)| *known == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let mut word = word.to_owned();
    plurals(&mut word);
    participles(&mut word);
    final_y(&mut word);
    second(&mut word);
    replace_first(&mut word, &THIRD);
    fourth(&mut word);
    final_e(&mut word);
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        word.pop();
    }
    word
}

/// Step 1a.
fn plurals(word: &mut String) {
    if word.ends_with("ies") && word.len() == 4 {
        word.pop();
    } else if word.ends_with("sses") || word.ends_with("ies") {
        word.truncate(word.len() - 2);
    } else if word.ends_with('s') && !word.ends_with("ss") {
        word.pop();
    }
}

/// Step 1b.
fn participles(word: &mut String) {
    if word.ends_with("ied") {
        word.truncate(word.len() - if word.len() == 4 { 1 } else { 2 });
        return;
    }
    if let Some(rest) = word.strip_suffix("eed") {
        if measure(rest) > 0 {
            word.pop();
        }
        return;
    }
    let Some(rest) = ["ed", "ing"]
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix).filter(|rest| has_vowel(rest)))
    else {
        return;
    };
    word.truncate(rest.len());
    let bytes = word.as_bytes();
    let doubled = ends_doubled(bytes);
    if ["at", "bl", "iz"].iter().any(|end| word.ends_with(end)) {
        word.push('e');
    } else if doubled {
        if !matches!(bytes.last(), Some(b'l' | b's' | b'z')) {
            word.pop();
        }
    } else if measure(word) == 1 && ends_short(bytes) {
        word.push('e');
    }
}

/// Step 1c: `y` becomes `i` after a consonant that is not the first letter.
fn final_y(word: &mut String) {
    let last = word.len() - 1;
    if word.ends_with('y') && last > 1 && is_consonant(word.as_bytes(), last - 1) {
        word.replace_range(last.., "i");
    }
}

/// Step 2.
fn second(word: &mut String) {
    if let Some(rest) = word.strip_suffix("alli")
        && measure(rest) > 0
    {
        word.truncate(word.len() - 2);
        return second(word);
    }
    if replace_first(word, &SECOND) {
        return;
    }
    if let Some(rest) = word.strip_suffix("fulli") {
        if measure(rest) > 0 {
            word.truncate(word.len() - 2);
        }
    } else if let Some(rest) = word.strip_suffix("logi")
        && measure(&word[..=rest.len()]) > 0
    {
        word.pop();
    }
}

/// Step 4; `ion` goes only after `s` or `t`.
fn fourth(word: &mut String) {
    let Some(suffix) = FOURTH.iter().find(|suffix| word.ends_with(**suffix)) else {
        return;
    };
    let rest = &word[..word.len() - suffix.len()];
    if measure(rest) > 1 && (*suffix != "ion" || rest.ends_with(['s', 't'])) {
        word.truncate(rest.len());
    }
}

/// Step 5a.
fn final_e(word: &mut String) {
    if let Some(rest) = word.strip_suffix('e') {
        let m = measure(rest);
        if m > 1 || (m == 1 && !ends_short(rest.as_bytes())) {
            word.pop();
        }
    }
}

/// Applies the first rule whose suffix the word has, where m > 0 before it; whether there was one.
fn replace_first(word: &mut String, rules: &[(&str, &str)]) -> bool {
    let Some((suffix, replacement)) = rules.iter().find(|(suffix, _)| word.ends_with(suffix)) else {
        return false;
    };
    let kept = word.len() - suffix.len();
    if measure(&word[..kept]) > 0 {
        word.replace_range(kept.., replacement);
    }
    true
}

/// Whether letter `i` is a consonant: `y` is one at the start and after a vowel.
fn is_consonant(word: &[u8], i: usize) -> bool {
    match word[i] {
        b'a' | b'e' | b'i' | b'o' | b'u' => false,
        b'y' => {
            let run = word[..i].iter().rev().take_while(|&&c| c == b'y').count();
            let before = i - run;
            // Among `y`s vowel and consonant alternate; the first follows the letter before them.
            let first = before == 0 || matches!(word[before - 1], b'a' | b'e' | b'i' | b'o' | b'u');
            first == (run % 2 == 0)
        }
        _ => true,
    }
}

/// Porter's m.
fn measure(word: &str) -> usize {
    let word = word.as_bytes();
    let consonants = (0..word.len()).map(|i| is_consonant(word, i));
    let after = consonants.clone().skip(1);
    consonants.zip(after).filter(|&(one, next)| !one && next).count()
}

fn has_vowel(word: &str) -> bool {
    let word = word.as_bytes();
    (0..word.len()).any(|i| !is_consonant(word, i))
}

/// Whether a doubled consonant ends the word.
fn ends_doubled(word: &[u8]) -> bool {
    let n = word.len();
    n >= 2 && word[n - 1] == word[n - 2] && is_consonant(word, n - 1)
}

/// Porter's *o: consonant, vowel, consonant but w, x, y; or the whole word is a vowel and a consonant.
fn ends_short(word: &[u8]) -> bool {
    let n = word.len();
    let consonant = |back: usize| is_consonant(word, n - back);
    match n {
        0 | 1 => false,
        2 => !consonant(2) && consonant(1),
        _ => consonant(3) && !consonant(2) && consonant(1) && !matches!(word[n - 1], b'w' | b'x' | b'y'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_taken() {
        for (word, expected) in [
            ("caresses", "caress"),
            ("ties", "tie"),
            ("ponies", "poni"),
            ("died", "die"),
            ("agreed", "agre"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("happy", "happi"),
            ("enjoy", "enjoy"),
            ("by", "by"),
            ("rationally", "ration"),
            ("hopefully", "hope"),
            ("geology", "geolog"),
            ("triplicate", "triplic"),
            ("adoption", "adopt"),
            ("rate", "rate"),
            ("cease", "ceas"),
            ("controll", "control"),
            ("skies", "sky"),
            ("succeed", "succeed"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
