//! Trajectories of problems small enough to solve by hand, and of a small transformer against finite differences.

use super::*;
use crate::model::{Decoder, ModelConfig, ModelSpec};
use crate::random::Stream;
use crate::{Error, Precision, Result};
use burn::tensor::Device;
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

fn config() -> ModelConfig {
    let spec: ModelSpec = serde_json::from_value(serde_json::json!({
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "initializer_range": 0.4,
    }))
    .expect("a model");
    spec.config(12)
}

fn sequences(name: &str, count: usize) -> Vec<Vec<u32>> {
    let mut stream = Stream::new(3, name);
    let mut sequence = |_| {
        let length = 3 + stream.below(4);
        (0..length).map(|_| 1 + stream.below(11) as u32).collect()
    };
    (0..count).map(&mut sequence).collect()
}

fn model<N: Number>(precision: Precision) -> RowModel<'static, N> {
    let decoder = Decoder::init(
        &config(),
        precision,
        &Stream::new(11, "weights"),
        &Device::flex().autodiff(),
    );
    RowModel::new(decoder, 0, 3, Box::new(|_| Ok(())))
}

fn transformer<N: Number>(
    precision: Precision,
    steps: Steps<'static>,
    r: f64,
) -> DecoderTraining<'static, N> {
    DecoderTraining {
        model: model(precision),
        steps,
        targets: Targets {
            sequences: Box::new(sequences("target", 3)),
            drawn: None,
        },
        examples: Box::new(sequences("examples", 5)),
        difference: Difference::Relative(r),
    }
}

const T: usize = 6;
const RATE: f64 = 0.05;

/// ∂ Area / ∂γ_n, by central differences of whole trainings, of the fourth order: rounding that the training carries on asks for
/// long steps.
fn by_finite_differences(area: &mut dyn FnMut(&[f64]) -> f64, weights: &[f64]) -> Vec<f64> {
    let h = 3e-5;
    let mut moved = |n: usize, by: f64| {
        let mut weights = weights.to_vec();
        weights[n] += by;
        area(&weights)
    };
    (0..weights.len())
        .map(|n| {
            let mut apart = |by: f64| moved(n, by) - moved(n, -by);
            (8.0 * apart(h) - apart(2.0 * h)) / (12.0 * h)
        })
        .collect()
}

fn assert_opposite(gains: &[f64], derivatives: &[f64], tolerance: f64) {
    let largest = derivatives
        .iter()
        .fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (gain, derivative) in gains.iter().zip(derivatives) {
        let error = (gain + derivative).abs() / largest;
        assert!(error <= tolerance, "{gains:?} {derivatives:?}: {error:e}");
    }
}

#[test]
fn gains_of_a_transformer_are_the_areas_derivatives_by_the_weights_it_trains_with() {
    let weights = [0.3, 0.1, 0.25, 0.2, 0.15];
    let mut area = |weights: &[f64]| {
        let mut training = transformer::<f64>(Precision::F64, Steps::Weighted(weights.to_vec()), 3e-7);
        let mut theta = training.model.start();
        let mut gradient = vec![0.0; theta.len()];
        let mut area = 0.0;
        for step in 0..T {
            training.loss(step, &theta, &mut gradient).expect("a loss");
            add_scaled(&mut theta, -RATE, &gradient);
            area += training.target(step + 1, &theta, &mut gradient).expect("a loss");
        }
        area
    };
    let derivatives = by_finite_differences(&mut area, &weights);
    let mut training = transformer::<f64>(Precision::F64, Steps::Weighted(weights.to_vec()), 3e-7);
    let start = training.model.start();
    let mut trajectory = Trajectory::in_memory(Plan::root(T), RATE);
    let found = solve(&mut training, &mut trajectory, &start, None).expect("solves");
    assert!((found.area() - area(&weights)).abs() < 1e-12);
    assert_opposite(&found.gains, &derivatives, 1e-6);
}

