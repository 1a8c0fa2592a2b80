//! The states of a training, kept so that one can go back through them.

use super::number::{add_scaled, from_bytes};
use super::{Number, Plan, Training};
use crate::{Error, Result, disk};
use std::path::{Path, PathBuf};

/// Where stored states lie.
#[derive(Debug)]
enum Place<N> {
    /// In memory; a restart begins again.
    Memory(Vec<Vec<N>>),
    /// In files of this folder, from which a restart goes on.
    Disk(PathBuf),
}

/// The states θ_0 … θ_T of a training at rate η, some stored, the others computed again when they are asked for.
#[derive(Debug)]
pub struct Trajectory<N> {
    plan: Plan,
    rate: f64,
    place: Place<N>,
    /// L_t(θ_t) of the steps taken.
    losses: Vec<f64>,
}

impl<N: Number> Trajectory<N> {
    /// A trajectory whose stored states lie in memory.
    pub fn in_memory(plan: Plan, rate: f64) -> Self {
        Self::new(plan, rate, Place::Memory(Vec::new()))
    }

    /// A trajectory whose stored states lie in `folder`, each in a file that appears whole or not at all. What an earlier
    /// try left there is gone on from: the folder must be of one training.
    pub fn on_disk(plan: Plan, rate: f64, folder: &Path) -> Self {
        Self::new(plan, rate, Place::Disk(folder.to_path_buf()))
    }

    fn new(plan: Plan, rate: f64, place: Place<N>) -> Self {
        Self {
            plan,
            rate,
            place,
            losses: Vec::new(),
        }
    }

    /// Which states are kept.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// η.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// L_t(θ_t) of all steps, once they are taken.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// Takes all steps from `start`, storing states as planned. `taken` is told after each step and may stop.
    ///
    /// # Errors
    /// `diverged`, naming the step whose loss is not finite; what the training or the disk says.
    pub fn forward<T: Training<Number = N>>(
        &mut self,
        training: &mut T,
        start: &[N],
        taken: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let (mut step, mut theta) = match self.newest()? {
            Some((step, theta)) => (step, theta),
            None => {
                self.losses.clear();
                self.store(0, start)?;
                (0, start.to_vec())
            }
        };
        (0..step).try_for_each(|step| taken(step + 1))?;
        let mut gradient = vec![N::default(); theta.len()];
        while step < self.plan.steps() {
            let loss = descend(training, self.rate, step, &mut theta, &mut gradient)?;
            self.losses.push(loss);
            step += 1;
            // θ_T is a segment of its own where a stored state falls on it.
            if step.is_multiple_of(self.plan.every()) {
                self.store(step, &theta)?;
            }
            taken(step)?;
        }
        Ok(())
    }

    /// The states of segment `segment`, first to last.
    pub fn segment<T: Training<Number = N>>(&self, training: &mut T, segment: usize) -> Result<Vec<Vec<N>>> {
        let range = self.plan.segment(segment);
        let mut states = Vec::with_capacity(range.len());
        states.push(self.stored(segment)?);
        let mut gradient = Vec::new();
        for step in range.start..range.end - 1 {
            let mut theta = states[states.len() - 1].clone();
            gradient.resize(theta.len(), N::default());
            descend(training, self.rate, step, &mut theta, &mut gradient)?;
            states.push(theta);
        }
        Ok(states)
    }

    fn store(&mut self, step: usize, theta: &[N]) -> Result<()> {
        match &mut self.place {
            Place::Memory(states) => {
                // A training that is taken again, under other weights, replaces its states.
                states.truncate(step / self.plan.every());
                states.push(theta.to_vec());
                Ok(())
            }
            Place::Disk(folder) => {
                let file = state_file(folder, step);
                let mut bytes = Vec::with_capacity(theta.len() * N::BYTES + self.losses.len() * f64::BYTES);
                for number in theta {
                    number.write(&mut bytes);
                }
                self.losses.iter().for_each(|loss| loss.write(&mut bytes));
                disk::write_atomically(&file, bytes).map_err(Error::io("cannot write", &file))
            }
        }
    }

    fn stored(&self, segment: usize) -> Result<Vec<N>> {
        match &self.place {
            Place::Memory(states) => Ok(states[segment].clone()),
            Place::Disk(folder) => {
                let step = segment * self.plan.every();
                Ok(read(&state_file(folder, step), step)?.0)
            }
        }
    }

    /// The newest state of an earlier try, with its step; its losses are taken over.
    fn newest(&mut self) -> Result<Option<(usize, Vec<N>)>> {
        let Place::Disk(folder) = &self.place else {
            return Ok(None);
        };
        let steps = (0..self.plan.stored()).map(|segment| segment * self.plan.every());
        let there = steps.take_while(|&step| state_file(folder, step).exists());
        let Some(step) = there.last() else {
            return Ok(None);
        };
        let (theta, losses) = read(&state_file(folder, step), step)?;
        self.losses = losses;
        Ok(Some((step, theta)))
    }
}

/// One step: gives L_t(θ_t), and θ_{t+1} in `theta`.
fn descend<T: Training>(
    training: &mut T,
    rate: f64,
    step: usize,
    theta: &mut [T::Number],
    gradient: &mut [T::Number],
) -> Result<f64> {
    let loss = training.loss(step, theta, gradient)?;
    if !loss.is_finite() {
        let message = format!("the loss of step {step} of the trajectory is {loss}");
        return Err(Error::data("diverged", message).hint(
            "lower `lr`, to a tenth at first: descent is stable only below 2 over the largest curvature",
        ));
    }
    add_scaled(theta, -rate, gradient);
    Ok(loss)
}

fn state_file(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("state-{step:08}"))
}

/// A stored state, and the losses of the `step` steps before it.
fn read<N: Number>(file: &Path, step: usize) -> Result<(Vec<N>, Vec<f64>)> {
    let bytes = std::fs::read(file).map_err(Error::io("cannot read", file))?;
    let Some(cut) = bytes.len().checked_sub(step * f64::BYTES) else {
        return Err(Error::data("bad_checkpoint", "it is too short")
            .in_file(file)
            .hint("delete the folder; the trajectory starts afresh"));
    };
    let (theta, losses) = bytes.split_at(cut);
    Ok((from_bytes(theta), from_bytes(losses)))
}
