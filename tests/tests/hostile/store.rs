//! What lies in the store is read with the same care.

use super::{experiment, lab, limited};
use lyceum_tests::{Lab, list};
use std::fs;
use std::path::PathBuf;

const STEPS: &str = r#"use = "corpus.jsonl"
files = ["pool.jsonl"]
[steps.half]
use = "corpus.split"
corpus = "@pool"
fractions = { a = 0.5, b = 0.5 }"#;

/// A run whose first step is in the store and whose second is yet to come; and the folder of the first.
fn prepared() -> (Lab, PathBuf) {
    let lab = lab();
    lab.write("pool.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    lab.write(
        "e.toml",
        experiment("use = \"corpus.jsonl\"\nfiles = [\"pool.jsonl\"]"),
    );
    let ended = limited(&lab, &["run", "e.toml"]).exits(0);
    assert!(!ended.stderr.contains("hunter2"));
    let store = lab.path(".lyceum/store/corpus.jsonl");
    let key = list(&store)
        .into_iter()
        .find(|name| !name.starts_with('.'))
        .expect("an artifact");
    (lab, store.join(key))
}

#[test]
fn a_manifest_whose_files_lie_elsewhere_is_none() {
    let (lab, folder) = prepared();
    let manifest = folder.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    fs::write(
        &manifest,
        text.replace("documents.parquet", "../../documents.parquet"),
    )
    .expect("writes");
    let plan = limited(&lab, &["run", "e.toml"]);
    assert!(plan.cached().is_empty(), "{}", plan.stderr);
}

#[test]
fn an_artifact_that_is_a_link_out_of_the_store_is_not_used() {
    let (lab, folder) = prepared();
    let outside = lab.path("outside");
    fs::rename(&folder, &outside).expect("moves");
    std::os::unix::fs::symlink(&outside, &folder).expect("links");
    lab.write("e.toml", experiment(STEPS));
    let ended = limited(&lab, &["run", "e.toml"]).exits(3);
    ended.says(&["error[outside_store]", "hint: "]);
}

#[test]
fn neither_records_nor_resolved_experiments_hold_the_environment() {
    let (lab, _) = prepared();
    for run in list(&lab.path(".lyceum/runs")) {
        for name in list(&lab.path(&format!(".lyceum/runs/{run}"))) {
            let file = lab.path(&format!(".lyceum/runs/{run}/{name}"));
            let text = fs::read(&file).unwrap_or_default();
            assert!(
                !String::from_utf8_lossy(&text).contains("hunter2"),
                "{}",
                file.display()
            );
        }
    }
}