#[test]
fn gains_of_a_transformer_are_the_areas_derivatives_by_weights_it_does_not_train_with() {
    let batches = || Steps::Batches {
        sequences: Box::new(sequences("batches", 4 * T)),
        batch: 4,
    };
    let extra = sequences("examples", 5);
    let mut area = |weights: &[f64]| {
        let mut training = transformer::<f64>(Precision::F64, batches(), 3e-7);
        let mut theta = training.model.start();
        let (mut gradient, mut more) = (vec![0.0; theta.len()], vec![0.0; theta.len()]);
        let mut area = 0.0;
        for step in 0..T {
            training.loss(step, &theta, &mut gradient).expect("a loss");
            let chosen: Vec<_> = weights.iter().copied().enumerate().collect();
            training
                .model
                .gradient(&theta, &extra, &chosen, &mut more)
                .expect("a loss");
            add_scaled(&mut theta, -RATE, &gradient);
            add_scaled(&mut theta, -RATE, &more);
            area += training.target(step + 1, &theta, &mut gradient).expect("a loss");
        }
        area
    };
    let derivatives = by_finite_differences(&mut area, &[0.0; 5]);
    let mut training = transformer::<f64>(Precision::F64, batches(), 3e-7);
    let start = training.model.start();
    let mut trajectory = Trajectory::in_memory(Plan::root(T), RATE);
    let found = solve(&mut training, &mut trajectory, &start, None).expect("solves");
    assert_opposite(&found.gains, &derivatives, 1e-6);

    // In f32, ranks are what counts.
    let mut narrow = transformer::<f32>(Precision::F32, batches(), 1e-4);
    let start = narrow.model.start();
    let mut trajectory = Trajectory::in_memory(Plan::root(T), RATE);
    let in_f32 = solve(&mut narrow, &mut trajectory, &start, None).expect("solves");
    assert_opposite(&in_f32.gains, &derivatives, 5e-3);
    let agreement = narrow.agreement(&start).expect("compares");
    assert!(agreement.spearman > 0.999_9, "{agreement:?}");
    // So long a difference says nothing.
    narrow.difference = Difference::Relative(1.0);
    let agreement = narrow.agreement(&start).expect("compares");
    assert!(agreement.error > 0.1, "{agreement:?}");
}

/// Keeps η ⟨λ_{t+1}, ∇l_n(θ_t)⟩.
struct Keep(Vec<Vec<f64>>);
impl<U: Training> Observer<U> for Keep {
    fn meet(
        &mut self,
        training: &mut U,
        step: usize,
        theta: &[U::Number],
        lambda: &[U::Number],
        _: &[U::Number],
    ) -> Result<()> {
        let mut products = vec![0.0; training.examples()];
        training.products(step, theta, lambda, &mut products)?;
        self.0
            .push(products.iter().map(|product| RATE * product).collect());
        Ok(())
    }
    fn pass(&mut self, _: &mut U, _: Passed, _: &[U::Number]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn policy_gradients_of_a_transformer_are_the_areas_derivatives_by_every_weight_of_every_step() {
    let mut stream = Stream::new(9, "policy");
    let mut policy: Vec<f64> = (0..T * 5).map(|_| 0.2 + 0.1 * stream.normal()).collect();
    project_rows(&mut policy, 5);
    let training = || WeightedDecoder {
        model: model::<f64>(Precision::F64),
        examples: Box::new(sequences("examples", 5)),
        target: Box::new(sequences("target", 3)),
        test: Box::new(sequences("test", 3)),
        difference: Difference::Relative(3e-7),
        policy: policy.clone(),
    };
    let mut area = |policy: &[f64]| {
        let mut training = training();
        training.policy = policy.to_vec();
        let mut theta = training.model.start();
        let mut gradient = vec![0.0; theta.len()];
        let mut area = 0.0;
        for step in 0..T {
            training.loss(step, &theta, &mut gradient).expect("a loss");
            add_scaled(&mut theta, -RATE, &gradient);
            area += training.target(step + 1, &theta, &mut gradient).expect("a loss");
        }
        area
    };
    let derivatives = by_finite_differences(&mut area, &policy);

    let mut training = training();
    let start = training.model.start();
    assert!(training.curvature_error(&start).expect("compares") < 1e-6);
    let mut trajectory = Trajectory::in_memory(Plan::root(T), RATE);
    trajectory
        .forward(&mut training, &start, &mut |_| Ok(()))
        .expect("goes forth");
    let mut keep = Keep(Vec::new());
    let costate = Costate::start(&trajectory);
    backward(&mut training, &trajectory, costate, &mut keep).expect("goes back");
    let found: Vec<f64> = keep.0.into_iter().rev().flatten().collect();
    assert_opposite(&found, &derivatives, 1e-6);
}

#[test]
fn targets_drawn_anew_are_distinct_within_a_step_and_differ_between_steps() {
    let targets = Targets {
        sequences: Box::new(sequences("target", 9)),
        drawn: Some((4, Stream::new(1, "target"))),
    };
    let of = |step| targets.at(step).into_iter().map(|(i, _)| i).collect::<Vec<_>>();
    assert!(of(0).is_sorted_by(|a, b| a < b) && of(0).len() == 4);
    assert_eq!(of(2), of(2));
    assert!((1..9).any(|step| of(step) != of(0)));
    assert_eq!(targets.at(3)[0].1, 0.25);
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
