//! The second stage: defaults filled in, layers merged, matrices expanded, references exact.

use super::grammar::{Claim, Experiment, Report, Runtime, Sweep};
use lyceum_components::{Descriptor, Output, Precision};
use serde_json::Value;
use std::path::PathBuf;

/// An experiment without a mistake in it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The head.
    pub experiment: Experiment,
    /// What never changes the result's identity.
    pub runtime: Runtime,
    /// Every variant of every step, inputs before those who use them, in file order otherwise.
    pub steps: Vec<Step>,
    /// The claims, in file order.
    pub claims: Vec<Claim>,
    /// How to report.
    pub report: Report,
    /// The sweep, if one is declared.
    pub sweep: Option<Sweep>,
    /// Folder that paths may not leave; `.lyceum/` lies there.
    pub root: PathBuf,
    /// The experiment file.
    pub file: PathBuf,
    /// The merged layers as JSON, before matrices are expanded: what the resolved file is written from.
    pub(crate) merged: Value,
}

/// One variant of one step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name with variant, as in `student[uniform]`.
    pub id: String,
    /// Name in the file, as in `student`.
    pub name: String,
    /// Names of the variant, one an axis; empty without a matrix.
    pub variant: Vec<String>,
    /// What it uses.
    pub component: &'static Descriptor,
    /// Parameters with every default filled in and exact references.
    pub params: Value,
    /// The seed it draws from; none if it draws no random numbers.
    pub seed: Option<u64>,
    /// How many pieces its work is cut into; the result does not depend on it.
    pub shards: u64,
    /// Precision of its tensors.
    pub precision: Precision,
    /// Its inputs, in the order of their fields.
    pub references: Vec<Reference>,
    /// The files it reads.
    pub files: Vec<FileUse>,
    /// What it leaves.
    pub outputs: Vec<Output>,
    /// Names of the parameters that never change the result and are not part of the key.
    pub runtime: Vec<String>,
}

/// One input of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// JSON pointer of the string in the parameters.
    pub pointer: String,
    /// The exact reference, as in `@student[uniform].train`.
    pub text: String,
    /// Id of the step referred to.
    pub step: String,
    /// Name of its output; empty for the main one.
    pub output: String,
    /// Whether it stands in a list, where the label of the artifact is part of the result.
    pub many: bool,
}

/// One file a step reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUse {
    /// JSON pointer of the path in the parameters.
    pub pointer: String,
    /// The path as written.
    pub written: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its name in the key, if it is not alone under its pointer: one of the files of the folder `written`, or data that a
    /// task file names.
    pub member: Option<String>,
}

impl Resolved {
    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}
