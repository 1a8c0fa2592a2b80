//! Checks that cannot be made: wrong files, failing steps, interrupts.

use super::{EXPERIMENT, baseline, edit, lab};
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn mistakes_in_a_baseline_are_shown_at_their_line_and_nothing_is_run() {
    let lab = lab();
    std::fs::remove_dir_all(lab.path(".lyceum")).expect("gone");
    let good = baseline(&lab);
    for (from, to, code) in [
        ("tolerance = ", "tolerence = ", "unknown_key"),
        ("kind = \"relative\"", "kind = \"relativ\"", "bad_baseline"),
        (", value = 0.001", "", "bad_tolerance"),
        ("value = 0.001", "value = -1.0", "bad_tolerance"),
        ("\"held\"", "\"kept\"", "bad_baseline"),
        ("experiment = ", "experiment == ", "bad_baseline"),
    ] {
        lab.write("ci/tiny.baseline.toml", &good);
        edit(&lab, from, to);
        let line = baseline(&lab)
            .lines()
            .position(|line| line.contains(to.trim()))
            .map(|at| at + 1);
        let ended = lab.lyceum(&["check", "ci"]).exits(2);
        let said = ended
            .stdout
            .lines()
            .find(|said| said.contains(&format!("[{code}]")));
        let said = said.unwrap_or_else(|| panic!("{code}: {}", ended.stdout));
        if !to.is_empty() {
            let place = format!("ci/tiny.baseline.toml:{}:", line.expect("the line"));
            assert!(said.contains(&place), "{place} {said}");
        }
        lab.lyceum(&["check", "ci", "--update"]).exits(2);
    }
    lab.write(
        "ci/tiny.baseline.toml",
        format!("{good}\n[[claims]]\nname = \"longer is better\"\noutcome = \"held\"\n"),
    );
    let twice = lab.lyceum(&["check", "ci"]).exits(2).stdout;
    assert!(twice.contains("[duplicate_entry]"), "{twice}");
    assert!(!lab.path(".lyceum").exists(), "nothing was run");
}

#[test]
fn a_mistake_in_one_experiment_keeps_the_others_from_being_run() {
    let lab = lab();
    let wrong = EXPERIMENT.replace("vocab_size", "vocab_siz");
    lab.write("ci/other.toml", wrong.replace("tiny", "other"));
    let ended = lab.lyceum(&["check", "ci"]).exits(2);
    assert!(ended.stdout.contains("ci/other.toml:9:1: "), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("not run      ci/tiny.toml"),
        "{}",
        ended.stdout
    );
    lab.lyceum(&["check", "ci", "--filter", "tiny"]).exits(0);
}

#[test]
fn a_step_that_fails_does_not_stop_the_others_however_many_run_at_a_time() {
    let lab = lab();
    lab.write(
        "ci/bad.toml",
        EXPERIMENT
            .replace("pool.jsonl", "bad.jsonl")
            .replace("tiny", "bad"),
    );
    lab.write("ci/data/bad.jsonl", "{\"text\": \"fine\"}\n{\"text\": 1}\n");
    lab.write("ci/bad.baseline.toml", "experiment = \"bad\"\nlyceum = \"0\"\n");
    let outcome = |jobs: &str| {
        let ended = lab
            .lyceum(&["check", "ci", "--jobs", jobs, "--format", "json"])
            .exits(3);
        let mut all = ended.json();
        for one in all.as_array_mut().expect("a list") {
            let one = one.as_object_mut().expect("an experiment");
            one.remove("run");
            one.remove("wall_seconds");
        }
        all
    };
    let alone = outcome("1");
    assert_eq!(alone[0]["result"], "failed");
    let problem = &alone[0]["problems"][0];
    assert_eq!(problem["place"]["file"], "ci/bad.toml");
    assert_eq!(problem["place"]["line"], 3, "the header of the step: {problem}");
    assert!(
        problem["message"].as_str().expect("a text").contains("bad.jsonl"),
        "{problem}"
    );
    assert_eq!(alone[1]["result"], "passed");
    assert_eq!(outcome("2"), alone);
}

#[test]
fn filters_choose_by_path_and_name_and_nothing_to_check_is_a_mistake() {
    let lab = lab();
    lab.write(
        "ci/more/second.toml",
        EXPERIMENT.replace("tiny", "another").replace("data/", "../data/"),
    );
    let files = |filter: &str, code: i32| {
        let ended = lab
            .lyceum(&["check", "ci", "--filter", filter, "--format", "json"])
            .exits(code);
        let all = ended.json();
        let all = all.as_array().expect("a list").iter();
        all.map(|one| one["file"].as_str().expect("a path").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(files("tiny", 0), ["ci/tiny.toml"]);
    assert_eq!(files("another", 1), ["ci/more/second.toml"]);
    assert_eq!(files("ci/*.toml", 1), ["ci/more/second.toml", "ci/tiny.toml"]);
    lab.lyceum(&["check", "ci", "--filter", "nothing"])
        .exits(2)
        .says(&["--filter nothing"]);
    lab.lyceum(&["check", "nowhere"]).exits(2).says(&["nowhere"]);
    lab.lyceum(&["check", "ci/data"])
        .exits(2)
        .says(&["no experiments"]);
    lab.lyceum(&["check", "ci/tiny.baseline.toml"]).exits(2);
}

#[test]
fn settings_reach_the_runs() {
    let lab = lab();
    let ended = lab
        .lyceum(&["check", "ci", "--set", "experiment.seed=9"])
        .exits(1);
    assert!(
        ended.stdout.contains("quality.loss of model[long]"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_check_that_is_stopped_says_so() {
    let lab = lab();
    lab.write(
        "ci/tiny.toml",
        EXPERIMENT.replace("steps = 12", "steps = 1_000_000"),
    );
    let child = lab.start(&["check", "ci"]);
    let begun = Instant::now();
    while lab.artifacts("tokens.pack").is_empty() || !lab.path(".lyceum/check").exists() {
        assert!(begun.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill")
            .success()
    );
    let ended = lyceum_tests::Ended::of(child).exits(130);
    assert!(
        ended.stdout.starts_with("interrupted  ci/tiny.toml"),
        "{}",
        ended.stdout
    );
}
