//! The scorers that selections are compared with, as steps over a few blocks and documents.

use super::tests::{BLOCKS, assert_close, bench, logprobs};
use super::{Classifier, Dsir, Influence, NGrams, Perplexity, RhoLoss, log_ratios};
use crate::artifact::{Item, Scores};
use crate::component::Component;
use crate::testing::Bench;
use crate::{Artifact, Result, Shard};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(super) fn scored<C: Component>(bench: &Bench, step: &str, params: Value) -> Scores {
    Scores::read(&bench.run::<C>(step, params).expect("scores")).expect("reads")
}

pub(super) fn primary(scores: &Scores) -> Vec<f64> {
    scores.column(None).expect("primary").to_vec()
}

/// Scores in `count` shards, put together.
fn in_shards<C: Component>(bench: &Bench, step: &str, params: &Value, count: u64) -> Artifact {
    let mut parts: Vec<PathBuf> = Vec::new();
    for index in 0..count {
        let mut context = bench.context(&format!("{step}-{index}"));
        context.shard = Shard { index, count };
        bench.run_with::<C>(&context, params.clone()).expect("scores");
        parts.push(context.output);
    }
    let typed = serde_json::from_value(params.clone()).expect("parameters fit");
    C::merge(typed, &parts, &bench.context(step)).expect("merges");
    bench.publish(step)
}

/// Scores whole and in shards, which are the same artifact and cost the same.
pub(super) fn same_in_shards<C: Component>(bench: &Bench, params: Value) -> Scores {
    // Unfinished work is kept by the step's name, so other parameters are another step.
    let name = blake3::hash(format!("{} {params}", C::NAME).as_bytes()).to_hex();
    let before = bench.cost();
    let whole = bench.run::<C>(&name, params.clone()).expect("scores");
    let cost = (bench.cost().0 - before.0, bench.cost().1 - before.1);
    for count in [2, 3, 9] {
        let before = bench.cost();
        let merged = in_shards::<C>(bench, &format!("{name}-{count}"), &params, count);
        assert_eq!(merged.header, whole.header, "{count} shards");
        assert_eq!(bench.cost().0 - before.0, cost.0, "{count} shards");
        assert!((bench.cost().1 - before.1 - cost.1).abs() <= 1e-9 * cost.1);
    }
    Scores::read(&whole).expect("reads")
}

fn buckets_of(ids: &[&[u32]], ngrams: NGrams) -> Vec<u32> {
    let mut buckets = Vec::new();
    for ids in ids {
        ngrams.of_ids(ids, &mut buckets);
    }
    buckets
}

/// A target of two blocks beside the tokens of [`bench`].
pub(super) fn with_target() -> Bench {
    let bench = bench();
    let corpus = bench.publish("pool");
    let blocks = [
        (&[4, 4, 11, 0][..], &[(0, 4)][..]),
        (&[5, 6, 0][..], &[(1, 3)][..]),
    ];
    bench.tokens("target", &corpus, &blocks);
    bench
}

