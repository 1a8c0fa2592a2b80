//! The solver and the scorer as steps, over small models and a few blocks.

use super::*;
use crate::artifact::Scores;
use crate::component::Component;
use crate::metrics::spearman;
use crate::model::{self, Decoder, ModelConfig, ModelDetails, ModelSpec};
use crate::random::Stream;
use crate::table::{f64_column, read_parquet};
use crate::testing::{Bench, BlockOf};
use crate::{Artifact, Error, Precision, Result};
use serde_json::{Value, json};

/// Blocks of seven tokens: the even ones count upwards, as the target does; the odd ones are drawn by chance.
fn blocks(count: usize, name: &str) -> Vec<Vec<u32>> {
    let mut stream = Stream::new(1, name);
    let block = |i: usize| -> Vec<u32> {
        let first = stream.below(12) as u32;
        if i.is_multiple_of(2) {
            (0..7).map(|at| 1 + first + at).collect()
        } else {
            (0..7).map(|_| 1 + stream.below(19) as u32).collect()
        }
    };
    (0..count).map(block).collect()
}

fn publish(bench: &Bench, step: &str, blocks: &[Vec<u32>]) -> Artifact {
    let corpus = bench.publish("pool");
    let of: Vec<BlockOf> = blocks.iter().map(|ids| (&ids[..], &[(0, 7)][..])).collect();
    bench.tokens(step, &corpus, &of)
}

fn config() -> ModelConfig {
    let spec: ModelSpec = serde_json::from_value(json!({
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "initializer_range": 0.2,
    }))
    .expect("a model");
    spec.config(20)
}

fn publish_model(bench: &Bench, step: &str, tokenizer: &str) {
    let context = bench.context(step);
    let decoder = Decoder::init(&config(), Precision::F32, &Stream::new(7, step), &context.device);
    let details = ModelDetails {
        parameters: config().parameters() as u64,
        vocab_size: 20,
        context: 8,
        tokenizer: tokenizer.to_owned(),
        tokens_trained: 0,
        flops: 0.0,
        charged: [].into(),
        steps: 0,
        data: None,
        stopped: None,
    };
    model::save(
        &bench.at(step),
        &decoder,
        &config(),
        &details,
        &bench.at("tokens"),
    )
    .expect("writes");
    bench.publish(step);
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.corpus("pool", "quality", &["good"]);
    publish(&bench, "tokens", &blocks(60, "pool"));
    let clean: Vec<_> = blocks(16, "clean").into_iter().step_by(2).collect();
    publish(&bench, "clean", &clean);
    publish_model(&bench, "model", "a tokenizer");
    bench
}

