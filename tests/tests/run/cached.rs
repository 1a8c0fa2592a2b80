//! What is in the store is not computed again.

use super::{lab, undisturbed};
use std::fs;
use std::time::{Duration, Instant};

const ALL: [&str; 4] = ["pool", "bpe", "tokens", "model"];

#[test]
fn the_same_run_again_is_cached_also_in_a_full_store() {
    let lab = lab();
    assert_eq!(lab.lyceum(&["run", "small.toml"]).exits(0).cached(), [""; 0]);
    assert_eq!(&lab.hashes(), undisturbed());

    let key = lab.artifacts("train.lm").remove(0);
    let folder = lab.path(".lyceum/store/train.lm").join(&key);
    for number in 0..1000 {
        let other = format!("{number:064x}");
        let copy = folder.with_file_name(&other);
        fs::create_dir(&copy).expect("a folder");
        for entry in fs::read_dir(&folder).expect("a listing") {
            let entry = entry.expect("an entry");
            let to = copy.join(entry.file_name());
            if entry.file_name() == "manifest.json" {
                let text = fs::read_to_string(entry.path()).expect("a manifest");
                fs::write(to, text.replace(&key, &other)).expect("writes");
            } else {
                fs::hard_link(entry.path(), to).expect("a link");
            }
        }
    }
    let before = lab.hashes();
    // Other work on the machine may slow down one of them.
    let shortest = (0..3).map(|_| {
        let start = Instant::now();
        assert_eq!(lab.lyceum(&["run", "small.toml"]).exits(0).cached(), ALL);
        start.elapsed()
    });
    let shortest = shortest.min().expect("three times");
    assert!(shortest < Duration::from_secs(1), "{shortest:?}");
    assert_eq!(lab.hashes(), before);
    let changed = ["plan", "small.toml", "--set", "steps.model.optim.lr=3e-3"];
    let plan = lab.lyceum(&changed).exits(0).stdout;
    assert!(plan.contains("`optim.lr`"), "{plan}");
}

#[test]
fn a_changed_value_makes_its_dependents_new_and_nothing_else() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml"]).exits(0);
    let before = lab.hashes();
    let set = ["--set", "steps.model.optim.lr=2e-3"];
    let plan = lab.lyceum(&[&["plan", "small.toml"], &set[..]].concat()).exits(0);
    assert!(
        plan.stdout.contains("because `optim.lr`: 0.001 → 0.002"),
        "{}",
        plan.stdout
    );
    let run = lab.lyceum(&[&["run", "small.toml"], &set[..]].concat()).exits(0);
    assert_eq!(run.cached(), ["pool", "bpe", "tokens"]);
    let after = lab.hashes();
    assert!(before.iter().all(|(path, hash)| after.get(path) == Some(hash)));
    assert_eq!(lab.artifacts("train.lm").len(), 2);

    // A step in the middle: what hangs on it is new, what it hangs on is not.
    let set = ["run", "small.toml", "--set", "steps.tokens.context=24"];
    assert_eq!(lab.lyceum(&set).exits(0).cached(), ["pool", "bpe"]);
}

#[test]
fn working_out_again_changes_no_bytes_and_makes_nothing_new() {
    let lab = lab();
    let block = ["--set", "steps.model.recompute=block"];
    lab.lyceum(&[&["run", "small.toml"], &block[..]].concat())
        .exits(0);
    assert_eq!(&lab.hashes(), undisturbed());
    let shown = lab
        .lyceum(&["show", "latest", "--format", "json"])
        .exits(0)
        .json();
    let step = &shown["steps"][3];
    let again = step["measures"]["recomputed_flops"].as_f64().expect("a number");
    let flops = step["flops"].as_f64().expect("a number");
    assert!(again > 0.0 && again < flops / 3.0, "{again} beside {flops}");
    assert_eq!(lab.lyceum(&["run", "small.toml"]).exits(0).cached(), ALL);
}

#[test]
fn the_resolved_spec_of_a_run_runs_as_it_is() {
    let lab = lab();
    lab.lyceum(&["run", "small.toml", "--set", "experiment.seed=3"])
        .exits(0);
    let id = lab.lyceum(&["show", "--format", "json"]).exits(0).json()["id"].clone();
    let file = format!(".lyceum/runs/{}/resolved.toml", id.as_str().expect("an id"));
    assert_eq!(lab.lyceum(&["run", &file]).exits(0).cached(), ALL);
    fs::copy(lab.path(&file), lab.path("again.toml")).expect("a copy");
    assert_eq!(lab.lyceum(&["run", "again.toml"]).exits(0).cached(), ALL);
}
