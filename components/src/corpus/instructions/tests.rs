use super::*;
use crate::corpus::Pairs;
use crate::testing::Bench;
use serde_json::Value;
use std::collections::BTreeSet;

fn drawn(bench: &Bench, step: &str, params: Value) -> BTreeMap<String, Vec<InstructionPair>> {
    let parsed: InstructionsParams = serde_json::from_value(params.clone()).expect("parameters");
    bench
        .run_with::<Instructions>(&bench.context(step), params)
        .expect("draws");
    let read = |name: &String| {
        let artifact = bench.publish(&format!("{step}/{name}"));
        let pairs = Pairs::open(&artifact).expect("opens");
        (name.clone(), pairs.read().collect::<Result<_>>().expect("reads"))
    };
    parsed.counts.keys().map(read).collect()
}

fn questions(pairs: &[InstructionPair]) -> BTreeSet<(String, String)> {
    pairs
        .iter()
        .map(|pair| (pair.prompt.clone(), pair.input.clone()))
        .collect()
}

#[test]
fn parts_share_no_question_and_the_seed_decides() {
    let bench = Bench::new();
    let params = json!({ "counts": { "train": 2000, "valid": 100, "test": 200 } });
    let one = drawn(&bench, "one", params.clone());
    assert_eq!(one, drawn(&bench, "two", params));
    let all: BTreeSet<_> = one.values().flat_map(|pairs| questions(pairs)).collect();
    assert_eq!(all.len(), 2300);
    let mut ids: Vec<u64> = one.values().flatten().map(|pair| pair.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..2300).collect::<Vec<_>>());
    let other = drawn(&bench, "three", json!({ "counts": { "train": 10, "test": 200 } }));
    assert_eq!(questions(&other["test"]), questions(&one["test"]));
}

/// An interpreter of its own, from the sentences alone.
fn answer(prompt: &str, input: &str) -> Vec<String> {
    let prompt = prompt.trim_end_matches('.').to_lowercase();
    if prompt.contains("numbers") {
        let sum: u64 = input
            .split(' ')
            .map(|n| n.parse::<u64>().expect("a number"))
            .sum();
        return vec![sum.to_string()];
    }
    if let Some(key) = [
        "say what stands beside ",
        "give the word paired with ",
        "find the partner of ",
    ]
    .iter()
    .find_map(|start| prompt.strip_prefix(start))
    {
        let of_key = |pair: &&str| pair.split(' ').next() == Some(key);
        let pair = input.split(", ").find(of_key).expect("the key is there");
        return vec![pair.split(' ').nth(1).expect("a partner").to_owned()];
    }
    let mut words: Vec<String> = input.split(' ').map(str::to_owned).collect();
    let mut answers = Vec::new();
    for phrase in prompt.split(", then ") {
        let class = lexicon::CLASSES
            .iter()
            .find(|(name, _)| phrase.split(' ').any(|word| word == *name));
        let of_class = |word: &String| class.is_some_and(|(_, all)| all.contains(&word.as_str()));
        let has = |all: &[&str]| all.iter().any(|part| phrase.contains(part));
        let told: Vec<String> = if has(&["from a to z", "sort", "alphabetical"]) {
            words.sort();
            vec![words.join(" ")]
        } else if has(&["reverse", "from last to first"]) {
            words.reverse();
            vec![words.join(" ")]
        } else if has(&["first word to the end", "first word last", "first word after"]) {
            if !words.is_empty() {
                let first = words.remove(0);
                words.push(first);
            }
            vec![words.join(" ")]
        } else if has(&["count", "how many", "number of"]) {
            vec![words.iter().filter(|word| of_class(word)).count().to_string()]
        } else if has(&["one of", "any of"]) {
            words.retain(&of_class);
            words.clone()
        } else if has(&["keep", "only"]) {
            words.retain(&of_class);
            vec![words.join(" ")]
        } else if has(&["drop", "leave out", "all but"]) {
            words.retain(|word| !of_class(word));
            vec![words.join(" ")]
        } else if has(&["code", "translate"]) {
            vec![words.iter().map(|word| code(word)).collect::<Vec<_>>().join(" ")]
        } else if has(&["first word", "first", "at the start"]) {
            words.first().cloned().into_iter().collect()
        } else if has(&["last word", "last", "at the end"]) {
            words.last().cloned().into_iter().collect()
        } else {
            vec![words.join(" ")]
        };
        answers = told;
    }
    if answers.concat().is_empty() {
        answers = vec!["none".to_owned()];
    }
    answers
}

fn code(text: &str) -> String {
    let mut classes = lexicon::CLASSES.iter().enumerate();
    let word = classes.find_map(|(class, (_, all))| {
        let number = all.iter().position(|word| *word == text)?;
        Some(lexicon::Word { class, number })
    });
    word.map_or_else(|| panic!("no word: {text}"), lexicon::Word::code)
}

#[test]
fn every_sentence_has_the_answers_that_its_words_ask_for() {
    let bench = Bench::new();
    let parts = drawn(
        &bench,
        "all",
        json!({ "counts": { "all": 6000 }, "compose": 0.5 }),
    );
    let mut families = BTreeSet::new();
    let mut several = 0;
    for pair in &parts["all"] {
        let expected = answer(&pair.prompt, &pair.input);
        assert_eq!(pair.responses, expected, "{} {}", pair.prompt, pair.input);
        assert!(pair.responses.contains(&pair.response));
        assert_eq!(pair.meta["answers"], pair.responses.len());
        let composed = pair.prompt.contains(", then ");
        assert_eq!(pair.meta["family"] == "composed", composed);
        several += u32::from(pair.responses.len() > 1);
        families.insert(pair.meta["operations"].as_str().expect("a name").to_owned());
    }
    // Thirteen families, and of ten those after each of five first ones but itself.
    assert_eq!(families.len(), 13 + 5 * 10 - 5, "{families:?}");
    assert!(several > 200, "{several}");
}

#[test]
fn knobs_are_obeyed() {
    let bench = Bench::new();
    let parts = drawn(
        &bench,
        "few",
        json!({ "counts": { "a": 300 }, "families": ["copy", "keep"], "compose": 0.0, "words": 4,
            "length": { "min": 2, "max": 3 }, "phrasings": 1 }),
    );
    for pair in &parts["a"] {
        let words: Vec<&str> = pair.input.split(' ').collect();
        assert!((2..=3).contains(&words.len()));
        assert!(pair.prompt == "Repeat the words." || pair.prompt.starts_with("Keep the "));
        let known = |word: &&str| lexicon::CLASSES.iter().any(|(_, all)| all[..4].contains(word));
        assert!(words.iter().all(known), "{words:?}");
    }
}

#[test]
fn a_language_that_is_too_small_and_contradictions_are_mistakes() {
    let bench = Bench::new();
    let params = json!({ "counts": { "a": 100 }, "families": ["add"], "largest_number": 2, "phrasings": 1 });
    let error = bench
        .run_with::<Instructions>(&bench.context("small"), params)
        .expect_err("nine sums");
    assert_eq!(error.code(), "too_few_instructions");
    assert!(error.to_string().contains("after 9 of 100"), "{error}");
    let params: InstructionsParams = serde_json::from_value(json!({ "counts": { "a": 1 },
        "families": ["copy", "copy"], "words": 2, "length": { "min": 9, "max": 7 } }))
    .expect("parameters");
    let fields: Vec<_> = Instructions::check(&params)
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(fields, ["length", "length.max", "families"]);
}
