//! Policies as artifacts: `policy.safetensors` holds `policy`, `[steps, examples]` in f32, each row on the simplex.

use crate::artifact::write_header;
use crate::model::write_tensors;
use crate::table::fingerprint;
use crate::{Kind, Precision, Result};
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "policy.safetensors";

/// What the header of a policy keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDetails {
    /// Steps T of the training it is for.
    pub steps: u64,
    /// Training examples.
    pub examples: u64,
    /// Rate of that training.
    pub inner_lr: f64,
    /// Policy epochs it took.
    pub epochs: u64,
    /// The target loss under it, summed over the states θ_1 … θ_T.
    pub objective: f64,
    /// What was computed in.
    pub precision: Precision,
}

/// Writes the artifact in `folder`.
pub(super) fn write_policy(folder: &Path, policy: Vec<f32>, details: &PolicyDetails) -> Result<()> {
    let shape = [details.steps as usize, details.examples as usize];
    let tensors = BTreeMap::from([("policy".to_owned(), TensorData::new(policy, shape))]);
    write_tensors(&folder.join(FILE), &tensors)?;
    let print = fingerprint(folder, &[FILE], "policy")?;
    write_header(folder, Kind::Policy, print, None, details)
}
