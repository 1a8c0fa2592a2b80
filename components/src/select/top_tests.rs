//! `select.top` as a step: every option, and every mistake.

use super::{Top, gumbel_key};
use crate::artifact::{Item, Scores, Selection};
use crate::component::Component;
use crate::random::Stream;
use crate::testing::Bench;
use crate::{Artifact, Precision, Result, Shard};
use serde_json::{Value, json};
use std::path::PathBuf;

const SCORES: [f64; 10] = [0.5, -1.0, 2.0, 2.0, 0.0, 7.0, 2.0, -3.0, 1.0, 0.25];

fn bench() -> (Bench, Artifact) {
    let bench = Bench::new();
    let domains = [
        "web", "book", "web", "web", "web", "book", "web", "book", "web", "code",
    ];
    let corpus = bench.corpus("pool", "domain", &domains);
    bench.scores("difference", &corpus, &SCORES);
    (bench, corpus)
}

fn select(bench: &Bench, options: Value) -> Result<Selection> {
    let mut params = json!({ "scores": "@difference" });
    let all = params.as_object_mut().expect("an object");
    all.extend(options.as_object().expect("an object").clone());
    Selection::read(&bench.run::<Top>("chosen", params)?)
}

fn code(bench: &Bench, options: Value) -> &'static str {
    select(bench, options).expect_err("a mistake").code()
}

#[test]
fn the_best_are_kept_in_the_sources_order() {
    let (bench, corpus) = bench();
    let kept = select(&bench, json!({ "keep": 0.35 })).expect("a choice");
    assert_eq!(kept.index, [2, 3, 5]);
    assert_eq!(kept.weight, [1.0; 3]);
    assert_eq!((kept.details.kept, kept.details.of), (3, 10));
    assert_eq!((kept.details.threshold, kept.details.negative), (Some(2.0), 0.0));
    let artifact = bench.publish("chosen");
    assert_eq!(artifact.header.source, Some(corpus.as_source()));
    assert_eq!(
        select(&bench, json!({ "count": 3 })).expect("a choice").index,
        [2, 3, 5]
    );
    let lowest = select(&bench, json!({ "keep": 0.2, "order": "lowest" })).expect("a choice");
    assert_eq!((lowest.index, lowest.details.threshold), (vec![1, 7], Some(-1.0)));
    assert_eq!(lowest.details.negative, 1.0);
}

#[test]
fn quotas_keep_the_best_of_every_group() {
    let (bench, _) = bench();
    let quotas = json!({ "corpus": "@pool", "column": "domain", "keep": { "book": 1.0 } });
    let kept = select(&bench, json!({ "keep": 0.34, "quotas": quotas })).expect("a choice");
    // Two of six web pages, all three books, none of one piece of code.
    assert_eq!(kept.index, [1, 2, 3, 5, 7]);
    let quotas = json!({ "corpus": "@pool", "column": "domain" });
    assert_eq!(
        code(&bench, json!({ "keep": 0.1, "quotas": quotas })),
        "empty_selection"
    );
    let quotas = json!({ "corpus": "@pool", "column": "genre" });
    assert_eq!(
        code(&bench, json!({ "keep": 0.5, "quotas": quotas })),
        "unknown_column"
    );
    let quotas = json!({ "corpus": "@pool", "column": "domain", "keep": { "wiki": 0.5 } });
    assert_eq!(
        code(&bench, json!({ "keep": 0.5, "quotas": quotas })),
        "unknown_label"
    );
    bench.corpus("other", "domain", &["web"; 10]);
    let quotas = json!({ "corpus": "@other", "column": "domain" });
    assert_eq!(
        code(&bench, json!({ "keep": 0.5, "quotas": quotas })),
        "corpus_mismatch"
    );
}

#[test]
fn blocks_belong_to_the_group_that_has_most_of_their_tokens() {
    let bench = Bench::new();
    let corpus = bench.corpus("pool", "domain", &["web", "book", "web"]);
    let tokens = bench.tokens(
        "tokens",
        &corpus,
        &[
            (&[1, 2, 3, 0], &[(0, 3), (1, 1)]),
            (&[4, 5, 6], &[(1, 2), (2, 1)]),
            (&[7, 8], &[(2, 2)]),
            (&[9, 9], &[(1, 2)]),
        ],
    );
    let scores = Scores {
        item: Item::Block,
        primary: "score".to_owned(),
        precision: Precision::F32,
        index: vec![0, 1, 2, 3],
        columns: vec![("score".to_owned(), vec![1.0, 4.0, 3.0, 2.0])],
    };
    let folder = bench.at("difference");
    scores.write(&folder, tokens.as_source()).expect("writes");
    bench.publish("difference");
    let quotas = json!({ "corpus": "@pool", "column": "domain" });
    let kept = select(&bench, json!({ "keep": 0.5, "quotas": quotas })).expect("a choice");
    assert_eq!(kept.index, [1, 2]);
    let quotas = json!({ "corpus": "@pool", "column": "domain", "keep": { "web": 1.0 } });
    let kept = select(&bench, json!({ "keep": 0.5, "quotas": quotas })).expect("a choice");
    assert_eq!(kept.index, [0, 1, 2]);
}

