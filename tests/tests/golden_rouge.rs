//! ROUGE, its stemmer and exact match against the package `rouge-score` 0.1.2.

use lyceum_components::metrics::{Rouge, Score, Variant, exact_match, stem};
use serde_json::Value;
use std::path::Path;

fn golden(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).expect("as the fixture has it"))
        .expect("as the fixture has it")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("as the fixture has it")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("as the fixture has it")
}

#[track_caller]
fn same(score: Score, expected: &Value, what: &str) {
    let expected: Vec<f64> = list(expected)
        .iter()
        .map(|x| x.as_f64().expect("as the fixture has it"))
        .collect();
    for (found, expected) in [score.precision, score.recall, score.f].into_iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-9, "{what}: {score:?} {expected}");
    }
}

#[test]
fn every_pair_has_the_packages_precision_recall_and_f() {
    let pairs = golden("minillm_rouge.json");
    let more = golden("rouge_n.json");
    let (pairs, more) = (list(&pairs["pairs"]), list(&more["pairs"]));
    assert_eq!(pairs.len(), more.len());
    assert!(pairs.len() >= 225);
    for (name, mut rouge) in [("plain", Rouge::new(false)), ("stem", Rouge::new(true))] {
        for (pair, more) in pairs.iter().zip(more) {
            let (reference, prediction) = (text(&pair["reference"]), text(&pair["prediction"]));
            let what = format!("{name} {reference:?} {prediction:?}");
            same(rouge.score(Variant::L, reference, prediction), &pair[name], &what);
            let n = &more[name];
            same(
                rouge.score(Variant::One, reference, prediction),
                &n["rouge1"],
                &what,
            );
            same(
                rouge.score(Variant::Two, reference, prediction),
                &n["rouge2"],
                &what,
            );
            let equal = pair["exact_match"].as_bool().expect("as the fixture has it");
            assert_eq!(exact_match(reference, prediction), equal, "{what}");
        }
    }
}

#[test]
fn of_several_references_the_best_counts() {
    let mut rouge = Rouge::new(true);
    for case in list(&golden("minillm_rouge.json")["multi_reference"]) {
        let references: Vec<&str> = list(&case["references"]).iter().map(text).collect();
        let prediction = text(&case["prediction"]);
        let best = rouge.best(Variant::L, references.iter().copied(), prediction);
        assert!((best.f - case["best"].as_f64().expect("as the fixture has it")).abs() <= 1e-9);
        for (reference, expected) in references.iter().zip(list(&case["each"])) {
            let score = rouge.score(Variant::L, reference, prediction);
            assert!((score.f - expected.as_f64().expect("as the fixture has it")).abs() <= 1e-9);
        }
    }
}

#[test]
fn stems_are_the_packages() {
    for name in ["minillm_porter.json", "rouge_n.json"] {
        let stems = golden(name);
        let stems = stems["stems"].as_object().expect("as the fixture has it");
        assert!(stems.len() > 300);
        for (word, expected) in stems {
            assert_eq!(stem(word), text(expected), "{word}");
        }
    }
}
