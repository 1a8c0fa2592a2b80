//! Trajectories of problems small enough to solve by hand.

mod decoders;

use super::*;
use crate::random::Stream;
use crate::{Error, Result};
use std::path::Path;

/// l(x, θ) = ½ ‖θ − x‖² and J = ½ ‖θ − c‖²: SGD towards `towards`, whose Hessian is the identity.
struct Quadratic {
    towards: Vec<f64>,
    target: Vec<f64>,
    examples: Vec<Vec<f64>>,
    /// Calls of the loss that are let through.
    calls: usize,
}

fn pull(theta: &[f64], towards: &[f64], gradient: &mut [f64]) -> f64 {
    let mut loss = 0.0;
    for ((g, theta), x) in gradient.iter_mut().zip(theta).zip(towards) {
        *g = theta - x;
        loss += 0.5 * *g * *g;
    }
    loss
}

impl Training for Quadratic {
    type Number = f64;

    fn parameters(&self) -> usize {
        self.target.len()
    }

    fn examples(&self) -> usize {
        self.examples.len()
    }

    fn loss(&mut self, _: usize, theta: &[f64], gradient: &mut [f64]) -> Result<f64> {
        self.calls = self.calls.checked_sub(1).ok_or(Error::Interrupted)?;
        Ok(pull(theta, &self.towards, gradient))
    }

    fn target(&mut self, _: usize, theta: &[f64], gradient: &mut [f64]) -> Result<f64> {
        Ok(pull(theta, &self.target, gradient))
    }

    fn hessian(&mut self, _: usize, _: &[f64], v: &[f64], product: &mut [f64]) -> Result<()> {
        product.copy_from_slice(v);
        Ok(())
    }

    fn products(&mut self, _: usize, theta: &[f64], v: &[f64], products: &mut [f64]) -> Result<()> {
        for (product, x) in products.iter_mut().zip(&self.examples) {
            *product = theta
                .iter()
                .zip(x)
                .zip(v)
                .map(|((theta, x), v)| (theta - x) * v)
                .sum();
        }
        Ok(())
    }
}

fn by_hand() -> Quadratic {
    Quadratic {
        towards: vec![1.0],
        target: vec![2.0],
        examples: [2.0, 0.0, -1.0].map(|x| vec![x]).to_vec(),
        calls: usize::MAX,
    }
}

fn solve<T: Training>(
    training: &mut T,
    trajectory: &mut Trajectory<T::Number>,
    start: &[T::Number],
    file: Option<&Path>,
) -> Result<Gains> {
    trajectory.forward(training, start, &mut |_| Ok(()))?;
    gains(training, trajectory, 1, file, &mut |_| Ok(()))
}

#[test]
fn two_steps_by_hand() {
    // Sheet 7: θ = 0, ½, ¾; λ_2 = −1.25, λ_1 = −1.5 + ½ · (−1.25) = −2.125; g(x) = 1.6875 x − 0.3125.
    let mut trajectory = Trajectory::in_memory(Plan::root(2), 0.5);
    let found = solve(&mut by_hand(), &mut trajectory, &[0.0], None).expect("solves");
    assert_eq!(found.gains, [3.0625, -0.3125, -2.0]);
    let costates: Vec<f64> = found.passed.iter().map(|passed| passed.costate).collect();
    assert_eq!(costates[1..], [2.125, 1.25]);
    assert_eq!(found.area(), 0.5 * 1.5 * 1.5 + 0.5 * 1.25 * 1.25);
    assert_eq!(trajectory.losses(), [0.5, 0.125]);
}

#[test]
fn one_step_is_a_similarity_of_gradients_and_a_double_target_doubles_it() {
    let mut trajectory = Trajectory::in_memory(Plan::root(1), 0.25);
    let found = solve(&mut by_hand(), &mut trajectory, &[0.0], None).expect("solves");
    // θ_1 = ¼, ∇J(θ_1) = −1.75, ∇l_n(θ_0) = −x_n.
    assert_eq!(found.gains, [0.25 * 1.75 * 2.0, 0.0, -0.25 * 1.75]);
}

/// A problem of some width, to tell plans apart.
fn wide() -> (Quadratic, Vec<f64>) {
    let mut stream = Stream::new(5, "quadratic");
    let mut draw = || (0..7).map(|_| stream.normal()).collect::<Vec<f64>>();
    let problem = Quadratic {
        towards: draw(),
        target: draw(),
        examples: (0..4).map(|_| draw()).collect(),
        calls: usize::MAX,
    };
    (problem, draw())
}