fn params(more: Value) -> Value {
    let mut params = json!({
        "data": "@tokens",
        "target": "@clean",
        "models": "@model",
        "proxy": 40,
        "steps": 5,
        "optim": { "lr": 0.2, "batch_size": 4 },
        "score_every": 2,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn solve(bench: &Bench, step: &str, more: Value) -> Result<Scores> {
    Scores::read(&bench.run::<PdsProxy>(step, params(more))?)
}

fn primary(scores: &Scores) -> &[f64] {
    scores.column(None).expect("primary")
}

#[test]
fn blocks_like_the_target_are_worth_more_and_the_plan_changes_nothing() {
    let bench = bench();
    let scores = solve(&bench, "first", json!({})).expect("solves");
    // The training reads the first twenty blocks; the scored ones are the others.
    assert_eq!(scores.index, (20..60).collect::<Vec<u64>>());
    assert_eq!(bench.notes(), Vec::<String>::new());
    let mean = |parity: u64| {
        let of = scores
            .index
            .iter()
            .zip(primary(&scores))
            .filter(|(index, _)| *index % 2 == parity);
        of.map(|(_, score)| score).sum::<f64>() / 20.0
    };
    assert!(mean(0) > mean(1) && mean(0) > 0.0, "{} {}", mean(0), mean(1));
    for (step, more) in [
        ("all", json!({ "checkpoint_every": 1 })),
        ("none", json!({ "checkpoint_every": 5, "trajectory": "memory" })),
        ("twice", json!({ "models": ["@model", "@model"] })),
    ] {
        assert_eq!(solve(&bench, step, more).expect("solves"), scores, "{step}");
    }
    let table = read_parquet(&bench.at("first").join("steps.parquet")).expect("a table");
    let file = bench.at("first");
    let losses = f64_column(&table, "target_loss", &file).expect("losses");
    assert_eq!(losses.len(), 6);
    assert!(losses[5] < losses[0], "{losses:?}");
    let costates = f64_column(&table, "costate_norm", &file).expect("norms");
    assert!(costates.is_sorted_by(|a, b| a > b), "{costates:?}");

    let wide = || bench.context("wide");
    let context = crate::Context {
        precision: Precision::F64,
        ..wide()
    };
    bench
        .run_with::<PdsProxy>(&context, params(json!({})))
        .expect("solves");
    let wide = Scores::read(&bench.publish("wide")).expect("reads");
    let largest = primary(&wide)
        .iter()
        .fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (narrow, wide) in primary(&scores).iter().zip(primary(&wide)) {
        assert!((narrow - wide).abs() < 5e-3 * largest, "{narrow} {wide}");
    }
}

#[test]
fn outer_epochs_give_weights_on_the_simplex_that_favour_what_is_like_the_target() {
    let bench = bench();
    let more = json!({ "outer_epochs": 3, "outer_lr": 0.01, "score_every": 1 });
    let scores = solve(&bench, "outer", more).expect("solves");
    let weights = primary(&scores);
    assert_eq!(scores.columns[1].0, "gradient");
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(weights.iter().all(|weight| *weight >= 0.0));
    let alike = scores
        .index
        .iter()
        .zip(weights)
        .filter(|(index, _)| *index % 2 == 0);
    assert!(alike.map(|(_, weight)| weight).sum::<f64>() > 0.51, "{weights:?}");
    assert_eq!(bench.notes(), Vec::<String>::new(), "the area falls");
}

#[test]
fn costs_are_what_was_read() {
    let bench = bench();
    solve(&bench, "cost", json!({})).expect("solves");
    // Forth 5 and twice for five Hessians, of four blocks each; eight targets at six states; forty blocks twice at three
    // states.
    let trained = (5 + 2 * 5) * 4 + 6 * 8;
    let width = crate::flops::forward_flops(&config(), 6);
    let (tokens, flops) = bench.cost();
    assert_eq!(tokens, 6 * (trained + 40 * 2 * 3));
    let expected = width * (3.0 * trained as f64 + f64::from(40 * 2 * 3));
    assert!((flops / expected - 1.0).abs() < 1e-12, "{flops} {expected}");
    let mut sizes = crate::Sizes::default();
    let size = |items: f64, tokens: f64| crate::Size {
        items,
        tokens,
        ..crate::Size::default()
    };
    sizes.sizes.insert("@tokens".to_owned(), size(60.0, 420.0));
    sizes.sizes.insert("@clean".to_owned(), size(8.0, 56.0));
    let model = crate::Size {
        flops_per_token: width / 6.0,
        parameters: 1e6,
        ..crate::Size::default()
    };
    sizes.sizes.insert("@model".to_owned(), model);
    let params: ProxyParams = serde_json::from_value(params(json!({}))).expect("parameters");
    let estimate = PdsProxy::estimate(&params, &sizes);
    assert!(
        (estimate.flops / expected - 1.0).abs() < 1e-12,
        "{}",
        estimate.flops
    );
    assert_eq!(estimate.memory, (2.0 + 5.0) * 4e6 + 16e6);
    assert_eq!(estimate.scratch, (3.0 + 2.0) * 4e6);
}

#[test]
fn mistakes_have_their_codes() {
    let bench = bench();
    let code = |more: Value| match solve(&bench, "bad", more) {
        Err(error) => error.code(),
        Ok(_) => "none",
    };
    assert_eq!(code(json!({ "proxy": 61 })), "proxy_num_exceeds_corpus");
    assert_eq!(code(json!({ "steps": 16 })), "not_enough_items");
    publish(&bench, "nothing", &[]);
    assert_eq!(code(json!({ "target": "@nothing" })), "empty_target");
    assert_eq!(code(json!({ "data": "@nothing" })), "empty_input");
    publish(&bench, "ends", &[vec![0, 0, 5]]);
    assert_eq!(code(json!({ "target": "@ends" })), "empty_loss_mask");
    publish_model(&bench, "foreign", "another tokenizer");
    assert_eq!(code(json!({ "models": "@foreign" })), "tokenizer_mismatch");
    assert_eq!(
        code(json!({ "optim": { "lr": 1e30, "batch_size": 4 } })),
        "diverged"
    );
    assert_eq!(code(json!({ "rel_step": 1e-9 })), "imprecise_differences");
    let context = crate::Context {
        precision: Precision::Bf16,
        ..bench.context("bad")
    };
    let error = bench
        .run_with::<PdsProxy>(&context, params(json!({})))
        .expect_err("too narrow");
    assert_eq!(error.code(), "unsupported_precision");
    assert!(!bench.at("bad").join("artifact.json").exists());

    solve(&bench, "overlap", json!({ "proxy": 50 })).expect("solves");
    assert!(
        bench.notes()[0].starts_with("proxy_overlap: "),
        "{:?}",
        bench.notes()
    );
}

#[test]
fn whatever_breaks_the_recursion_is_refused() {
    let problems = |optim: Value| {
        let params: ProxyParams = serde_json::from_value(params(json!({ "optim": optim }))).expect("fits");
        PdsProxy::check(&params)
    };
    assert_eq!(problems(json!({ "lr": 0.1 })), []);
    for (key, value) in [
        ("method", json!("adamw")),
        ("schedule", json!("cosine")),
        ("momentum", json!(0.9)),
        ("weight_decay", json!(0.01)),
        ("clip_norm", json!(1.0)),
        ("warmup", json!(0.1)),
    ] {
        let found = problems(json!({ "lr": 0.1, key: value }));
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(
            (found[0].code, &found[0].field),
            ("unsupported_optimizer", &format!("optim.{key}"))
        );
    }
    let params: ProxyParams =
        serde_json::from_value(params(json!({ "score_every": 6, "checkpoint_every": 7 }))).expect("fits");
    let fields: Vec<String> = PdsProxy::check(&params)
        .into_iter()
        .map(|problem| problem.field)
        .collect();
    assert_eq!(fields, ["score_every", "checkpoint_every"]);
}

#[test]
fn a_stopped_solver_goes_on_where_it_was() {
    let bench = bench();
    let whole = solve(&bench, "whole", json!({ "outer_epochs": 2 })).expect("solves");
    let context = bench.context("stopped");
    context.cancel.cancel();
    let more = json!({ "outer_epochs": 2 });
    let error = bench
        .run_with::<PdsProxy>(&context, params(more.clone()))
        .expect_err("stops");
    assert!(matches!(error, Error::Interrupted));
    assert_eq!(solve(&bench, "stopped", more.clone()).expect("goes on"), whole);
    // What is done is kept: with the model gone bad, only that can give the same scores.
    let file = bench.at("model").join("model.safetensors");
    std::fs::write(&file, "gone").expect("written");
    assert_eq!(solve(&bench, "stopped", more).expect("is kept"), whole);
}

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
