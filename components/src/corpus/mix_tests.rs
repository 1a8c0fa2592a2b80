//! Mixing corpora.

use super::{Documents, Jsonl, Mix};
use crate::Result;
use crate::artifact::{Cell, Document};
use crate::testing::Bench;
use serde_json::{Value, json};
use std::fmt::Write;

/// A file of `count` documents called `<name>-0`, `<name>-1`, … with their numbers in `n`.
pub(super) fn numbered(bench: &Bench, name: &str, count: u32) {
    let mut lines = String::new();
    for n in 0..count {
        let document = json!({ "id": format!("{name}-{n}"), "text": format!("Number {n}."), "n": n });
        writeln!(lines, "{document}").expect("a string takes all");
    }
    std::fs::write(bench.folder.path().join(name), lines).expect("writes");
}

fn bench() -> Bench {
    let bench = Bench::new();
    for (name, count) in [("a", 60), ("b", 20)] {
        numbered(&bench, &format!("{name}.jsonl"), count);
        let keep: &[&str] = if name == "a" { &["n"] } else { &[] };
        bench
            .run::<Jsonl>(
                name,
                json!({ "files": [format!("{name}.jsonl")], "keep_columns": keep }),
            )
            .expect("reads");
    }
    bench
}

fn mix(bench: &Bench, weights: [f64; 2], more: &Value) -> Result<Vec<Document>> {
    let mut params = json!({ "sources": [
        { "corpus": "@a", "weight": weights[0] },
        { "corpus": "@b", "weight": weights[1] },
    ] });
    let more = more.as_object().expect("an object").clone();
    params.as_object_mut().expect("an object").extend(more);
    let artifact = bench.run::<Mix>("mixed", params)?;
    let corpus = Documents::open(&artifact, &bench.context("reading"))?;
    corpus
        .read(&["n".to_owned()])?
        .map(|document| Ok(document?.1))
        .collect()
}

fn of(documents: &[Document], source: &str) -> usize {
    documents.iter().filter(|d| d.id.starts_with(source)).count()
}

#[test]
fn shares_are_kept_and_nothing_repeats() {
    let bench = bench();
    let documents = mix(&bench, [1.0, 1.0], &json!({})).expect("mixes");
    assert_eq!((of(&documents, "a"), of(&documents, "b")), (20, 20));
    let ids: std::collections::BTreeSet<_> = documents.iter().map(|d| &d.id).collect();
    assert_eq!(ids.len(), 40);
    let first = of(&documents[..20], "a");
    assert!((4..=16).contains(&first), "sources are interleaved: {first}");
    let column = |source: &str| {
        let mut own = documents.iter().filter(|d| d.id.starts_with(source));
        own.all(|d| matches!(d.cells[0], Cell::Number(_)) == (source == "a"))
    };
    assert!(
        column("a") && column("b"),
        "a column that a source lacks is empty"
    );

    let all = mix(&bench, [3.0, 1.0], &json!({})).expect("mixes");
    assert_eq!((of(&all, "a"), of(&all, "b")), (60, 20));
    let some = mix(&bench, [3.0, 1.0], &json!({ "documents": 8 })).expect("mixes");
    assert_eq!((of(&some, "a"), of(&some, "b")), (6, 2));
}

#[test]
fn too_much_and_nothing_are_mistakes() {
    let bench = bench();
    let error = mix(&bench, [1.0, 1.0], &json!({ "documents": 50 })).expect_err("too many");
    assert_eq!(error.code(), "not_enough_documents");
    let error = mix(&bench, [100.0, 1.0], &json!({ "documents": 10 })).expect_err("none of one");
    assert_eq!(error.code(), "empty_split");
}
