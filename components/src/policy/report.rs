//! What a policy does to a training, and whether it obeys the law (sheet 5).

use super::law::gap;
use crate::trajectory::{Costate, Number, Observer, Passed, Trajectory, Weighted, backward};
use crate::{Error, Result};

/// Steps of which every example's part is kept.
const TRACED: usize = 64;

/// A training under equal weights that climbs to so many times the loss it began with diverges, also if it stays finite.
const GROWTH: f64 = 10.0;

/// Curves of a training under a policy, one entry a state θ_0 … θ_T or, of what concerns weights, a step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LawReport {
    /// Mean loss over the target.
    pub target: Vec<f64>,
    /// Mean loss over the test examples.
    pub test: Vec<f64>,
    /// Weighted mean over spread of ⟨∇L_test, ∇l_n⟩ over the examples in use; NaN with one in use or none.
    pub similarity_test: Vec<f64>,
    /// The same of the target's gradient.
    pub similarity_target: Vec<f64>,
    /// The same of the costate, whose equality is the exact condition.
    pub similarity_costate: Vec<f64>,
    /// What the exact condition is short of (see [`LawEpoch::gap`](super::LawEpoch::gap)).
    pub gap: Vec<f64>,
    /// Examples with a weight above 0.
    pub support: Vec<usize>,
    /// Examples whose product with the test gradient is not positive, …
    pub opposed: Vec<usize>,
    /// … and those of them with weight 0.
    pub opposed_unused: Vec<usize>,
    /// What every example's part was at some steps, evenly spread over all.
    pub traced: Vec<Traced>,
}

/// Every example at one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// t.
    pub step: usize,
    /// γ_{n,t}.
    pub weights: Vec<f32>,
    /// ⟨∇L_test(θ_t), ∇l_n(θ_t)⟩.
    pub by_test: Vec<f32>,
    /// ⟨λ_{t+1}, ∇l_n(θ_t)⟩.
    pub by_costate: Vec<f32>,
}

impl LawReport {
    /// Mean test loss over θ_1 … θ_T, in nats.
    pub fn area_test(&self) -> f64 {
        mean(&self.test[1..])
    }

    /// Mean target loss over θ_1 … θ_T, in nats.
    pub fn area_target(&self) -> f64 {
        mean(&self.target[1..])
    }

