//! What a policy does to a training, and whether it obeys the law (sheet 5).

use super::law::gap;
use crate::Result;
use crate::trajectory::{
    Costate, Examples, Number, Observer, Passed, Perceptron, Training, Trajectory, backward,
};
use lyceum_kernels::RowElement;

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

/// Trains from `start` under the perceptron's policy and measures it along the way back.
///
/// # Errors
/// `diverged`, `non_finite_lambda`.
pub fn observe<N: Number + RowElement>(
    perceptron: &mut Perceptron<N>,
    trajectory: &mut Trajectory<N>,
    start: &[N],
    test: &Examples<N>,
) -> Result<LawReport> {
    trajectory.forward(perceptron, start, &mut |_| Ok(()))?;
    let mut watch = Watch {
        test,
        report: LawReport::default(),
        products: vec![0.0; perceptron.train.len()],
        gradient: vec![N::default(); perceptron.width],
    };
    let last = trajectory.plan().stored() - 1;
    let end = trajectory.segment(perceptron, last)?.pop();
    let costate = Costate::start(trajectory);
    backward(perceptron, trajectory, costate, &mut watch)?;
    let Watch {
        mut report,
        mut gradient,
        ..
    } = watch;
    for curve in [
        &mut report.target,
        &mut report.test,
        &mut report.similarity_test,
        &mut report.similarity_target,
        &mut report.similarity_costate,
        &mut report.gap,
    ] {
        curve.reverse();
    }
    for curve in [
        &mut report.support,
        &mut report.opposed,
        &mut report.opposed_unused,
    ] {
        curve.reverse();
    }
    if let Some(end) = end {
        report.test.push(perceptron.mean(test, &end, &mut gradient));
    }
    Ok(report)
}

struct Watch<'a, N> {
    test: &'a Examples<N>,
    /// From the last step down.
    report: LawReport,
    products: Vec<f64>,
    gradient: Vec<N>,
}

impl<N: Number + RowElement> Observer<Perceptron<N>> for Watch<'_, N> {
    fn meet(&mut self, training: &mut Perceptron<N>, step: usize, theta: &[N], lambda: &[N]) -> Result<()> {
        let report = &mut self.report;
        report
            .test
            .push(training.mean(self.test, theta, &mut self.gradient));
        training.contributions(theta, &self.gradient, &mut self.products);
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
        training.target(step, theta, &mut self.gradient)?;
        training.contributions(theta, &self.gradient, &mut self.products);
        report
            .similarity_target
            .push(similarity(training.weights(step), &self.products));
        training.products(step, theta, lambda, &mut self.products)?;
        let weights = training.weights(step);
        report
            .similarity_costate
            .push(similarity(weights, &self.products));
        report.gap.push(gap(weights, &self.products));
        Ok(())
    }

    fn pass(&mut self, _: &mut Perceptron<N>, passed: Passed, _: &[N]) -> Result<()> {
        self.report.target.push(passed.target);
        Ok(())
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
