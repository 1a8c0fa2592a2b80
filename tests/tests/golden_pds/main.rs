//! `pds_*.json`: the solver of PDS on models in closed form, its plan of what is stored, differences, labels and scorer.

mod bigram;
mod mlp;
mod scorer;
mod select;

use bigram::{Bigram, counts};
use lyceum_components::Result;
use lyceum_components::trajectory::{
    Costate, Difference, Gains, Number, Observer, Passed, Plan, Training, Trajectory, backward, gains, norm,
    project_simplex,
};
use lyceum_tests::{Golden, Node};
use mlp::{Mlp, pairs};
use std::marker::PhantomData;

fn assert_close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}[{i}]: {a}, expected {b}");
    }
}

fn narrow<N: Number>(vector: &[f64]) -> Vec<N> {
    vector.iter().map(|x| N::of(*x)).collect()
}

fn wide<N: Number>(vector: &[N]) -> Vec<f64> {
    vector.iter().map(|x| x.wide()).collect()
}

/// Everything that a way back meets, by step.
struct Seen {
    theta: Vec<Vec<f64>>,
    costates: Vec<Vec<f64>>,
    /// η ⟨λ_{t+1}, ∇l_n(θ_t)⟩.
    contributions: Vec<Vec<f64>>,
    rate: f64,
}

impl<T: Training> Observer<T> for Seen {
    fn meet(
        &mut self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        lambda: &[T::Number],
        _: &[T::Number],
    ) -> Result<()> {
        let mut products = vec![0.0; training.examples()];
        training.products(step, theta, lambda, &mut products)?;
        self.theta.push(wide(theta));
        self.contributions
            .push(products.iter().map(|product| self.rate * product).collect());
        Ok(())
    }

    fn pass(&mut self, _: &mut T, _: Passed, lambda: &[T::Number]) -> Result<()> {
        self.costates.push(wide(lambda));
        Ok(())
    }
}

/// Solves, and gives what every step met, θ_0 first.
fn solve<T: Training>(training: &mut T, rate: f64, steps: usize, start: &[T::Number]) -> (Gains, Seen) {
    let mut trajectory = Trajectory::in_memory(Plan::root(steps), rate);
    let mut go_on = |_: usize| Ok(());
    trajectory
        .forward(training, start, &mut go_on)
        .expect("goes forth");
    let mut seen = Seen {
        theta: Vec::new(),
        costates: Vec::new(),
        contributions: Vec::new(),
        rate,
    };
    let costate = Costate::start(&trajectory);
    backward(training, &trajectory, costate, &mut seen).expect("goes back");
    seen.theta.reverse();
    seen.costates.reverse();
    seen.contributions.reverse();
    let found = gains(training, &trajectory, 1, None, &mut go_on).expect("goes back");
    (found, seen)
}

