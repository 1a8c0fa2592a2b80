//! One-edit variants of a word.

/// Letters that are put in: two a place and operation, which differ from place to place.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz_";

/// Every deletion and transposition, and two insertions and substitutions at each position; none is the word itself.
pub(crate) fn one_edit(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut all = Vec::new();
    let letter = |at: usize, which: usize| char::from(LETTERS[(at * 7 + which * 13) % LETTERS.len()]);
    let mut put = |edited: Vec<char>| {
        let text: String = edited.into_iter().collect();
        if text != word && !text.is_empty() && !all.contains(&text) {
            all.push(text);
        }
    };
    for at in 0..=letters.len() {
        for which in 0..2 {
            let mut inserted = letters.clone();
            inserted.insert(at, letter(at + word.len(), which));
            put(inserted);
        }
        if at == letters.len() {
            break;
        }
        let mut deleted = letters.clone();
        deleted.remove(at);
        put(deleted);
        for which in 0..2 {
            let mut other = letters.clone();
            other[at] = letter(at, which);
            put(other);
        }
        if at + 1 < letters.len() {
            let mut swapped = letters.clone();
            swapped.swap(at, at + 1);
            put(swapped);
        }
    }
    all
}
