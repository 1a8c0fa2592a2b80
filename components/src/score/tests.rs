//! The scorers as steps, over small models and a few blocks.

mod mistakes;

use super::{Logprobs, MiniPlm, Perplexity, Random};
use crate::artifact::{Item, Scores, TokenScores, read_table};
use crate::component::Component;
use crate::evaluate::LmLoss;
use crate::flops::forward_flops;
use crate::model::{self, Decoder, ModelConfig, ModelDetails, ModelSpec, Stopped, load, token_nll};
use crate::random::Stream;
use crate::table::f64_column;
use crate::testing::{Bench, BlockOf};
use crate::tokens::collate;
use crate::{Artifact, Error, Shard};
use serde_json::{Value, json};
use std::path::Path;

/// Blocks of up to seven tokens over the documents 0 to 4, each ended by 0. Document 2 lies in two blocks.
pub(super) const BLOCKS: [BlockOf<'static>; 5] = [
    (&[3, 4, 5, 6, 7, 8, 0], &[(0, 7)]),
    (&[3, 4, 0], &[(1, 3)]),
    (&[2, 0, 5, 6, 0, 1, 9], &[(3, 2), (4, 3), (2, 2)]),
    (&[4, 4, 11, 0], &[(2, 4)]),
    (&[9, 8, 7, 6, 5, 4, 3], &[(4, 7)]),
];

pub(super) fn config(vocab_size: usize, positions: usize) -> ModelConfig {
    let spec: ModelSpec = serde_json::from_value(json!({
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": positions,
        "initializer_range": 0.3,
    }))
    .expect("a model");
    spec.config(vocab_size)
}

pub(super) fn model(
    bench: &Bench,
    step: &str,
    config: &ModelConfig,
    change: impl Fn(&mut ModelDetails),
) -> Artifact {
    let context = bench.context(step);
    let decoder = Decoder::init(config, context.precision, &Stream::new(7, step), &context.device);
    let mut details = ModelDetails {
        parameters: config.parameters() as u64,
        vocab_size: config.vocab_size,
        context: config.max_position_embeddings,
        tokenizer: "a tokenizer".to_owned(),
        tokens_trained: 0,
        flops: 0.0,
        charged: [].into(),
        steps: 0,
        data: Some(bench.publish("tokens").as_source()),
        stopped: Some(Stopped::Budget),
    };
    change(&mut details);
    let tokens = bench.at("tokens");
    model::save(&bench.at(step), &decoder, config, &details, &tokens).expect("writes");
    bench.publish(step)
}

/// The tokens, a teacher and a reference; the reference was trained on something else.
pub(super) fn bench() -> Bench {
    let bench = Bench::new();
    let corpus = bench.corpus("pool", "quality", &["good", "bad", "good", "bad", "good"]);
    bench.tokens("tokens", &corpus, &BLOCKS);
    model(&bench, "teacher", &config(20, 16), |_| ());
    model(&bench, "reference", &config(20, 16), |details| {
        details.data = Some(corpus.as_source());
    });
    bench
}

pub(super) fn logprobs(bench: &Bench, step: &str, more: Value) -> Scores {
    let mut params = json!({ "data": "@tokens", "model": "@teacher" });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    Scores::read(&bench.run::<Logprobs>(step, params).expect("scores")).expect("reads")
}

/// Token losses of every block on its own, with the tokens they speak of: `(block, token, loss)`, masked ones left out.
fn reference_losses(bench: &Bench) -> Vec<(usize, usize, f64)> {
    let context = bench.context("direct");
    let loaded = load(&bench.publish("teacher"), &context.device, context.precision).expect("loads");
    let mut losses = Vec::new();
    for (block, (ids, _)) in BLOCKS.iter().enumerate() {
        let batch = collate(&[ids], 6, 0).expect("collates");
        let nll = token_nll(&loaded.decoder, &batch, &context.device);
        for (t, (nll, mask)) in nll.iter().zip(&batch.mask).enumerate() {
            if *mask > 0.0 {
                losses.push((block, t + 1, *nll));
            }
        }
    }
    losses
}

pub(super) fn assert_close(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() < 1e-5, "{ours:?} {theirs:?}");
    }
}

#[test]
fn blocks_cost_what_the_model_says_whatever_the_batch() {
    let bench = bench();
    let direct = reference_losses(&bench);
    let of = |block| direct.iter().filter(move |(b, _, _)| *b == block);
    let sums: Vec<f64> = (0..5).map(|b| of(b).map(|(_, _, nll)| nll).sum()).collect();
    let counts: Vec<f64> = (0..5).map(|b| of(b).count() as f64).collect();
    let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, n)| sum / n).collect();
    assert_eq!(counts, [6.0, 2.0, 4.0, 3.0, 6.0]);
    for batch_size in [1, 2, 16] {
        let scores = logprobs(
            &bench,
            &format!("by{batch_size}"),
            json!({ "batch_size": batch_size }),
        );
        assert_eq!(scores.index, [0, 1, 2, 3, 4]);
        assert_close(scores.column(None).expect("primary"), &means);
        assert_close(scores.column(Some("sum_nll")).expect("there"), &sums);
        assert_close(scores.column(Some("tokens")).expect("there"), &counts);
    }
    let sum = logprobs(&bench, "sum", json!({ "reduction": "sum" }));
    assert_eq!(sum.primary, "sum_nll");
    let widths = [6, 2, 6, 3, 6];
    let flops: f64 = widths
        .iter()
        .map(|&width| forward_flops(&config(20, 16), width))
        .sum();
    assert_eq!(bench.cost(), (4 * 23, 4.0 * flops));
}

