//! Stores that earlier versions left behind, kept in `tests/compat/`: their artifacts are taken as they are and their
//! interrupted training goes on, or what changed is named.

#![cfg(unix)]

use lyceum_tests::{Ended, Lab, files_under};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const RUN: [&str; 2] = ["run", "tiny.toml"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/v1")
}

fn copy(from: &Path, to: &Path) {
    for file in files_under(from) {
        let target = to.join(file.strip_prefix(from).expect("a file inside"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(file, target).expect("a copy");
    }
}

fn lab() -> Lab {
    let lab = Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"));
    for name in ["tiny.toml", "pool.jsonl"] {
        lab.write(
            name,
            fs::read(folder().join(name)).expect("a file of the fixture"),
        );
    }
    lab
}

/// The artifact of the step `later`: hash of its weights, and what it was made by.
fn later(lab: &Lab) -> (String, Value) {
    let shown = lab
        .lyceum(&["show", "latest", "--format", "json"])
        .exits(0)
        .json();
    let steps = shown["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["id"] == "later").expect("the step");
    let location = step["location"].as_str().expect("a location");
    let manifest = lab.path(&format!(".lyceum/store/{location}/manifest.json"));
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).expect("a manifest")).expect("JSON");
    let files = manifest["files"].as_array().expect("files");
    let weights = files
        .iter()
        .find(|file| file["path"] == "model.safetensors")
        .expect("weights");
    (
        weights["blake3"].as_str().expect("a hash").to_owned(),
        manifest["made_by"]["cpu_features"].clone(),
    )
}

#[test]
fn a_store_of_the_first_layout_is_read_and_its_training_goes_on() {
    if std::env::var_os("LYCEUM_MAKE_COMPAT").is_some() {
        make();
    }
    let expected: Value =
        serde_json::from_slice(&fs::read(folder().join("expected.json")).expect("a file")).expect("JSON");
    let lab = lab();
    copy(&folder().join("home"), &lab.path(".lyceum"));
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs[0]["id"], expected["run"], "{runs}");
    lab.lyceum(&["verify"]).exits(0);

    let plan = lab
        .lyceum(&["plan", "tiny.toml", "--format", "json"])
        .exits(0)
        .json();
    let mut raised = Vec::new();
    for step in plan["steps"].as_array().expect("steps") {
        if step["id"] == "later" || step["cached"] == true {
            continue;
        }
        // A component whose result changed has a new version, and that is what the plan names.
        let why = step["why"].to_string();
        assert!(why.contains("`version`") || why.contains("is new"), "{step}");
        raised.push(step["id"].clone());
    }
    let before = lab.checkpoints();
    assert_eq!(before, [expected["checkpoint"].as_u64().expect("a step")]);
    let run = lab.lyceum(&RUN).exits(0);
    assert_eq!(lab.checkpoints(), [0; 0]);
    let (hash, features) = later(&lab);
    if raised.is_empty() && features == expected["cpu_features"] {
        assert_eq!(hash, expected["later"], "{}", run.stderr);
    } else {
        eprintln!("not compared by hash: another processor, or components with new versions: {raised:?}");
    }
}

/// Makes the fixture: everything done but the step `later`, which was killed after a checkpoint.
fn make() {
    let whole = lab();
    let log = whole.path("log");
    let log = log.to_str().expect("a plain path");
    Ended::of(whole.start_with(&RUN, &[("LYCEUM_FAULT_LOG", log)])).exits(0);
    let (hash, features) = later(&whole);
    let log = fs::read_to_string(log).expect("a log");
    let committed = log
        .lines()
        .find(|line| line.contains(" rename ") && line.ends_with("/checkpoint-6"));
    let number = committed.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
    let number = number.expect("a second checkpoint");

    let killed = lab();
    Ended::of(killed.start_with(&RUN, &[("LYCEUM_FAULT", &format!("kill:{}", number + 4))]));
    let home = folder().join("home");
    let _ = fs::remove_dir_all(&home);
    for place in ["store", "scratch"] {
        copy(&killed.path(&format!(".lyceum/{place}")), &home.join(place));
    }
    for lock in files_under(&home) {
        if lock
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(".lock"))
        {
            fs::remove_file(lock).expect("a lock can be removed");
        }
    }
    let runs = killed.lyceum(&["runs", "--format", "json"]).exits(0).json();
    let id = runs[0]["id"].as_str().expect("a run").to_owned();
    let record = format!("runs/{id}/run.json");
    fs::create_dir_all(home.join(format!("runs/{id}"))).expect("a folder");
    fs::copy(killed.path(&format!(".lyceum/{record}")), home.join(&record)).expect("a copy");
    let expected: BTreeMap<&str, Value> = [
        ("run", json!(id)),
        ("checkpoint", json!(killed.checkpoints()[0])),
        ("later", json!(hash)),
        ("cpu_features", features),
    ]
    .into();
    let text = serde_json::to_string_pretty(&expected).expect("plain data");
    fs::write(folder().join("expected.json"), text + "\n").expect("a file");
}
