//! Which states of a training are kept, which are computed again, and what that takes.

use std::ops::Range;

/// How a training of `steps` steps, which has `steps + 1` states θ_0 … θ_T, is held while going back through it: every
/// `every`-th state is stored, and the states of one segment between two of them are computed again from the first when
/// the way back comes to them (PDS, sheet 2.2). Computing again gives the same bits, so the plan never changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    steps: usize,
    every: usize,
}

/// Vectors as long as the parameters that are alive besides states: the costate, two gradients, and two for a product by
/// differences.
const WORKING: usize = 5;

impl Plan {
    /// Stores every `every`-th state of `steps` steps; at least 1 and at most all of them.
    pub fn new(steps: usize, every: usize) -> Self {
        Self {
            steps,
            every: every.clamp(1, steps.max(1)),
        }
    }

    /// Stores every ⌊√T⌋-th state, which keeps the least of stored and living states together.
    pub fn root(steps: usize) -> Self {
        Self::new(steps, steps.isqrt())
    }

    /// T.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// States from one stored one to the next.
    pub fn every(&self) -> usize {
        self.every
    }

    /// Number of stored states, which is the number of segments.
    pub fn stored(&self) -> usize {
        self.steps / self.every + 1
    }

    /// The states of segment `segment`, the first of which is stored. The last state of all is θ_T.
    pub fn segment(&self, segment: usize) -> Range<usize> {
        segment * self.every..((segment + 1) * self.every).min(self.steps + 1)
    }

    /// Whether step `step` is taken again on the way back.
    pub fn recomputes(&self, step: usize) -> bool {
        step < self.steps && !(step + 1).is_multiple_of(self.every)
    }

    /// Most states alive at once on the way back, besides stored ones.
    pub fn live(&self) -> usize {
        self.every.min(self.steps + 1)
    }

    /// Bytes of vectors of `parameters` numbers of `bytes` bytes at the peak; `on_disk`: stored states do not count.
    pub fn memory(&self, parameters: f64, bytes: usize, on_disk: bool) -> f64 {
        let stored = if on_disk { 0 } else { self.stored() };
        (stored + self.live() + WORKING) as f64 * parameters * bytes as f64
    }

    /// Bytes on disk where stored states lie there, with the file that a restart goes on from.
    pub fn scratch(&self, parameters: f64, bytes: usize) -> f64 {
        (self.stored() + 2) as f64 * parameters * bytes as f64
    }
}
