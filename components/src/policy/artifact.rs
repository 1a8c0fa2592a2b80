//! Policies as artifacts: `policy.safetensors` holds `policy`, `[steps, examples]` in f32, each row on the simplex.

use crate::artifact::{Source, write_header};
use crate::model::{read_tensors, write_tensors};
use crate::table::fingerprint;
use crate::{Artifact, Error, Kind, Precision, Result};
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const FILE: &str = "policy.safetensors";

/// How far the sum of a row may be from 1: weights are kept in f32.
const OFF: f64 = 1e-3;

/// What the header of a policy keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDetails {
    /// Steps T of the training it is for.
    pub steps: u64,
    /// Training examples.
    pub examples: u64,
    /// Outcomes that a prediction is among: 2 of a perceptron, the vocabulary of a decoder.
    pub outcomes: u64,
    /// Rate of that training.
    pub inner_lr: f64,
    /// Policy epochs it took.
    pub epochs: u64,
    /// The target loss under it, summed over the states θ_1 … θ_T.
    pub objective: f64,
    /// What was computed in.
    pub precision: Precision,
    /// What was trained on.
    pub data: Source,
    /// BLAKE3 of the parameters that the training starts from, in hex.
    pub start: String,
}

/// Writes the artifact in `folder`.
pub(super) fn write_policy(folder: &Path, policy: Vec<f32>, details: &PolicyDetails) -> Result<()> {
    let shape = [details.steps as usize, details.examples as usize];
    let tensors = BTreeMap::from([("policy".to_owned(), TensorData::new(policy, shape))]);
    write_tensors(&folder.join(FILE), &tensors)?;
    let print = fingerprint(folder, &[FILE], "policy")?;
    write_header(folder, Kind::Policy, print, None, details)
}

/// Weights of every example at every step.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Where they come from.
    pub details: PolicyDetails,
    /// γ, `[steps, examples]`.
    weights: Vec<f32>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// `policy_shape`: the weights are not as many as the header says; `off_simplex`: a step's weights are below 0, not finite
    /// or do not add up to 1, naming the step.
    pub fn read(artifact: &Artifact) -> Result<Self> {
        let details: PolicyDetails = artifact.details()?;
        let file = artifact.path.join(FILE);
        let again = "delete the folder; the next run makes it again";
        let expected = [details.steps as usize, details.examples as usize];
        let tensor = read_tensors(&file)?.remove("policy");
        let found = tensor.as_ref().map(|tensor| tensor.shape().to_vec());
        let Some(tensor) = tensor.filter(|tensor| tensor.shape().to_vec() == expected) else {
            let message = format!("weights of shape {found:?} were found; the header says {expected:?}");
            return Err(Error::data("policy_shape", message).in_file(file).hint(again));
        };
        let weights: Vec<f32> = tensor.convert::<f32>().try_into_vec().expect("converted to f32");
        for (step, row) in weights.chunks(expected[1].max(1)).enumerate() {
            let sum: f64 = row.iter().map(|weight| f64::from(*weight)).sum();
            let on_simplex = row.iter().all(|weight| *weight >= 0.0) && (sum - 1.0).abs() <= OFF;
            if !on_simplex {
                let message = format!("the weights of step {step} add up to {sum}, or one is below 0");
                let error = Error::data("off_simplex", message).in_file(&file);
                return Err(error.hint(again));
            }
        }
        Ok(Self { details, weights })
    }

    /// γ_t; `step` is below the number of steps.
    pub fn at(&self, step: usize) -> &[f32] {
        let n = self.details.examples as usize;
        &self.weights[step * n..(step + 1) * n]
    }

    /// Refuses to be followed from other parameters, given as bytes: `policy_hash`. Those of another precision are not compared.
    pub fn check_start(&self, start: &[u8], precision: Precision) -> Result<()> {
        let same = blake3::hash(start).to_hex().as_str() == self.details.start;
        if same || precision != self.details.precision {
            return Ok(());
        }
        let message = "the policy was found for a training that starts elsewhere";
        Err(Error::data("policy_hash", message)
            .hint("give this step the seed of the policy's, or start from the same model"))
    }

    /// Refuses to be followed over other examples: `policy_hash`; or for more steps than it has: `policy_shape`.
    pub fn check(&self, data: &Artifact, steps: u64) -> Result<()> {
        let PolicyDetails {
            data: own,
            steps: most,
            ..
        } = &self.details;
        if own.fingerprint != data.header.fingerprint {
            let message = format!(
                "the policy was found for `{}`, not for `{}`",
                own.location, data.label
            );
            return Err(
                Error::data("policy_hash", message).hint("train on the data that the policy was found for")
            );
        }
        if steps > *most {
            let message = format!("the training takes {steps} steps; the policy has {most}");
            return Err(
                Error::data("policy_shape", message).hint(format!("lower the budget to {most} steps"))
            );
        }
        Ok(())
    }
}
