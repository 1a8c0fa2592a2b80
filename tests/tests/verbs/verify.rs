//! `lyceum verify`: damage is found, named, and mended by removing it.

use super::{finished, lab};
use lyceum_tests::Lab;
use std::fs;

fn flip(lab: &Lab, component: &str, file: &str) -> String {
    let location = format!("{component}/{}", lab.artifacts(component)[0]);
    let path = lab.path(".lyceum/store").join(&location).join(file);
    let mut bytes = fs::read(&path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    location
}

#[test]
fn a_store_as_it_was_written_is_whole() {
    let ended = finished().lyceum(&["verify"]).exits(0);
    assert!(
        ended.stdout.ends_with("all as they were written\n"),
        "{}",
        ended.stdout
    );
    let found = finished().lyceum(&["verify", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&found["artifacts"], &found["found"]),
        (&serde_json::json!(6), &serde_json::json!([]))
    );
    assert!(found["bytes"].as_u64() > Some(10_000));
}

#[test]
fn one_changed_bit_anywhere_is_found_and_the_next_run_mends_it() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let whole = lab.hashes();
    let model = flip(&lab, "train.lm", "model.safetensors");
    let header = flip(&lab, "tokens.pack", "train/artifact.json");
    let manifest = format!("tokenizer.train/{}", lab.artifacts("tokenizer.train")[0]);
    let file = lab.path(".lyceum/store").join(&manifest).join("manifest.json");
    let text = fs::read_to_string(&file).expect("a manifest");
    assert!(text.contains("300"), "{text}");
    fs::write(&file, text.replace("300", "301")).expect("written");
    let table = format!("evaluate.lm_loss/{}", lab.artifacts("evaluate.lm_loss")[0]);
    fs::remove_file(lab.path(".lyceum/store").join(&table).join("instances.parquet")).expect("it goes");
    let corpus = format!("corpus.jsonl/{}", lab.artifacts("corpus.jsonl")[0]);
    lab.write(&format!(".lyceum/store/{corpus}/note.txt"), "mine");

    let found = lab.lyceum(&["verify", "--format", "json"]).exits(3).json();
    let mut lines: Vec<_> = found["found"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|d| format!("{} {} {}", d["location"], d["file"], d["problem"]).replace('"', ""))
        .collect();
    lines.sort();
    let expected = [
        format!("{corpus} note.txt extra"),
        format!("{table} instances.parquet missing"),
        format!("{model} model.safetensors damaged"),
        format!("{header} train/artifact.json damaged"),
        format!("{manifest} manifest.json bad_manifest"),
    ];
    for line in expected {
        assert!(lines.contains(&line), "{line}: {lines:?}");
    }
    assert_eq!(found["damaged"].as_array().expect("a list").len(), 4);
    assert_eq!(lab.lyceum(&["verify"]).exits(3).stderr, "");

    let said = lab.lyceum(&["verify", "--remove"]).exits(0).stdout;
    assert!(said.contains("4 artifacts were damaged, 4 removed"), "{said}");
    fs::remove_file(lab.path(".lyceum/store").join(&corpus).join("note.txt")).expect("it goes");
    lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(lab.hashes(), whole);
    lab.lyceum(&["verify"]).exits(0);
}

#[test]
fn an_empty_store_is_whole() {
    let lab = super::empty_lab();
    lab.lyceum(&["verify"]).exits(0);
    assert!(!lab.path(".lyceum").exists());
}
