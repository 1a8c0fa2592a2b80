//! A run that is stopped goes on later and ends with the same bytes; two at once do not get in each other's way.

use super::{STEPS, lab, undisturbed};
use lyceum_tests::{Ended, Lab};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Starts the run and waits until a checkpoint at `step` or later stands.
fn until(lab: &Lab, step: u64) -> Child {
    let mut child = lab.start(&["run", "small.toml"]);
    let start = Instant::now();
    while lab.checkpoints().into_iter().all(|at| at < step) {
        let ended = child.try_wait().expect("a state").is_some();
        assert!(!ended, "ended before step {step}: {:?}", Ended::of(child));
        assert!(start.elapsed() < Duration::from_secs(100), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn killed_while_training_it_goes_on_and_ends_with_the_same_bytes() {
    let lab = lab();
    for step in [5, 15, 35] {
        let mut child = until(&lab, step);
        child.kill().expect("a kill");
        assert_eq!(Ended::of(child).code, None, "it was not killed");
        assert!(lab.artifacts("train.lm").is_empty());
    }
    let run = lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(run.cached(), ["pool", "bpe", "tokens"]);
    assert_eq!(&lab.hashes(), undisturbed());
    assert_eq!(lab.checkpoints(), [0; 0]);
}

#[test]
fn killed_before_training_it_goes_on_and_ends_with_the_same_bytes() {
    let lab = lab();
    for wait in [5, 20, 60, 120] {
        let mut child = lab.start(&["run", "small.toml"]);
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("a kill");
        Ended::of(child);
    }
    lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(&lab.hashes(), undisturbed());
}

#[test]
fn interrupted_it_keeps_its_state_and_goes_on() {
    let lab = lab();
    let child = until(&lab, 10);
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let ended = Ended::of(child).exits(130);
    ended.says(&["interrupted; state was kept, run the same command again to go on"]);
    assert_eq!(ended.stdout, "");
    let kept = lab.checkpoints();
    assert!(kept.iter().any(|&step| (10..STEPS).contains(&step)), "{kept:?}");
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!(runs[0]["status"], "interrupted");
    lab.lyceum(&["run", "small.toml"]).exits(0);
    assert_eq!(&lab.hashes(), undisturbed());
}

#[test]
fn two_at_once_do_each_step_once() {
    let lab = lab();
    let children = [(); 2].map(|()| lab.start(&["run", "small.toml"]));
    for ended in children.map(Ended::of) {
        ended.exits(0);
    }
    assert_eq!(&lab.hashes(), undisturbed());
    for component in ["corpus.jsonl", "tokenizer.train", "tokens.pack", "train.lm"] {
        assert_eq!(lab.artifacts(component).len(), 1, "{component}");
    }
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    let runs = runs.as_array().expect("a list");
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run["status"] == "done"), "{runs:?}");
}
