//! How the states of a training are kept, and what that takes.

use super::params::{LawParams, LawStates};
use crate::component::Choice;
use crate::context::make_folder;
use crate::trajectory::{Number, Plan, Trajectory};
use crate::{Error, Result};
use std::path::Path;

const GIB: f64 = (1_u64 << 30) as f64;

/// The ways there are, the fastest first.
const WAYS: [(LawStates, &str); 3] = [
    (LawStates::Store, "store"),
    (LawStates::Sqrt, "sqrt"),
    (LawStates::Disk, "disk"),
];

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) steps: usize,
    pub(super) examples: f64,
    pub(super) parameters: f64,
    /// Bytes of a number.
    pub(super) element: usize,
    /// Bytes of what stands beside weights and states.
    pub(super) beside: f64,
}

impl Room {
    fn plan(self, way: LawStates) -> Plan {
        match way {
            LawStates::Sqrt => Plan::root(self.steps),
            _ => Plan::new(self.steps, 1),
        }
    }

    /// Bytes of weights and states in memory.
    pub(super) fn memory(self, way: LawStates) -> f64 {
        let policy = self.steps as f64 * self.examples * self.element as f64;
        let states = self
            .plan(way)
            .memory(self.parameters, self.element, way == LawStates::Disk);
        policy + states + self.beside
    }

    /// Bytes of states on disk.
    pub(super) fn scratch(self, way: LawStates) -> f64 {
        match way {
            LawStates::Disk => self.plan(way).scratch(self.parameters, self.element),
            _ => 0.0,
        }
    }

    /// The first way of the wanted ones that fits; where none does, what to do: `memory_budget`.
    pub(super) fn choose(self, params: &LawParams) -> Result<LawStates> {
        let budget = params.memory_budget_gib * GIB;
        let fits = |way: LawStates| self.memory(way) <= budget;
        let wanted =
            |way: LawStates| matches!(params.trajectory, LawStates::Auto) || params.trajectory == way;
        if let Some((way, _)) = WAYS.into_iter().find(|(way, _)| wanted(*way) && fits(*way)) {
            return Ok(way);
        }
        let gib = |way: LawStates| self.memory(way) / GIB;
        let asked = match params.trajectory {
            LawStates::Auto => LawStates::Disk,
            way => way,
        };
        let message = format!(
            "weights and states take {:.2} GiB; `memory_budget_gib` is {}",
            gib(asked),
            params.memory_budget_gib,
        );
        let error = Error::data("memory_budget", message);
        Err(match WAYS.into_iter().find(|(way, _)| fits(*way)) {
            Some((way, name)) => {
                error.hint(format!("`trajectory = \"{name}\"` takes {:.2} GiB", gib(way)))
            }
            None => error.hint(format!(
                "no less than {:.2} GiB will do: lower `steps` or the number of examples, or raise the budget",
                gib(LawStates::Disk)
            )),
        })
    }

    /// What the ways other than `chosen` would take, for `plan`; `forth` are the FLOPs of the ways forth of all epochs.
    pub(super) fn choices(self, chosen: LawStates, forth: f64) -> Vec<Choice> {
        let others = WAYS.into_iter().filter(|(way, _)| *way != chosen);
        others
            .map(|(way, name)| Choice {
                setting: format!("trajectory = \"{name}\""),
                memory: self.memory(way),
                recomputed: recomputed(way, forth),
            })
            .collect()
    }

    /// A trajectory kept so; one on disk lies in `folder`.
    pub(super) fn trajectory<N: Number>(
        self,
        way: LawStates,
        rate: f64,
        folder: &Path,
    ) -> Result<Trajectory<N>> {
        let plan = self.plan(way);
        if way == LawStates::Disk {
            make_folder(folder)?;
            return Ok(Trajectory::on_disk(plan, rate, folder));
        }
        Ok(Trajectory::in_memory(plan, rate))
    }
}

/// FLOPs done again.
pub(super) fn recomputed(way: LawStates, forth: f64) -> f64 {
    if way == LawStates::Sqrt { forth } else { 0.0 }
}
