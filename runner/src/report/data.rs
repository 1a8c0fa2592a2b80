//! What a run left behind, read into memory.

use super::tables::{CURVE, InstancesOf, read_curve, read_table};
use crate::claims::Measured;
use crate::execute::{RunFolder, RunRecord, StepRecord};
use crate::spec::{Claim, Experiment, Report, metric_parts};
use lyceum_components::artifact::HEADER;
use lyceum_components::{Artifact, Kind};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] lyceum_components::Error),
    /// A file could not be read.
    #[error("`{}`: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A template failed.
    #[error("template `{name}`: {message}")]
    Template {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
    /// A plot could not be drawn.
    #[error("plot: {0}")]
    Plot(String),
}

pub(super) fn failed(path: &Path) -> impl Fn(String) -> ReportError {
    let path = path.to_path_buf();
    move |message| ReportError::File {
        path: path.clone(),
        message,
    }
}

/// The parts of a resolved experiment that a report needs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Spec {
    pub(super) experiment: Experiment,
    #[serde(default)]
    pub(super) claims: Vec<Claim>,
    #[serde(default)]
    pub(super) report: Report,
}

/// One row of a table artifact.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) variant: String,
    pub(super) metric: String,
    pub(super) group: Option<String>,
    pub(super) value: f64,
    pub(super) n: u64,
    pub(super) standard_error: Option<f64>,
}

/// One bin of a histogram.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    pub(super) variant: String,
    pub(super) group: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) count: f64,
}

/// A plot that a table asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Drawing {
    pub(super) title: String,
    pub(super) x_axis: String,
    pub(super) y_axis: String,
    pub(super) logarithmic: bool,
    pub(super) lines: Vec<DrawnLine>,
}

/// A line of it: a curve, points, or both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DrawnLine {
    pub(super) name: String,
    pub(super) curve: Vec<(f64, f64)>,
    pub(super) dots: Vec<(f64, f64)>,
}

/// A heat map that a table asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeatMap {
    pub(super) title: String,
    pub(super) x_axis: String,
    pub(super) y_axis: String,
    pub(super) value_axis: String,
    /// Places and values.
    pub(super) cells: Vec<(f64, f64, f64)>,
}

/// A table artifact and the step that made it.
#[derive(Debug, Clone)]
pub(super) struct TableData {
    pub(super) step: String,
    pub(super) rows: Vec<Row>,
    /// Those that claims compare.
    pub(super) instances: BTreeMap<InstancesOf, BTreeMap<u64, f64>>,
    pub(super) histogram: Vec<Bin>,
    pub(super) drawings: Vec<Drawing>,
    pub(super) heat_maps: Vec<HeatMap>,
}

/// A model's training curve: `(tokens, value)` by split and metric.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) step: String,
    pub(super) points: BTreeMap<(String, String), Vec<(f64, f64)>>,
    pub(super) details: Value,
}

/// A selection's header.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) step: String,
    pub(super) details: Value,
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct RunData {
    pub(super) record: RunRecord,
    pub(super) spec: Spec,
    pub(super) spec_text: String,
    pub(super) tables: Vec<TableData>,
    pub(super) curves: Vec<Curve>,
    pub(super) selections: Vec<Chosen>,
    /// Steps whose artifacts cannot be read, each with the reason.
    pub(super) unreadable: Vec<(String, String)>,
}

impl RunData {
    /// Reads a run. Steps that failed have left nothing and are passed over.
    pub(super) fn read(folder: &RunFolder) -> Result<Self, ReportError> {
        let record = folder
            .load()
            .map_err(|e| failed(&folder.record_file())(e.to_string()))?;
        let file = folder.resolved_file();
        let spec_text = std::fs::read_to_string(&file).map_err(|e| failed(&file)(e.to_string()))?;
        let spec = toml::from_str(&spec_text).map_err(|e| failed(&file)(e.to_string()))?;
        let mut data = Self {
            record,
            spec,
            spec_text,
            tables: Vec::new(),
            curves: Vec::new(),
            selections: Vec::new(),
            unreadable: Vec::new(),
        };
        for step in data.record.steps.clone() {
            if step.error.is_none()
                && let Err(reason) = data.read_step(folder, &step)
            {
                data.unreadable.push((step.id, reason));
            }
        }
        Ok(data)
    }