#[test]
fn importance_is_the_sum_of_the_ratios_of_an_items_ngrams() {
    let bench = with_target();
    let params = json!({ "data": "@tokens", "target": "@target", "buckets": 97, "smoothing": 0.5 });
    let scores = same_in_shards::<Dsir>(&bench, params.clone());
    assert_eq!(
        (scores.item, &scores.index[..]),
        (Item::Block, &[0, 1, 2, 3, 4][..])
    );

    let ngrams = NGrams {
        longest: 2,
        buckets: 97,
    };
    // Pieces between the ends of documents and of blocks.
    let pieces: [&[&[u32]]; 5] = [
        &[&[3, 4, 5, 6, 7, 8]],
        &[&[3, 4]],
        &[&[2], &[5, 6], &[1, 9]],
        &[&[4, 4, 11]],
        &[&[9, 8, 7, 6, 5, 4, 3]],
    ];
    let bags = pieces.map(|pieces| buckets_of(pieces, ngrams));
    let count = |buckets: Vec<u32>| {
        let mut counts = vec![0; 97];
        for bucket in buckets {
            counts[bucket as usize] += 1;
        }
        counts
    };
    let target = count(buckets_of(&[&[4, 4, 11], &[5, 6]], ngrams));
    let ratios = log_ratios(&target, &count(bags.concat()), 0.5);
    let expected = bags
        .each_ref()
        .map(|bag| bag.iter().map(|&b| ratios[b as usize]).sum::<f64>());
    assert_close(&primary(&scores), &expected);
    assert_eq!(
        scores.column(Some("ngrams")).expect("there"),
        [11.0, 3.0, 7.0, 5.0, 13.0]
    );
    assert!(expected[3] > expected[4]);

    let mut mean = params.clone();
    mean["reduction"] = "mean".into();
    let means = primary(&scored::<Dsir>(&bench, "mean", mean));
    let lengths = bags.map(|bag| bag.len() as f64);
    let expected_means: Vec<f64> = expected.iter().zip(lengths).map(|(sum, n)| sum / n).collect();
    assert_close(&means, &expected_means);

    // Document 2 is [1, 9] in one block and [4, 4, 11] in another.
    let mut documents = params;
    documents["item"] = "document".into();
    let documents = same_in_shards::<Dsir>(&bench, documents);
    assert_eq!(documents.index, [0, 1, 2, 3, 4]);
    let of = |pieces: &[&[u32]]| -> f64 {
        buckets_of(pieces, ngrams)
            .iter()
            .map(|&b| ratios[b as usize])
            .sum()
    };
    assert_close(
        &primary(&documents),
        &[
            expected[0],
            expected[1],
            of(&[&[1, 9], &[4, 4, 11]]),
            of(&[&[2]]),
            of(&[&[5, 6], &[9, 8, 7, 6, 5, 4, 3]]),
        ],
    );
}

#[test]
fn importance_counts_what_was_read_and_multiplied_once() {
    let bench = with_target();
    let params = json!({ "data": "@tokens", "target": "@target" });
    scored::<Dsir>(&bench, "scores", params);
    // The data twice, for counting and for scoring; 39 n-grams are scored.
    assert_eq!(bench.cost(), (2 * 28 + 7, 2.0 * 39.0));
}

/// Documents about boats and about sums, and more about boats.
fn texts() -> Bench {
    let bench = Bench::new();
    let pool = [
        "A boat on the river.",
        "Two and two make four!",
        "",
        "The river carries a boat.",
        "Four less two make two.",
        "...",
    ];
    bench.texts("pool", &pool);
    bench.texts("target", &["the boat is on a river", "a river, a boat"]);
    bench
}

#[test]
fn documents_are_compared_by_words() {
    let bench = texts();
    for (ngrams, buckets) in [(1, 100), (2, 10_000)] {
        let params = json!({ "data": "@pool", "target": "@target", "ngrams": ngrams, "buckets": buckets });
        let scores = same_in_shards::<Dsir>(&bench, params.clone());
        // The empty document has no n-gram and so no row; that of full stops is a word of its own.
        assert_eq!(
            (scores.item, &scores.index[..]),
            (Item::Document, &[0, 1, 3, 4, 5][..])
        );
        let score = primary(&scores);
        assert!(score[0].min(score[2]) > score[1].max(score[3]), "{score:?}");
        let scores = same_in_shards::<Classifier>(&bench, params);
        assert_eq!(scores.index, [0, 1, 3, 4, 5]);
        let score = primary(&scores);
        assert!(score[0].min(score[2]) > score[1].max(score[3]), "{score:?}");
        let probability = scores.column(Some("probability")).expect("there");
        let expected: Vec<f64> = score.iter().map(|score| 1.0 / (1.0 + (-score).exp())).collect();
        assert_eq!(probability, expected);
    }
}

#[test]
fn a_raw_corpus_may_stand_beside_the_data() {
    let bench = texts();
    bench.texts("raw", &["two and two and four", "the river"]);
    let with = json!({ "data": "@pool", "target": "@target", "raw": "@raw" });
    let without = json!({ "data": "@pool", "target": "@target" });
    let of = |step, params| primary(&scored::<Dsir>(&bench, step, params));
    assert_ne!(of("with", with.clone()), of("without", without.clone()));
    let of = |step, params| primary(&scored::<Classifier>(&bench, step, params));
    assert_ne!(of("with", with), of("without", without));
}