#[test]
fn documents_average_over_all_their_tokens() {
    let bench = bench();
    let direct = reference_losses(&bench);
    // Which document token t of block b belongs to.
    let owner = |b: usize, t: usize| {
        let mut end = 0;
        let found = BLOCKS[b].1.iter().find(|(_, tokens)| {
            end += *tokens as usize;
            t < end
        });
        found.expect("every token has a document").0
    };
    let mean = |document| {
        let own = direct.iter().filter(|&&(b, t, _)| owner(b, t) == document);
        let losses: Vec<f64> = own.map(|(_, _, nll)| *nll).collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    };
    let scores = logprobs(&bench, "documents", json!({ "item": "document" }));
    assert_eq!(
        (scores.item, &scores.index[..]),
        (Item::Document, &[0, 1, 2, 3, 4][..])
    );
    let expected: Vec<f64> = (0..5).map(mean).collect();
    assert_close(scores.column(None).expect("primary"), &expected);
}

#[test]
fn shards_put_together_are_the_whole() {
    let bench = bench();
    for item in ["block", "document"] {
        let whole = logprobs(&bench, &format!("whole_{item}"), json!({ "item": item }));
        let (mut index, mut scores) = (Vec::new(), Vec::new());
        for shard in 0..3 {
            let step = format!("{item}{shard}");
            let mut context = bench.context(&step);
            context.shard = Shard {
                index: shard,
                count: 3,
            };
            let params = json!({ "data": "@tokens", "model": "@teacher", "item": item });
            bench.run_with::<Logprobs>(&context, params).expect("scores");
            let part = Scores::read(&bench.publish(&step)).expect("reads");
            index.extend(part.index.clone());
            scores.extend(part.column(None).expect("primary").to_vec());
        }
        assert_eq!(index, whole.index);
        assert_close(&scores, whole.column(None).expect("primary"));
    }
}

#[test]
fn tokens_of_blocks_cost_what_the_model_says() {
    let bench = bench();
    let direct = reference_losses(&bench);
    let read = |step: &str| TokenScores::read(&bench.at(step).join(TokenScores::FILE)).expect("reads");
    for (item, batch_size) in [("block", 1), ("block", 2), ("document", 2), ("block", 16)] {
        let step = format!("{item}_by{batch_size}");
        let scores = logprobs(
            &bench,
            &step,
            json!({ "item": item, "batch_size": batch_size, "tokens": true }),
        );
        let tokens = read(&step);
        assert_eq!(tokens.index.len(), direct.len());
        for (i, &(block, place, nll)) in direct.iter().enumerate() {
            let at = (tokens.index[i], tokens.position[i]);
            assert_eq!(at, (block as u64, place as u64));
            assert_eq!(tokens.id[i], u64::from(BLOCKS[block].0[place]));
            assert!((tokens.logprob[i] + nll).abs() < 1e-5);
        }
        let sum: f64 = scores.column(Some("sum_nll")).expect("there").iter().sum();
        assert!((sum + tokens.logprob.iter().sum::<f64>()).abs() < 1e-9);
    }
    logprobs(&bench, "without", json!({}));
    assert!(!bench.at("without").join(TokenScores::FILE).exists());
}

#[test]
fn a_restart_goes_on_from_finished_chunks_and_cancelling_stops() {
    let bench = bench();
    let first = logprobs(&bench, "scores", json!({ "tokens": true }));
    let tokens = || TokenScores::read(&bench.at("scores").join(TokenScores::FILE)).expect("reads");
    let before = tokens();
    // The scratch folder survives: with the model gone bad, only what was kept can give the same scores.
    let context = bench.context("other");
    let decoder = Decoder::init(
        &config(20, 16),
        context.precision,
        &Stream::new(8, "x"),
        &context.device,
    );
    let teacher = bench.publish("teacher");
    let details: ModelDetails = teacher.details().expect("a model");
    model::save(
        &teacher.path,
        &decoder,
        &config(20, 16),
        &details,
        &bench.at("tokens"),
    )
    .expect("writes");
    assert_eq!(logprobs(&bench, "scores", json!({ "tokens": true })), first);
    assert_eq!(tokens(), before);
    assert_ne!(logprobs(&bench, "fresh", json!({})), first);

    let context = bench.context("cancelled");
    context.cancel.cancel();
    let params = json!({ "data": "@tokens", "model": "@teacher" });
    let stopped = bench.run_with::<Logprobs>(&context, params).expect_err("stops");
    assert!(matches!(stopped, Error::Interrupted));
    assert!(!bench.at("cancelled").join("artifact.json").exists());
}

