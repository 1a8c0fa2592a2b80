//! Trajectories of a small transformer against finite differences.

use super::super::*;
use super::solve;
use crate::model::{Decoder, ModelConfig, ModelSpec};
use crate::random::Stream;
use crate::{Precision, Result};
use burn::tensor::Device;

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
