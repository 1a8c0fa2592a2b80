//! Freeing what nobody needs, one key at a time, under its lock.

use super::attempt::{ATTEMPT, BROKEN, lock_file, unique};
use super::{Lock, Manifest, Owner, Store, lock};
use lyceum_components::disk;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The lock under which the store is freed.
const FREEING: &str = ".lock-freeing";

/// Something in the home folder that can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// What it is.
    pub kind: GarbageKind,
    /// Where it lies, relative to the home folder.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Why something can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GarbageKind {
    /// An artifact that no run needs.
    Artifact,
    /// A folder in an artifact's place that is none, or not whole.
    Broken,
    /// What a dead process was writing or removing.
    Leftover,
    /// Checkpoints and partial work of a step that is done, or that no run will go on with.
    Scratch,
}

impl GarbageKind {
    /// The words in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artifact => "artifacts that no run needs",
            Self::Broken => "artifacts that are not whole",
            Self::Leftover => "leftovers of dead processes",
            Self::Scratch => "partial work that no run goes on with",
        }
    }
}

impl Store {
    /// The lock of whoever frees the store; waits for another.
    pub fn freeing(&self) -> io::Result<Lock> {
        disk::create_dir_all(&self.path())?;
        Lock::acquire(&self.path().join(FREEING), |_| Ok(()))
    }

    /// Waits while somebody frees the store who may not know what this process has just said that it needs; whoever
    /// begins later knows. `wait` is called now and then, and ends the waiting with its error.
    pub fn wait_until_freed<E: From<io::Error>>(
        &self,
        mut wait: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let file = self.path().join(FREEING);
        if lock::is_held(&file) {
            drop(Lock::acquire(&file, |_| wait())?);
        }
        Ok(())
    }

    /// Everything that can go if only the artifacts at `needed` (`<component>/<key>`) are kept. What a living process
    /// has locked is passed over.
    pub fn garbage(&self, needed: &BTreeSet<String>) -> io::Result<Vec<Garbage>> {
        let mut found = Vec::new();
        let (mut busy, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        for location in needed {
            wanted.extend(location.rsplit('/').next().map(str::to_owned));
        }
        for component in folders(&self.path())? {
            for entry in folders(&component)? {
                let key = file_name(&entry);
                let kind = self.kind_of(&component, &key, needed);
                found.extend(kind.map(|kind| (kind, entry)));
            }
            for entry in fs::read_dir(&component)?.flatten() {
                if let Some(key) = entry.file_name().to_string_lossy().strip_prefix(".lock-")
                    && lock::is_held(&entry.path())
                {
                    busy.insert(key.to_owned());
                }
            }
        }
        let components = folders(&self.path())?;
        for folder in folders(&self.home().join("scratch"))? {
            let key = file_name(&folder);
            let done = components.iter().any(|component| component.join(&key).exists());
            if !busy.contains(&key) && (done || !wanted.contains(&key)) {
                found.push((GarbageKind::Scratch, folder));
            }
        }
        let mut all: Vec<Garbage> = found
            .into_iter()
            .map(|(kind, path)| Garbage {
                kind,
                bytes: size(&path),
                path: path
                    .strip_prefix(self.home())
                    .map_or(path.clone(), Path::to_path_buf),
            })
            .collect();
        all.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
        Ok(all)
    }

    /// What the folder called `key` in a component's folder is, if it can go.
    fn kind_of(&self, component: &Path, key: &str, needed: &BTreeSet<String>) -> Option<GarbageKind> {
        let held = |key: &str| lock::is_held(&lock_file(component, key));
        let name = file_name(component);
        if let Some(rest) = key.strip_prefix(ATTEMPT) {
            let owner = rest.split('-').next().unwrap_or_default();
            return (!held(owner)).then_some(GarbageKind::Leftover);
        }
        if key.starts_with(BROKEN) {
            return Some(GarbageKind::Leftover);
        }
        if key.starts_with('.') || held(key) {
            return None;
        }
        if self.find(&name, key).is_none() {
            return Some(GarbageKind::Broken);
        }
        (!needed.contains(&format!("{name}/{key}"))).then_some(GarbageKind::Artifact)
    }

    /// Takes a piece of garbage away, unless a process has come to be at it or `still_needed` says that a run has come to
    /// need it. Says whether it went. Readers see all of an artifact or nothing: it is renamed first.
    pub fn free(&self, garbage: &Garbage, still_needed: impl Fn() -> bool) -> io::Result<bool> {
        let path = self.home().join(&garbage.path);
        let key = file_name(&path);
        match (garbage.kind, path.parent()) {
            (GarbageKind::Artifact | GarbageKind::Broken, Some(component)) => {
                self.remove_artifact(&file_name(component), &key, still_needed)
            }
            (GarbageKind::Scratch, _) if still_needed() => Ok(false),
            _ => fs::remove_dir_all(&path).map(|()| true),
        }
    }

    /// Removes the artifact of a key under its lock; see [`Store::free`].
    pub(super) fn remove_artifact(
        &self,
        component: &str,
        key: &str,
        still_needed: impl Fn() -> bool,
    ) -> io::Result<bool> {
        let component = self.path().join(component);
        let _lock = match Lock::acquire(&lock_file(&component, key), held) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if still_needed() {
            return Ok(false);
        }
        let (path, aside) = (
            component.join(key),
            component.join(format!("{BROKEN}{}", unique())),
        );
        disk::rename(&path, &aside)?;
        // A run says what it needs before it looks: whoever found the artifact until now has said so, and gets it back.
        if still_needed() {
            disk::rename(&aside, &path)?;
            return Ok(false);
        }
        fs::remove_dir_all(&aside)?;
        Ok(true)
    }

    /// Every artifact's component and key, in order, with its manifest if that can be read.
    pub fn artifacts(&self) -> io::Result<Vec<(String, String, Option<Manifest>)>> {
        let mut all = Vec::new();
        for component in folders(&self.path())? {
            for folder in folders(&component)? {
                let key = file_name(&folder);
                if !key.starts_with('.') {
                    all.push((file_name(&component), key, Manifest::read(&folder).ok()));
                }
            }
        }
        Ok(all)
    }
}

fn held(_: Option<&Owner>) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Folders in a folder, sorted; none if it is not there.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.push(entry.path());
        }
    }
    all.sort();
    Ok(all)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Bytes of the files under a folder; what goes meanwhile counts nothing.
pub(crate) fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn who_needs_something_waits_for_whoever_frees_and_not_otherwise() {
        let home = tempfile::tempdir().expect("a folder");
        let store = Store::new(home.path().into());
        store
            .wait_until_freed(|| Err(io::Error::other("nobody frees")))
            .expect("goes on at once");
        let freeing = store.freeing().expect("a lock");
        let error = store.wait_until_freed(|| Err(io::Error::other("enough")));
        assert_eq!(error.expect_err("it is being freed").to_string(), "enough");
        let (looked, looks) = mpsc::channel();
        std::thread::scope(|threads| {
            let store = &store;
            let waiting =
                threads.spawn(move || store.wait_until_freed(|| looked.send(()).map_err(io::Error::other)));
            looks.recv().expect("it waits");
            assert!(!waiting.is_finished());
            drop(freeing);
            waiting.join().expect("no panic").expect("goes on");
        });
    }
}
