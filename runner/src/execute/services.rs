//! What the runner does for a running component.

use super::progress;
use crate::plan::Planned;
use crate::store::{Cost, Store};
use crate::tensorboard::Events;
use lyceum_components::lineage::Made;
use lyceum_components::train::Point;
use lyceum_components::{Artifact, Bar, Error, FilePath, FolderPath, Result, Services};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The services of one running step.
pub(super) struct StepServices {
    store: Store,
    step: String,
    /// Locations by reference.
    artifacts: BTreeMap<String, String>,
    /// Places by path as written.
    files: BTreeMap<String, PathBuf>,
    /// Places of folders by path as written.
    folders: BTreeMap<String, PathBuf>,
    noted: Mutex<Noted>,
    events: Option<Events>,
}

/// What a step reported.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) measures: BTreeMap<String, f64>,
    pub(super) cost: Cost,
}

impl StepServices {
    /// With `events`, the training curve is also written as a TensorBoard event file in that folder.
    pub(super) fn new(store: &Store, planned: &Planned, events: Option<PathBuf>) -> Self {
        let references = planned
            .step
            .references
            .iter()
            .map(|reference| reference.text.clone());
        let (mut files, mut folders) = (BTreeMap::new(), BTreeMap::new());
        for file in &planned.step.files {
            match (&file.member, file.path.parent()) {
                (Some(_), Some(folder)) => folders.insert(file.written.clone(), folder.to_path_buf()),
                _ => files.insert(file.written.clone(), file.path.clone()),
            };
        }
        Self {
            store: store.clone(),
            step: planned.step.id.clone(),
            artifacts: references.zip(planned.inputs.iter().cloned()).collect(),
            files,
            folders,
            noted: Mutex::default(),
            events: events.map(Events::new),
        }
    }

    /// What was reported so far.
    pub(super) fn noted(&self) -> Noted {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Services for StepServices {
    fn artifact(&self, reference: &str) -> Result<Artifact> {
        let location = self.artifacts.get(reference).ok_or_else(|| {
            Error::data(
                "unknown_reference",
                format!("step `{}` does not declare `{reference}`", self.step),
            )
        })?;
        self.store.open(location, reference.trim_start_matches('@'))
    }

    fn artifact_at(&self, location: &str) -> Result<Artifact> {
        self.store.open(location, location)
    }

    fn made(&self, location: &str) -> Result<Made> {
        let manifest = self.store.manifest_at(location)?;
        Ok(manifest.made())
    }

    fn file(&self, path: &FilePath) -> Result<PathBuf> {
        self.files.get(&path.0).cloned().ok_or_else(|| {
            Error::data(
                "unknown_file",
                format!("step `{}` does not declare the file `{}`", self.step, path.0),
            )
        })
    }

    fn data(&self) -> Option<PathBuf> {
        std::env::var_os("LYCEUM_DATA").map(PathBuf::from)
    }

    fn folder(&self, path: &FolderPath) -> Result<PathBuf> {
        self.folders.get(&path.0).cloned().ok_or_else(|| {
            let what = format!("step `{}` does not declare the folder `{}`", self.step, path.0);
            Error::data("unknown_file", what)
        })
    }

    fn bar(&self, what: &str, total: u64, unit: &'static str) -> Box<dyn Bar> {
        progress::bar(&self.step, what, total, unit)
    }

    fn measure(&self, name: &str, value: f64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.measures.insert(name.to_owned(), value);
    }

    fn cost(&self, tokens: u64, flops: f64) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.cost.tokens += tokens;
        noted.cost.flops += flops;
    }

    fn curve(&self, points: &[Point]) {
        if let Some(events) = &self.events
            && let Err(error) = events.add(points)
        {
            self.note(&format!("no more TensorBoard events: {error}"));
        }
    }

    fn note(&self, text: &str) {
        crate::cli::say(&format!("  {}: {text}", self.step));
    }
}