    /// Every curve, and of steps only, from the last to the first, as a way back leaves them.
    fn reverse(&mut self) {
        for curve in [
            &mut self.target,
            &mut self.test,
            &mut self.similarity_test,
            &mut self.similarity_target,
            &mut self.similarity_costate,
            &mut self.gap,
        ] {
            curve.reverse();
        }
        for curve in [&mut self.support, &mut self.opposed, &mut self.opposed_unused] {
            curve.reverse();
        }
        self.traced.reverse();
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How many times sooner `curve` is where `base` ends, and at which step; none if it never is. Both are of states
/// θ_0 … θ_T.
pub fn acceleration(base: &[f64], curve: &[f64]) -> Option<(f64, usize)> {
    let last = base.last()?;
    let step = curve.iter().position(|loss| loss <= last)?;
    Some(((base.len() - 1) as f64 / step.max(1) as f64, step))
}

/// Refuses a training under equal weights whose loss climbs instead of falling: `diverged`, naming the step.
pub(super) fn check_descent(losses: &[f64], rate: f64) -> Result<()> {
    let (Some(&first), Some(&last)) = (losses.first(), losses.last()) else {
        return Ok(());
    };
    let climbed = losses.iter().position(|loss| *loss > GROWTH * first);
    let ended = (last > first).then_some(losses.len() - 1);
    let Some(step) = climbed.or(ended) else {
        return Ok(());
    };
    let message = format!(
        "under equal weights the loss of step {step} is {:.4e}, and the training began at {first:.4e}",
        losses[step],
    );
    let lower = rate / 10.0;
    Err(Error::data("diverged", message).hint(format!("lower `inner_lr`, to {lower:e} at first")))
}

/// Trains from `start` under the present policy and measures it along the way back. `passed` is told after each step and may
/// stop.
///
/// # Errors
/// `diverged`, `non_finite_lambda`; those of `passed`.
pub fn observe<T: Weighted>(
    training: &mut T,
    trajectory: &mut Trajectory<T::Number>,
    start: &[T::Number],
    passed: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<LawReport> {
    trajectory.forward(training, start, passed)?;
    let steps = trajectory.plan().steps();
    let mut watch = Watch {
        report: LawReport::default(),
        products: vec![0.0; training.examples()],
        gradient: vec![T::Number::default(); training.parameters()],
        every: steps.div_ceil(TRACED).max(1),
        passed,
    };
    let last = trajectory.plan().stored() - 1;
    let end = trajectory.segment(training, last)?.pop();
    let costate = Costate::start(trajectory);
    backward(training, trajectory, costate, &mut watch)?;
    let Watch {
        mut report,
        mut gradient,
        ..
    } = watch;
    report.reverse();
    if let Some(end) = end {
        report.test.push(training.test(&end, &mut gradient)?);
    }
    Ok(report)
}

struct Watch<'a, N> {
    /// From the last step down.
    report: LawReport,
    products: Vec<f64>,
    gradient: Vec<N>,
    every: usize,
    passed: &'a mut dyn FnMut(usize) -> Result<()>,
}

impl<T: Weighted> Observer<T> for Watch<'_, T::Number> {
    fn meet(
        &mut self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        lambda: &[T::Number],
        target: &[T::Number],
    ) -> Result<()> {
        let report = &mut self.report;
        report.test.push(training.test(theta, &mut self.gradient)?);
        training.contributions(theta, &self.gradient, &mut self.products)?;
        let weights = training.weights(step);
        report.similarity_test.push(similarity(weights, &self.products));
        let used = weights.iter().map(|weight| weight.wide() > 0.0);
        report.support.push(used.clone().filter(|used| *used).count());
        let opposed = || {
            used.clone()
                .zip(&self.products)
                .filter(|(_, product)| **product <= 0.0)
        };
        report.opposed.push(opposed().count());
        report
            .opposed_unused
            .push(opposed().filter(|(used, _)| !used).count());
        let narrow = |values: &[f64]| values.iter().map(|x| *x as f32).collect::<Vec<_>>();
        let traced = step.is_multiple_of(self.every).then(|| Traced {
            step,
            weights: weights.iter().map(|weight| weight.wide() as f32).collect(),
            by_test: narrow(&self.products),
            by_costate: Vec::new(),
        });
        training.contributions(theta, target, &mut self.products)?;
        report
            .similarity_target
            .push(similarity(training.weights(step), &self.products));
        training.products(step, theta, lambda, &mut self.products)?;
        let weights = training.weights(step);
        report
            .similarity_costate
            .push(similarity(weights, &self.products));
        report.gap.push(gap(weights, &self.products));
        report.traced.extend(traced.map(|traced| Traced {
            by_costate: narrow(&self.products),
            ..traced
        }));
        Ok(())
    }

    fn pass(&mut self, _: &mut T, passed: Passed, _: &[T::Number]) -> Result<()> {
        self.report.target.push(passed.target);
        (self.passed)(passed.step)
    }
}

/// Σγc / Σγ over the standard deviation of c about it among the examples in use.
fn similarity<N: Number>(weights: &[N], products: &[f64]) -> f64 {
    let both = || weights.iter().map(|weight| weight.wide()).zip(products);
    let total: f64 = both().map(|(weight, _)| weight).sum();
    let mean = both().map(|(weight, product)| weight * product).sum::<f64>() / total;
    let used = || both().filter(|(weight, _)| *weight > 0.0);
    let count = used().count();
    if count < 2 {
        return f64::NAN;
    }
    let squares: f64 = used().map(|(_, product)| (product - mean).powi(2)).sum();
    mean / (squares / (count - 1) as f64).sqrt()
}
