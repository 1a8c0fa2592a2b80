//! Plans of whole sweeps.

use super::{lab, sweep};
use std::fs::File;
use std::time::{Duration, Instant, SystemTime};

#[test]
fn a_plan_counts_shared_steps_once() {
    let lab = lab("seeds = [1, 2]\ngrid = { \"steps.tokens.context\" = [16, 32] }");
    let counts =
        |plan: &serde_json::Value| ["steps", "new", "cached"].map(|key| plan[key].as_u64().expect("a count"));
    let plan = || {
        lab.lyceum(&["plan", "tiny.toml", "--sweep", "--format", "json"])
            .exits(0)
            .json()
    };
    // Pool, tokenizer, two packings, and for every point two scores and a table.
    assert_eq!(counts(&plan()), [16, 16, 0]);
    assert!(!lab.path(".lyceum/sweeps").exists(), "a plan makes nothing");
    sweep(&lab);
    assert_eq!(counts(&plan()), [16, 0, 16]);
    super::declare(
        &lab,
        "seeds = [1, 2, 3]\ngrid = { \"steps.tokens.context\" = [16, 32] }",
    );
    assert_eq!(counts(&plan()), [22, 6, 16]);
    // Without the flag it is the experiment itself that is planned.
    let own = lab
        .lyceum(&["plan", "tiny.toml", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(own["steps"].as_array().expect("a list").len(), 6);
}

#[test]
fn two_hundred_points_over_a_gigabyte_are_planned_at_once() {
    let seeds: Vec<String> = (0..50).map(|seed| seed.to_string()).collect();
    let lab = lab(&format!(
        "seeds = [{}]\ngrid = {{ \"steps.tokens.context\" = [16, 32], \"steps.found.keep\" = [0.2, 0.4] }}",
        seeds.join(", ")
    ));
    // A gigabyte of nothing takes no space on the disk, and is read like any other.
    let file = File::options()
        .write(true)
        .open(lab.path("data/pool.jsonl"))
        .expect("the file");
    file.set_len(1_000_000_000).expect("it grows");
    file.set_modified(SystemTime::now() - Duration::from_mins(1))
        .expect("it ages");
    let plan = || {
        let start = Instant::now();
        let ended = lab.lyceum(&["plan", "tiny.toml", "--sweep"]).exits(0);
        assert!(
            ended.stdout.contains("200 points, 1200 steps"),
            "{}",
            ended.stdout
        );
        start.elapsed()
    };
    let first = plan();
    // Other work on the machine may slow down one of them.
    let again = (0..3).map(|_| plan()).min().expect("three times");
    assert!(
        again < Duration::from_secs(1),
        "{again:?}, and {first:?} the first time"
    );
}

#[test]
fn the_guides_example_is_what_the_guide_says() {
    let lab = lab("");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/sweeps.md")).expect("the page");
    let example = guide
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    lab.write("sweep.toml", example.expect("an example"));
    let data = "experiments/data/clean.jsonl.gz";
    lab.write(
        data,
        std::fs::read(root.join(data)).expect("the quickstart's data"),
    );
    let plan = lab.lyceum(&["plan", "sweep.toml", "--sweep"]).exits(0).stdout;
    let said = guide
        .split("--sweep     # ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    assert!(plan.contains(said.expect("what it says")), "{plan}");
}
