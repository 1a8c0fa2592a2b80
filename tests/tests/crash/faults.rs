//! Errors of the disk.

use super::{finish_and_compare, lab, run_with, undisturbed, window};
use std::collections::BTreeSet;

/// Numbers of operations to fail: every one with `LYCEUM_TEST_ALL`, else the first of every kind and some more.
fn moments() -> Vec<usize> {
    let operations = &undisturbed().operations;
    let all = std::env::var_os("LYCEUM_TEST_ALL").is_some();
    let mut seen = BTreeSet::new();
    let mut wanted = |i: usize| seen.insert(window(&operations[i])) || all || i % 29 == 7;
    (0..operations.len())
        .filter(|&i| wanted(i))
        .map(|i| i + 1)
        .collect()
}

fn sweep(fault: &str, code: &str) {
    let moments = moments();
    assert!(moments.len() > 20, "{moments:?}");
    // Several failures in a row on one store, so that each of them also meets what the earlier ones left.
    for some in moments.chunks(8) {
        let lab = lab();
        for n in some {
            let before = lab.hashes();
            let ended = run_with(&lab, &format!("{fault}:{n}"));
            let what = format!("{fault}:{n} {}", ended.stderr);
            assert!(!ended.stderr.contains("panicked"), "{what}");
            match ended.code {
                Some(3) => {
                    ended.says(&[code, "hint: "]);
                    assert!(ended.stderr.contains('`'), "no file is named: {what}");
                }
                // What failed was a convenience, or the run did less because earlier runs had done some of it.
                Some(0) => assert_eq!(lab.hashes(), undisturbed().hashes, "{what}"),
                other => panic!("ended with {other:?}: {what}"),
            }
            let after = lab.hashes();
            for (file, hash) in before {
                assert_eq!(after.get(&file), Some(&hash), "{file} {what}");
            }
        }
        finish_and_compare(&lab, &format!("{fault}:{some:?}"));
    }
}

#[test]
fn an_input_output_error_at_any_write_is_told_and_harms_nothing() {
    sweep("eio", "error[io]");
}

#[test]
fn a_disk_that_is_full_from_any_write_on_is_told_and_harms_nothing() {
    sweep("enospc", "error[disk_full]");
}