#[test]
fn examples_are_drawn_by_the_seed_alone() {
    let bench = with_target();
    let params = json!({ "data": "@tokens", "target": "@target", "examples": 2 });
    let first = same_in_shards::<Classifier>(&bench, params.clone());
    let mut other = bench.context("other");
    other.seed = 3;
    bench.run_with::<Classifier>(&other, params).expect("scores");
    let other = Scores::read(&bench.publish("other")).expect("reads");
    assert_ne!(primary(&first), primary(&other));
}

#[test]
fn an_unfinished_classifier_says_so() {
    let bench = with_target();
    let params = json!({ "data": "@tokens", "target": "@target", "iterations": 1 });
    scored::<Classifier>(&bench, "scores", params);
    assert!(
        bench.notes()[0].starts_with("not_converged"),
        "{:?}",
        bench.notes()
    );
    let bench = with_target();
    scored::<Classifier>(
        &bench,
        "scores",
        json!({ "data": "@tokens", "target": "@target" }),
    );
    assert_eq!(bench.notes(), Vec::<String>::new());
}

#[test]
fn reducible_loss_is_the_learners_less_the_references() {
    let bench = bench();
    let params = json!({ "data": "@tokens", "model": "@reference", "reference": "@teacher" });
    let scores = same_in_shards::<RhoLoss>(&bench, params);
    let of = |step, model| primary(&logprobs(&bench, step, json!({ "model": model })));
    let (learner, reference) = (of("learner", "@reference"), of("irreducible", "@teacher"));
    assert_close(scores.column(Some("model_nll")).expect("there"), &learner);
    assert_close(scores.column(Some("reference_nll")).expect("there"), &reference);
    let expected: Vec<f64> = learner.iter().zip(reference).map(|(l, r)| l - r).collect();
    assert_close(&primary(&scores), &expected);
    // The reference was trained on these very tokens.
    assert!(
        bench.notes()[0].starts_with("reference_overlap"),
        "{:?}",
        bench.notes()
    );
}

#[test]
fn the_middle_of_all_shards_is_the_middle_of_all_items() {
    let bench = bench();
    for keep in ["low", "mid", "high"] {
        let params = json!({ "data": "@tokens", "model": "@teacher", "keep": keep, "batch_size": 1 });
        same_in_shards::<Perplexity>(&bench, params);
    }
}

#[test]
fn wrong_targets_have_their_codes() {
    let bench = with_target();
    let corpus = bench.publish("pool");
    bench.tokens("nothing", &corpus, &[]);
    bench.tokens("ends", &corpus, &[(&[0, 0], &[(0, 2)])]);
    bench.texts("documents", &["the boat is on a river"]);
    let mut foreign = bench.tokens("foreign", &corpus, &BLOCKS);
    foreign.header.details["tokenizer"] = "another".into();
    let text = serde_json::to_vec(&foreign.header).expect("a header");
    std::fs::write(foreign.path.join("artifact.json"), text).expect("writes");
    bench.publish("foreign");

    let code = |result: Result<Artifact>| result.expect_err("a mistake").code();
    for (target, expected) in [
        ("@nothing", "empty_target"),
        ("@ends", "empty_target"),
        ("@documents", "wrong_kind"),
        ("@foreign", "tokenizer_mismatch"),
        ("@tokens", "same_corpus"),
    ] {
        let params = json!({ "data": "@tokens", "target": target });
        assert_eq!(
            code(bench.run::<Dsir>("bad", params.clone())),
            expected,
            "{target}"
        );
        assert_eq!(code(bench.run::<Classifier>("bad", params)), expected, "{target}");
    }
    let raw = |raw: &str| json!({ "data": "@tokens", "target": "@target", "raw": raw });
    for (other, expected) in [("@nothing", "empty_raw"), ("@target", "same_corpus")] {
        assert_eq!(code(bench.run::<Dsir>("bad", raw(other))), expected);
        assert_eq!(code(bench.run::<Classifier>("bad", raw(other))), expected);
    }
    for (target, expected) in [
        ("@nothing", "empty_target"),
        ("@ends", "empty_loss_mask"),
        ("@foreign", "tokenizer_mismatch"),
    ] {
        let params = json!({ "data": "@tokens", "model": "@teacher", "target": target });
        assert_eq!(code(bench.run::<Influence>("bad", params)), expected, "{target}");
    }
    let params = json!({ "data": "@nothing", "target": "@target" });
    assert_eq!(code(bench.run::<Dsir>("bad", params)), "empty_input");
    assert!(!bench.at("bad").join("artifact.json").exists());
}
