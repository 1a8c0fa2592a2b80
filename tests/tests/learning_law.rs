//! The learning law as a user runs it: controls of the perceptron at full size (`learning_law_controls.json`), and a report of a
//! policy with its plots.

#![cfg(unix)]

use lyceum_components::train::read_curve;
use lyceum_tests::{Golden, Lab, list};
use serde_json::Value;
use std::fs;

fn lab() -> Lab {
    Lab::new(env!("CARGO_BIN_EXE_lyceum-under-test"))
}

/// Losses on test examples after every step.
fn losses(lab: &Lab, step: &str) -> Vec<f64> {
    let file = lab.path(&format!(".lyceum/runs/latest/steps/{step}/metrics.parquet"));
    let points = read_curve(&file).expect("a curve");
    let own = points
        .iter()
        .filter(|point| point.split == "valid" && point.metric == "loss");
    own.map(|point| point.value).collect()
}

/// The rows of a step's table.
fn rows(lab: &Lab, step: &str) -> Vec<Value> {
    let to = format!("out-{step}");
    lab.lyceum(&["export", step, "--to", &to, "--as", "json"])
        .exits(0);
    let text = fs::read_to_string(lab.path(&to).join("table.json")).expect("a table");
    serde_json::from_str(&text).expect("JSON")
}

fn value(rows: &[Value], variant: &str, metric: &str) -> Option<f64> {
    let row = rows
        .iter()
        .find(|row| row["variant"] == variant && row["metric"] == metric);
    row?["value"].as_f64()
}

/// Trainings of the fixture by their names here.
fn experiment(target: usize, rates: &[f64]) -> String {
    let rates: Vec<String> = rates
        .iter()
        .enumerate()
        .map(|(i, rate)| format!("r{i} = {{ lr = {rate:?}, steps = 2000 }}"))
        .collect();
    let step =
        "use = \"train.perceptron\"\ndata = \"@examples.train\"\neval = { data = \"@examples.test\" }\n";
    let rate = "optim = { lr = 0.1, steps = 2000 }\n";
    format!(
        "[experiment]\nname = \"controls\"\nseed = 7\nprecision = \"f64\"\n\
         [steps.examples]\nuse = \"corpus.teacher_student\"\nseed = 7\ntarget = {target}\n\
         [steps.equal]\n{step}matrix.optim = {{ {} }}\n\
         [steps.online]\n{step}{rate}\
         reweight = {{ target = \"@examples.target\", refresh_every = 1 }}\n\
         [steps.lengths]\n{step}{rate}match_steps = \"@online\"\n\
         [steps.sooner]\nuse = \"analyze.acceleration\"\nbaseline = \"@equal[r0]\"\n\
         models = [{}, \"@online\", \"@lengths\"]\n",
        rates.join(", "),
        (0..rates.len())
            .map(|i| format!("\"@equal[r{i}]\""))
            .collect::<Vec<_>>()
            .join(", "),
    )
}

#[test]
fn controls_of_the_perceptron_at_full_size_agree() {
    let golden = Golden::open("learning_law_controls");
    let root = golden.root();
    root.prose(&["about"]);
    for case in root.get("cases").items() {
        let lab = lab();
        let target: usize = case.get("target_examples").read();
        let all = case.get("rows").items();
        let rates: Vec<f64> = all
            .iter()
            .filter(|row| row.get("policy").read::<String>() == "uniform")
            .map(|row| row.get("eta").read())
            .collect();
        assert_eq!((all.len(), rates.len(), rates[0]), (8, 6, 0.1));
        lab.write("controls.toml", experiment(target, &rates));
        lab.lyceum(&["run", "controls.toml"]).exits(0);
        let sooner = rows(&lab, "sooner");
        for (number, row) in all.iter().enumerate() {
            let step = match row.get("policy").read::<String>().as_str() {
                "uniform" => format!("equal[r{number}]"),
                "online rectified" => {
                    assert_eq!(row.get("eta").read::<f64>(), 0.1);
                    "online".to_owned()
                }
                _ => "lengths".to_owned(),
            };
            let losses = losses(&lab, &step);
            assert_eq!(losses.len(), 2000);
            let close = |name: &str, ours: f64, tolerance: f64| {
                let theirs: f64 = row.get(name).read();
                assert!(
                    (ours - theirs).abs() <= tolerance,
                    "{target} {step} {name}: {ours} {theirs}"
                );
            };
            close("auc_test", losses.iter().sum::<f64>() / 2000.0, 1e-6);
            close("test_final", losses[1999], 1e-6);
            let times = value(&sooner, &step, "acceleration").expect("it is reached");
            close("acceleration_test", times, 1e-6);
        }
    }
    golden.finish();
}

#[test]
fn a_policys_report_has_its_curves_and_its_map() {
    let lab = lab();
    lab.write(
        "law.toml",
        r#"
[experiment]
name = "law"
paper = "learning_law"
seed = 3
precision = "f64"

[steps.labelled]
use = "corpus.teacher_student"
width = 8
train = 60
target = 40

[steps.policy]
use = "policy.learning_law"
data = "@labelled.train"
target = "@labelled.target"
test = "@labelled.test"
steps = 100
matrix.epochs = { equal = 0, found = 10 }
lr = 1.0
lr_scale = "row"

[steps.law]
use = "analyze.learning_law"
policies = "@policy"

[[claims]]
name = "the target loss falls faster"
metric = "law.target_loss"
better = "policy[found]"
than = "policy[equal]"
lower_is_better = true
"#,
    );
    lab.lyceum(&["run", "law.toml"]).exits(0);
    let rows = rows(&lab, "law");
    let of = |variant: &str, metric: &str| value(&rows, variant, metric);
    for metric in [
        "target_loss",
        "test_loss",
        "similarity_test",
        "similarity_costate",
        "gap",
    ] {
        // A policy of no epoch is equal weights.
        let equal = of("policy[equal]", metric).expect("a figure");
        assert_eq!(of("policy[equal], equal", metric), Some(equal), "{metric}");
        assert_eq!(of("policy[found], equal", metric), Some(equal), "{metric}");
        assert_ne!(of("policy[found]", metric), Some(equal), "{metric}");
    }
    assert_eq!(of("policy[equal]", "acceleration_target"), Some(1.0));
    assert!(of("policy[found]", "acceleration_target").expect("reached") > 1.0);
    let test = of("policy[found]", "test_loss").expect("a figure");
    let compression = of("policy[found]", "compression").expect("a figure");
    assert!((compression * test - 2_f64.ln()).abs() < 1e-12);
    assert!(of("policy[found]", "gap") < of("policy[equal]", "gap"));
    assert!(of("policy[found]", "unused") > of("policy[equal]", "unused"));
    let run = lab.path(".lyceum/runs/latest");
    let plots = list(&run.join("plots"));
    for name in [
        "law-Test-loss.svg",
        "law-Similarity-of-contributions-to-all-later-losses.svg",
        "law-Weights-of-examples-by-what-they-contribute.svg",
        "law-Weights-of-policy-found.svg",
    ] {
        assert!(plots.contains(&name.to_owned()), "{name}: {plots:?}");
    }
    let report = fs::read_to_string(run.join("report.md")).expect("a report");
    assert!(report.contains("5.5"), "{report}");
    // One run without instances has no interval to judge by.
    assert!(report.contains("**not decided**"), "{report}");
}