#[test]
fn noise_is_the_seeds_and_small_noise_changes_nothing() {
    let (bench, _) = bench();
    let noisy =
        |tau: f64| select(&bench, json!({ "keep": 0.5, "noise": "gumbel", "tau": tau })).expect("a choice");
    let plain = select(&bench, json!({ "keep": 0.5 })).expect("a choice");
    assert_eq!(noisy(1e-3).index[..], [2, 3, 5, 6, 8]);
    assert_eq!(plain.index, noisy(1e-3).index);
    assert_eq!(noisy(50.0), noisy(50.0));
    assert_ne!(noisy(50.0).index, plain.index);
    let mut context = bench.context("other");
    context.seed = 2;
    let params = json!({ "scores": "@difference", "keep": 0.5, "noise": "gumbel", "tau": 50.0 });
    bench.run_with::<Top>(&context, params).expect("a choice");
    let other = Selection::read(&bench.publish("other")).expect("reads");
    assert_ne!(other.index, noisy(50.0).index);
}

#[test]
fn noise_of_no_temperature_is_none_and_what_it_changes_is_told() {
    let (bench, _) = bench();
    let plain = select(&bench, json!({ "keep": 0.5 })).expect("a choice");
    let still = json!({ "keep": 0.5, "noise": "gumbel", "tau": 0.0 });
    assert_eq!(select(&bench, still).expect("a choice"), plain);
    assert!(bench.notes().is_empty());
    let noisy = json!({ "keep": 0.5, "noise": "gumbel", "tau": 50.0 });
    let kept = select(&bench, noisy).expect("a choice").index;
    let both = kept.iter().filter(|item| plain.index.contains(item)).count();
    let told = format!("of 5 items kept by rank, {both} would have been kept without noise");
    assert_eq!(bench.notes(), [told]);
    for tau in [-0.1, f64::MAX * 10.0] {
        let params = json!({ "keep": 0.5, "noise": "gumbel", "tau": tau });
        // A number that is not finite is none in JSON.
        assert_eq!(code(&bench, params), "tau_out_of_range");
    }
}

#[test]
fn an_items_noise_is_that_of_the_seed_and_its_number() {
    let bench = Bench::new();
    let corpus = bench.corpus("pool", "domain", &["web"; 200]);
    let scores: Vec<f64> = (0..200).map(|i| f64::from(i % 17) / 10.0).collect();
    bench.scores("difference", &corpus, &scores);
    let stream = Stream::new(1, "select.top gumbel");
    for (order, sign) in [("highest", 1.0), ("lowest", -1.0)] {
        let key = |at: usize| gumbel_key(sign * scores[at], 0.2, stream.at(at as u64).uniform());
        let mut best: Vec<usize> = (0..200).collect();
        best.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        let mut best: Vec<u64> = best[..60].iter().map(|&at| at as u64).collect();
        best.sort_unstable();
        let options = json!({ "count": 60, "order": order, "noise": "gumbel", "tau": 0.2 });
        assert_eq!(select(&bench, options).expect("a choice").index, best);
    }
}

#[test]
fn any_number_of_shards_leaves_the_same_bytes() {
    let bench = Bench::new();
    let domains: Vec<&str> = (0..3000).map(|i| ["web", "book", "code"][i * i % 3]).collect();
    let corpus = bench.corpus("pool", "domain", &domains);
    // Every score is there several times.
    let scores: Vec<f64> = (0..3000).map(|i| f64::from(i * 7919 % 500) / 100.0).collect();
    bench.scores("difference", &corpus, &scores);
    let quotas = json!({ "corpus": "@pool", "column": "domain", "keep": { "book": 0.9 } });
    for options in [
        json!({ "keep": 0.37 }),
        json!({ "count": 1, "order": "lowest" }),
        json!({ "keep": 1.0 }),
        json!({ "keep": 0.4, "noise": "gumbel", "tau": 0.1 }),
        json!({ "keep": 0.4, "noise": "gumbel", "tau": 3.0, "order": "lowest", "quotas": quotas }),
        json!({ "keep": 0.5, "mix": { "fraction": 0.3 }, "quotas": quotas }),
        json!({ "keep": 0.5, "mix": { "fraction": 0.3, "from": "original" }, "weights": "score" }),
    ] {
        let mut params = json!({ "scores": "@difference" });
        let all = params.as_object_mut().expect("an object");
        all.extend(options.as_object().expect("an object").clone());
        let bytes = |step: &str| {
            ["selection.parquet", "artifact.json"]
                .map(|name| std::fs::read(bench.at(step).join(name)).expect("a file"))
        };
        bench.run::<Top>("whole", params.clone()).expect("a choice");
        for count in [2, 7] {
            let part = |index: u64| {
                let mut context = bench.context(&format!("part-{index}"));
                context.shard = Shard { index, count };
                bench.run_with::<Top>(&context, params.clone()).expect("a part");
                context.output
            };
            let parts: Vec<PathBuf> = (0..count).map(part).collect();
            let options = serde_json::from_value(params.clone()).expect("parameters");
            Top::merge(options, &parts, &bench.context("merged")).expect("a choice");
            assert!(bytes("merged") == bytes("whole"), "{count} shards of {params}");
        }
    }
}

