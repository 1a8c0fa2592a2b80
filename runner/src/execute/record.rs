//! What a run leaves behind: the folder `.lyceum/runs/<id>/` and its `run.json`.
//!
//! Everything that differs between equal runs (times, memory, speed) lives here and never in an artifact.

use crate::store::is_inside;
use lyceum_components::format::newer_format;
use lyceum_components::{Error, disk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The layout of `run.json` that this program writes and reads.
pub const FORMAT: u32 = 1;

/// What `run.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this layout.
    pub format: u32,
    /// Name of the run and of its folder. Sorts by time.
    pub id: String,
    /// `[experiment].name`.
    pub experiment: String,
    /// `[experiment].title`.
    pub title: Option<String>,
    /// The experiment file, relative to the root where it lies inside it.
    pub file: PathBuf,
    /// When it started: RFC 3339, in UTC.
    pub started: String,
    /// When it ended.
    pub finished: Option<String>,
    /// How it stands.
    pub status: Status,
    /// The program's version.
    pub version: String,
    /// The device steps ran on, as in `cpu` or `cuda:0`.
    pub device: String,
    /// The processor: model, number of threads, and the extensions that matter to speed.
    pub cpu: String,
    /// The steps in the order they are run; a run that ended early has fewer.
    pub steps: Vec<StepRecord>,
    /// What the claims came to; empty until the report is written.
    pub verdicts: Vec<Verdict>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Some process is at it, or was when it died.
    Running,
    /// Every step is done.
    Done,
    /// A step failed.
    Failed,
    /// The user stopped it; running again goes on.
    Interrupted,
}

impl Status {
    /// The word in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One step of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// The step with its variant, as in `student[uniform]`.
    pub id: String,
    /// The component.
    pub component: String,
    /// The key in the store.
    pub key: String,
    /// The folder of the artifact relative to the store: `<component>/<key>`.
    pub location: String,
    /// Whether it was there already.
    pub cached: bool,
    /// How long it took; 0 where cached.
    pub wall_seconds: f64,
    /// The part of it that was not the component's: locking, syncing, hashing, publishing.
    #[serde(default)]
    pub overhead_seconds: f64,
    /// The most memory the process held while it ran, in bytes; 0 where not known.
    pub peak_memory_bytes: u64,
    /// Tokens processed when it was made (also where cached).
    pub tokens: u64,
    /// FLOPs it took when it was made (also where cached).
    pub flops: f64,
    /// What the component measured, by name.
    pub measures: BTreeMap<String, f64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The claim's name.
    pub claim: String,
    /// The metric it compares, as in `quality.loss`.
    pub metric: String,
    /// The group of the metric, if the claim names one.
    pub group: Option<String>,
    /// The variant that should be better.
    pub better: String,
    /// The variant it is compared with.
    pub than: String,
    /// Value of `better`, if it was found.
    pub better_value: Option<f64>,
    /// Value of `than`, if it was found.
    pub than_value: Option<f64>,
    /// Mean of the paired differences, `better` minus `than`.
    pub difference: Option<f64>,
    /// Lower and upper end of the 95 % interval of the difference.
    pub interval: Option<(f64, f64)>,
    /// Number of pairs behind it.
    pub n: u64,
    /// What the pairs are.
    pub basis: Basis,
    /// Whether the claim held.
    pub outcome: Outcome,
    /// Why it could not be decided, if so.
    pub note: Option<String>,
}

/// What a claim's pairs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Runs with different seeds (Student's t over paired differences).
    Seeds,
    /// Evaluation instances of one run (paired bootstrap).
    Instances,
    /// Single numbers: no interval can be given.
    Values,
}

/// Whether a claim held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole interval is on the claimed side of 0.
    Held,
    /// The whole interval is on the other side.
    NotHeld,
    /// The interval holds 0, or there is none.
    NotDecided,
}

impl Outcome {
    /// The words in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::NotDecided => "not decided",
        }
    }
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    /// `.lyceum/runs/<id>`.
    pub path: PathBuf,
    /// `.lyceum/store`, which the steps' locations are relative to.
    pub store: PathBuf,
}

impl RunFolder {
    /// The folder of the run called `id` under `home` (`.lyceum`). Touches nothing.
    pub fn new(home: &Path, id: &str) -> Self {
        Self {
            path: home.join("runs").join(id),
            store: home.join("store"),
        }
    }

    /// `run.json`.
    pub fn record_file(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// `resolved.toml`: the spec as it was run.
    pub fn resolved_file(&self) -> PathBuf {
        self.path.join("resolved.toml")
    }

    /// `report.md`.
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.md")
    }

    /// `plots/`.
    pub fn plots(&self) -> PathBuf {
        self.path.join("plots")
    }

    /// `verdicts.parquet`.
    pub fn verdicts_file(&self) -> PathBuf {
        self.path.join("verdicts.parquet")
    }

    /// The link to a step's artifact folder, `steps/<id>`; outputs with a name are folders inside it.
    pub fn step(&self, id: &str) -> PathBuf {
        self.path.join("steps").join(id)
    }

    /// The artifact folder of a recorded step in the store.
    pub fn artifact(&self, step: &StepRecord) -> PathBuf {
        self.store.join(&step.location)
    }

    /// Reads `run.json`; one that a newer program wrote is refused by name, and one whose steps' artifacts lie outside the
    /// store is none.
    pub fn load(&self) -> io::Result<RunRecord> {
        let file = self.record_file();
        let text = fs::read(&file)?;
        if let Some(format) = newer_format(&text, FORMAT) {
            return Err(io::Error::other(Error::newer(&file, format, FORMAT)));
        }
        let record: RunRecord = serde_json::from_slice(&text)?;
        match record
            .steps
            .iter()
            .find(|step| !is_inside(&step.location) || !is_inside(&step.id))
        {
            None => Ok(record),
            Some(step) => Err(io::Error::other(format!(
                "step `{}` lies outside the store",
                step.id
            ))),
        }
    }

    /// Writes `run.json`; readers see the old one or the new one, never a part.
    pub fn save(&self, record: &RunRecord) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        disk::write_atomically(&self.record_file(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        RunRecord {
            format: FORMAT,
            id: "20260102-030405-0a0b".into(),
            experiment: "e".into(),
            title: None,
            file: "e.toml".into(),
            started: "2026-01-02T03:04:05Z".into(),
            finished: None,
            status: Status::Running,
            version: "0".into(),
            device: "cpu".into(),
            cpu: "x".into(),
            steps: vec![StepRecord {
                id: "student[uniform]".into(),
                location: "train.lm/ab".into(),
                measures: [("loss".to_owned(), 0.1)].into(),
                ..StepRecord::default()
            }],
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn a_record_reads_back_as_written_and_leaves_no_sibling() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::new(home.path(), "20260102-030405-0a0b");
        fs::create_dir_all(&folder.path).unwrap();
        folder.save(&record()).unwrap();
        folder.save(&record()).unwrap();
        assert_eq!(folder.load().unwrap(), record());
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1);
    }
}
