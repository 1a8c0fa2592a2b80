//! `learning_law_*.json`: policy gradients, projections, a whole optimisation, and the perceptron at full size.

mod full_size;
mod reports;

use lyceum_components::policy::{LawReport, LawStep, improve, observe};
use lyceum_components::trajectory::{
    Examples, Number, Perceptron, Plan, Training, Trajectory, Weighted, project_simplex,
};
use lyceum_kernels::RowElement;
use lyceum_tests::{Golden, Node};
use reports::{accelerations_agree, report_agrees};

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
