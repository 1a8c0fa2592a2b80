//! What each example is worth to a training: PDS's solution.

use super::{Costate, Observer, Passed, Training, Trajectory, backward};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Numbers that a [`Passed`] is kept as.
const FIELDS: usize = 5;

/// The worth of every example, and what the way back came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gains {
    /// g_n = η Σ_t ⟨λ_{t+1}, ∇l_n(θ_t)⟩ over the scored steps: minus the derivative of the area Σ_{t=1..T} J_t(θ_t) by the
    /// weight of example n in every step. Positive: more of it lowers the target loss.
    pub gains: Vec<f64>,
    /// One entry a state, θ_0 first.
    pub passed: Vec<Passed>,
}

impl Gains {
    /// Σ_{t=1..T} J_t(θ_t).
    pub fn area(&self) -> f64 {
        self.passed.iter().skip(1).map(|passed| passed.target).sum()
    }
}

/// Goes back through a trajectory, scoring the examples at the steps that `every` divides. With a `file`, an earlier try is
/// gone on from at its last segment. `passed` is told after each step and may stop.
///
/// # Errors
/// `non_finite_score`, naming the step; those of [`backward`].
pub fn gains<T: Training>(
    training: &mut T,
    trajectory: &Trajectory<T::Number>,
    every: usize,
    file: Option<&Path>,
    passed: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Gains> {
    let mut watch = Watch {
        rate: trajectory.rate(),
        every,
        gains: vec![0.0; training.examples()],
        products: vec![0.0; training.examples()],
        seen: Vec::new(),
        file,
        passed,
    };
    let mut costate = Costate::start(trajectory);
    if let Some(file) = file
        && let Some((kept, beside)) = Costate::kept(file)?
    {
        costate = kept;
        watch.take_over(&beside)?;
    }
    backward(training, trajectory, costate, &mut watch)?;
    watch.seen.reverse();
    Ok(Gains {
        gains: watch.gains,
        passed: watch.seen,
    })
}

struct Watch<'a> {
    rate: f64,
    every: usize,
    gains: Vec<f64>,
    products: Vec<f64>,
    /// From θ_T down.
    seen: Vec<Passed>,
    file: Option<&'a Path>,
    passed: &'a mut dyn FnMut(usize) -> Result<()>,
}

impl Watch<'_> {
    /// What [`Observer::rest`] kept.
    fn take_over(&mut self, beside: &[f64]) -> Result<()> {
        let kept = beside.split_at_checked(self.gains.len());
        let Some((gains, seen)) = kept.filter(|(_, seen)| seen.len().is_multiple_of(FIELDS)) else {
            let error = Error::data("bad_checkpoint", "it is of another number of examples");
            return Err(error.hint("delete the folder; the trajectory starts afresh"));
        };
        self.gains.copy_from_slice(gains);
        let passed = |one: &[f64]| Passed {
            step: one[0] as usize,
            target: one[1],
            target_gradient: one[2],
            curvature: one[3],
            costate: one[4],
        };
        self.seen = seen.chunks_exact(FIELDS).map(passed).collect();
        self.seen.iter().try_for_each(|passed| (self.passed)(passed.step))
    }
}

impl<T: Training> Observer<T> for Watch<'_> {
    fn meet(
        &mut self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        lambda: &[T::Number],
        _: &[T::Number],
    ) -> Result<()> {
        if !step.is_multiple_of(self.every) {
            return Ok(());
        }
        training.products(step, theta, lambda, &mut self.products)?;
        if let Some(n) = self.products.iter().position(|product| !product.is_finite()) {
            let message = format!("the score of example {n} at step {step} of the trajectory is not finite");
            return Err(Error::data("non_finite_score", message).hint("lower `lr`"));
        }
        for (gain, product) in self.gains.iter_mut().zip(&self.products) {
            *gain += self.rate * product;
        }
        Ok(())
    }

    fn pass(&mut self, _: &mut T, passed: Passed, _: &[T::Number]) -> Result<()> {
        self.seen.push(passed);
        (self.passed)(passed.step)
    }

    fn rest(&mut self, costate: &Costate<T::Number>) -> Result<()> {
        let Some(file) = self.file else {
            return Ok(());
        };
        let flat = |one: &Passed| {
            [
                one.step as f64,
                one.target,
                one.target_gradient,
                one.curvature,
                one.costate,
            ]
        };
        let beside: Vec<f64> = self
            .gains
            .iter()
            .copied()
            .chain(self.seen.iter().flat_map(flat))
            .collect();
        costate.keep(file, &beside)
    }
}
