//! What is refused before anything runs: a disk too small, data that is not as expected, and what a newer program wrote.

use super::{EXPERIMENT, RUN, lab, undisturbed};
use lyceum_tests::{Lab, list};
use std::fs;

/// The experiment, with this said of the files.
fn expecting(expect: &str) -> Lab {
    let lab = lab();
    let said = format!("files = [\"pool.jsonl\"]\nexpect = {expect}");
    lab.write("tiny.toml", EXPERIMENT.replace("files = [\"pool.jsonl\"]", &said));
    lab
}

#[test]
fn a_run_that_cannot_fit_is_refused_before_any_step() {
    let lab = expecting("{ bytes = 1_000_000_000_000_000_000 }");
    let ended = lab.lyceum(&RUN).exits(3);
    ended.says(&["error[disk_full]", "are free", "hint: make room"]);
    assert!(!lab.path(".lyceum/store").exists());
    let plan = lab.lyceum(&["plan", "tiny.toml"]).exits(3);
    plan.says(&["error[disk_full]"]);
    assert!(plan.stdout.contains("would run"), "{}", plan.stdout);
}

#[test]
fn data_that_is_not_as_expected_is_refused_before_training() {
    let lab = expecting("{ documents = 41 }");
    let ended = lab.lyceum(&RUN).exits(2);
    ended.says(&[
        "error[unexpected_data]",
        "`documents` is 40",
        "41 is expected",
        "hint: ",
    ]);
    assert!(lab.artifacts("train.lm").is_empty());
    expecting("{ documents = 40 }").lyceum(&RUN).exits(0);
}

#[test]
fn how_often_checkpoints_are_made_changes_no_key() {
    let lab = lab();
    lab.lyceum(&RUN).exits(0);
    let again = lab.lyceum(&["run", "tiny.toml", "--set", "steps.model.checkpoint_every=2"]);
    assert_eq!(again.exits(0).cached().len(), 8);
}

/// Raises the layout version that a JSON file begins with.
fn from_the_future(file: &std::path::Path) {
    let text = fs::read_to_string(file).expect("a file");
    let newer =
        text.replacen("\"format\": 1", "\"format\": 2", 1)
            .replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(text, newer, "{}", file.display());
    fs::write(file, newer).expect("writes");
}

#[test]
fn what_a_newer_program_wrote_is_refused_by_name_and_left_alone() {
    let lab = lab();
    lab.lyceum(&RUN).exits(0);
    let key = lab.artifacts("corpus.jsonl").remove(0);
    let folder = lab.path(".lyceum/store/corpus.jsonl").join(key);
    from_the_future(&folder.join("manifest.json"));
    let before = lab.hashes();
    for verb in ["plan", "run"] {
        let ended = lab.lyceum(&[verb, "tiny.toml"]).exits(3);
        ended.says(&[
            "error[unknown_format]",
            "a newer lyceum",
            "manifest.json",
            "hint: ",
        ]);
    }
    assert_eq!(lab.hashes(), before);
    let id = list(&lab.path(".lyceum/runs")).remove(0);
    from_the_future(&lab.path(".lyceum/runs").join(id).join("run.json"));
    lab.lyceum(&["runs"])
        .exits(0)
        .says(&["a newer lyceum", "run.json"]);
}

#[test]
fn a_checkpoint_of_a_newer_program_is_refused_by_name() {
    let lab = lab();
    let after = undisturbed()
        .operations
        .iter()
        .position(|(word, path)| word == "rename" && path.contains("/checkpoint-"));
    let n = after.expect("a checkpoint") + 2;
    assert_eq!(super::run_with(&lab, &format!("kill:{n}")).code, None);
    let scratch = lab.path(".lyceum/scratch");
    let mut found = 0;
    for key in list(&scratch) {
        for name in list(&scratch.join(&key)) {
            if name.starts_with("checkpoint-") {
                from_the_future(&scratch.join(&key).join(&name).join("position.json"));
                found += 1;
            }
        }
    }
    assert_eq!(found, 1);
    lab.lyceum(&RUN)
        .exits(3)
        .says(&["error[unknown_format]", "position.json", "hint: "]);
}
