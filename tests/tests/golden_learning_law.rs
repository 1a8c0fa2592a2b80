//! `learning_law_*.json`: policy gradients, projections, a whole optimisation, and the perceptron at full size.

use lyceum_components::policy::{
    LawReport, LawStep, PerceptronData, Split, acceleration, improve, observe, perceptron_data,
};
use lyceum_components::trajectory::{
    Examples, Number, Perceptron, Plan, Training, Trajectory, Weighted, project_simplex,
};
use lyceum_kernels::RowElement;
use lyceum_tests::{Golden, Node};
use serde_json::Value;

fn assert_close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a}, expected {b}");
    }
}

fn narrow<N: Number>(values: &[f64]) -> Vec<N> {
    values.iter().map(|x| N::of(*x)).collect()
}

fn wide<N: Number>(values: &[N]) -> Vec<f64> {
    values.iter().map(|x| x.wide()).collect()
}

fn examples<N: Number>(node: &Node, of: &str) -> Examples<N> {
    Examples {
        inputs: narrow(&node.get(&format!("x_{of}")).tensor().1),
        labels: node.get(&format!("y_{of}")).read(),
    }
}

/// A problem of a fixture, and its start.
fn problem<N: Number + RowElement>(node: &Node, steps: usize) -> (Perceptron<N>, Vec<N>) {
    let start = narrow::<N>(&node.get("theta0").read::<Vec<f64>>());
    let sets = ["train", "dev", "test"].map(|of| examples(node, of));
    (Perceptron::new(start.len(), sets, steps), start)
}

fn measured<T: Weighted>(
    training: &mut T,
    trajectory: &mut Trajectory<T::Number>,
    start: &[T::Number],
) -> LawReport {
    observe(training, trajectory, start, &mut |_| Ok(())).expect("goes back")
}

fn adjoint_agrees<N: Number + RowElement>(case: &Node, tolerance: f64) {
    let steps: usize = case.get("steps").read();
    let rate: f64 = case.get("eta").read();
    let (mut perceptron, start) = problem::<N>(case, steps);
    let policy = case.get("gamma").tensor().1;
    perceptron.policy = narrow(&policy);
    let mut trajectory = Trajectory::in_memory(Plan::new(steps, 1), rate);
    let epoch = improve(&mut perceptron, &mut trajectory, &start, None, &mut |_| Ok(())).expect("goes back");
    assert_close(
        "J",
        &[epoch.objective],
        &[case.get("objective_sum").read()],
        tolerance * 10.0,
    );
    let report = measured(&mut perceptron, &mut trajectory, &start);
    let list = |name: &str| case.get(name).tensor().1;
    assert_close("L", &report.target, &list("dev_loss"), tolerance);
    let gradient = list("grad_gamma");
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert_close("‖∂J/∂γ‖", &[epoch.gradient], &[norm], tolerance * 10.0);

    // The states, the costates' products and the target's.
    let (states, costates) = (list("theta"), list("costate"));
    let (n, d) = (perceptron.train.len(), start.len());
    let (mut by_gamma, mut contributions) = (Vec::new(), Vec::new());
    let mut products = vec![0.0; n];
    let mut target = vec![N::default(); d];
    for (step, (theta, costate)) in states.chunks(d).zip(costates.chunks(d)).enumerate() {
        let state = trajectory.segment(&mut perceptron, step).expect("a state");
        assert_close("θ", &wide(&state[0]), theta, tolerance);
        perceptron
            .contributions(&state[0], &narrow::<N>(costate), &mut products)
            .expect("products");
        by_gamma.extend(products.iter().map(|product| -rate * product));
        perceptron.target(step, &state[0], &mut target).expect("a loss");
        perceptron
            .contributions(&state[0], &target, &mut products)
            .expect("products");
        contributions.extend(products.iter().copied());
    }
    assert_close("∂J/∂γ", &by_gamma, &gradient, tolerance);
    assert_close("CT", &contributions, &list("contributions_dev"), tolerance);
    // Similarities divide by a spread.
    let similarity: Vec<f64> = case.get("sim").read();
    assert_close("SIM", &report.similarity_target, &similarity, tolerance * 100.0);
    assert_close("differences", &gradient, &list("grad_gamma_fd_h1e-6"), 5e-9);
    assert!(case.get("max_abs_fd_error").read::<f64>() < 5e-9);

    // A step changes every row by its own gradient and projects it.
    let step = LawStep {
        lr: 0.3,
        by_row: false,
        freeze: 1,
    };
    improve(&mut perceptron, &mut trajectory, &start, Some(step), &mut |_| {
        Ok(())
    })
    .expect("goes back");
    let mut moved: Vec<f64> = policy.iter().zip(&gradient).map(|(w, g)| w - 0.3 * g).collect();
    moved.chunks_mut(n).for_each(|row| {
        project_simplex(row);
    });
    moved[..n].copy_from_slice(&policy[..n]);
    assert_close("γ", &wide(&perceptron.policy), &moved, tolerance * 10.0);
}

