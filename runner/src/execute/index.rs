//! One line a run in `.lyceum/runs.jsonl`, so that listing ten thousand runs reads one file.
//!
//! A line counts only as long as the run's record has the size and time of change it was made from. Whatever is missing,
//! old or damaged is read from the records again: the file may be deleted at any time.

use super::record::{RunFolder, RunRecord, Status};
use lyceum_components::disk;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// More than this is no index that this program wrote: a million runs.
const MOST_BYTES: u64 = 1 << 29;

/// A run in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Name of the run and of its folder.
    pub id: String,
    /// `[experiment].name`.
    pub experiment: String,
    /// How it stands.
    pub status: Status,
    /// When it started: RFC 3339, in UTC.
    pub started: String,
    /// When it ended.
    pub finished: Option<String>,
    /// Steps it has a record of.
    pub steps: usize,
    /// Those of them that were in the store already.
    pub cached: usize,
}

impl Summary {
    fn of(record: &RunRecord) -> Self {
        Self {
            id: record.id.clone(),
            experiment: record.experiment.clone(),
            status: record.status,
            started: record.started.clone(),
            finished: record.finished.clone(),
            steps: record.steps.len(),
            cached: record.steps.iter().filter(|step| step.cached).count(),
        }
    }
}

/// What a record's file looked like when its line was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    modified_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    stamp: Stamp,
    run: Summary,
}

/// Every run of a home folder whose record can be read, oldest first.
pub fn list(home: &Path) -> Vec<Summary> {
    let file = index_file(home);
    let mut known = read(&file);
    let before = known.len();
    let mut changed = false;
    let mut lines = Vec::new();
    for id in super::runs::ids(home) {
        let folder = RunFolder::new(home, &id);
        let Some(stamp) = stamp(&folder.record_file()) else {
            continue;
        };
        let line = match known.remove(&id) {
            Some(line) if line.stamp == stamp => line,
            _ => {
                changed = true;
                let record = match folder.load() {
                    Ok(record) => record,
                    Err(error) => {
                        crate::cli::say(&format!("note: the run {id} cannot be read: {error}"));
                        continue;
                    }
                };
                // A folder that was copied or renamed goes by its own name.
                let run = Summary {
                    id,
                    ..Summary::of(&record)
                };
                Line { stamp, run }
            }
        };
        lines.push(line);
    }
    if changed || lines.len() != before {
        save(&file, &lines);
    }
    lines.into_iter().map(|line| line.run).collect()
}

fn index_file(home: &Path) -> PathBuf {
    home.join("runs.jsonl")
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    let since = metadata
        .modified()
        .ok()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Some(Stamp {
        bytes: metadata.len(),
        modified_ns: since.as_nanos() as u64,
    })
}

fn read(file: &Path) -> HashMap<String, Line> {
    if fs::metadata(file).map_or(true, |metadata| metadata.len() > MOST_BYTES) {
        return HashMap::new();
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.map(|line| (line.run.id.clone(), line)).collect()
}

/// Writes the index. A failure costs only time, so it is not reported.
fn save(file: &Path, lines: &[Line]) {
    let mut text = Vec::new();
    for line in lines {
        if serde_json::to_writer(&mut text, line).is_err() {
            return;
        }
        text.push(b'\n');
    }
    let _ = disk::write_atomically(file, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::record::FORMAT;

    fn write(home: &Path, id: &str, status: Status) {
        let folder = RunFolder::new(home, id);
        fs::create_dir_all(&folder.path).unwrap();
        let record = RunRecord {
            format: FORMAT,
            id: id.into(),
            experiment: "e".into(),
            title: None,
            file: "e.toml".into(),
            started: "2026-01-02T03:04:05Z".into(),
            finished: None,
            status,
            version: "0".into(),
            device: "cpu".into(),
            cpu: "x".into(),
            steps: Vec::new(),
            verdicts: Vec::new(),
        };
        folder.save(&record).unwrap();
    }

    fn ids(home: &Path) -> Vec<String> {
        list(home).into_iter().map(|run| run.id).collect()
    }

    #[test]
    fn only_changed_records_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        assert!(ids(home).is_empty() && !index_file(home).exists());
        write(home, "b", Status::Running);
        write(home, "a", Status::Done);
        assert_eq!(ids(home), ["a", "b"]);

        // What the index says of an unchanged record is believed.
        let text = fs::read_to_string(index_file(home)).unwrap();
        fs::write(index_file(home), text.replace("\"e\"", "\"believed\"")).unwrap();
        assert_eq!(list(home)[0].experiment, "believed");
        write(home, "b", Status::Interrupted);
        let now = list(home);
        assert_eq!(
            (now[1].experiment.as_str(), now[1].status),
            ("e", Status::Interrupted)
        );

        fs::remove_dir_all(RunFolder::new(home, "a").path).unwrap();
        assert_eq!(ids(home), ["b"]);
        assert_eq!(fs::read_to_string(index_file(home)).unwrap().lines().count(), 1);
    }

    #[test]
    fn a_damaged_index_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        write(home, "a", Status::Done);
        assert_eq!(ids(home), ["a"]);
        let whole = fs::read(index_file(home)).unwrap();
        for damage in [&whole[..whole.len() / 2], b"\xff\xfe", b"", b"null\n[]\n{}\n"] {
            fs::write(index_file(home), damage).unwrap();
            assert_eq!(ids(home), ["a"]);
            assert_eq!(fs::read(index_file(home)).unwrap(), whole);
        }
    }
}
