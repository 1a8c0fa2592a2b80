//! What is done stays done, what failed is tried again, and others' points are waited for.

use super::{declare, lab, points, report, results, sweep};
use lyceum_tests::{Ended, Lab};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

fn runs(lab: &Lab) -> usize {
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0).json();
    runs.as_array().expect("a list").len()
}

#[test]
fn a_sweep_is_extended_and_shrunk_without_doing_anything_twice() {
    let lab = lab("seeds = [1, 2]\ngrid = { \"steps.tokens.context\" = [16] }");
    sweep(&lab);
    let hashes = lab.hashes();
    assert_eq!(runs(&lab), 2);

    sweep(&lab);
    assert_eq!(runs(&lab), 2, "done points are not run again");

    declare(
        &lab,
        "seeds = [1, 2, 3]\ngrid = { \"steps.tokens.context\" = [16, 32] }",
    );
    assert_eq!(sweep(&lab).len(), 6);
    assert_eq!(runs(&lab), 6);
    let more = lab.hashes();
    assert!(hashes.iter().all(|(path, hash)| more.get(path) == Some(hash)));
    assert_eq!(lab.artifacts("tokenizer.train").len(), 1);

    declare(&lab, "seeds = [3]\ngrid = { \"steps.tokens.context\" = [32] }");
    assert_eq!(sweep(&lab).len(), 1);
    assert_eq!((runs(&lab), lab.hashes()), (6, more));
    let seeds: BTreeSet<String> = results(&lab).into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(
        seeds,
        BTreeSet::from(["3".to_owned()]),
        "tables show just the listed points"
    );
}

#[test]
fn what_was_lost_is_made_again() {
    let lab = lab("seeds = [1, 2]");
    sweep(&lab);
    let before = lab.hashes();
    let key = lab.artifacts("evaluate.selection").remove(0);
    fs::remove_dir_all(lab.path(".lyceum/store/evaluate.selection").join(key)).expect("it goes");
    let ended = lab.lyceum(&["sweep", "tiny.toml"]).exits(0);
    assert_eq!(ended.stderr.matches(" was done ").count(), 1, "{}", ended.stderr);
    assert_eq!((lab.hashes(), runs(&lab)), (before, 3));
}

#[test]
fn a_failed_point_stops_no_other_and_is_tried_again() {
    let lab = lab(
        "list = [{ \"steps.pool.files\" = [\"data/bad.jsonl\"] }, { \"steps.pool.files\" = [\"data/pool.jsonl\"] }]",
    );
    lab.write(
        "data/bad.jsonl",
        "{\"id\": \"a\", \"text\": \"fine\", \"quality\": \"good\"}\n{\"id\"\n",
    );
    let ended = lab.lyceum(&["sweep", "tiny.toml", "--format", "json"]).exits(3);
    ended.says(&["2 points, 1 failed", "bad.jsonl"]);
    let all = points(&ended);
    let status: Vec<_> = all.iter().map(|point| point["status"].clone()).collect();
    assert_eq!(status, ["failed", "done"]);
    let error = all[0]["error"].as_str().expect("an error");
    assert!(
        error.contains("step `pool`") && error.contains("bad.jsonl"),
        "{error}"
    );
    let text = report(&lab);
    assert!(
        text.contains("## Failed") && text.contains("1 of 2 points"),
        "{text}"
    );

    lab.write("data/bad.jsonl", super::documents(20));
    let all = sweep(&lab);
    assert!(all.iter().all(|point| point["status"] == "done"), "{all:?}");
    assert!(!report(&lab).contains("## Failed"));
}

#[test]
fn two_at_once_share_the_points() {
    let lab = lab("seeds = [1, 2, 3, 4, 5, 6]");
    let sweeps = [(); 2].map(|()| lab.start(&["sweep", "tiny.toml", "--format", "json"]));
    let ended = sweeps.map(|child| Ended::of(child).exits(0));
    for one in &ended {
        assert!(points(one).iter().all(|point| point["status"] == "done"));
    }
    assert_eq!(points(&ended[0]), points(&ended[1]));
    assert_eq!(runs(&lab), 6, "every point was run by one of them");
    assert_eq!(lab.artifacts("evaluate.selection").len(), 6);
}

#[test]
fn several_points_at_a_time_give_the_same_results() {
    let seeds = "seeds = [1, 2, 3, 4]";
    let (one, many) = (lab(seeds), lab(seeds));
    sweep(&one);
    many.lyceum(&["sweep", "tiny.toml", "--jobs", "4"]).exits(0);
    assert_eq!(one.hashes(), many.hashes());
    assert_eq!(results(&one), results(&many));
}

#[test]
fn interrupted_it_stops_its_children_and_goes_on_later() {
    let lab = lab("seeds = [1, 2, 3, 4, 5, 6, 7, 8]");
    let child = lab.start(&["sweep", "tiny.toml"]);
    let start = Instant::now();
    while lab.artifacts("evaluate.selection").is_empty() {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "no point came to its end"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let ended = Ended::of(child).exits(130);
    ended.says(&["run the same command again to go on"]);
    assert_eq!(ended.stdout, "");
    let done = lab.artifacts("evaluate.selection").len();
    assert!((1..8).contains(&done), "{done}");
    let all = sweep(&lab);
    assert!(all.iter().all(|point| point["status"] == "done"));
    assert_eq!(lab.artifacts("evaluate.selection").len(), 8);
}
