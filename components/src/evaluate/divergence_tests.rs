use super::*;
use crate::artifact::{read_instances, read_table};
use crate::evaluate::generation::tests::{figures, pairs};
use crate::inference::tests::bench;
use crate::table::u64_column;
use crate::testing::Bench;
use crate::tokens::Pairs;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use serde_json::{Value, json};
use std::path::Path;

fn tokens(bench: &Bench) -> Artifact {
    pairs(bench);
    let params = json!({ "tokenizer": "@bpe", "pairs": "@pairs", "template": "plain", "context": 30 });
    bench.run::<Pairs>("tokens", params).expect("tokenizes")
}

fn run(bench: &Bench, step: &str, more: Value) -> Result<Artifact> {
    let mut params = json!({ "models": ["@other", "@model"], "teacher": "@model", "data": "@tokens" });
    let Value::Object(more) = more else {
        panic!("an object")
    };
    params.as_object_mut().expect("an object").extend(more);
    bench.run::<Divergence>(step, params)
}

/// Log-probabilities of every token after every token of a text, from whole logits.
fn log_probabilities(bench: &Bench, model: &str, ids: &[u32]) -> Vec<Vec<f64>> {
    let context = bench.context("by hand");
    let loaded = model::load(&bench.publish(model), &context.device, context.precision).expect("loads");
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let width = ids.len();
    let inputs: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, [1, width]), &context.device);
    let hidden_btd = loaded.decoder.hidden(inputs);
    let [_, t, d] = hidden_btd.dims();
    let logits_nv = loaded.decoder.logits(hidden_btd.reshape([t, d]));
    let v = logits_nv.dims()[1];
    let all = log_softmax(logits_nv.cast(DType::F64), 1);
    let values = all.into_data().try_into_vec::<f64>().expect("f64");
    values.chunks(v).map(<[f64]>::to_vec).collect()
}

#[test]
fn divergences_are_those_of_whole_distributions_over_answers_alone() {
    let bench = bench();
    let tokens = tokens(&bench);
    let kinds = json!({ "kinds": ["forward_kl", "reverse_kl", "jsd", "tv"],
        "positions": [1, 3], "batch_size": 1 });
    let table = run(&bench, "apart", kinds.clone()).expect("measures");
    let found = figures(&read_table(&table).expect("reads"));

    let blocks = Blocks::open(&tokens, &bench.context("reading")).expect("opens");
    // By kind: every value with its position.
    let mut expected: Vec<Vec<(usize, f64)>> = vec![Vec::new(); 4];
    for i in 0..blocks.len() {
        let block = blocks.get(i);
        let prompt = block.prompt.expect("a pair") as usize;
        let [p, q] = ["model", "other"].map(|model| log_probabilities(&bench, model, &block.ids));
        for t in prompt - 1..block.ids.len() - 1 {
            let sum =
                |f: &dyn Fn(f64, f64) -> f64| -> f64 { p[t].iter().zip(&q[t]).map(|(&p, &q)| f(p, q)).sum() };
            let mean = |p: f64, q: f64| f64::midpoint(p.exp(), q.exp()).ln();
            let values = [
                sum(&|p, q| p.exp() * (p - q)),
                sum(&|p, q| q.exp() * (q - p)),
                sum(&|p, q| 0.5 * (p.exp() * (p - mean(p, q)) + q.exp() * (q - mean(p, q)))),
                sum(&|p, q| 0.5 * (p.exp() - q.exp()).abs()),
            ];
            for (all, value) in expected.iter_mut().zip(values) {
                all.push((t + 2 - prompt, value));
            }
        }
    }
    for (kind, expected) in ["forward_kl", "reverse_kl", "jsd", "tv"]
        .into_iter()
        .zip(expected)
    {
        for (group, low, high) in [
            ("", 1, 99),
            ("position 1", 1, 1),
            ("positions 2–3", 2, 3),
            ("positions from 4", 4, 99),
        ] {
            let inside = expected.iter().filter(|(place, _)| (low..=high).contains(place));
            let values: Vec<f64> = inside.map(|(_, value)| *value).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let value = found[&("other".to_owned(), kind.to_owned(), group.to_owned())];
            assert!(
                (value - mean).abs() < 1e-5 * mean.max(1.0),
                "{kind} {group}: {value}, expected {mean}"
            );
        }
        let own = found[&("model".to_owned(), kind.to_owned(), String::new())];
        assert!(own.abs() < 1e-5, "{kind}: {own}");
    }
    let instances = read_instances(&table).expect("reads").expect("there");
    let numbers = u64_column(&instances, "instance", Path::new("instances.parquet")).expect("numbers");
    assert_eq!(numbers[..2], [0, 1]);

    let mut together = kinds;
    together["batch_size"] = json!(64);
    let together = run(&bench, "together", together).expect("measures");
    let other = figures(&read_table(&together).expect("reads"));
    for (key, value) in &found {
        assert!((other[key] - value).abs() < 1e-6, "{key:?}");
    }
}

#[test]
fn positions_ascend_and_teachers_share_the_vocabulary() {
    let params: Params =
        serde_json::from_value(json!({ "models": "@m", "teacher": "@t", "data": "@d", "positions": [4, 4] }))
            .expect("parameters");
    assert_eq!(Divergence::check(&params)[0].code, "bad_value");
    let bench = bench();
    tokens(&bench);
    crate::tokenizer::train_tests::trained(&bench, "small", &json!({ "vocab_size": 280 })).expect("trains");
    let model = json!({ "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 64 });
    bench
        .run::<crate::model::Init>("foreign", json!({ "tokenizer": "@small", "model": model }))
        .expect("makes a model");
    let error = run(&bench, "mistake", json!({ "teacher": "@foreign" })).expect_err("another vocabulary");
    assert!(error.code() == "vocab_mismatch", "{error}");
}
