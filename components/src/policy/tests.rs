//! The learning law as a step.

use super::*;
use crate::artifact::{Cell, CorpusWriter, Document};
use crate::corpus::TeacherStudent;
use crate::model::{read_tensors, write_tensors};
use crate::random::Stream;
use crate::table::{f64_column, read_parquet};
use crate::testing::Bench;
use crate::{Artifact, Context, Error, Precision};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A bench with labelled inputs.
fn bench() -> Bench {
    let bench = Bench::new();
    let params = json!({ "width": 8, "train": 40, "target": 30 });
    bench
        .run_with::<TeacherStudent>(&bench.context("labelled"), params)
        .expect("draws");
    for name in ["train", "target", "test"] {
        bench.publish(&format!("labelled/{name}"));
    }
    bench
}

fn params(more: Value) -> Value {
    let mut params = json!({
        "data": "@labelled/train",
        "target": "@labelled/target",
        "test": "@labelled/test",
        "steps": 25,
        "epochs": 12,
        "lr": 0.005,
        "save_every": 5,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn wide(bench: &Bench, step: &str) -> Context {
    Context {
        precision: Precision::F64,
        ..bench.context(step)
    }
}

fn policy_of(artifact: &Artifact, shape: [usize; 2]) -> Vec<f32> {
    let tensors = read_tensors(&artifact.path.join("policy.safetensors")).expect("reads");
    let data = tensors["policy"].clone();
    assert_eq!(data.shape().to_vec(), shape);
    data.try_into_vec().expect("f32")
}

fn run(bench: &Bench, step: &str, more: Value) -> Vec<f32> {
    bench
        .run_with::<LearningLaw>(&wide(bench, step), params(more))
        .expect("finds");
    policy_of(&bench.publish(step), [25, 40])
}

fn column(bench: &Bench, step: &str, file: &str, name: &str) -> Vec<f64> {
    let file = bench.at(step).join(file);
    f64_column(&read_parquet(&file).expect("a table"), name, &file).expect("numbers")
}

#[test]
fn the_target_loss_falls_and_how_states_are_kept_changes_nothing() {
    let bench = bench();
    let policy = run(&bench, "law", json!({}));
    for row in policy.chunks(40) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(row.iter().all(|weight| *weight >= 0.0));
    }
    assert!(policy.contains(&0.0), "some are not used at all");
    let objective = column(&bench, "law", "epochs.parquet", "objective");
    assert_eq!(objective.len(), 12);
    assert!(objective.is_sorted_by(|a, b| a > b), "{objective:?}");
    let gap = column(&bench, "law", "epochs.parquet", "gap");
    assert!(gap.iter().all(|gap| *gap >= 0.0) && gap[11] < gap[0], "{gap:?}");
    let curves = read_parquet(&bench.at("law").join("curves.parquet")).expect("a table");
    assert_eq!(curves.height(), 2 * 26);
    // All steps are traced where they are few, and weights there are the policy's.
    let traced = read_parquet(&bench.at("law").join("contributions.parquet")).expect("a table");
    assert_eq!(traced.height(), 25 * 40);
    assert!(bench.notes()[0].starts_with("after 12 policy epochs: acceleration "));
    for way in ["store", "sqrt", "disk"] {
        assert_eq!(run(&bench, way, json!({ "trajectory": way })), policy, "{way}");
    }
    let narrow = bench
        .run::<LearningLaw>("narrow", params(json!({})))
        .expect("finds");
    let narrow = policy_of(&narrow, [25, 40]);
    assert!(narrow.iter().zip(&policy).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn labelled_inputs_are_read_as_they_were_drawn() {
    let bench = bench();
    let split = perceptron_data::<f64>(PerceptronData {
        seed: 1,
        width: 8,
        train: 40,
        target: 30,
        train_deviation: 3_f64.sqrt(),
        target_mean: 0.5,
        target_deviation: 1.0,
    });
    for (name, drawn) in [
        ("train", split.train),
        ("target", split.target),
        ("test", split.test),
    ] {
        let artifact = bench.publish(&format!("labelled/{name}"));
        let read = Labelled::<f64>::read(&artifact, &bench.context("x")).expect("reads");
        assert_eq!((read.width, read.examples), (8, drawn), "{name}");
    }
    assert_eq!(perceptron_start::<f64>(1, 8), split.start);
}

#[test]
fn a_stopped_policy_goes_on_at_its_last_copy() {
    let bench = bench();
    let whole = run(&bench, "whole", json!({}));
    for way in ["store", "disk"] {
        let context = wide(&bench, &format!("stopped-{way}"));
        let more = || json!({ "trajectory": way });
        // Ten of twelve epochs under the same schedule are what the last copy holds.
        bench
            .run_with::<LearningLaw>(&context, params(more()))
            .expect("finds");
        context.cancel.cancel();
        let stopped = bench
            .run_with::<LearningLaw>(&context, params(more()))
            .expect_err("stops");
        assert!(matches!(stopped, Error::Interrupted));
        assert_eq!(run(&bench, &format!("stopped-{way}"), more()), whole);
    }
}

/// Publishes blocks of a decoder's examples, target and test.
fn tokens(bench: &Bench) {
    let corpus = bench.corpus("pool", "quality", &["good"; 5]);
    let mut stream = Stream::new(4, "blocks");
    for (location, count) in [("tokens", 6), ("judge", 4), ("held", 4)] {
        let blocks: Vec<Vec<u32>> = (0..count)
            .map(|_| (0..7).map(|_| 1 + stream.below(19) as u32).collect())
            .collect();
        let of_document = [(0, 7)];
        let blocks: Vec<_> = blocks.iter().map(|ids| (&ids[..], &of_document[..])).collect();
        bench.tokens(location, &corpus, &blocks);
    }
}

fn of_tokens(more: Value) -> Value {
    let mut params = json!({
        "data": "@tokens",
        "target": "@judge",
        "test": "@held",
        "model": {
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8,
            "initializer_range": 0.3,
        },
        "steps": 6,
        "inner_lr": 0.1,
        "epochs": 4,
        "lr": 0.5,
        "lr_scale": "row",
        "micro_batch": 3,
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

#[test]
fn weights_of_blocks_are_found_for_a_decoder() {
    let bench = Bench::new();
    tokens(&bench);
    let find = |step: &str, more: Value| {
        bench
            .run_with::<LearningLaw>(&wide(&bench, step), of_tokens(more))
            .expect("finds");
        policy_of(&bench.publish(step), [6, 6])
    };
    let policy = find("law", json!({}));
    let objective = column(&bench, "law", "epochs.parquet", "objective");
    assert!(objective[3] < objective[0], "{objective:?}");
    for way in ["sqrt", "disk"] {
        assert_eq!(find(way, json!({ "trajectory": way })), policy, "{way}");
    }
    // The blocks' scores are their weights over the steps, 1 being equal weights.
    let scores = crate::artifact::Scores::read(&bench.publish("law/weights")).expect("scores");
    let mean = |n: usize| {
        policy
            .iter()
            .skip(n)
            .step_by(6)
            .map(|w| f64::from(*w))
            .sum::<f64>()
    };
    for (n, score) in scores.columns[0].1.iter().enumerate() {
        assert!((score - mean(n)).abs() < 1e-6, "{n}: {score}");
    }
    assert_eq!(scores.index, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn policies_are_followed_over_their_own_data_only() {
    let bench = bench();
    run(&bench, "law", json!({}));
    let artifact = bench.publish("law");
    let policy = Policy::read(&artifact).expect("reads");
    assert_eq!(policy.at(24).len(), 40);
    let [own, other] = ["labelled/train", "labelled/test"].map(|at| bench.publish(at));
    assert!(policy.check(&own, 25).is_ok());
    assert_eq!(policy.check(&own, 26).expect_err("longer").code(), "policy_shape");
    assert_eq!(policy.check(&other, 25).expect_err("other").code(), "policy_hash");

    let file = artifact.path.join("policy.safetensors");
    let write = |policy: Vec<f32>, shape: [usize; 2]| {
        let data = burn::tensor::TensorData::new(policy, shape);
        write_tensors(&file, &BTreeMap::from([("policy".to_owned(), data)])).expect("writes");
        Policy::read(&artifact).expect_err("damaged").code()
    };
    assert_eq!(write(vec![0.5; 25 * 40], [25, 40]), "off_simplex");
    assert_eq!(write([-1.0, 2.0].repeat(500), [25, 40]), "off_simplex");
    assert_eq!(write(vec![0.5; 4], [2, 2]), "policy_shape");
}

#[test]
fn mistakes_have_their_codes_and_rises_are_told() {
    let bench = bench();
    tokens(&bench);
    let error = |params: Value| {
        let found = bench.run_with::<LearningLaw>(&wide(&bench, "bad"), params);
        let Error::Data(data) = found.expect_err("a mistake") else {
            panic!("a mistake in data")
        };
        *data
    };
    let law = |more: Value| error(params(more));
    // 25 · 40 weights of 8 bytes, and 26 + 1 + 5 states of 8 numbers, or 6 + 5 + 5.
    let budget = 9_800.0 / 1024.0_f64.powi(3);
    let small = law(json!({ "memory_budget_gib": budget, "trajectory": "store" }));
    assert_eq!(small.code, "memory_budget");
    assert!(small.hint.expect("a hint").starts_with("`trajectory = \"sqrt\"`"));
    assert!(!run(&bench, "fits", json!({ "memory_budget_gib": budget })).is_empty());
    let tiny = law(json!({ "memory_budget_gib": 1e-9 }));
    assert!(tiny.hint.expect("a hint").starts_with("no less than"));
    // One grows until it is no number, the other stays finite.
    for rate in [1e308, 1e9] {
        let diverged = law(json!({ "inner_lr": rate }));
        assert!(
            matches!(diverged.code, "diverged" | "non_finite_lambda"),
            "{diverged}"
        );
    }
    let grown = error(of_tokens(json!({ "inner_lr": 1e3 })));
    assert_eq!(grown.code, "diverged");
    assert!(grown.message.contains("step 1 "), "{grown}");
    assert!(grown.hint.expect("a hint").contains("`inner_lr`, to 1e2"));

    assert_eq!(law(json!({ "target": "@labelled/train" })).code, "target_overlap");
    assert_eq!(law(json!({ "test": "@labelled/target" })).code, "target_overlap");
    assert_eq!(law(json!({ "data": "@tokens" })).code, "wrong_kind");
    assert_eq!(
        error(of_tokens(json!({ "data": "@labelled/train" }))).code,
        "wrong_kind"
    );
    assert_eq!(
        error(of_tokens(json!({ "test": "@judge" }))).code,
        "target_overlap"
    );
    let corpus = bench.publish("pool");
    bench.tokens("nothing", &corpus, &[]);
    assert_eq!(
        error(of_tokens(json!({ "target": "@nothing" }))).code,
        "empty_target"
    );
    assert_eq!(
        error(of_tokens(json!({ "data": "@nothing" }))).code,
        "empty_input"
    );
    // Documents that are no inputs.
    bench.texts("prose", &["not numbers"]);
    assert_eq!(law(json!({ "test": "@prose" })).code, "missing_column");
    let mut words = CorpusWriter::create(&bench.at("words"), &["label".to_owned()]).expect("creates");
    let document = Document {
        id: "0".to_owned(),
        text: "not numbers".to_owned(),
        cells: vec![Cell::Number(1.0)],
    };
    words.push(document).expect("pushes");
    words.finish().expect("writes");
    bench.publish("words");
    assert_eq!(law(json!({ "test": "@words" })).code, "bad_input");

    let narrow = Context {
        precision: Precision::Bf16,
        ..bench.context("bad")
    };
    let narrow = bench
        .run_with::<LearningLaw>(&narrow, params(json!({})))
        .expect_err("too narrow");
    assert_eq!(narrow.code(), "unsupported_precision");
    let problems = {
        use crate::Component;
        let adamw = params(json!({ "inner_method": "adamw" }));
        LearningLaw::check(&serde_json::from_value(adamw).expect("fits"))
    };
    assert_eq!(problems[0].code, "unsupported_optimizer");
}
