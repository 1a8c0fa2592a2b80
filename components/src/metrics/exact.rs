//! Exact match, as the evaluation of MiniLLM and of Natural Instructions has it.

/// Whether two texts are equal once [`normalised`].
pub fn exact_match(reference: &str, prediction: &str) -> bool {
    normalised(reference) == normalised(prediction)
}

/// Lower case, without ASCII punctuation, every run of white space one blank; articles stay.
pub fn normalised(text: &str) -> String {
    let kept: String = text
        .to_lowercase()
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let words = kept.split(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c));
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_and_spaces_do_not_count_and_articles_do() {
        assert!(exact_match("Don't  stop!\n", " dont stop"));
        assert!(exact_match("...", "!?"));
        assert!(!exact_match("the cat", "cat"));
    }
}
