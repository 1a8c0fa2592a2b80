//! `generate.text`.

use super::Text;
use crate::artifact::{Cell, CorpusWriter, Document, Generation, GenerationsDetails, read_generations};
use crate::inference::Finish;
use crate::inference::tests::bench;
use crate::testing::Bench;
use crate::{Artifact, Cancel, Component, Context, Shard};
use serde_json::{Value, json};
use std::fs;

/// The two models, and a corpus of nine short documents with a column `name`.
fn prepared() -> Bench {
    let bench = bench();
    let names = ["cat", "dog", "mat", "The", "sat", "tabs", "on", "too", "it"];
    let mut writer = CorpusWriter::create(&bench.at("prompts"), &["name".to_owned()]).expect("creates");
    for (i, name) in names.into_iter().enumerate() {
        let document = Document {
            id: i.to_string(),
            text: format!("text of {name}"),
            cells: vec![Cell::Text(name.to_owned())],
        };
        writer.push(document).expect("pushes");
    }
    writer.finish().expect("writes");
    bench.publish("prompts");
    bench
}

fn params(more: Value) -> Value {
    let mut params = json!({
        "model": "@model", "prompts": "@prompts", "template": "{{ name }} {{ id }}",
        "sampling": { "max_tokens": 8, "temperature": 1.0 },
    });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    params
}

fn texts(artifact: &Artifact) -> Vec<Generation> {
    read_generations(artifact).expect("reads")
}

fn bytes(artifact: &Artifact) -> Vec<u8> {
    fs::read(artifact.path.join("generations.parquet")).expect("reads")
}

#[test]
fn every_document_is_gone_on_with_and_batches_change_no_byte() {
    let bench = prepared();
    let run = |step: &str, more| bench.run::<Text>(step, params(more)).expect("writes");
    let whole = run("whole", json!({ "samples": 2 }));
    let rows = texts(&whole);
    let places: Vec<(u64, u32)> = rows
        .iter()
        .map(|row| (row.generated.row, row.generated.sample))
        .collect();
    assert_eq!(
        places,
        (0..18).map(|i| (i / 2, (i % 2) as u32)).collect::<Vec<_>>()
    );
    assert_eq!(rows[2].prompt, "dog 1");
    for Generation { generated, .. } in &rows {
        assert_eq!(generated.ids.len(), generated.logprobs.len());
        assert!(generated.logprobs.iter().all(|logprob| *logprob <= 0.0));
        assert!(generated.finish == Finish::End || generated.ids.len() == 8);
    }
    let details: GenerationsDetails = whole.details().expect("a header");
    let new: usize = rows.iter().map(|row| row.generated.ids.len()).sum();
    assert_eq!(
        (details.rows, details.samples, details.tokens),
        (18, 2, new as u64)
    );
    let by_one = run("by_one", json!({ "samples": 2, "batch_size": 1 }));
    assert_eq!(bytes(&whole), bytes(&by_one));
    assert_eq!(whole.header.fingerprint, by_one.header.fingerprint);
    let mixed = texts(&run(
        "mixed",
        json!({ "mix": { "model": "@other", "share": 0.5 } }),
    ));
    assert!(mixed.iter().all(|row| row.generated.alone.is_some()));
}

#[test]
fn shards_put_together_are_the_whole_byte_for_byte() {
    let bench = prepared();
    // 64 samples make chunks of four prompts: three, so that the first of four shards has none.
    let mixed = json!({ "samples": 64, "mix": { "model": "@other", "share": 0.5 } });
    for (name, params) in [
        ("alone", params(json!({ "samples": 64 }))),
        ("mixed", params(mixed)),
    ] {
        let whole = bench.run::<Text>(name, params.clone()).expect("writes");
        let cost = bench.cost();
        let parts = (0..4).map(|index| {
            let step = format!("{name}{index}");
            let context = Context {
                shard: Shard { index, count: 4 },
                ..bench.context(&step)
            };
            bench.run_with::<Text>(&context, params.clone()).expect("writes");
            bench.at(&step)
        });
        let parts: Vec<_> = parts.collect();
        let counted = (bench.cost().0 - cost.0, bench.cost().1 - cost.1);
        assert_eq!(counted.0, if name == "alone" { cost.0 } else { counted.0 });
        let merged = format!("{name}_merged");
        let read = serde_json::from_value(params).expect("parameters");
        Text::merge(read, &parts, &bench.context(&merged)).expect("merges");
        let merged = bench.publish(&merged);
        assert_eq!(bytes(&whole), bytes(&merged));
        assert_eq!(whole.header, merged.header);
    }
}

#[test]
fn interrupted_work_goes_on_from_its_chunks() {
    let bench = prepared();
    // 64 samples make chunks of four prompts.
    let params = params(json!({ "samples": 64 }));
    let whole = bench.run::<Text>("whole", params.clone()).expect("writes");
    let cost = bench.cost();
    let cancel = Cancel::default();
    cancel.cancel();
    let context = Context {
        cancel,
        ..bench.context("again")
    };
    let error = bench
        .run_with::<Text>(&context, params.clone())
        .expect_err("stops");
    assert_eq!(error.code(), "interrupted");
    let (from, to) = (bench.at("scratch/whole"), bench.at("scratch/again"));
    let chunks = ["generations-00000000.parquet", "generations-00000002.parquet"];
    for chunk in chunks {
        fs::copy(from.join(chunk), to.join(chunk)).expect("copies");
    }
    let changed = || {
        fs::metadata(to.join(chunks[0]))
            .and_then(|file| file.modified())
            .expect("a time")
    };
    let before = changed();
    let again = bench.run::<Text>("again", params.clone()).expect("writes");
    assert_eq!(bytes(&whole), bytes(&again));
    assert_eq!(
        bench.cost(),
        (2 * cost.0, 2.0 * cost.1),
        "what was kept is counted too"
    );
    assert_eq!(fs::read_dir(&to).expect("lists").count(), 3);
    assert_eq!(changed(), before, "a chunk that is there is not made again");
    fs::copy(to.join(chunks[0]), to.join(chunks[1])).expect("copies");
    let error = bench.run::<Text>("again", params).expect_err("another chunk");
    assert_eq!(error.code(), "bad_table");
}

#[test]
fn prompts_that_cannot_be_made_or_read_are_named() {
    let bench = prepared();
    let code = |more| {
        bench
            .run::<Text>("wrong", params(more))
            .map(|_| ())
            .expect_err("a mistake")
    };
    let error = code(json!({ "template": "{{ name }}{{ nothing }}" }));
    assert_eq!(error.code(), "bad_template");
    assert!(error.to_string().contains("document 0"), "{error}");
    assert_eq!(code(json!({ "template": "{{ '' }}" })).code(), "empty_prompt");
    let long =
        json!({ "template": "{{ 'cat ' ~ ' and dog' }} {{ name }}", "sampling": { "max_tokens": 60 } });
    assert_eq!(code(long).code(), "prompt_too_long");
    assert_eq!(code(json!({ "chat": true })).code(), "no_chat_template");
}
