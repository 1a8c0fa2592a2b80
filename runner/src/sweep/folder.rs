//! Where a sweep keeps its state: `.lyceum/sweeps/<experiment>/`, one folder a point.

use crate::execute::Status;
use lyceum_components::disk;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The layout of `point.json` that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The folder of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepFolder {
    /// `.lyceum/sweeps/<experiment>`.
    pub path: PathBuf,
}

impl SweepFolder {
    /// The folder of the sweeps of an experiment under `home` (`.lyceum`). Touches nothing.
    pub fn new(home: &Path, experiment: &str) -> Self {
        Self {
            path: home.join("sweeps").join(experiment),
        }
    }

    /// The folder of a point.
    pub fn point(&self, id: &str) -> PointFolder {
        PointFolder {
            path: self.path.join("points").join(id),
        }
    }

    /// `results.parquet`.
    pub fn parquet_file(&self) -> PathBuf {
        self.path.join("results.parquet")
    }

    /// `results.csv`.
    pub fn csv_file(&self) -> PathBuf {
        self.path.join("results.csv")
    }

    /// `report.md`.
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.md")
    }

    /// `plots/`.
    pub fn plots(&self) -> PathBuf {
        self.path.join("plots")
    }
}

/// The folder of one point: `point.toml`, `point.json`, and what its last run wrote to `stdout` and `stderr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointFolder {
    /// `points/<id>`.
    pub path: PathBuf,
}

/// What `point.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointRecord {
    /// Version of this layout.
    pub format: u32,
    /// Name of the point and of its folder.
    pub id: String,
    /// What it sets, by path.
    pub settings: BTreeMap<String, Value>,
    /// Its seed.
    pub seed: u64,
    /// How it stands.
    pub status: Status,
    /// The run that did it.
    pub run: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How long its run took.
    pub wall_seconds: f64,
}

impl PointFolder {
    /// The experiment of this point, resolved; it runs as it is.
    pub fn spec_file(&self) -> PathBuf {
        self.path.join("point.toml")
    }

    /// `point.json`.
    pub fn record_file(&self) -> PathBuf {
        self.path.join("point.json")
    }

    /// The lock of whoever is at it.
    pub fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// Reads `point.json`; none where it is missing, damaged or of another version, for it can be made again.
    pub fn load(&self) -> Option<PointRecord> {
        let text = fs::read(self.record_file()).ok()?;
        let record: PointRecord = serde_json::from_slice(&text).ok()?;
        (record.format == FORMAT).then_some(record)
    }

    /// When `point.json` was written.
    pub fn noted(&self) -> Option<SystemTime> {
        fs::metadata(self.record_file())
            .and_then(|meta| meta.modified())
            .ok()
    }

    /// Writes `point.json` in one step.
    pub fn save(&self, record: &PointRecord) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(record).map_err(io::Error::other)?;
        disk::write_atomically(&self.record_file(), text)
    }

    /// Writes `point.toml`, unless it says the same already.
    pub fn write_spec(&self, text: &str) -> io::Result<()> {
        let file = self.spec_file();
        if fs::read(&file).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        disk::create_dir_all(&self.path)?;
        disk::write_atomically(&file, text)
    }
}
