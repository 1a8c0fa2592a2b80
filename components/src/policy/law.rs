//! One policy epoch of the learning law: once forth and back, and a step of every step's weights (sheet 2.4).

use crate::Result;
use crate::trajectory::{Costate, Number, Observer, Passed, Trajectory, Weighted, backward, project_simplex};

/// How weights are changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LawStep {
    /// ε, on the target loss summed over the steps.
    pub lr: f64,
    /// Whether each step's gradient is divided by its standard deviation over the examples times their number.
    pub by_row: bool,
    /// First steps whose weights stay as they are.
    pub freeze: usize,
}

/// What an epoch came to, before its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LawEpoch {
    /// J = Σ_{t=1..T} L(θ_t).
    pub objective: f64,
    /// ‖∂J/∂γ‖ over all steps and examples.
    pub gradient: f64,
    /// Σ_t (max_n − Σ_n γ_{n,t}) ⟨λ_{t+1}, ∇l_n(θ_t)⟩, which vanishes at an optimum; times η the Frank–Wolfe gap of J.
    pub gap: f64,
}

/// Trains from `start` under the present policy and goes back:
/// ∂J/∂γ_{n,t} = −η ⟨λ_{t+1}, ∇l_n(θ_t)⟩. With a `step`, γ_t ← Proj_Δ[γ_t − ε ∂J/∂γ_t] for every t.
///
/// # Errors
/// `diverged`, `non_finite_lambda`; those of `passed`, which is told after each step.
pub fn improve<T: Weighted>(
    training: &mut T,
    trajectory: &mut Trajectory<T::Number>,
    start: &[T::Number],
    step: Option<LawStep>,
    passed: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<LawEpoch> {
    trajectory.forward(training, start, passed)?;
    let mut watch = Watch {
        rate: trajectory.rate(),
        step,
        products: vec![0.0; training.examples()],
        objective: 0.0,
        squares: 0.0,
        gap: 0.0,
        last: trajectory.plan().steps(),
        passed,
    };
    let costate = Costate::start(trajectory);
    backward(training, trajectory, costate, &mut watch)?;
    Ok(LawEpoch {
        objective: watch.objective,
        gradient: watch.squares.sqrt(),
        gap: watch.gap,
    })
}

struct Watch<'a> {
    rate: f64,
    step: Option<LawStep>,
    products: Vec<f64>,
    objective: f64,
    squares: f64,
    gap: f64,
    last: usize,
    passed: &'a mut dyn FnMut(usize) -> Result<()>,
}

impl<T: Weighted> Observer<T> for Watch<'_> {
    fn meet(
        &mut self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        lambda: &[T::Number],
        _: &[T::Number],
    ) -> Result<()> {
        training.products(step, theta, lambda, &mut self.products)?;
        self.gap += gap(training.weights(step), &self.products);
        self.squares += self.rate * self.rate * sum(&self.products, |p| p * p);
        Ok(())
    }

    fn pass(&mut self, training: &mut T, passed: Passed, _: &[T::Number]) -> Result<()> {
        if passed.step > 0 {
            self.objective += passed.target;
        }
        if let Some(law) = self.step
            && passed.step < self.last
            && passed.step >= law.freeze
        {
            let scale = if law.by_row {
                law.lr / (deviation(&self.products).max(f64::MIN_POSITIVE) * self.products.len() as f64)
            } else {
                law.lr * self.rate
            };
            let weights = training.weights_mut(passed.step);
            for (weight, product) in weights.iter_mut().zip(&self.products) {
                *weight = T::Number::of(weight.wide() + scale * product);
            }
            project_simplex(weights);
        }
        (self.passed)(passed.step)
    }
}

/// Sums side by side, so that no addition waits for the one before it.
const LANES: usize = 8;

/// max_n − Σ_n γ_n of the products.
pub(super) fn gap<N: Number>(weights: &[N], products: &[f64]) -> f64 {
    let (mut most, mut means) = ([f64::NEG_INFINITY; LANES], [0.0; LANES]);
    let mut take = |lane: usize, weight: N, product: f64| {
        most[lane] = if product > most[lane] { product } else { most[lane] };
        means[lane] += weight.wide() * product;
    };
    let ((weights, last_weights), (products, last)) =
        (weights.as_chunks::<LANES>(), products.as_chunks::<LANES>());
    for (weights, products) in weights.iter().zip(products) {
        for lane in 0..LANES {
            take(lane, weights[lane], products[lane]);
        }
    }
    for (lane, (weight, product)) in last_weights.iter().zip(last).enumerate() {
        take(lane, *weight, *product);
    }
    most.into_iter().fold(f64::NEG_INFINITY, f64::max) - means.iter().sum::<f64>()
}

/// Population standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = sum(values, |x| x) / n;
    (sum(values, |x| (x - mean) * (x - mean)) / n).sqrt()
}

/// Σ term(x).
fn sum(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += term(*x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += term(*x);
    }
    sums.iter().sum()
}
