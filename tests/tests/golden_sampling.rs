//! `sampling.json`: what transformers' logits processors make of random logits, rule by rule and together.

use lyceum_components::inference::{Distribution, Sampling};
use lyceum_tests::Golden;

#[test]
fn the_rules_are_those_of_transformers() {
    let golden = Golden::open("sampling");
    let root = golden.root();
    let ends: Vec<u32> = root.get("ends").read();
    let cases = root.get("cases").items();
    assert!(cases.len() > 35);
    for (number, case) in cases.into_iter().enumerate() {
        let sampling: Sampling = case.get("sampling").read();
        let history: Vec<u32> = case.get("history").read();
        let drawn: usize = case.get("drawn").read();
        let mut logits: Vec<f32> = case.get("logits").read();
        let expected: Vec<f64> = case.get("probabilities").read();
        let found = Distribution::new(&mut logits, &sampling, &history, drawn, &ends).expect("probabilities");
        for (id, expected) in expected.into_iter().enumerate() {
            let found = found.probability(id as u32);
            assert!(
                (found - expected).abs() < 1e-6 && (found == 0.0) == (expected == 0.0),
                "case {number} {sampling:?}: token {id} has {found}, expected {expected}"
            );
        }
    }
    golden.finish();
}
