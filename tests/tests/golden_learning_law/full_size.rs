//! The perceptron at full size, up to the first or to the last policy epoch.

use crate::reports::{accelerations_agree, report_agrees};
use crate::{assert_close, measured};
use lyceum_components::policy::{
    LawReport, LawStep, PerceptronData, Split, acceleration, improve, perceptron_data,
};
use lyceum_components::trajectory::{Examples, Perceptron, Plan, Trajectory};
use lyceum_tests::{Golden, Node};
use serde_json::Value;

/// After hundreds of policy epochs rounding may move a step that reaches a loss a little.
fn accelerations_are_near(stats: &Node, base: &LawReport, report: &LawReport) {
    for (times, step, base, curve) in [
        ("acceleration_test", "acceleration_step", &base.test, &report.test),
        (
            "acceleration_dev",
            "acceleration_dev_step",
            &base.target,
            &report.target,
        ),
    ] {
        let (theirs, at): (Option<f64>, i64) = (stats.get(times).read(), stats.get(step).read());
        let ours = acceleration(base, curve);
        assert_eq!(
            ours.is_some(),
            theirs.is_some(),
            "{times}: {ours:?}, expected {theirs:?}"
        );
        if let Some((_, found)) = ours {
            assert!(
                (found as f64 - at as f64).abs() <= 0.02 * at as f64,
                "{step}: {found}, expected {at}"
            );
        }
    }
}

/// The fixture's own experiment, up to the stage of `epochs` policy epochs, or to its end.
fn full_size(name: &str, epochs: Option<usize>, tolerance: f64) {
    let golden = Golden::open(name);
    let root = golden.root();
    let config = root.get("config");
    let data = PerceptronData {
        seed: config.get("seed").read(),
        width: config.get("dim").read(),
        train: config.get("train").read(),
        target: config.get("dev").read(),
        train_deviation: config.get("train_sd").read(),
        target_mean: config.get("dev_mu").read(),
        target_deviation: config.get("dev_sd").read(),
    };
    let Split::<f64> {
        train,
        target,
        test,
        start,
    } = perceptron_data(data);
    let checks = root.get("checks");
    let last = train.inputs[train.inputs.len() - 1];
    let mean = |examples: &Examples<f64>| examples.labels.iter().sum::<f64>() / examples.len() as f64;
    let found = [
        train.inputs[0],
        last,
        start[0],
        mean(&train),
        mean(&target),
        mean(&test),
    ];
    let names = [
        "x_train_0_0",
        "x_train_last",
        "theta0_0",
        "label_mean_train",
        "label_mean_dev",
        "label_mean_test",
    ];
    let expected: Vec<f64> = names.iter().map(|name| checks.get(name).read()).collect();
    assert_close("data", &found, &expected, 1e-12);

    let steps: usize = config.get("steps").read();
    let all: usize = config.get("epochs").read();
    let (rate, lr): (f64, f64) = (config.get("eta").read(), config.get("eps").read());
    assert_eq!(config.get("decay").read::<u8>(), 1);
    let by_row = config.find("row_scale").is_some_and(|row| row.read::<u8>() == 1);
    let width = train.len();
    let mut perceptron = Perceptron::new(start.len(), [train, target, test], steps);
    let mut trajectory = Trajectory::in_memory(Plan::new(steps, 1), rate);
    let base = measured(&mut perceptron, &mut trajectory, &start);
    report_agrees(&base, &root.get("conventional"), width, 1e-6);
    let curves = [
        (&base.test, "test_conventional"),
        (&base.target, "dev_conventional"),
    ];
    let times: Vec<usize> = root.get("curve_t").read();
    for (curve, name) in curves {
        let ours: Vec<f64> = times.iter().map(|&t| curve[t]).collect();
        assert_close(name, &ours, &root.get(name).read::<Vec<f64>>(), 1e-6);
    }
    for epoch in 0..epochs.unwrap_or(all) {
        let step = LawStep {
            lr: lr * (1.0 - epoch as f64 / all as f64),
            by_row,
            freeze: 0,
        };
        improve(&mut perceptron, &mut trajectory, &start, Some(step), &mut |_| {
            Ok(())
        })
        .expect("goes back");
    }
    let report = measured(&mut perceptron, &mut trajectory, &start);
    let stages = root.get("stages");
    let stage = match epochs {
        Some(epochs) => stages.get(&epochs.to_string()),
        None => root.get("optimised"),
    };
    report_agrees(&report, &stage, width, tolerance);
    if epochs.is_some() {
        accelerations_agree(&stage, &base, &report);
        root.prose(&["optimised", "test_optimised", "dev_optimised"]);
    } else {
        accelerations_are_near(&stage, &base, &report);
        for (curve, name) in [
            (&report.test, "test_optimised"),
            (&report.target, "dev_optimised"),
        ] {
            let ours: Vec<f64> = times.iter().map(|&t| curve[t]).collect();
            assert_close(name, &ours, &root.get(name).read::<Vec<f64>>(), 10.0 * tolerance);
        }
    }
    let objectives: Vec<f64> = root.get("objective_mean_by_epoch").read();
    assert_close("J / T", &[base.area_target()], &objectives[..1], 1e-9);

    // What other policies do is prose here.
    root.prose(&["about", "seconds_per_epoch_median", "wall_seconds"]);
    for name in ["online_rectified", "test_online"] {
        if let Some(node) = root.find(name) {
            node.read::<Value>();
        }
    }
    for name in ["marks", "init", "row_scale"] {
        if let Some(node) = config.find(name) {
            node.read::<Value>();
        }
    }
    for (number, other) in stages.entries() {
        if epochs.is_none_or(|epochs| number != epochs.to_string()) {
            other.read::<Value>();
        }
    }
    golden.finish();
}

#[test]
fn the_perceptron_at_full_size_agrees_before_and_after_policy_epochs() {
    // All of them take some twenty minutes: scripts/learning_law_campaign.sh.
    let (epochs, tolerance) = match std::env::var_os("LYCEUM_TEST_ALL") {
        Some(_) => (None, 1e-3),
        None => (Some(1), 1e-6),
    };
    for name in [
        "learning_law_perceptron",
        "learning_law_perceptron_rowscale",
        "learning_law_perceptron_bigtarget",
    ] {
        full_size(name, epochs, tolerance);
    }
}
