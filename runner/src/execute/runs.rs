//! Finding runs.

use super::record::{RunFolder, RunRecord};
use std::path::Path;

/// Every run of a home folder that can be read, oldest first.
pub fn all(home: &Path) -> Vec<(RunFolder, RunRecord)> {
    let read = |id: String| {
        let folder = RunFolder::new(home, &id);
        folder.load().ok().map(|record| (folder, record))
    };
    ids(home).into_iter().filter_map(read).collect()
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

/// Names of the folders of runs, oldest first.
fn ids(home: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(home.join("runs"))
        .into_iter()
        .flatten()
        .flatten();
    let mut ids: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids
}

/// The run called `name`: an id, the beginning of just one id, or `latest`.
///
/// # Errors
/// What to write instead.
pub fn find(home: &Path, name: &str) -> Result<(RunFolder, RunRecord), String> {
    let mut runs = all(home);
    if name == "latest" {
        return runs.pop().ok_or_else(|| "there are no runs yet".to_owned());
    }
    let matching: Vec<usize> = (0..runs.len())
        .filter(|&i| runs[i].1.id.starts_with(name))
        .collect();
    match matching[..] {
        [only] => Ok(runs.swap_remove(only)),
        [] => Err(format!("no run `{name}`; `lyceum runs` lists them")),
        _ => Err(format!(
            "{} runs begin with `{name}`; give more of the id",
            matching.len()
        )),
    }
}
