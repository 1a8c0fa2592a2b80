//! Runs side by side: what differs in what was asked, in what was measured, and in what it cost.

mod metrics;
mod spec;
mod text;

pub use metrics::{Difference, MetricRow};
pub use spec::SpecRow;

use crate::execute::{RunFolder, RunRecord};
use crate::report::ReportError;
use crate::report::measurements;
use serde::Serialize;

/// Two or more runs compared. Lists of values have one entry a run, in the order given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The runs' ids.
    pub runs: Vec<String>,
    /// Every key of the resolved experiments that is not the same in all of them.
    pub spec: Vec<SpecRow>,
    /// Everything that was measured.
    pub metrics: Vec<MetricRow>,
    /// What every step cost.
    pub cost: Vec<CostRow>,
}

/// What one step cost in every run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CostRow {
    /// The step.
    pub step: String,
    /// Its cost; none in a run that has no such step.
    pub runs: Vec<Option<Cost>>,
}

/// What a step cost in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Whether it came from the store.
    pub cached: bool,
    /// Seconds it took; 0 where cached.
    pub wall_seconds: f64,
    /// FLOPs of making it, also where cached.
    pub flops: f64,
}

impl Comparison {
    /// Compares runs.
    ///
    /// # Errors
    /// The file that cannot be read.
    pub fn new(folders: &[RunFolder]) -> Result<Self, ReportError> {
        let mut records = Vec::new();
        let mut measured = Vec::new();
        let mut specs = Vec::new();
        for folder in folders {
            let (record, all) = measurements::read(folder)?;
            records.push(record);
            measured.push(all);
            specs.push(spec::read(&folder.resolved_file())?);
        }
        Ok(Self {
            runs: records.iter().map(|record| record.id.clone()).collect(),
            spec: spec::rows(&specs),
            metrics: metrics::rows(&measured),
            cost: cost(&records),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        text::write(self)
    }
}

fn cost(records: &[RunRecord]) -> Vec<CostRow> {
    let mut steps: Vec<&str> = Vec::new();
    for step in records.iter().flat_map(|record| &record.steps) {
        if !steps.contains(&step.id.as_str()) {
            steps.push(&step.id);
        }
    }
    let of = |record: &RunRecord, id: &str| {
        let step = record.steps.iter().find(|step| step.id == id)?;
        Some(Cost {
            cached: step.cached,
            wall_seconds: step.wall_seconds,
            flops: step.flops,
        })
    };
    let row = |id: &str| CostRow {
        step: id.to_owned(),
        runs: records.iter().map(|record| of(record, id)).collect(),
    };
    steps.into_iter().map(row).collect()
}