fn bigram_agrees<N: Number>(root: &Node, tolerance: f64) {
    let vocab: usize = root.get("vocab").read();
    let (width, pad): (usize, u32) = (root.get("max_length").read(), root.get("pad_id").read());
    let (rate, steps): (f64, usize) = (root.get("lr").read(), root.get("steps").read());
    let of = |sequences: &[Vec<u32>]| counts(sequences, width, pad, vocab);
    let batches: Vec<Vec<Vec<u32>>> = root.get("train_batches").read();
    assert_eq!(batches.len(), steps);
    let examples = of(&root.get("proxy").read::<Vec<_>>());
    let mut model = Bigram::<N> {
        vocab,
        batches: batches.iter().map(|batch| of(batch)).collect(),
        target: of(&root.get("dev").read::<Vec<_>>()),
        weights: vec![0.0; examples.len()],
        examples,
        number: PhantomData,
    };
    let start = narrow::<N>(&root.get("theta0").tensor().1);
    let (found, seen) = solve(&mut model, rate, steps, &start);

    let expected = root.get("expected");
    let costates = expected.get("lambda").items();
    assert_eq!(costates.len(), steps + 1);
    for (t, costate) in costates.iter().enumerate() {
        assert_close(
            &format!("λ_{t}"),
            &seen.costates[t],
            &costate.tensor().1,
            tolerance,
        );
    }
    let passed = |get: fn(&Passed) -> f64| found.passed.iter().map(get).collect::<Vec<_>>();
    let list = |name: &str| expected.get(name).read::<Vec<f64>>();
    assert_close("‖λ‖", &passed(|p| p.costate), &list("lambda_norm"), tolerance);
    assert_close("J", &passed(|p| p.target), &list("dev_loss"), tolerance);
    let gradient = expected.get("dev_grad_T").tensor().1;
    assert_close(
        "‖∇J‖",
        &[found.passed[steps].target_gradient],
        &[norm(&gradient)],
        tolerance,
    );
    assert_close("λ_T", &seen.costates[steps], &gradient, tolerance);
    let contributions: Vec<Vec<f64>> = expected.get("contrib").read();
    for (t, expected) in contributions.iter().enumerate() {
        assert_close("contributions", &seen.contributions[t], expected, tolerance);
    }
    let mut trajectory = Trajectory::in_memory(Plan::root(steps), rate);
    trajectory
        .forward(&mut model, &start, &mut |_| Ok(()))
        .expect("goes forth");
    let last = trajectory
        .segment(&mut model, trajectory.plan().stored() - 1)
        .expect("the last segment")
        .pop()
        .expect("θ_T");
    assert_close(
        "θ_T",
        &wide(&last),
        &expected.get("theta_T").tensor().1,
        tolerance,
    );
    let by_interval = expected.get("grad_gamma_by_interval").entries();
    assert_eq!(by_interval.len(), 3);
    for (every, expected) in by_interval {
        let every = every.parse().expect("a number");
        let found = gains(&mut model, &trajectory, every, None, &mut |_| Ok(())).expect("goes back");
        assert_close("g", &found.gains, &expected.read::<Vec<f64>>(), tolerance);
    }
    let area: f64 = expected.get("dev_area_sum_t1_T").read();
    assert_close("area", &[found.area()], &[area], tolerance * steps as f64);
}

#[test]
fn the_bigram_models_costates_and_scores_agree_in_f64_and_f32() {
    let golden = Golden::open("pds_pmp_linear");
    let root = golden.root();
    root.prose(&["about", "sign"]);
    let tolerance = root.get("tolerance_abs");
    bigram_agrees::<f64>(&root, tolerance.get("f64").read());
    bigram_agrees::<f32>(&root, tolerance.get("f32").read());

    // The fixture's own differences: of the area by the weights of examples that are not trained on.
    let expected = root.get("expected");
    let differences: Vec<f64> = expected.get("finite_difference_dArea_dw").read();
    let gains: Vec<f64> = expected.get("grad_gamma_by_interval").get("1").read();
    let opposite: Vec<f64> = gains.iter().map(|gain| -gain).collect();
    assert_close(
        "differences",
        &differences,
        &opposite,
        tolerance.get("finite_difference").read(),
    );
    assert!(expected.get("fd_plus_grad_gamma_max_abs").read::<f64>() < 1e-8);
    golden.finish();
}

fn mlp<N: Number>(root: &Node) -> (Mlp<N>, Vec<N>) {
    let (width, pad): (usize, u32) = (root.get("max_length").read(), root.get("pad_id").read());
    let of = |name: &str| pairs(&root.get(name).read::<Vec<_>>(), width, pad);
    let model = Mlp {
        vocab: root.get("vocab").read(),
        hidden: root.get("hidden").read(),
        examples: of("proxy"),
        target: of("dev"),
        weights: Vec::new(),
        number: PhantomData,
    };
    (model, narrow(&root.get("theta0").read::<Vec<f64>>()))
}

