//! Which artifacts runs need, and which runs may go.

use super::clock::Moment;
use super::index;
use super::needs::Needs;
use super::record::{RunFolder, Status};
use super::runs::ids;
use crate::store::size;
use lyceum_components::disk;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// What the runs of a home folder need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// Locations of artifacts: `<component>/<key>`.
    pub locations: BTreeSet<String>,
    /// The runs that were asked.
    pub runs: BTreeSet<String>,
}

impl Needed {
    /// What every run but those in `without` needs.
    pub fn by_runs(home: &Path, without: &[Old]) -> Self {
        let mut needed = Self::default();
        for id in ids(home) {
            if !without.iter().any(|old| old.id == id) {
                needed.locations.extend(needs_of(home, &id));
            }
            needed.runs.insert(id);
        }
        needed
    }

    /// Whether a run that has started since needs the artifact of this key.
    pub fn newly(&self, home: &Path, key: &str) -> bool {
        let mut new = ids(home).into_iter().filter(|id| !self.runs.contains(id));
        new.any(|id| {
            let needs = needs_of(home, &id);
            needs.iter().any(|location| location.ends_with(key))
        })
    }
}

/// What one run needs: what it recorded and, until it is done, what it said that it would need. Of a run whose record
/// cannot be read, the artifacts that it links to.
fn needs_of(home: &Path, id: &str) -> BTreeSet<String> {
    let folder = RunFolder::new(home, id);
    let mut all = BTreeSet::new();
    let record = folder.load();
    match &record {
        Ok(record) => all.extend(record.steps.iter().map(|step| step.location.clone())),
        Err(_) => all.extend(linked(&folder)),
    }
    if !record.is_ok_and(|record| record.status == Status::Done) {
        all.extend(Needs::read(&folder).into_iter().flat_map(|needs| needs.locations));
    }
    all
}

fn linked(folder: &RunFolder) -> Vec<String> {
    let links = fs::read_dir(folder.path.join("steps"))
        .into_iter()
        .flatten()
        .flatten();
    let location = |link: fs::DirEntry| {
        let target = fs::read_link(link.path()).ok()?;
        let mut parts = target.iter().rev().filter_map(|part| part.to_str());
        let (key, component) = (parts.next()?, parts.next()?);
        Some(format!("{component}/{key}"))
    };
    links.filter_map(location).collect()
}

/// A run that may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Old {
    /// Its id.
    pub id: String,
    /// Bytes of its folder.
    pub bytes: u64,
}

/// The runs that may go if the last `keep` are kept (all where not given) and those that started within `days` days.
/// A run that may still be going on stays.
pub fn old_runs(home: &Path, keep: Option<usize>, days: Option<u64>) -> Vec<Old> {
    let runs = index::list(home);
    if keep.is_none() && days.is_none() {
        return Vec::new();
    }
    let before = runs.len().saturating_sub(keep.unwrap_or(0));
    let limit = days.map(|days| Moment::before_now(days.saturating_mul(86_400)).rfc3339());
    runs[..before]
        .iter()
        .filter(|run| limit.as_ref().is_none_or(|limit| run.started < *limit))
        .map(|run| (run, RunFolder::new(home, &run.id)))
        .filter(|(run, folder)| {
            run.status != Status::Running || Needs::read(folder).is_none_or(|needs| needs.owner.is_dead())
        })
        .map(|(run, folder)| Old {
            id: run.id.clone(),
            bytes: size(&folder.path),
        })
        .collect()
}

/// Removes a run's folder; a listing sees all of it or nothing.
pub fn remove_run(home: &Path, id: &str) -> io::Result<()> {
    let path = RunFolder::new(home, id).path;
    let aside = path.with_file_name(format!(".removed-{id}"));
    disk::rename(&path, &aside)?;
    fs::remove_dir_all(aside)
}
