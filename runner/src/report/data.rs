//! What a run left behind, read into memory.

use crate::claims::Measured;
use crate::execute::{RunFolder, RunRecord};
use crate::spec::{Claim, Experiment, Report};
use lyceum_components::{Artifact, Kind};
use polars::prelude::{Column, DataFrame, DataType, ParquetReader, SerReader};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be read or written.
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

/// A table artifact and the step that made it.
#[derive(Debug, Clone)]
pub(super) struct TableData {
    pub(super) step: String,
    pub(super) rows: Vec<Row>,
    pub(super) instances: BTreeMap<(String, String, Option<String>), BTreeMap<u64, f64>>,
    pub(super) histogram: Vec<Bin>,
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
        };
        for step in data.record.steps.clone() {
            if step.error.is_some() {
                continue;
            }
            let path = folder.artifact(&step);
            // Artifacts with named outputs have no header of their own, and none of them is shown.
            let Ok(artifact) = Artifact::open(&path, &step.location, &step.id) else {
                continue;
            };
            match artifact.header.kind {
                Kind::Table => data.tables.push(read_table(&path, step.id)?),
                Kind::Model => data
                    .curves
                    .push(read_curve(&path, step.id, artifact.header.details)?),
                Kind::Selection => {
                    data.selections.push(Chosen {
                        step: step.id,
                        details: artifact.header.details,
                    });
                }
                _ => {}
            }
        }
        Ok(data)
    }

    /// The resolved experiment but for its seed: runs that agree in it are seeds of one experiment.
    pub(super) fn without_seed(&self) -> Option<toml::Table> {
        let mut spec: toml::Table = toml::from_str(&self.spec_text).ok()?;
        spec.get_mut("experiment")
            .and_then(toml::Value::as_table_mut)?
            .remove("seed");
        Some(spec)
    }

    /// What was measured of `metric` (as in `quality.loss`) for a variant.
    pub(super) fn measured(&self, metric: &str, group: Option<&str>, variant: &str) -> Measured {
        let (step, name) = metric.split_once('.').unwrap_or((metric, ""));
        let of_step = |table: &&TableData| table.step == step || table.step.starts_with(&format!("{step}["));
        for table in self.tables.iter().filter(of_step) {
            let wanted =
                |row: &&Row| row.variant == variant && row.metric == name && row.group.as_deref() == group;
            if let Some(row) = table.rows.iter().find(wanted) {
                let key = (variant.to_owned(), name.to_owned(), group.map(str::to_owned));
                let instances = table.instances.get(&key).cloned().unwrap_or_default();
                return Measured {
                    value: Some(row.value),
                    instances,
                };
            }
        }
        Measured::default()
    }
}

pub(super) fn read_table(path: &Path, step: String) -> Result<TableData, ReportError> {
    let frame = Frame::read(&path.join("table.parquet"))?;
    let (variant, metric, group) = (
        frame.text("variant")?,
        frame.text("metric")?,
        frame.text("group")?,
    );
    let (value, n, error) = (
        frame.number("value")?,
        frame.number("n")?,
        frame.number("standard_error")?,
    );
    let rows = (0..variant.len())
        .map(|i| Row {
            variant: variant[i].clone().unwrap_or_default(),
            metric: metric[i].clone().unwrap_or_default(),
            group: group[i].clone(),
            value: value[i].unwrap_or(f64::NAN),
            n: n[i].unwrap_or_default() as u64,
            standard_error: error[i],
        })
        .collect();
    let mut table = TableData {
        step,
        rows,
        instances: BTreeMap::new(),
        histogram: Vec::new(),
    };
    let file = path.join("instances.parquet");
    if file.exists() {
        let frame = Frame::read(&file)?;
        let (variant, metric, group) = (
            frame.text("variant")?,
            frame.text("metric")?,
            frame.text("group")?,
        );
        let (instance, value) = (frame.number("instance")?, frame.number("value")?);
        for i in 0..variant.len() {
            if let (Some(variant), Some(metric), Some(instance), Some(value)) =
                (&variant[i], &metric[i], instance[i], value[i])
            {
                let key = (variant.clone(), metric.clone(), group[i].clone());
                table
                    .instances
                    .entry(key)
                    .or_default()
                    .insert(instance as u64, value);
            }
        }
    }
    let file = path.join("histogram.parquet");
    if file.exists() {
        let frame = Frame::read(&file)?;
        let (variant, group) = (frame.text("variant")?, frame.text("group")?);
        let (low, high, count) = (
            frame.number("bin_low")?,
            frame.number("bin_high")?,
            frame.number("count")?,
        );
        table.histogram = (0..variant.len())
            .map(|i| Bin {
                variant: variant[i].clone().unwrap_or_default(),
                group: group[i].clone().unwrap_or_default(),
                low: low[i].unwrap_or_default(),
                high: high[i].unwrap_or_default(),
                count: count[i].unwrap_or_default(),
            })
            .collect();
    }
    Ok(table)
}

fn read_curve(path: &Path, step: String, details: Value) -> Result<Curve, ReportError> {
    let frame = Frame::read(&path.join("metrics.parquet"))?;
    let (split, metric) = (frame.text("split")?, frame.text("metric")?);
    let (tokens, value) = (frame.number("tokens")?, frame.number("value")?);
    let mut points: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for i in 0..split.len() {
        if let (Some(split), Some(metric), Some(tokens), Some(value)) =
            (&split[i], &metric[i], tokens[i], value[i])
        {
            points
                .entry((split.clone(), metric.clone()))
                .or_default()
                .push((tokens, value));
        }
    }
    Ok(Curve {
        step,
        points,
        details,
    })
}

/// A Parquet file whose columns are asked for by name.
struct Frame {
    path: PathBuf,
    frame: DataFrame,
}

impl Frame {
    fn read(path: &Path) -> Result<Self, ReportError> {
        let opened = File::open(path).map_err(|e| failed(path)(e.to_string()))?;
        let frame = ParquetReader::new(opened)
            .finish()
            .map_err(|e| failed(path)(e.to_string()))?;
        Ok(Self {
            path: path.to_path_buf(),
            frame,
        })
    }

    fn column(&self, name: &str, kind: &DataType) -> Result<Column, ReportError> {
        let column = self.frame.column(name).and_then(|column| column.cast(kind));
        column.map_err(|e| failed(&self.path)(e.to_string()))
    }

    fn text(&self, name: &str) -> Result<Vec<Option<String>>, ReportError> {
        let column = self.column(name, &DataType::String)?;
        let values = column.str().map_err(|e| failed(&self.path)(e.to_string()))?;
        Ok(values.iter().map(|value| value.map(str::to_owned)).collect())
    }

    fn number(&self, name: &str) -> Result<Vec<Option<f64>>, ReportError> {
        let column = self.column(name, &DataType::Float64)?;
        let values = column.f64().map_err(|e| failed(&self.path)(e.to_string()))?;
        Ok(values.iter().collect())
    }
}