fn mlp_agrees<N: Number>(root: &Node, tolerance: f64) {
    let (mut model, start) = mlp::<N>(root);
    let (rate, steps): (f64, usize) = (root.get("lr").read(), root.get("steps").read());
    let outer: f64 = root.get("outer_lr").read();
    let epochs = root.get("epochs").items();
    assert_eq!(epochs.len(), root.get("outer_epochs").read::<usize>());
    let mut weights = vec![1.0 / model.examples.len() as f64; model.examples.len()];
    let mut areas = Vec::new();
    for epoch in epochs {
        let list = |name: &str| epoch.get(name).read::<Vec<f64>>();
        assert_close("γ", &weights, &list("gamma_in"), tolerance);
        model.weights.clone_from(&weights);
        let (found, seen) = solve(&mut model, rate, steps, &start);
        let passed = |get: fn(&Passed) -> f64| found.passed.iter().map(get).collect::<Vec<_>>();
        assert_close("J", &passed(|p| p.target), &list("dev_loss"), tolerance);
        assert_close("‖λ‖", &passed(|p| p.costate), &list("lambda_norm"), tolerance);
        let contributions: Vec<Vec<f64>> = epoch.get("contrib").read();
        assert_eq!(contributions.len(), steps);
        for (ours, theirs) in seen.contributions.iter().zip(&contributions) {
            assert_close("contributions", ours, theirs, tolerance);
        }
        assert_close("g", &found.gains, &list("grad_gamma"), tolerance);
        areas.push(found.area());
        assert_close(
            "area",
            &areas[areas.len() - 1..],
            &[epoch.get("area").read()],
            tolerance * 10.0,
        );
        // Two opinions that the fixture holds besides: whole trainings, and differentiation through one.
        let opposite: Vec<f64> = found.gains.iter().map(|gain| -gain).collect();
        assert_close(
            "differences",
            &opposite,
            &list("fd_dArea_dgamma"),
            1e-8 + tolerance,
        );
        assert_close("unrolled", &opposite, &list("unrolled_dArea_dgamma"), tolerance);
        assert!(epoch.get("fd_plus_grad_max_abs").read::<f64>() < 1e-8);
        if let Some(states) = epoch.find("theta") {
            let states: Vec<Vec<f64>> = states.read();
            for (ours, theirs) in seen.theta.iter().zip(&states) {
                assert_close("θ", ours, theirs, tolerance);
            }
            let costates: Vec<Vec<f64>> = epoch.get("lambda").read();
            for (ours, theirs) in seen.costates.iter().zip(&costates) {
                assert_close("λ", ours, theirs, tolerance);
            }
            let lambda = narrow::<N>(&costates[1]);
            let mut product = narrow::<N>(&vec![0.0; lambda.len()]);
            model
                .hessian(0, &start, &lambda, &mut product)
                .expect("a product");
            assert_close("Hλ", &wide(&product), &list("hvp_at_t0_of_lambda1"), tolerance);
            let gradients: Vec<Vec<f64>> = epoch.get("grad_instance_at_t0").read();
            let mut products = vec![0.0; gradients.len()];
            model
                .products(0, &start, &lambda, &mut products)
                .expect("products");
            let expected: Vec<f64> = gradients
                .iter()
                .map(|gradient| gradient.iter().zip(&costates[1]).map(|(g, v)| g * v).sum())
                .collect();
            assert_close("⟨λ, ∇l⟩", &products, &expected, tolerance);
        }
        for (weight, gain) in weights.iter_mut().zip(&found.gains) {
            *weight += outer * gain;
        }
        project_simplex(&mut weights);
        assert_close("γ", &weights, &list("gamma_out"), tolerance);
    }
    assert!(areas.is_sorted_by(|a, b| a > b), "{areas:?}");
}

#[test]
fn outer_epochs_of_the_two_layer_model_agree_in_f64_and_f32() {
    let golden = Golden::open("pds_pmp_mlp");
    let root = golden.root();
    root.prose(&["about"]);
    let tolerance = root.get("tolerance_abs");
    mlp_agrees::<f64>(&root, tolerance.get("f64").read());
    mlp_agrees::<f32>(&root, tolerance.get("f32").read());
    golden.finish();
}

