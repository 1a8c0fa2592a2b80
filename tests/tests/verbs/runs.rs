//! `lyceum runs` over many runs.

use super::empty_lab;
use lyceum_tests::Lab;
use std::fs;
use std::time::{Duration, Instant};

/// What `lyceum runs` may take over ten thousand runs. The aim is 300 ms (60 ms of processor time are used); other work on
/// the machine may stretch it.
const ENOUGH: Duration = Duration::from_secs(1);

fn record(id: &str, status: &str, steps: usize) -> String {
    let step = |i| {
        serde_json::json!({
            "id": format!("step{i}"), "component": "train.lm", "key": "0".repeat(64),
            "location": format!("train.lm/{}", "0".repeat(64)), "cached": i % 2 == 0, "wall_seconds": 1.5,
            "peak_memory_bytes": 1000, "tokens": 10, "flops": 1e9, "measures": {}, "error": null,
        })
    };
    let record = serde_json::json!({
        "format": 1, "id": id, "experiment": "many", "title": null, "file": "many.toml",
        "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:04:06Z", "status": status, "version": "0.1.0",
        "device": "cpu", "cpu": "a processor", "steps": (0..steps).map(step).collect::<Vec<_>>(), "verdicts": [],
    });
    format!("{record:#}")
}

fn many(lab: &Lab, count: usize) {
    for i in 0..count {
        let status = if i % 10 == 0 { "failed" } else { "done" };
        let id = format!("20260102-{i:06}-abcd");
        lab.write(&format!(".lyceum/runs/{id}/run.json"), record(&id, status, 8));
    }
}

#[test]
fn ten_thousand_runs_are_listed_at_once() {
    let lab = empty_lab();
    many(&lab, 10_000);
    let first = Instant::now();
    let listed = lab.lyceum(&["runs"]).exits(0).stdout;
    let first = first.elapsed();
    assert_eq!(listed.lines().count(), 10_000);
    let again = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(lab.lyceum(&["runs"]).exits(0).stdout, listed);
        start.elapsed()
    });
    let shortest = again.min().expect("five times");
    let start = Instant::now();
    lab.lyceum(&["show", "latest"]).exits(0);
    let found = start.elapsed();
    eprintln!("10,000 runs: {first:?} without an index, {shortest:?} with one; `latest` found in {found:?}");
    assert!(shortest < ENOUGH, "{shortest:?}");
    assert!(found < ENOUGH, "{found:?}");

    let last = lab.lyceum(&["runs", "--status", "failed", "--limit", "2", "--format", "json"]);
    let last = last.exits(0).json();
    let ids: Vec<_> = last
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| &run["id"])
        .collect();
    assert_eq!(ids, ["20260102-009980-abcd", "20260102-009990-abcd"]);
    assert_eq!(lab.lyceum(&["runs", "--experiment", "few"]).exits(0).stdout, "");
}

#[test]
fn the_index_follows_what_changes_and_survives_damage() {
    let lab = empty_lab();
    many(&lab, 3);
    let list = || lab.lyceum(&["runs"]).exits(0).stdout;
    let before = list();
    lab.write(
        ".lyceum/runs/20260102-000001-abcd/run.json",
        record("20260102-000001-abcd", "interrupted", 3),
    );
    let changed = list();
    assert_eq!(changed.matches("interrupted").count(), 1, "{changed}");
    assert_ne!(changed, before);
    lab.write(".lyceum/runs.jsonl", &b"\xff{\n{}"[..]);
    assert_eq!(list(), changed);
    lab.write(".lyceum/runs/20260102-000002-abcd/run.json", "{");
    assert_eq!(
        list().lines().count(),
        2,
        "a record that cannot be read is passed over"
    );
    fs::remove_dir_all(lab.path(".lyceum/runs/20260102-000000-abcd")).expect("it goes");
    assert_eq!(list().lines().count(), 1);
}
