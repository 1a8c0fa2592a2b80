//! What a budget pays for.

use super::*;

#[test]
fn every_kind_of_budget_pays_for_the_same_training() {
    let bench = bench();
    let first = train(&bench, "first", json!({}));
    let found = details(&first);
    let loaded = load(&first, &bench.context("x").device, Precision::F32).expect("loads");
    let widths = [6, 2, 6, 3, 6];
    let flops: f64 = widths
        .iter()
        .map(|&width| 2.0 * training_flops(&loaded.config, width))
        .sum();
    assert_eq!((found.steps, found.tokens_trained), (5, 2 * SCORED));
    assert!(
        (found.flops / flops - 1.0).abs() < 1e-12,
        "{} {flops}",
        found.flops
    );
    for (step, budget) in [
        ("tokens_budget", json!({ "tokens": 45 })),
        ("flops_budget", json!({ "flops": flops })),
        ("match_budget", json!({ "match": "@first" })),
    ] {
        let other = train(&bench, step, json!({ "optim": { "budget": budget } }));
        assert_eq!(other.header.fingerprint, first.header.fingerprint, "{step}");
    }
    // What a training goes on from counts: both have had as much in the end.
    let more = |budget: Value| json!({ "model": "@first", "optim": { "budget": budget } });
    let further = train(&bench, "further", more(json!({ "steps": 5 })));
    let matched = train(&bench, "matched", more(json!({ "match": "@further" })));
    assert_eq!(details(&matched).flops, details(&further).flops);
    let error = bench.run::<Lm>("spent", params(more(json!({ "match": "@first" }))));
    let error = error.expect_err("nothing is left");
    assert_eq!(error.code(), "budget_too_small");
    assert!(error.to_string().contains("the model it goes on from"), "{error}");
}
