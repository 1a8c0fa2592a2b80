//! Making plans.

use super::base::{Plan, PlanError, Planned};
use super::estimate::estimate;
use super::request::request;
use super::why::why;
use crate::execute::{RunRecord, runs};
use crate::spec::{Resolved, Step};
use crate::store::{FileHashes, Manifest, Store, key};
use lyceum_components::flops::Convention;
use lyceum_components::lineage::Made;
use lyceum_components::{Estimate, Sizes};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// How many of the last runs are looked at for what a step was and how fast this machine is.
const RECENT: usize = 20;

/// Plans experiments against one store. What it learns of files, artifacts and runs serves every plan it makes, so that
/// hundreds of plans that share most steps cost little more than one.
#[derive(Debug)]
pub struct Planner<'a> {
    store: &'a Store,
    hashes: FileHashes,
    /// By component and key.
    artifacts: BTreeMap<(&'static str, String), Option<Manifest>>,
    /// Everything that was made, by component.
    made: BTreeMap<&'static str, Vec<Manifest>>,
    recent: OnceCell<Vec<RunRecord>>,
    /// By component and key, with the parameters they are of: some of those are no part of the key, but of the costs.
    estimates: BTreeMap<(&'static str, String), (Value, Estimate)>,
    explain: bool,
    convention: Convention,
}

impl<'a> Planner<'a> {
    /// A planner that knows nothing yet.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            hashes: FileHashes::open(store.home()),
            artifacts: BTreeMap::new(),
            made: BTreeMap::new(),
            recent: OnceCell::new(),
            estimates: BTreeMap::new(),
            explain: true,
            convention: Convention::default(),
        }
    }

    /// The same without saying why a step is new, which is what takes longest where hundreds of experiments are planned.
    #[must_use]
    pub fn brief(self) -> Self {
        Self {
            explain: false,
            ..self
        }
    }

    /// The same with FLOPs of what is new counted by another convention.
    #[must_use]
    pub fn counting(self, convention: Convention) -> Self {
        Self { convention, ..self }
    }

    /// The last runs, latest first.
    pub fn recent(&self) -> &[RunRecord] {
        self.recent.get_or_init(|| runs::last(self.store.home(), RECENT))
    }

    /// Plans an experiment. With `assume`, missing files are taken for what the experiment expects.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn plan(&mut self, resolved: &Resolved, assume: bool) -> Result<Plan, PlanError> {
        let mut new_inputs: BTreeSet<String> = BTreeSet::new();
        let mut sizes = Sizes {
            convention: self.convention,
            ..Sizes::default()
        };
        let mut steps = Vec::new();
        for step in &resolved.steps {
            let request = request(step, &sizes.locations, &mut self.hashes, assume)
                .map_err(|(path, source)| PlanError::File { path, source })?;
            let key = key(&request);
            let name = step.component.name;
            let cached = self.find(name, &key);
            if cached.is_none() {
                self.store.refuse_newer(name, &key)?;
            }
            let why = match &cached {
                Some(_) => Vec::new(),
                None if !self.explain => Vec::new(),
                None => self.reasons(resolved, step, &key, &request, &new_inputs),
            };
            let known = self.estimates.get(&(name, key.clone()));
            let known = known.filter(|(params, _)| *params == step.params);
            let known = known.map(|(_, estimate)| estimate.clone());
            let again = known.is_some();
            let estimate = estimate(step, &key, cached.as_ref(), self.store, &mut sizes, known);
            let made = match &cached {
                Some(manifest) => manifest.made(),
                None => Made::new(name, &request["params"], estimate.flops),
            };
            if !again {
                let of = (step.params.clone(), estimate.clone());
                self.estimates.insert((name, key.clone()), of);
            }
            for output in &step.outputs {
                let dot = if output.name.is_empty() { "" } else { "." };
                let text = format!("@{}{dot}{}", step.id, output.name);
                if cached.is_none() {
                    new_inputs.insert(text.clone());
                }
                let location = Store::location(name, &key, &output.name);
                sizes.made.insert(location.clone(), made.clone());
                sizes.locations.insert(text, location);
            }
            let inputs = step
                .references
                .iter()
                .filter_map(|r| sizes.locations.get(&r.text).cloned())
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
        self.hashes.save();
        Ok(Plan { steps })
    }

    fn find(&mut self, component: &'static str, key: &str) -> Option<Manifest> {
        let store = self.store;
        self.artifacts
            .entry((component, key.to_owned()))
            .or_insert_with_key(|(component, key)| store.find(component, key))
            .clone()
    }

    /// Why a step is new: what differs from the last time it ran in this experiment, or else from the nearest thing that
    /// was ever made. A step whose only difference is an input that is itself new says which input.
    fn reasons(
        &mut self,
        resolved: &Resolved,
        step: &Step,
        key: &str,
        request: &Value,
        new_inputs: &BTreeSet<String>,
    ) -> Vec<String> {
        let gone = || vec!["its artifact is damaged or was removed".to_owned()];
        let last = self.last_key(&resolved.experiment.name, step);
        if last.as_deref() == Some(key) {
            return gone();
        }
        let last = last.and_then(|key| self.find(step.component.name, &key));
        let differences = match &last {
            Some(manifest) => why(request, [&manifest.request]),
            None => why(
                request,
                self.made(step.component.name)
                    .iter()
                    .map(|manifest| &manifest.request),
            ),
        };
        let waiting: Vec<String> = step
            .references
            .iter()
            .filter(|reference| new_inputs.contains(&reference.text))
            .map(|reference| format!("input {} is new", reference.text))
            .collect();
        match differences {
            None => vec!["never made before".to_owned()],
            Some(found) if found.is_empty() => gone(),
            Some(found) => {
                let own = found
                    .into_iter()
                    .filter(|text| waiting.is_empty() || !text.starts_with("input "));
                own.chain(waiting.iter().cloned()).collect()
            }
        }
    }

    /// The key that a step had when an experiment of this name last got through it.
    fn last_key(&self, experiment: &str, step: &Step) -> Option<String> {
        let same = self
            .recent()
            .iter()
            .filter(|run| run.experiment == experiment)
            .flat_map(|run| &run.steps);
        same.filter(|done| done.error.is_none() && done.component == step.component.name)
            .find(|done| done.id == step.id)
            .map(|done| done.key.clone())
    }

    fn made(&mut self, component: &'static str) -> &[Manifest] {
        let store = self.store;
        self.made
            .entry(component)
            .or_insert_with(|| store.manifests(component))
    }
}
