//! The data of the quickstart: unchanged, small, labelled as said, and clean and pool apart.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/data")
}

fn documents(name: &str) -> Vec<Value> {
    let file = std::fs::File::open(folder().join(name)).expect("the file is there");
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    lines
        .map(|line| serde_json::from_str(&line.expect("gzip and UTF-8")).expect("JSON"))
        .collect()
}

fn texts(documents: &[Value]) -> BTreeSet<&str> {
    documents
        .iter()
        .map(|document| document["text"].as_str().expect("text"))
        .collect()
}

#[test]
fn files_are_those_that_were_made_and_small() {
    let sums = std::fs::read_to_string(folder().join("SHA256SUMS")).expect("the sums are there");
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("the page is there");
    let mut total = 0;
    for line in sums.lines() {
        let (digest, name) = line.split_once("  ").expect("a digest and a name");
        let bytes = std::fs::read(folder().join(name)).expect("the file is there");
        total += bytes.len();
        assert_eq!(lyceum_tests::sha256(&bytes), digest, "{name}");
        assert!(readme.contains(digest), "the page names the sum of {name}");
    }
    assert_eq!(sums.lines().count(), 12);
    assert!(total <= 6_000_000, "{total} bytes");
}

#[test]
fn pool_and_clean_set_share_no_document_and_are_labelled() {
    let (pool, clean) = (documents("pool.jsonl.gz"), documents("clean.jsonl.gz"));
    assert_eq!((pool.len(), clean.len()), (7000, 2650));
    let (in_pool, in_clean) = (texts(&pool), texts(&clean));
    assert_eq!(
        (in_pool.len(), in_clean.len()),
        (pool.len(), clean.len()),
        "no text twice"
    );
    assert!(in_pool.is_disjoint(&in_clean));

    let mut qualities: BTreeMap<&str, u32> = BTreeMap::new();
    for document in &pool {
        *qualities
            .entry(document["quality"].as_str().expect("a label"))
            .or_default() += 1;
    }
    assert_eq!(qualities["good"], 5600, "a base rate of 0.8");
    assert_eq!(qualities.len(), 7);
    assert!(clean.iter().all(|document| document["quality"] == "good"));
}

#[test]
fn target_and_test_are_the_clean_set_in_two_parts_of_different_sources() {
    let of = |name| -> Vec<Value> { documents(name) };
    let (clean, target, test) = (of("clean.jsonl.gz"), of("target.jsonl.gz"), of("test.jsonl.gz"));
    let mut parts: Vec<&str> = texts(&target).into_iter().chain(texts(&test)).collect();
    parts.sort_unstable();
    assert_eq!(parts, texts(&clean).into_iter().collect::<Vec<_>>());
    let of = |documents: &[Value], field: &str| -> BTreeSet<String> {
        let text = |document: &Value| document[field].as_str().expect("text").to_owned();
        documents.iter().map(text).collect()
    };
    let shared = &of(&target, "source") & &of(&test, "source");
    assert_eq!(shared.into_iter().collect::<Vec<_>>(), ["gsm8k-train"]);
    assert_eq!(of(&target, "domain"), of(&clean, "domain"));
    assert_eq!(of(&test, "domain"), of(&clean, "domain"));
}
