//! What a run measured: the rows of its tables.

use super::data::{ReportError, failed};
use super::tables::read_table;
use crate::claims::Measured;
use crate::execute::RunFolder;
use crate::execute::RunRecord;
use crate::spec::metric_parts;
use lyceum_components::{Artifact, Kind};
use std::collections::BTreeMap;

/// One number that a run measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measurement {
    /// The step that made the table.
    pub(crate) step: String,
    /// What was measured.
    pub(crate) variant: String,
    /// The quantity.
    pub(crate) metric: String,
    /// The part that it was measured on; the whole where there is none.
    pub(crate) group: Option<String>,
    /// The number.
    pub(crate) value: f64,
    /// How many instances it is over.
    pub(crate) n: u64,
    /// Its standard error, where known.
    pub(crate) standard_error: Option<f64>,
    /// Its value by instance, where there are instances.
    pub(crate) instances: BTreeMap<u64, f64>,
}

impl Measurement {
    /// Whether this is `metric` (as in `quality.loss`) of a group and a variant.
    pub(crate) fn is(&self, metric: &str, group: Option<&str>, variant: &str) -> bool {
        self.of(metric, group) && self.variant == variant
    }

    /// Whether this is `metric` of a group, of whichever variant.
    pub(crate) fn of(&self, metric: &str, group: Option<&str>) -> bool {
        let (step, name) = metric_parts(metric);
        let base = self.step.split('[').next().unwrap_or_default();
        (self.step == step || base == step) && self.metric == name && self.group.as_deref() == group
    }
}

/// Every measurement of a run, in the order of its steps and tables. Steps that failed have left none.
pub(crate) fn measurements(folder: &RunFolder, record: &RunRecord) -> Result<Vec<Measurement>, ReportError> {
    let mut all = Vec::new();
    for step in record.steps.iter().filter(|step| step.error.is_none()) {
        let path = folder.artifact(step);
        let Ok(artifact) = Artifact::open(&path, &step.location, &step.id) else {
            continue; // artifacts with named outputs have no header of their own
        };
        if artifact.header.kind != Kind::Table {
            continue;
        }
        let mut table = read_table(&path, step.id.clone(), None)?;
        for row in table.rows {
            let key = (row.variant.clone(), row.metric.clone(), row.group.clone());
            all.push(Measurement {
                step: table.step.clone(),
                instances: table.instances.remove(&key).unwrap_or_default(),
                variant: row.variant,
                metric: row.metric,
                group: row.group,
                value: row.value,
                n: row.n,
                standard_error: row.standard_error,
            });
        }
    }
    Ok(all)
}

/// Reads a run's record and what it measured.
pub(crate) fn read(folder: &RunFolder) -> Result<(RunRecord, Vec<Measurement>), ReportError> {
    let record = folder
        .load()
        .map_err(|e| failed(&folder.record_file())(e.to_string()))?;
    let all = measurements(folder, &record)?;
    Ok((record, all))
}

/// What was measured of a claim's metric for one variant.
pub(crate) fn measured(all: &[Measurement], metric: &str, group: Option<&str>, variant: &str) -> Measured {
    let found = all.iter().find(|one| one.is(metric, group, variant));
    found.map_or_else(Measured::default, |one| Measured {
        value: Some(one.value),
        instances: one.instances.clone(),
    })
}
