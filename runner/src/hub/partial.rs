//! What a download has fetched so far: a folder beside the one that comes to be.
//!
//! `.NAME.download/` holds `download.json` (what is fetched), `lock`, `FILE.part` (a file that has begun) and `files/` (those
//! that are whole and checked). At the end `files` is renamed to `NAME`.

use super::Wanted;
use crate::store::sync_tree;
use lyceum_components::{Error, Result, disk};
use serde::{Deserialize, Serialize};
use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};

const STATE: &str = "download.json";
const LOCK: &str = "lock";

/// What is fetched.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    endpoint: String,
    repository: String,
    revision: String,
}

/// The folder of a download, held by this process.
pub(super) struct Partial {
    folder: PathBuf,
    to: PathBuf,
    /// Held until the end.
    _lock: fs::File,
}

impl Partial {
    /// Goes on with the folder of an earlier try of the same download, or begins one.
    ///
    /// # Errors
    /// `busy`: another process downloads to the same place. `not_ours`: something else has the folder's name.
    pub(super) fn open(wanted: &Wanted) -> Result<Self> {
        let name = wanted.to.file_name().unwrap_or_default().to_string_lossy();
        let folder = wanted.to.with_file_name(format!(".{name}.download"));
        disk::create_dir_all(&folder).map_err(Error::io("cannot make", &folder))?;
        let lock = folder.join(LOCK);
        let fresh = !lock.exists() && !folder.join(STATE).exists();
        if fresh && list(&folder)?.next().is_some() {
            let message = "a download keeps here what it has fetched, but this folder is something else";
            return Err(Error::data("not_ours", message)
                .in_file(&folder)
                .hint("move it, or take another `--to`"));
        }
        let opened = fs::File::options().create(true).append(true).open(&lock);
        let held = opened.map_err(Error::io("cannot open", &lock))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(
                    Error::data("busy", "another process is downloading to this place")
                        .in_file(&folder)
                        .hint("wait for it, or take another `--to`"),
                );
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("cannot lock", &lock)(error)),
        }
        let partial = Self {
            folder,
            to: wanted.to.clone(),
            _lock: held,
        };
        partial.begin(&State {
            endpoint: wanted.endpoint.to_string(),
            repository: wanted.repository.to_string(),
            revision: wanted.revision.to_string(),
        })?;
        Ok(partial)
    }

    fn begin(&self, state: &State) -> Result<()> {
        let file = self.folder.join(STATE);
        let there: Option<State> = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        if there.as_ref() == Some(state) {
            crate::cli::say("going on with what an earlier try has fetched");
        } else {
            self.clear()?;
            let text = serde_json::to_vec_pretty(state).expect("a state is plain data");
            disk::write_atomically(&file, text).map_err(Error::io("cannot write", &file))?;
        }
        let files = self.files();
        disk::create_dir_all(&files).map_err(Error::io("cannot make", &files))
    }

    /// Removes what was fetched of something else.
    fn clear(&self) -> Result<()> {
        for path in list(&self.folder)?.filter(|path| !path.ends_with(LOCK)) {
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(Error::io("cannot remove", &path))?;
        }
        Ok(())
    }

    /// Where files lie that are whole.
    pub(super) fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Where a file lies that has begun.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.part"))
    }

    /// Bytes of a file that are there.
    pub(super) fn fetched(&self, name: &str) -> u64 {
        let there = [self.files().join(name), self.part(name)];
        let sizes = there
            .iter()
            .filter_map(|file| Some(fs::metadata(file).ok()?.len()));
        sizes.max().unwrap_or_default()
    }

    /// Makes the files the folder that was asked for, in one step.
    pub(super) fn publish(self) -> Result<()> {
        let files = self.files();
        sync_tree(&files).map_err(Error::io("cannot sync", &files))?;
        // An empty folder gives way.
        let _ = fs::remove_dir(&self.to);
        disk::rename(&files, &self.to).map_err(Error::io("cannot make", &self.to))?;
        let above = self.folder.parent().filter(|above| !above.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        disk::sync(above).map_err(Error::io("cannot sync", above))?;
        // What is left says nothing any more.
        let _ = fs::remove_dir_all(&self.folder);
        Ok(())
    }
}

fn list(folder: &Path) -> Result<impl Iterator<Item = PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("cannot read", folder))?;
    Ok(entries.flatten().map(|entry| entry.path()))
}
