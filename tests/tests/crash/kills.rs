//! `kill -9` and resuming.

use super::{RUN, finish_and_compare, lab, operations, run_with, undisturbed};
use lyceum_tests::{Ended, Lab};
use std::time::Duration;

/// A window of the run, and whether an operation lies in it.
type Window = (&'static str, fn(&str, &str) -> bool);

const WINDOWS: [Window; 7] = [
    ("inside a checkpoint", |word, path| {
        path.contains("/scratch/") && path.contains("/attempt/") && word != "rename"
    }),
    ("checkpoint rename", |word, path| {
        word == "rename" && path.contains("/checkpoint-")
    }),
    ("the model's files", |_, path| {
        path.contains("/train.lm/") && path.contains(".attempt")
    }),
    ("manifest", |_, path| path.ends_with("manifest.json")),
    ("publishing", |word, path| {
        word == "rename" && path.contains("/store/")
    }),
    ("scoring", |_, path| {
        path.contains("/scratch/") && path.contains(".part")
    }),
    ("report", |_, path| {
        path.ends_with("report.md") || path.contains(".report.md") || path.contains("/plots/")
    }),
];

/// Numbers of the operations in a window, spread evenly over it.
fn spread(window: Window, count: usize) -> Vec<usize> {
    let inside: Vec<usize> = undisturbed()
        .operations
        .iter()
        .enumerate()
        .filter(|(_, (word, path))| (window.1)(word, path))
        .map(|(i, _)| i + 1)
        .collect();
    assert!(!inside.is_empty(), "no operation lies in: {}", window.0);
    let count = count.min(inside.len());
    (0..count).map(|i| inside[i * inside.len() / count]).collect()
}

/// Kills a run at the n-th operation, and gives that operation's word and path.
fn killed(lab: &Lab, n: usize) -> (String, String) {
    let (fault, log) = (format!("kill:{n}"), lab.path("log"));
    let log_path = log.to_str().expect("a plain path");
    let environment = [("LYCEUM_FAULT", fault.as_str()), ("LYCEUM_FAULT_LOG", log_path)];
    let ended = Ended::of(lab.start_with(&RUN, &environment));
    assert_eq!(ended.code, None, "not killed at {n}: {}", ended.stderr);
    let text = std::fs::read_to_string(log).expect("a log");
    operations(&text).pop().expect("it died at an operation")
}

#[test]
fn killed_in_every_window_a_run_goes_on_to_the_same_bytes() {
    let mut hits = 0;
    for window in WINDOWS {
        for n in spread(window, 7) {
            // A store of its own, so that the n-th operation is the one that the log tells of.
            let lab = lab();
            let (word, path) = killed(&lab, n);
            assert!((window.1)(&word, &path), "{} was missed: {word} {path}", window.0);
            // Killed once more on what was left, somewhere in the beginning of what is still to do.
            let again = run_with(&lab, &format!("kill:{}", 20 + n % 13));
            assert!(matches!(again.code, None | Some(0)), "{}", again.stderr);
            hits += 1 + usize::from(again.code.is_none());
            finish_and_compare(&lab, &format!("{} at {n}", window.0));
        }
    }
    assert!(hits >= 50, "{hits}");
}

#[test]
fn killed_at_any_time_a_run_goes_on_to_the_same_bytes() {
    let lab = lab();
    for wait in [3, 9, 17, 31, 47, 71, 103] {
        let mut child = lab.start(&RUN);
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("a kill");
        Ended::of(child);
    }
    finish_and_compare(&lab, "by time");
}

/// Training is stopped at writes between its steps and resumed with other numbers of threads.
#[test]
fn resumed_with_other_thread_counts_training_gives_the_same_bytes() {
    for (n, threads) in spread(WINDOWS[1], 4).into_iter().zip(["1", "2", "1", "2"]) {
        let lab = lab();
        killed(&lab, n + 1);
        let child = lab.start_with(&RUN, &[("RAYON_NUM_THREADS", threads)]);
        Ended::of(child).exits(0);
        assert_eq!(lab.hashes(), undisturbed().hashes, "{threads} threads, {n}");
    }
}
