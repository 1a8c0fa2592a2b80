//! Errors of the disk.

use super::{finish_and_compare, lab, run_with, undisturbed, window};
use std::collections::BTreeSet;

/// Numbers of operations to fail: every one with `LYCEUM_TEST_ALL`, else the first of every kind and some more.
fn moments() -> Vec<usize> {
    let operations = &undisturbed().operations;
    let all = std::env::var_os("LYCEUM_TEST_ALL").is_some();
    let mut seen = BTreeSet::new();
    let mut wanted = |i: usize| seen.insert(window(&operations[i])) || all || i % 61 == 7;
    (0..operations.len())
        .filter(|&i| wanted(i))
        .map(|i| i + 1)
        .collect()
}

fn sweep(fault: &str, code: &str) {
    let moments = moments();
    let mut told = 0;
    for n in &moments {
        // A store of its own, so that the n-th operation is the one that the log tells of.
        let lab = lab();
        let ended = run_with(&lab, &format!("{fault}:{n}"));
        let what = format!("{fault}:{n} {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{what}");
        match ended.code {
            Some(3) => {
                told += 1;
                ended.says(&[code, "hint: "]);
                assert!(ended.stderr.contains('`'), "no file is named: {what}");
            }
            // What failed was a convenience.
            Some(0) => assert_eq!(lab.hashes(), undisturbed().hashes, "{what}"),
            other => panic!("ended with {other:?}: {what}"),
        }
        // What was published before the fault is whole: every file is that of the undisturbed run.
        for (file, hash) in lab.hashes() {
            assert_eq!(undisturbed().hashes.get(&file), Some(&hash), "{file} {what}");
        }
        finish_and_compare(&lab, &what);
    }
    eprintln!(
        "{fault}: {} of {} operations, {told} told",
        moments.len(),
        undisturbed().operations.len()
    );
    assert!(
        told > 30 && told * 4 > moments.len() * 3,
        "{told} of {}",
        moments.len()
    );
}

#[test]
fn an_input_output_error_at_any_write_is_told_and_harms_nothing() {
    sweep("eio", "error[io]");
}

#[test]
fn a_disk_that_is_full_from_any_write_on_is_told_and_harms_nothing() {
    sweep("enospc", "error[disk_full]");
}
