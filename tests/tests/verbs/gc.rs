//! `lyceum gc`: what no run needs goes, and nothing else.

use super::lab;
use lyceum_tests::{Lab, list};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

fn freed(lab: &Lab, more: &[&str]) -> serde_json::Value {
    let arguments = [&["gc", "--format", "json"], more].concat();
    lab.lyceum(&arguments).exits(0).json()
}

fn kinds(found: &serde_json::Value) -> Vec<&str> {
    let garbage = found["garbage"].as_array().expect("a list").iter();
    garbage
        .map(|piece| piece["kind"].as_str().expect("a word"))
        .collect()
}

#[test]
fn what_the_last_run_needs_stays_and_the_rest_goes() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(kinds(&freed(&lab, &["--yes"])), [""; 0]);
    lab.lyceum(&["run", "small.toml", "--set", "steps.model.seed=3"])
        .exits(0);
    assert_eq!(lab.artifacts("train.lm").len(), 4);
    let (before, runs) = (lab.hashes(), lab.path(".lyceum/runs"));

    let shown = freed(&lab, &["--keep-runs", "1"]);
    assert_eq!(shown["removed"], false);
    assert_eq!(kinds(&shown), ["artifact"; 3], "two models and their measurement");
    assert_eq!(lab.hashes(), before, "without --yes nothing goes");
    assert_eq!(
        list(&runs).iter().filter(|name| name.starts_with("20")).count(),
        2
    );
    assert_eq!(freed(&lab, &["--older-than", "1"])["runs"], serde_json::json!([]));

    let done = freed(&lab, &["--keep-runs", "1", "--yes"]);
    assert_eq!(kinds(&done), ["artifact"; 3]);
    assert!(done["bytes"].as_u64() > Some(10_000), "{done}");
    assert_eq!(
        list(&runs).iter().filter(|name| name.starts_with("20")).count(),
        1
    );
    let after = lab.hashes();
    assert!(after.len() < before.len() && after.iter().all(|(path, hash)| before.get(path) == Some(hash)));
    // What stayed is all that the experiment needs, and what went is made anew with the same bytes.
    let again = ["run", "small.toml", "--set", "steps.model.seed=3"];
    assert_eq!(lab.lyceum(&again).exits(0).cached().len(), 6);
    lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(lab.hashes(), before);
}

#[test]
fn leftovers_go_and_what_a_living_process_holds_stays() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let key = "c".repeat(64);
    lab.write(&format!(".lyceum/store/train.lm/.attempt-{key}-1-1/x"), "left");
    lab.write(".lyceum/store/train.lm/.broken-1-1/x", "left");
    lab.write(&format!(".lyceum/store/train.lm/{key}/x"), "no manifest");
    lab.write(&format!(".lyceum/scratch/{key}/x"), "of no run");
    let stay = "d".repeat(64);
    lab.write(
        &format!(".lyceum/store/train.lm/.attempt-{stay}-1-1/x"),
        "being written",
    );
    lab.write(&format!(".lyceum/scratch/{stay}/x"), "being written");
    // A process of another machine, as far as anyone can tell.
    let owner = r#"{"machine": "elsewhere", "pid": 1, "started": 1}"#;
    lab.write(&format!(".lyceum/store/train.lm/.lock-{stay}"), owner);
    let before = lab.hashes();
    let done = freed(&lab, &["--yes"]);
    assert_eq!(
        kinds(&done),
        ["broken", "leftover", "leftover", "scratch"],
        "{done}"
    );
    assert!(!lab.path(&format!(".lyceum/scratch/{key}")).exists());
    assert!(lab.path(&format!(".lyceum/scratch/{stay}/x")).exists());
    assert!(
        lab.path(&format!(".lyceum/store/train.lm/.attempt-{stay}-1-1/x"))
            .exists()
    );
    let after = lab.hashes();
    assert_eq!(before.len() - after.len(), 1);
}

#[test]
fn partial_work_of_an_interrupted_run_is_kept_and_a_running_one_is_not_disturbed() {
    let lab = lab();
    let long = [
        "--set",
        "steps.model.matrix.optim.slow.budget.steps=100_000",
        "--set",
        "steps.model.checkpoint_every=5",
    ];
    // A run that is only named in the store by what it is going to need.
    let running = lab.start(&[&["run", "small.toml"], &long[..]].concat());
    let start = Instant::now();
    while lab.checkpoints().is_empty() {
        assert!(start.elapsed() < Duration::from_mins(1), "no checkpoint");
        thread::sleep(Duration::from_millis(20));
    }
    let during = freed(&lab, &["--keep-runs", "0", "--yes"]);
    assert_eq!(
        (&during["runs"], kinds(&during).len()),
        (&serde_json::json!([]), 0),
        "{during}"
    );
    assert_eq!(
        lab.lyceum(&["runs", "--status", "running"])
            .exits(0)
            .stdout
            .lines()
            .count(),
        1
    );
    let killed = std::process::Command::new("kill")
        .args(["-9", &running.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    drop(lyceum_tests::Ended::of(running));

    let left = freed(&lab, &["--yes"]);
    assert_eq!(
        kinds(&left),
        ["leftover"],
        "what was being written, but no checkpoint: the run can go on"
    );
    assert!(!lab.checkpoints().is_empty());
    let all = freed(&lab, &["--keep-runs", "0", "--yes"]);
    assert!(kinds(&all).contains(&"scratch"), "{all}");
    assert!(lab.checkpoints().is_empty() && lab.hashes().is_empty());
    assert_eq!(lab.lyceum(&["gc"]).exits(0).stdout, "nothing to free\n");
}

#[test]
fn a_run_that_starts_while_the_store_is_freed_loses_nothing() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let expected = lab.hashes();
    for _ in 0..3 {
        for entry in fs::read_dir(lab.path(".lyceum/runs")).expect("runs") {
            let path = entry.expect("an entry").path();
            if path.is_symlink() {
                fs::remove_file(path).expect("it goes");
            } else {
                fs::remove_dir_all(path).expect("it goes");
            }
        }
        let both = [lab.start(&["run", "small.toml"]), lab.start(&["gc", "--yes"])];
        for child in both {
            lyceum_tests::Ended::of(child).exits(0);
        }
        assert_eq!(lab.hashes(), expected);
    }
}
