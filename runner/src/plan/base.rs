//! The plan of an experiment.

use super::estimate::estimate;
use super::request::request;
use super::why::why;
use crate::spec::{Resolved, Step};
use crate::store::{FileHashes, Manifest, Store, key};
use lyceum_components::{Estimate, Sizes};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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
}

impl Plan {
    /// Plans an experiment against a store. With `assume`, missing files are taken for what the experiment expects.
    pub fn new(resolved: &Resolved, store: &Store, assume: bool) -> Result<Self, PlanError> {
        let mut hashes = FileHashes::open(store.home());
        let mut locations: BTreeMap<String, String> = BTreeMap::new();
        let mut new_inputs: BTreeSet<String> = BTreeSet::new();
        let mut sizes = Sizes::default();
        let mut steps = Vec::new();
        for step in &resolved.steps {
            let request = request(step, &locations, &mut hashes, assume)
                .map_err(|(path, source)| PlanError::File { path, source })?;
            let key = key(&request);
            let name = step.component.name;
            let cached = store.find(name, &key);
            let why = match &cached {
                Some(_) => Vec::new(),
                None => reasons(step, &request, store, &new_inputs),
            };
            let estimate = estimate(step, &key, cached.as_ref(), store, &mut sizes);
            for output in &step.outputs {
                let dot = if output.name.is_empty() { "" } else { "." };
                let text = format!("@{}{dot}{}", step.id, output.name);
                if cached.is_none() {
                    new_inputs.insert(text.clone());
                }
                locations.insert(text, Store::location(name, &key, &output.name));
            }
            let inputs = step
                .references
                .iter()
                .filter_map(|r| locations.get(&r.text).cloned())
                .collect();
            steps.push(Planned {
                step: step.clone(),
                key,
                request,
                inputs,
                cached,
                why,
                estimate,
            });
        }
        hashes.save();
        Ok(Self { steps })
    }

    /// Steps that would run.
    pub fn new_steps(&self) -> impl Iterator<Item = &Planned> {
        self.steps.iter().filter(|planned| planned.cached.is_none())
    }
}

/// Why a step is new. A step whose only difference is an input that is itself new says which input.
fn reasons(step: &Step, request: &Value, store: &Store, new_inputs: &BTreeSet<String>) -> Vec<String> {
    let manifests = store.manifests(step.component.name);
    let differences = why(request, manifests.iter().map(|manifest| &manifest.request));
    let waiting: Vec<String> = step
        .references
        .iter()
        .filter(|reference| new_inputs.contains(&reference.text))
        .map(|reference| format!("input {} is new", reference.text))
        .collect();
    match differences {
        None => vec!["never made before".to_owned()],
        Some(found) if found.is_empty() => vec!["its artifact is damaged or was removed".to_owned()],
        Some(found) => {
            let own = found
                .into_iter()
                .filter(|text| waiting.is_empty() || !text.starts_with("input "));
            own.chain(waiting.iter().cloned()).collect()
        }
    }
}
