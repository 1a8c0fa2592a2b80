use super::*;
use crate::artifact::{Artifact, InstructionPair, PairsWriter, read_instances, read_table};
use crate::evaluate::questions::Question;
use crate::inference::tests::bench;
use crate::table::{f64_column, u64_column};
use crate::testing::Bench;
use crate::tokens::Pairs;
use polars::prelude::DataFrame;
use serde_json::Value;

fn params(more: Value) -> Params {
    let mut params = json!({ "models": "@model", "prompts": "@pairs" });
    let Value::Object(more) = more else {
        panic!("an object")
    };
    params.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(params).expect("parameters")
}

/// The value of every row by variant, metric and group.
pub(crate) fn figures(table: &DataFrame) -> BTreeMap<(String, String, String), f64> {
    let text = |name: &str| -> Vec<String> {
        let column = table.column(name).expect("there").str().expect("text").clone();
        column
            .iter()
            .map(|cell| cell.unwrap_or_default().to_owned())
            .collect()
    };
    let values = f64_column(table, "value", Path::new("table.parquet")).expect("floats");
    let keys = text("variant").into_iter().zip(text("metric")).zip(text("group"));
    keys.zip(values)
        .map(|(((a, b), c), value)| ((a, b, c), value))
        .collect()
}

fn written(text: &str) -> Written {
    Written {
        text: text.to_owned(),
        tokens: text.len() as u64,
        ended: text.len() > 3,
    }
}

/// Pairs of two families, one with two right answers.
pub(crate) fn pairs(bench: &Bench) {
    let mut writer = PairsWriter::create(&bench.at("pairs"));
    for (id, prompt, responses, family) in [
        (2, "The cat", vec!["a cat", "the cat sat"], "cats"),
        (5, "The dog", vec!["two dogs ran off"], "dogs"),
    ] {
        let pair = InstructionPair {
            id,
            prompt: prompt.to_owned(),
            input: String::new(),
            response: responses[0].to_owned(),
            responses: responses.into_iter().map(str::to_owned).collect(),
            meta: [("family".to_owned(), json!(family))].into_iter().collect(),
        };
        writer.push(pair).expect("pushes");
    }
    writer.finish(9, BTreeMap::new()).expect("writes");
    bench.publish("pairs");
}

fn questions(bench: &Bench, params: &Params) -> Vec<Question> {
    let context = bench.context("questions");
    let artifact = context.open(&params.prompts).expect("opens");
    Questions::read(&artifact, &params.rules(), &context)
        .expect("reads")
        .all
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
}

#[test]
fn draws_are_averaged_by_group_and_their_spread_is_told() {
    let bench = Bench::new();
    pairs(&bench);
    let params = params(
        json!({ "draws": 2, "sampling": { "temperature": 1.0 }, "group_by": "family",
        "length_buckets": [2, 3], "metrics": ["exact_match", "rouge_l", "distinct_1", "tokens", "ended"] }),
    );
    assert_eq!(Generation::check(&params), []);
    let questions = questions(&bench, &params);
    let texts = [["The cat sat!", "cat"], ["two dogs", "birds"]].map(|draws| draws.map(written).to_vec());
    let mut table = Table::default();
    let measuring = Measuring {
        metrics: &params.metrics,
        stemmer: true,
        buckets: &params.length_buckets,
        draws: 2,
    };
    measuring.compare(&questions, &texts, "student", &mut table);
    table.write(&bench.at("quality"), ()).expect("writes");
    let artifact = Artifact::open(&bench.at("quality"), "evaluate.generation/k", "quality").expect("opens");
    let rows = read_table(&artifact).expect("reads");
    let found = figures(&rows);
    let value =
        |metric: &str, group: &str| found[&("student".to_owned(), metric.to_owned(), group.to_owned())];
    let deviation = |a: f64, b: f64| (a - b).abs() / 2_f64.sqrt();
    near(value("exact_match", ""), 0.25);
    near(value("exact_match_std", ""), deviation(0.5, 0.0));
    near(value("exact_match", "cats"), 0.5);
    near(value("exact_match", "0–2 words"), 0.5);
    near(value("exact_match", "4 words and more"), 0.0);
    assert!(
        !found.keys().any(|(_, _, group)| group == "3 words"),
        "nobody is in it"
    );
    // F of one word of two with one of one, and of two words of four with two of two.
    near(value("rouge_l", ""), (1.0 + 2.0 / 3.0 + 2.0 / 3.0 + 0.0) / 4.0);
    near(value("rouge_l", "dogs"), 1.0 / 3.0);
    // Draw one has five words, all different; draw two has two.
    near(value("distinct_1", ""), 1.0);
    near(value("tokens", "cats"), 7.5);
    near(value("ended", ""), 0.75);
    let instances = read_instances(&artifact).expect("reads").expect("there");
    let numbers = u64_column(&instances, "instance", Path::new("instances.parquet")).expect("numbers");
    assert_eq!(numbers[..2], [2, 5]);
}

