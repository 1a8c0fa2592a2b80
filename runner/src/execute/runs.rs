//! Finding runs by name. Names of folders suffice: no record is read but the one that is found.

use super::record::{RunFolder, RunRecord};
use lyceum_components::disk;
use std::fs;
use std::path::Path;

/// The name that always means the newest run, and of the link to its folder.
pub const LATEST: &str = "latest";

/// Names of every run's folder, oldest first.
pub fn ids(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home.join("runs")).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|id| !id.starts_with('.'))
        .collect();
    ids.sort();
    ids
}

/// The last runs that can be read, at most `count`, latest first.
pub fn last(home: &Path, count: usize) -> Vec<RunRecord> {
    let ids = ids(home);
    let latest = ids.iter().rev();
    latest
        .filter_map(|id| RunFolder::new(home, id).load().ok())
        .take(count)
        .collect()
}

/// The run called `name`: an id, the beginning of just one id, or `latest`.
///
/// # Errors
/// What to write instead.
pub fn find(home: &Path, name: &str) -> Result<(RunFolder, RunRecord), String> {
    let ids = ids(home);
    let open = |id: &String| {
        let folder = RunFolder::new(home, id);
        folder.load().map(|record| (folder, record))
    };
    if name == LATEST {
        let newest = ids.iter().rev().find_map(|id| open(id).ok());
        return newest.ok_or_else(|| "there are no runs yet".to_owned());
    }
    let matching: Vec<&String> = match ids.iter().find(|id| *id == name) {
        Some(exact) => vec![exact],
        None => ids.iter().filter(|id| id.starts_with(name)).collect(),
    };
    match matching[..] {
        [only] => open(only).map_err(|error| format!("the record of run `{only}` cannot be read: {error}")),
        [] => Err(format!("no run `{name}`; `lyceum runs` lists them")),
        _ => Err(format!(
            "{} runs begin with `{name}`; give more of the id",
            matching.len()
        )),
    }
}

/// Makes `runs/latest` lead to the run called `id`. It is a convenience: nothing here reads it, it need not survive a
/// crash, and a file system without links goes without.
pub(super) fn point_latest(home: &Path, id: &str) {
    #[cfg(unix)]
    {
        let runs = home.join("runs");
        let draft = runs.join(format!(".{LATEST}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        if disk::symlink(Path::new(id), &draft).is_ok() {
            let _ = disk::rename(&draft, &runs.join(LATEST)).inspect_err(|_| drop(fs::remove_file(&draft)));
        }
    }
    #[cfg(not(unix))]
    let _ = (home, id);
}
