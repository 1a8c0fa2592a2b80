//! The plan of an experiment.

use crate::spec::Step;
use crate::store::Manifest;
use lyceum_components::{Error, Estimate};
use serde_json::Value;
use std::io;
use std::path::PathBuf;

/// What would be done for an experiment.
#[derive(Debug)]
pub struct Plan {
    /// Every step in the order in which they run.
    pub steps: Vec<Planned>,
}

/// What would be done for one step.
#[derive(Debug)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// Its key.
    pub key: String,
    /// What the key is the hash of.
    pub request: Value,
    /// Locations of its inputs, in the order of its references.
    pub inputs: Vec<String>,
    /// The manifest of its artifact, if that is there.
    pub cached: Option<Manifest>,
    /// Why it is new; empty where it is cached.
    pub why: Vec<String>,
    /// What running it would cost.
    pub estimate: Estimate,
}

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file of the experiment cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store holds what this program cannot read.
    #[error("{0}")]
    Store(#[from] Error),
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::File { path, source } => Self::io("cannot read", path)(source),
            PlanError::Store(error) => error,
        }
    }
}

impl Plan {
    /// Steps that would run.
    pub fn new_steps(&self) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(|planned| planned.cached.is_none())
    }
}
