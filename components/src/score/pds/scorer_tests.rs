//! The scorer as steps, over a few blocks whose scores are planted.

use super::tests::{bench, blocks, primary, publish_model};
use super::*;
use crate::artifact::Scores;
use crate::metrics::spearman;
use crate::model::ModelSpec;
use crate::table::{f64_column, read_parquet};
use crate::testing::Bench;
use crate::{Component as _, Precision};
use serde_json::{Value, json};

/// Scores of the first forty blocks, as if a solver had made them.
fn planted(bench: &Bench, step: &str, score: impl Fn(u64) -> f64) {
    let index: Vec<u64> = (0..40).collect();
    let scores = Scores {
        item: crate::artifact::Item::Block,
        primary: "score".to_owned(),
        precision: Precision::F32,
        columns: vec![("score".to_owned(), index.iter().map(|&i| score(i)).collect())],
        index,
    };
    let source = bench.publish("tokens").as_source();
    scores.write(&bench.at(step), source).expect("writes");
    bench.publish(step);
}

/// The shape of a scorer's trunk.
const TRUNK: &str = r#"{ "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8 }"#;

fn lesson(more: Value) -> Value {
    let trunk: Value = serde_json::from_str(TRUNK).expect("JSON");
    let mut params = json!({
        "scores": "@proxy",
        "model": trunk,
        "valid": 0.25,
        "epochs": 20,
        "lr": 0.02,
        "batch_size": 10,
        "warmup_steps": 2,
        "micro_batch": 5,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

#[test]
fn a_scorer_learns_what_is_planted_and_scores_what_it_has_not_seen() {
    let bench = bench();
    // What a mean over tokens can tell: how large their ids are.
    let blocks = blocks(60, "pool");
    let sizes: Vec<f64> = blocks
        .iter()
        .map(|ids| f64::from(ids.iter().sum::<u32>()))
        .collect();
    planted(&bench, "proxy", |i| 1e-3 * sizes[i as usize]);
    bench
        .run::<TrainScorer>("scorer", lesson(json!({})))
        .expect("learns");
    // Twenty epochs over thirty of the forty blocks, through layers alone: a scorer has no output head.
    let trunk: ModelSpec = serde_json::from_str(TRUNK).expect("a shape");
    let config = trunk.config(20);
    let learnt = |ids: &Vec<u32>| 3.0 * crate::flops::layers_flops(&config, ids.len().min(8));
    let expected = 20.0 * blocks[10..40].iter().map(learnt).sum::<f64>();
    let flops = bench.cost().1;
    assert!((flops / expected - 1.0).abs() < 1e-12, "{flops} {expected}");
    let notes = bench.notes();
    assert!(notes[0].starts_with("validation: Spearman 0."), "{notes:?}");
    assert_eq!(notes.len(), 1, "{notes:?}");
    let file = bench.at("scorer").join("validation.parquet");
    let table = read_parquet(&file).expect("a table");
    assert_eq!(table.height(), 20);
    let ranks = f64_column(&table, "spearman", &file).expect("ranks");
    assert!(ranks.iter().any(|rank| *rank > 0.6), "{ranks:?}");

    let ask = json!({ "data": "@tokens", "scorer": "@scorer", "batch_size": 1 });
    let whole = Scores::read(&bench.run::<Pds>("scored", ask.clone()).expect("scores")).expect("reads");
    assert_eq!(whole.index, (0..60).collect::<Vec<u64>>());
    let unseen = spearman(&primary(&whole)[40..], &sizes[40..]);
    assert!(unseen > 0.6, "{unseen}");
    // Two chunks of 32 blocks: cut into shards, and put together again.
    let parts: Vec<_> = (0..3)
        .map(|index| {
            let mut context = bench.context(&format!("part{index}"));
            context.shard = crate::Shard { index, count: 3 };
            bench.run_with::<Pds>(&context, ask.clone()).expect("scores");
            context.output
        })
        .collect();
    let params: PdsParams = serde_json::from_value(ask).expect("fits");
    Pds::merge(params, &parts, &bench.context("merged")).expect("merges");
    assert_eq!(Scores::read(&bench.publish("merged")).expect("reads"), whole);
}

#[test]
fn a_scorer_that_was_stopped_ends_as_one_that_was_not() {
    let bench = bench();
    planted(&bench, "proxy", |i| (i as f64).sin());
    let read = |step: &str| {
        let file = bench.at(step).join("scorer.safetensors");
        std::fs::read(file).expect("a head")
    };
    bench
        .run::<TrainScorer>("whole", lesson(json!({})))
        .expect("learns");
    // The checkpoint of fewer epochs under the same schedule is what a stopped training leaves.
    let short = bench.context("stopped");
    bench
        .run_with::<TrainScorer>(&short, lesson(json!({})))
        .expect("learns");
    let epoch = short.scratch.join("scorer-epoch.safetensors");
    let kept = std::fs::read(&epoch).expect("a checkpoint");
    bench
        .run_with::<TrainScorer>(&short, lesson(json!({})))
        .expect("is kept");
    assert_eq!(std::fs::read(&epoch).expect("a checkpoint"), kept);
    assert_eq!(read("whole"), read("stopped"));
}

#[test]
fn a_scorer_that_learns_nothing_is_told_so() {
    let bench = bench();
    // Nothing to be learnt, and too fast: what it says is far from everything.
    planted(&bench, "proxy", |i| (i as f64 * 12.9).sin());
    let more = json!({ "lr": 0.5, "epochs": 1 });
    bench.run::<TrainScorer>("scorer", lesson(more)).expect("ends");
    let notes = bench.notes();
    assert!(notes[1].starts_with("no_better_than_mean: "), "{notes:?}");
}

#[test]
fn mistakes_of_scorers_have_their_codes() {
    let bench = bench();
    let code = |params: Value| {
        bench
            .run::<TrainScorer>("bad", params)
            .expect_err("a mistake")
            .code()
    };
    planted(&bench, "proxy", |_| 0.25);
    assert_eq!(code(lesson(json!({}))), "zero_variance");
    planted(&bench, "proxy", |i| if i == 3 { f64::NAN } else { i as f64 });
    assert_eq!(code(lesson(json!({}))), "non_finite_score");
    planted(&bench, "proxy", |i| i as f64);
    assert_eq!(code(lesson(json!({ "valid": 0.01 }))), "too_few_scores");
    publish_model(&bench, "foreign", "another tokenizer");
    assert_eq!(code(lesson(json!({ "model": "@foreign" }))), "tokenizer_mismatch");
    let strangers = Scores {
        item: crate::artifact::Item::Block,
        primary: "score".to_owned(),
        precision: Precision::F32,
        index: (50..70).collect(),
        columns: vec![("score".to_owned(), (0..20).map(f64::from).collect())],
    };
    let source = bench.publish("tokens").as_source();
    strangers.write(&bench.at("strangers"), source).expect("writes");
    bench.publish("strangers");
    assert_eq!(
        code(lesson(json!({ "scores": "@strangers" }))),
        "label_count_mismatch"
    );
    let pool = bench.publish("pool");
    bench.scores("documents", &pool, &[1.0]);
    assert!(matches!(
        code(lesson(json!({ "scores": "@documents" }))),
        "wrong_kind" | "wrong_item"
    ));

    let ask = |scorer: &str| {
        let params = json!({ "data": "@tokens", "scorer": scorer });
        bench.run::<Pds>("bad", params).expect_err("a mistake").code()
    };
    assert_eq!(ask("@model"), "not_a_scorer");
    assert_eq!(ask("@foreign"), "tokenizer_mismatch");
}
