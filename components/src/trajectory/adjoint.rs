//! The way back: the costate's recursion.

use super::number::{from_bytes, norm, to_bytes};
use super::{Number, Training, Trajectory};
use crate::{Error, Result, disk};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where the way back stands: λ of the first state of the segments that are done.
#[derive(Debug, Clone, PartialEq)]
pub struct Costate<N> {
    /// Segments still to do, counted from the first.
    pub segments: usize,
    /// λ, empty before the beginning.
    pub lambda: Vec<N>,
}

impl<N: Number> Costate<N> {
    /// Before the way back.
    pub fn start(trajectory: &Trajectory<N>) -> Self {
        Self {
            segments: trajectory.plan().stored(),
            lambda: Vec::new(),
        }
    }

    /// Keeps it in a file, in one step, with what the observer wants to keep.
    pub(crate) fn keep(&self, file: &Path, beside: &[f64]) -> Result<()> {
        let mut bytes = (self.segments as u64).to_le_bytes().to_vec();
        bytes.extend((beside.len() as u64).to_le_bytes());
        bytes.extend(to_bytes(beside));
        bytes.extend(to_bytes(&self.lambda));
        disk::write_atomically(file, bytes).map_err(Error::io("cannot write", file))
    }

    /// What [`keep`](Self::keep) left; none if there is no file.
    pub(crate) fn kept(file: &Path) -> Result<Option<(Self, Vec<f64>)>> {
        if !file.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
        let bad = || {
            Error::data("bad_checkpoint", "it is too short")
                .in_file(file)
                .hint("delete the folder; the trajectory starts afresh")
        };
        let (head, rest) = bytes.split_at_checked(16).ok_or_else(bad)?;
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let (segments, length) = (number(&head[..8]) as usize, number(&head[8..]) as usize);
        let cut = length.checked_mul(f64::BYTES).ok_or_else(bad)?;
        let (beside, lambda) = rest.split_at_checked(cut).ok_or_else(bad)?;
        let costate = Self {
            segments,
            lambda: from_bytes(lambda),
        };
        Ok(Some((costate, from_bytes(beside))))
    }
}

/// What one step of the way back came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// t.
    pub step: usize,
    /// J_t(θ_t).
    pub target: f64,
    /// ‖∇J_t(θ_t)‖.
    pub target_gradient: f64,
    /// ‖η ∇²L_t(θ_t) λ_{t+1}‖; 0 at T.
    pub curvature: f64,
    /// ‖λ_t‖.
    pub costate: f64,
}

/// Who watches the way back.
pub trait Observer<T: Training> {
    /// At θ_t with λ_{t+1}, before anything is added to it: the time for products with the examples' gradients. `gradient` is
    /// ∇J_t(θ_t).
    fn meet(
        &mut self,
        training: &mut T,
        step: usize,
        theta: &[T::Number],
        lambda: &[T::Number],
        gradient: &[T::Number],
    ) -> Result<()>;

    /// Step t is done: nothing will ask for L_t any more on this way back. `lambda` is λ_t.
    fn pass(&mut self, training: &mut T, passed: Passed, lambda: &[T::Number]) -> Result<()>;

    /// A segment is done; a restart may go on from `costate`.
    fn rest(&mut self, _costate: &Costate<T::Number>) -> Result<()> {
        Ok(())
    }
}

/// Goes from θ_T back to θ_0:
/// λ_T = ∇J_T(θ_T), λ_t = λ_{t+1} + ∇J_t(θ_t) − η ∇²L_t(θ_t) λ_{t+1}. What meets the examples and the Hessian at t is
/// λ_{t+1}: adding ∇J_t(θ_t) to it first is another, wrong recursion (PDS, sheet 2.2).
///
/// # Errors
/// `non_finite_lambda`, naming the step; what the training or the observer says.
pub fn backward<T: Training, O: Observer<T>>(
    training: &mut T,
    trajectory: &Trajectory<T::Number>,
    mut costate: Costate<T::Number>,
    observer: &mut O,
) -> Result<Costate<T::Number>> {
    let (plan, rate) = (trajectory.plan(), trajectory.rate());
    let zeros = || vec![T::Number::default(); training.parameters()];
    let (mut gradient, mut product) = (zeros(), zeros());
    while costate.segments > 0 {
        let segment = costate.segments - 1;
        let states = trajectory.segment(training, segment)?;
        for (step, theta) in plan.segment(segment).zip(&states).rev() {
            let target = training.target(step, theta, &mut gradient)?;
            let mut curvature = 0.0;
            if step == plan.steps() {
                costate.lambda.clone_from(&gradient);
            } else {
                observer.meet(training, step, theta, &costate.lambda, &gradient)?;
                training.hessian(step, theta, &costate.lambda, &mut product)?;
                curvature = rate * norm(&product);
                for ((lambda, g), h) in costate.lambda.iter_mut().zip(&gradient).zip(&product) {
                    *lambda = T::Number::of(g.wide() + lambda.wide() - rate * h.wide());
                }
            }
            let passed = Passed {
                step,
                target,
                target_gradient: norm(&gradient),
                curvature,
                costate: norm(&costate.lambda),
            };
            if !passed.costate.is_finite() {
                let message = format!("the costate of step {step} is not finite");
                return Err(Error::data("non_finite_lambda", message).hint(
                    "lower `lr`: going back is stable only while it is below 2 over the largest curvature of the loss",
                ));
            }
            observer.pass(training, passed, &costate.lambda)?;
        }
        costate.segments = segment;
        observer.rest(&costate)?;
    }
    Ok(costate)
}
