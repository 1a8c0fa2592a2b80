//! What is said of plans and runs, for programs; stdout holds nothing else.

use super::lab;
use serde_json::Value;
use std::fs;

#[test]
fn plans_and_runs_can_be_read_by_programs() {
    let lab = lab();
    let plan = lab.lyceum(&["plan", "small.toml", "--format", "json"]).exits(0);
    let steps = plan.json()["steps"].clone();
    let ids: Vec<_> = steps
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| &step["id"])
        .collect();
    assert_eq!(ids, ["pool", "bpe", "tokens", "model"]);
    assert_eq!(steps[3]["cached"], false);
    assert!(steps[3]["flops"].as_f64().expect("a number") > 0.0);
    assert_eq!(plan.stderr, "");

    let dot = lab
        .lyceum(&["plan", "small.toml", "--format", "dot"])
        .exits(0)
        .stdout;
    assert!(
        dot.starts_with("digraph") && dot.trim_end().ends_with('}'),
        "{dot}"
    );
    assert_eq!(dot.matches("\"tokens\" -> \"model\"").count(), 1, "{dot}");
    assert!(!lab.path(".lyceum/store").exists(), "a plan makes nothing");

    let run = lab
        .lyceum(&["run", "small.toml", "--format", "json"])
        .exits(0)
        .json();
    let id = run["run"].as_str().expect("an id").to_owned();
    assert_eq!(run["verdicts"], serde_json::json!([]));
    assert!(fs::exists(run["report"].as_str().expect("a path")).expect("a look"));

    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0);
    assert_eq!(runs.json()[0]["id"], id);
    assert_eq!(runs.json()[0]["status"], "done");
    assert_eq!(runs.stderr, "");

    for name in ["latest", &id, &id[..id.len() - 1]] {
        let shown = lab.lyceum(&["show", name, "--format", "json"]).exits(0);
        assert_eq!(shown.json()["id"], id);
        assert_eq!(shown.json()["steps"].as_array().expect("a list").len(), 4);
        assert_eq!(shown.stderr, "");
    }

    let file = lab.path(&format!(".lyceum/runs/{id}/report.md"));
    let first = fs::read(&file).expect("a report");
    fs::remove_file(&file).expect("it goes");
    let said = lab.lyceum(&["report", "latest"]).exits(0);
    assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (1, ""));
    assert_eq!(fs::read(&file).expect("a report"), first);
}

#[test]
fn a_plan_tells_memory_and_time_of_both_ways_to_train() {
    let lab = lab();
    let deep = [
        "plan",
        "small.toml",
        "--set",
        "steps.model.model.num_hidden_layers=8",
    ];
    insta::assert_snapshot!(lab.lyceum(&deep).exits(0).stdout);
    let again = ["--set", "steps.model.recompute=block"];
    insta::assert_snapshot!(lab.lyceum(&[&deep[..], &again].concat()).exits(0).stdout);

    let json = ["--format", "json"];
    let [none, block] = [&[][..], &again].map(|more| {
        let plan = lab.lyceum(&[&deep[..], &json, more].concat()).exits(0).json();
        plan["steps"][3].clone()
    });
    let number = |value: &Value| value.as_f64().expect("a number");
    for (one, other) in [(&none, &block), (&block, &none)] {
        for name in ["memory_bytes", "recomputed_flops", "seconds"] {
            assert_eq!(one["choices"][0][name], other[name], "{name}");
        }
    }
    assert_eq!((&none["flops"], &none["key"]), (&block["flops"], &block["key"]));
    assert!(number(&none["memory_bytes"]) > number(&block["memory_bytes"]));
    assert!(number(&none["seconds"]) < number(&block["seconds"]));
}

#[test]
fn a_run_that_is_not_there() {
    let lab = lab();
    for arguments in [
        ["show", "latest"],
        ["report", "latest"],
        ["show", "2001"],
        ["report", "2001"],
    ] {
        let ended = lab.lyceum(&arguments).exits(2);
        assert_eq!(ended.stdout, "");
        ended.says(&["error: "]);
    }
    let runs = lab.lyceum(&["runs", "--format", "json"]).exits(0);
    assert_eq!(runs.json(), serde_json::json!([]));
    assert!(!lab.path(".lyceum").exists());
}

#[test]
fn the_link_to_the_latest_run_follows() {
    let lab = lab();
    let latest = || fs::read_link(lab.path(".lyceum/runs/latest")).expect("a link");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let run = lab
            .lyceum(&["run", "small.toml", "--format", "json"])
            .exits(0)
            .json();
        let id = run["run"].as_str().expect("an id").to_owned();
        assert_eq!(latest().to_str(), Some(id.as_str()), "a relative link");
        assert!(lab.path(".lyceum/runs/latest/run.json").is_file());
        seen.push(id);
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(lab.lyceum(&["runs"]).exits(0).stdout.lines().count(), 2);
}