#[test]
fn what_is_stored_and_computed_again_is_as_planned() {
    let golden = Golden::open("pds_checkpoint");
    let root = golden.root();
    root.prose(&["rule"]);
    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let steps: usize = case.get("T").read();
        let number = |name: &str| case.get(name).read::<usize>();
        let plan = Plan::root(steps);
        assert_eq!(plan.every(), number("interval"));
        assert_eq!(plan.stored(), number("stored"));
        let segments = (0..plan.stored()).rev().map(|segment| plan.segment(segment));
        let segments: Vec<[usize; 2]> = segments.map(|range| [range.start, range.end]).collect();
        assert_eq!(segments, case.get("segments_backward").read::<Vec<[usize; 2]>>());
        let again = (0..steps).filter(|&step| plan.recomputes(step)).count();
        assert_eq!(again, number("recomputed_updates"));
        assert_eq!(plan.live(), number("peak_live_thetas"));
        let longest = segments.iter().map(|[start, end]| end - start).max();
        assert_eq!(longest, Some(number("peak_live_thetas")));
        let scored: Vec<usize> = (0..steps).filter(|step| step.is_multiple_of(10)).collect();
        assert_eq!(scored, case.get("scored_steps_interval10").read::<Vec<usize>>());
    }
    golden.finish();
}

fn relative(ours: &[f64], exact: &[f64]) -> f64 {
    let between: Vec<f64> = ours.iter().zip(exact).map(|(a, b)| a - b).collect();
    norm(&between) / norm(exact)
}

fn difference_errors<N: Number>(r: f64, hessian: &[f64], products: &[f64]) -> [f64; 2] {
    let inputs = Golden::open("pds_pmp_mlp");
    let (mut model, start) = mlp::<N>(&inputs.root());
    model.weights = vec![1.0 / model.examples.len() as f64; model.examples.len()];
    let epochs = inputs.root().get("epochs").items();
    let costates: Vec<Vec<f64>> = epochs[0].get("lambda").read();
    let v = narrow::<N>(&costates[1]);
    let difference = Difference::Relative(r);
    let mut ours = narrow::<N>(&vec![0.0; v.len()]);
    difference
        .hessian(&mut model, 0, &start, &v, &mut ours)
        .expect("a product");
    let mut by_example = vec![0.0; products.len()];
    difference
        .products(&mut model, &start, &v, &mut by_example)
        .expect("products");
    [relative(&wide(&ours), hessian), relative(&by_example, products)]
}

#[test]
fn differences_are_as_near_as_the_fixture_says() {
    let golden = Golden::open("pds_fd_operators");
    let root = golden.root();
    root.prose(&["inputs"]);
    let hessian: Vec<f64> = root.get("hvp_exact").read();
    let products: Vec<f64> = root.get("jvp_exact").read();
    let rows = root.get("rows").items();
    assert_eq!(rows.len(), 14);
    for row in rows {
        let (dtype, r): (String, f64) = (row.get("dtype").read(), row.get("rel_step").read());
        let expected: [f64; 2] = [row.get("hvp_rel_err").read(), row.get("jvp_rel_err").read()];
        let ours = match dtype.as_str() {
            "f64" => difference_errors::<f64>(r, &hessian, &products),
            _ => difference_errors::<f32>(r, &hessian, &products),
        };
        for (ours, expected) in ours.into_iter().zip(expected) {
            // Where the length is what makes the error, the errors are equal; where rounding is, ours may be smaller: the
            // model here computes in f64 and only rounds what it is given.
            let by_length = dtype == "f64" && r >= 1e-4;
            let bound = if by_length { 1.01 } else { 3.0 };
            assert!(
                ours <= bound * expected + 1e-9,
                "{dtype} {r}: {ours:e}, expected {expected:e}"
            );
            assert!(
                !by_length || ours >= expected / 1.01,
                "{dtype} {r}: {ours:e}, expected {expected:e}"
            );
        }
    }
    golden.finish();
}