#[test]
fn stored_recomputed_in_memory_or_on_disk_the_bits_are_the_same() {
    for steps in [1, 2, 3, 7, 10] {
        let (mut problem, start) = wide();
        let mut stored = Trajectory::in_memory(Plan::new(steps, 1), 0.3);
        let expected = solve(&mut problem, &mut stored, &start, None).expect("solves");
        for every in [1, 2, 3, steps.isqrt(), steps, steps + 5] {
            let plan = Plan::new(steps, every);
            let folder = tempfile::tempdir().expect("a folder");
            let on_disk = Trajectory::on_disk(plan, 0.3, folder.path());
            for mut trajectory in [Trajectory::in_memory(plan, 0.3), on_disk] {
                let found = solve(&mut problem, &mut trajectory, &start, None).expect("solves");
                assert_eq!(found, expected, "{steps} steps, every {every}");
                let longest = (0..plan.stored())
                    .map(|segment| plan.segment(segment).len())
                    .max();
                assert_eq!(longest, Some(plan.live()));
            }
        }
    }
}

#[test]
fn a_stopped_solution_goes_on_at_its_last_segment_with_the_same_bits() {
    let plan = Plan::new(10, 3);
    let (mut problem, start) = wide();
    let whole = solve(&mut problem, &mut Trajectory::in_memory(plan, 0.3), &start, None).expect("solves");
    for calls in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("costate");
        let run = |problem: &mut Quadratic| {
            let mut trajectory = Trajectory::on_disk(plan, 0.3, folder.path());
            solve(problem, &mut trajectory, &start, Some(&file))
        };
        problem.calls = calls;
        let first = run(&mut problem);
        let stopped = first.is_err();
        problem.calls = usize::MAX;
        assert_eq!(
            run(&mut problem).expect("goes on"),
            whole,
            "after {calls} gradients"
        );
        // Forth takes 10 gradients and computing again 7.
        assert_eq!(stopped, calls < 17);
        if stopped && calls >= 10 {
            // The last step forth lies behind the last stored state.
            problem.calls = 1;
            assert!(run(&mut problem).is_ok(), "what was kept is not done again");
            problem.calls = usize::MAX;
        }
    }
}

#[test]
fn a_rate_that_is_too_large_is_told_with_its_step() {
    let (mut problem, start) = wide();
    let mut trajectory = Trajectory::in_memory(Plan::root(400), 1e3);
    let error = solve(&mut problem, &mut trajectory, &start, None).expect_err("diverges");
    assert_eq!(error.code(), "diverged");
    assert!(error.to_string().contains("step 5"), "{error}");
    // Forth it stays finite, back it grows by 1 − η a step.
    let mut trajectory = Trajectory::in_memory(Plan::root(300), 30.0);
    problem.towards = vec![0.0; 7];
    let error = solve(&mut problem, &mut trajectory, &[0.0; 7], None).expect_err("diverges");
    assert_eq!(error.code(), "non_finite_lambda");
}

#[test]
fn projections_of_rows_agree_with_sorting() {
    let sorted = |row: &[f64]| -> Vec<f64> {
        let mut down = row.to_vec();
        down.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        let mut tau = 0.0;
        for (i, x) in down.iter().enumerate() {
            sum += x;
            let candidate = (sum - 1.0) / (i + 1) as f64;
            if x - candidate > 0.0 {
                tau = candidate;
            }
        }
        row.iter().map(|x| (x - tau).max(0.0)).collect()
    };
    let mut stream = Stream::new(8, "rows");
    for (width, spread) in [
        (1, 1.0),
        (7, 0.01),
        (8, 1.0),
        (64, 0.1),
        (513, 10.0),
        (4096, 1e-4),
    ] {
        let mut rows: Vec<f64> = (0..3 * width)
            .map(|_| 1.0 / width as f64 + spread * stream.normal())
            .collect();
        let expected: Vec<f64> = rows.chunks(width).flat_map(sorted).collect();
        project_rows(&mut rows, width);
        for (x, y) in rows.iter().zip(expected) {
            assert!((x - y).abs() < 1e-13, "{width}: {x} {y}");
        }
        for row in rows.chunks(width) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
    let mut row = [3.0_f32, 2.5, -1.0];
    project_simplex(&mut row);
    assert_eq!(row, [0.75, 0.25, 0.0]);
}