    /// Reads what is shown of a step.
    fn read_step(&mut self, folder: &RunFolder, step: &StepRecord) -> Result<(), String> {
        let path = folder.artifact(step);
        if !path.is_dir() {
            return Err("its artifact is not in the store any more".to_owned());
        }
        // Artifacts with named outputs have no header of their own, and none of them is shown.
        if !path.join(HEADER).exists() && path.join("manifest.json").exists() {
            return Ok(());
        }
        let artifact = Artifact::open(&path, &step.location, &step.id).map_err(|error| error.to_string())?;
        let (id, details) = (step.id.clone(), artifact.header.details);
        let text = |error: ReportError| error.to_string();
        match artifact.header.kind {
            Kind::Table => {
                let wanted = self.instances_of(&id);
                self.tables
                    .push(read_table(&path, id, Some(&wanted)).map_err(text)?);
            }
            // A model that was loaded, made or exported has no curve.
            Kind::Model if !path.join(CURVE).exists() => {}
            Kind::Model => self.curves.push(read_curve(&path, id, details).map_err(text)?),
            Kind::Selection => self.selections.push(Chosen { step: id, details }),
            _ => {}
        }
        Ok(())
    }

    /// The instances of a step that claims compare.
    fn instances_of(&self, id: &str) -> Vec<InstancesOf> {
        let claims = self
            .spec
            .claims
            .iter()
            .filter(|claim| measures(id, &claim.metric));
        claims
            .flat_map(|claim| {
                let name = metric_parts(&claim.metric).1;
                [&claim.better, &claim.than]
                    .map(|variant| (variant.clone(), name.to_owned(), claim.group.clone()))
            })
            .collect()
    }

    /// The resolved experiment but for its seed: runs that agree in it are seeds of one experiment.
    pub(super) fn without_seed(&self) -> Option<toml::Table> {
        let mut spec: toml::Table = toml::from_str(&self.spec_text).ok()?;
        spec.get_mut("experiment")
            .and_then(toml::Value::as_table_mut)?
            .remove("seed");
        Some(spec)
    }

    /// What was measured of `metric` (as in `quality.loss` or `quality[a].loss`) for a variant.
    ///
    /// # Errors
    /// The steps that measured it, where that are several: then it is not said which is meant.
    pub(super) fn measured(
        &self,
        metric: &str,
        group: Option<&str>,
        variant: &str,
    ) -> Result<Measured, Vec<String>> {
        let name = metric_parts(metric).1;
        let wanted =
            |row: &&Row| row.variant == variant && row.metric == name && row.group.as_deref() == group;
        let tables = self.tables.iter().filter(|table| measures(&table.step, metric));
        let found: Vec<_> = tables
            .filter_map(|table| Some((table, table.rows.iter().find(wanted)?)))
            .collect();
        match found[..] {
            [] => Ok(Measured::default()),
            [(table, row)] => {
                let key = (variant.to_owned(), name.to_owned(), group.map(str::to_owned));
                Ok(Measured {
                    value: Some(row.value),
                    instances: table.instances.get(&key).cloned().unwrap_or_default(),
                })
            }
            _ => Err(found.iter().map(|(table, _)| table.step.clone()).collect()),
        }
    }
}

/// Whether a metric is one of the step called `id`: of exactly this variant, if it names one.
fn measures(id: &str, metric: &str) -> bool {
    let step = metric_parts(metric).0;
    id == step || id.strip_prefix(step).is_some_and(|rest| rest.starts_with('['))
}
