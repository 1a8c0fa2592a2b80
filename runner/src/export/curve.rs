//! A model's training curve as a TensorBoard event file.

use super::manifest;
use crate::execute::StepRecord;
use crate::store::Store;
use crate::tensorboard::EventFile;
use lyceum_components::{Error, Result, train};
use std::path::Path;

/// Writes the curve of a step, if it has one; says whether. Stored curves hold no times: every point gets the time of
/// the export, so only the axes of steps mean something.
pub(super) fn write(store: &Store, step: &StepRecord, to: &Path) -> Result<bool> {
    manifest(store, step)?;
    let file = store.folder(&step.component, &step.key).join("metrics.parquet");
    if !file.exists() {
        return Ok(false);
    }
    let points = train::read_curve(&file)?;
    let failed = || Error::io("cannot write in", to);
    let mut events = EventFile::create(to).map_err(failed())?;
    for point in points {
        events.point(&point).map_err(failed())?;
    }
    Ok(true)
}