#[test]
fn mixing_keeps_the_number_and_draws_the_rest() {
    let (bench, _) = bench();
    let mixed = |from: &str, fraction: f64| {
        let mix = json!({ "fraction": fraction, "from": from });
        select(&bench, json!({ "keep": 0.6, "mix": mix }))
            .expect("a choice")
            .index
    };
    let rest = mixed("rest", 0.5);
    assert_eq!(rest.len(), 6);
    assert!([2, 3, 5].iter().all(|best| rest.contains(best)), "{rest:?}");
    assert!(rest.windows(2).all(|pair| pair[0] < pair[1]), "{rest:?}");
    let original = mixed("original", 0.9);
    assert_eq!(original.len(), 6);
    assert!(original.windows(2).all(|pair| pair[0] <= pair[1]), "{original:?}");
}

#[test]
fn weights_follow_the_scores_where_asked() {
    let (bench, corpus) = bench();
    let weighted = select(&bench, json!({ "count": 2, "weights": "score" })).expect("a choice");
    assert_eq!(weighted.index, [2, 5]);
    assert!((weighted.weight[0] - 2.0 / 4.5).abs() < 1e-6);
    assert_eq!(
        code(&bench, json!({ "keep": 1.0, "weights": "score" })),
        "negative_weight"
    );
    bench.scores("difference", &corpus, &[0.0; 10]);
    assert_eq!(
        code(&bench, json!({ "keep": 1.0, "weights": "score" })),
        "zero_weights"
    );
}

#[test]
fn mistakes_have_their_codes_and_leave_nothing() {
    let (bench, corpus) = bench();
    assert_eq!(code(&bench, json!({ "keep": 0.0 })), "ratio_out_of_range");
    assert_eq!(code(&bench, json!({ "keep": 1.5 })), "ratio_out_of_range");
    assert_eq!(code(&bench, json!({ "keep": 0.05 })), "empty_selection");
    assert_eq!(code(&bench, json!({ "count": 11 })), "count_out_of_range");
    assert_eq!(
        code(&bench, json!({ "keep": 0.5, "column": "nll" })),
        "unknown_column"
    );
    assert!(!bench.at("chosen").join("artifact.json").exists());
    bench.scores("difference", &corpus, &[]);
    assert_eq!(code(&bench, json!({ "keep": 0.5 })), "empty_input");
    bench.scores("difference", &corpus, &[1.0, f64::NAN]);
    let error = select(&bench, json!({ "keep": 0.5 })).expect_err("a mistake");
    assert_eq!(error.code(), "non_finite_score");
    assert!(error.to_string().contains("item 1"), "{error}");
}

#[test]
fn options_that_do_not_go_together_are_found_beforehand() {
    let codes = |options: Value| -> Vec<(String, &'static str)> {
        let mut params = json!({ "scores": "@difference" });
        let all = params.as_object_mut().expect("an object");
        all.extend(options.as_object().expect("an object").clone());
        let params = serde_json::from_value(params).expect("parameters");
        let problems = Top::check(&params);
        problems
            .into_iter()
            .map(|problem| (problem.field, problem.code))
            .collect()
    };
    let one = |field: &str, code| vec![(field.to_owned(), code)];
    assert_eq!(codes(json!({ "keep": 0.5 })), []);
    assert_eq!(codes(json!({})), one("keep", "missing_field"));
    assert_eq!(
        codes(json!({ "keep": 0.5, "count": 3 })),
        one("count", "conflicting_fields")
    );
    let quotas = json!({ "corpus": "@pool", "column": "domain" });
    assert_eq!(
        codes(json!({ "count": 3, "quotas": quotas })),
        one("quotas", "conflicting_fields")
    );
    assert_eq!(
        codes(json!({ "keep": 0.5, "noise": "gumbel" })),
        one("noise", "missing_field")
    );
    assert_eq!(
        codes(json!({ "keep": 0.5, "tau": 0.1 })),
        one("tau", "conflicting_fields")
    );
}