#[test]
fn policy_gradients_agree_in_f64_and_f32() {
    let golden = Golden::open("learning_law_adjoint");
    let root = golden.root();
    root.prose(&["about"]);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 2);
    for case in cases {
        case.prose(&["seed"]);
        adjoint_agrees::<f64>(&case, 1e-12);
        adjoint_agrees::<f32>(&case, 1e-5);
    }
    golden.finish();
}

#[test]
fn projections_agree() {
    let golden = Golden::open("learning_law_simplex");
    let root = golden.root();
    root.prose(&["about"]);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let mut row: Vec<f64> = case.get("v").read();
        let largest = row.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
        let threshold = project_simplex(&mut row);
        assert_close("x", &row, &case.get("x").read::<Vec<f64>>(), 1e-12);
        let expected: f64 = case.get("threshold").read();
        assert!(
            (threshold - expected).abs() <= 1e-12 * largest,
            "{threshold} {expected}"
        );
    }
    golden.finish();
}

/// Compares a report with the figures of a fixture; `tolerance` is relative to what they are made of.
fn report_agrees(report: &LawReport, stats: &Node, width: usize, tolerance: f64) {
    let close = |name: &str, ours: f64, tolerance: f64| {
        let theirs: f64 = stats.get(name).read();
        assert!(
            (ours - theirs).abs() <= tolerance,
            "{name}: {ours}, expected {theirs}"
        );
    };
    let steps = report.support.len();
    close("auc_dev", report.area_target(), tolerance);
    close("auc_test", report.area_test(), tolerance);
    let ratio = 1.0 / report.area_test();
    close("cr_nats", std::f64::consts::LN_2 * ratio, 100.0 * tolerance);
    close("cr_log2_over_nats", ratio, 100.0 * tolerance);
    close("dev_final", report.target[steps], tolerance);
    close("test_final", report.test[steps], tolerance);
    close("test_0", report.test[0], tolerance);
    let means = [
        ("sim_grad_test_mean", &report.similarity_test),
        ("sim_grad_dev_mean", &report.similarity_target),
        ("sim_costate_dev_mean", &report.similarity_costate),
    ];
    for (name, curve) in means {
        let finite: Vec<f64> = curve.iter().copied().filter(|x| x.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        close(name, mean, 100.0 * tolerance);
    }
    for (name, curve) in [
        ("sim_grad_test_median", &report.similarity_test),
        ("sim_costate_dev_median", &report.similarity_costate),
    ] {
        let mut sorted: Vec<f64> = curve.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        close(name, f64::midpoint(low, high), 100.0 * tolerance);
    }
    if stats.find("kkt_gap_sum").is_some() {
        let gap: f64 = report.gap.iter().sum();
        close("kkt_gap_sum", gap, 1e3 * tolerance * gap.max(1.0));
    }
    // An entry within rounding of zero may fall on either side.
    let entries = (steps * width) as f64;
    let used: usize = report.support.iter().sum();
    let slack = 1e3 * tolerance;
    close("zero_weight_fraction", 1.0 - used as f64 / entries, slack);
    close(
        "support_size_mean",
        used as f64 / steps as f64,
        slack * width as f64,
    );
    let opposed: usize = report.opposed.iter().sum();
    let unused: usize = report.opposed_unused.iter().sum();
    let share = unused as f64 / opposed.max(1) as f64;
    close("zero_weight_fraction_where_ct_le_0", share, slack);
    for (step, size) in stats.get("support_size_t").entries() {
        let ours = report.support[step.parse::<usize>().expect("a step")] as f64;
        assert!(
            (ours - size.read::<f64>()).abs() <= slack * width as f64,
            "support at {step}"
        );
    }
    for (name, curve) in [
        ("sim_grad_test_t", &report.similarity_test),
        ("sim_costate_dev_t", &report.similarity_costate),
    ] {
        for (step, expected) in stats.get(name).entries() {
            let ours = curve[step.parse::<usize>().expect("a step")];
            let expected: f64 = expected.read();
            assert!(
                (ours - expected).abs() <= 1e3 * tolerance * expected.abs().max(1.0),
                "{name} {step}"
            );
        }
    }
}

fn accelerations_agree(stats: &Node, base: &LawReport, report: &LawReport) {
    for (name, base, curve) in [
        ("acceleration_test", &base.test, &report.test),
        ("acceleration_dev", &base.target, &report.target),
    ] {
        let times: Option<f64> = stats.get(name).read();
        let step: i64 = match name {
            "acceleration_test" => stats.get("acceleration_step").read(),
            _ => stats.get("acceleration_dev_step").read(),
        };
        let ours = acceleration(base, curve);
        assert_eq!(
            ours.map(|(_, step)| step as i64),
            (step >= 0).then_some(step),
            "{name}"
        );
        assert_eq!(ours.map(|(times, _)| times), times, "{name}");
    }
}

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

#[test]
fn a_whole_optimisation_agrees() {
    let golden = Golden::open("learning_law_trace");
    let root = golden.root();
    root.prose(&["about"]);
    let steps: usize = root.get("steps").read();
    let rate: f64 = root.get("eta").read();
    let (lr, epochs): (f64, usize) = (root.get("eps").read(), root.get("epochs").read());
    let (mut perceptron, start) = problem::<f64>(&root, steps);
    let list = |name: &str| root.get(name).tensor().1;
    // A third of the states, to show that nothing depends on it.
    let mut trajectory = Trajectory::in_memory(Plan::new(steps, 3), rate);
    let base = measured(&mut perceptron, &mut trajectory, &start);
    assert_close("constant", &base.target, &list("dev_loss_constant"), 1e-12);
    assert_close("constant", &base.test, &list("test_loss_constant"), 1e-12);

    let (mut objectives, mut norms) = (Vec::new(), Vec::new());
    let snapshots = root.get("gamma_after");
    assert_eq!(snapshots.entries().len(), 4);
    for epoch in 0..epochs {
        let step = LawStep {
            lr: lr * (1.0 - epoch as f64 / epochs as f64),
            by_row: false,
            freeze: 0,
        };
        let found = improve(&mut perceptron, &mut trajectory, &start, Some(step), &mut |_| {
            Ok(())
        });
        let found = found.expect("goes back");
        objectives.push(found.objective);
        norms.push(found.gradient);
        if let Some(policy) = snapshots.find(&(epoch + 1).to_string()) {
            assert_close("γ", &perceptron.policy, &policy.tensor().1, 1e-9);
        }
        for row in perceptron.policy.chunks(perceptron.train.len()) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
    let last = improve(&mut perceptron, &mut trajectory, &start, None, &mut |_| Ok(())).expect("goes back");
    objectives.push(last.objective);
    assert_close("J", &objectives, &list("objective_sum"), 1e-9);
    assert!(objectives.is_sorted_by(|a, b| b <= &(a + 1e-12)), "J never rises");
    assert_close("‖∂J/∂γ‖", &norms, &list("grad_norm"), 1e-9);

    let report = measured(&mut perceptron, &mut trajectory, &start);
    assert_close("final", &report.target, &list("dev_loss_final"), 1e-9);
    assert_close("final", &report.test, &list("test_loss_final"), 1e-9);
    let states: Vec<f64> = (0..trajectory.plan().stored())
        .flat_map(|segment| trajectory.segment(&mut perceptron, segment).expect("states"))
        .flatten()
        .collect();
    assert_close("θ", &states, &list("theta_final_policy"), 1e-9);
    let stats = root.get("stats");
    report_agrees(&report, &stats, perceptron.train.len(), 1e-9);
    accelerations_agree(&stats, &base, &report);
    assert!((last.gap - report.gap.iter().sum::<f64>()).abs() < 1e-12);
    golden.finish();
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