#[test]
fn pairs_and_the_tokens_made_of_them_ask_the_same() {
    let bench = bench();
    pairs(&bench);
    let tokens = json!({ "tokenizer": "@bpe", "pairs": "@pairs", "template": "plain", "context": 30 });
    bench.run::<Pairs>("tokens", tokens).expect("tokenizes");
    let run = |step: &str, more: Value| {
        let mut params = json!({ "models": ["@model", "@other"], "template": "plain", "draws": 2,
            "sampling": { "temperature": 1.0, "max_tokens": 8 }, "metrics": ["rouge_l", "exact_match"] });
        let Value::Object(more) = more else {
            panic!("an object")
        };
        params.as_object_mut().expect("an object").extend(more);
        let artifact = bench.run::<Generation>(step, params).expect("measures");
        let texts = std::fs::read_to_string(artifact.path.join(TEXTS)).expect("the texts");
        (figures(&read_table(&artifact).expect("reads")), texts)
    };
    let (figures, texts) = run("pairs-asked", json!({ "prompts": "@pairs" }));
    assert_eq!(texts.lines().count(), 2 * 2 * 2);
    let first: Value = serde_json::from_str(texts.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["variant"], &first["instance"]),
        (&json!("model"), &json!(2))
    );
    assert_eq!(
        run("tokens-asked", json!({ "prompts": "@tokens" })),
        (figures.clone(), texts.clone())
    );
    assert_ne!(
        run(
            "alpaca",
            json!({ "prompts": "@pairs", "template": "plain", "limit": 1 })
        )
        .1,
        texts
    );
}

#[test]
fn what_cannot_be_asked_is_told() {
    let bench = bench();
    pairs(&bench);
    bench.texts("documents", &["The cat"]);
    let code = |more: Value| {
        let mut params = json!({ "models": "@model", "template": "plain", "sampling": { "max_tokens": 2 } });
        let Value::Object(more) = more else {
            panic!("an object")
        };
        params.as_object_mut().expect("an object").extend(more);
        let failed = bench.run_with::<Generation>(&bench.context("mistakes"), params);
        failed.expect_err("a mistake").code()
    };
    assert_eq!(code(json!({ "prompts": "@documents" })), "no_references");
    assert_eq!(
        code(json!({ "prompts": "@pairs", "references": ["{{ output }}"] })),
        "not_for_pairs"
    );
    assert_eq!(
        code(json!({ "prompts": "@pairs", "group_by": "colour" })),
        "unknown_group"
    );
    assert_eq!(
        code(json!({ "prompts": "@documents", "references": ["a"], "group_by": "colour" })),
        "unknown_group"
    );
    assert_eq!(
        code(json!({ "prompts": "@pairs", "template": "chat" })),
        "no_chat_template"
    );
}

#[test]
fn greedy_draws_bad_templates_and_buckets_are_refused() {
    let params = params(json!({ "references": ["{{ output"], "draws": 2, "length_buckets": [5, 5] }));
    let codes: Vec<_> = Generation::check(&params)
        .iter()
        .map(|problem| problem.code)
        .collect();
    assert_eq!(codes, ["bad_template", "no_randomness", "bad_value"]);
}