#[test]
fn the_difference_is_the_references_loss_less_the_teachers() {
    let bench = bench();
    let params = json!({ "data": "@tokens", "teacher": "@teacher", "reference": "@reference" });
    let scores = Scores::read(&bench.run::<MiniPlm>("difference", params).expect("scores")).expect("reads");
    let column = |name| scores.column(Some(name)).expect("there").to_vec();
    let teacher = logprobs(&bench, "teacher_scores", json!({}));
    let reference = logprobs(&bench, "reference_scores", json!({ "model": "@reference" }));
    assert_close(&column("teacher_nll"), teacher.column(None).expect("primary"));
    assert_close(&column("reference_nll"), reference.column(None).expect("primary"));
    let expected: Vec<f64> = column("reference_nll")
        .iter()
        .zip(column("teacher_nll"))
        .map(|(r, t)| r - t)
        .collect();
    assert_eq!(column("score"), expected);
    assert_eq!(bench.notes(), Vec::<String>::new());
}

#[test]
fn a_teacher_is_not_ahead_of_itself_and_overlap_is_told() {
    let bench = bench();
    let params = json!({ "data": "@tokens", "teacher": "@teacher", "reference": "@teacher" });
    let scores = Scores::read(&bench.run::<MiniPlm>("difference", params).expect("scores")).expect("reads");
    assert_eq!(scores.column(None).expect("primary"), [0.0; 5]);
    assert!(
        bench.notes()[0].starts_with("reference_overlap"),
        "{:?}",
        bench.notes()
    );
}

#[test]
fn perplexity_scores_the_wanted_end_high() {
    let bench = bench();
    let nll = logprobs(&bench, "nll", json!({}));
    let nll = nll.column(None).expect("primary");
    let run = |keep: &str| {
        let params = json!({ "data": "@tokens", "model": "@teacher", "keep": keep });
        Scores::read(&bench.run::<Perplexity>(keep, params).expect("scores")).expect("reads")
    };
    let low: Vec<f64> = nll.iter().map(|nll| -nll).collect();
    assert_close(run("low").column(None).expect("primary"), &low);
    assert_close(run("high").column(None).expect("primary"), nll);
    let perplexity: Vec<f64> = nll.iter().map(|nll| nll.exp()).collect();
    let found = run("mid").column(Some("perplexity")).expect("there").to_vec();
    assert!(
        found
            .iter()
            .zip(&perplexity)
            .all(|(a, b)| (a / b - 1.0).abs() < 1e-5)
    );
}

#[test]
fn chance_depends_on_seed_and_item_alone() {
    let bench = bench();
    let run = |step: &str, seed, shard| {
        let mut context = bench.context(step);
        (context.seed, context.shard) = (seed, shard);
        bench
            .run_with::<Random>(&context, json!({ "data": "@tokens" }))
            .expect("scores");
        let scores = Scores::read(&bench.publish(step)).expect("reads");
        scores.column(None).expect("primary").to_vec()
    };
    let whole = run("whole", 1, Shard::WHOLE);
    assert_eq!(whole.len(), 5);
    assert_eq!(run("last", 1, Shard { index: 1, count: 2 })[..], whole[2..]);
    assert_ne!(run("other", 2, Shard::WHOLE), whole);
}

#[test]
fn losses_by_label_weigh_to_the_loss() {
    let bench = bench();
    let params = json!({
        "models": ["@teacher", "@reference"],
        "data": "@tokens",
        "labels": "@pool",
        "group_by": "quality",
    });
    let table = bench.run::<LmLoss>("quality", params).expect("a table");
    let rows = read_table(&table).expect("reads");
    let values = f64_column(&rows, "value", Path::new("table.parquet")).expect("floats");
    let text = |name| rows.column(name).expect("there").str().expect("text").clone();
    let (variants, metrics, groups) = (text("variant"), text("metric"), text("group"));
    let value = |variant: &str, metric: &str, group: Option<&str>| {
        let here = |&at: &usize| {
            variants.get(at) == Some(variant) && metrics.get(at) == Some(metric) && groups.get(at) == group
        };
        values[(0..values.len()).find(here).expect("a row")]
    };
    assert_eq!(variants.get(0), Some("teacher"));
    let direct = reference_losses(&bench);
    let loss = direct.iter().map(|(_, _, nll)| nll).sum::<f64>() / direct.len() as f64;
    assert_close(&[value("teacher", "loss", None)], &[loss]);
    assert_close(&[value("teacher", "perplexity", None).ln()], &[loss]);
    // Documents 1 and 3 are bad: two scored tokens of the one and one of the other.
    let bad = value("teacher", "loss", Some("bad"));
    let good = value("teacher", "loss", Some("good"));
    assert_close(&[(3.0 * bad + 18.0 * good) / 21.0], &[loss]);
    assert_ne!(value("reference", "loss", None), value("teacher", "loss", None));
}
