//! Writing an artifact: in a private folder first, published by one rename.

use super::lock;
use super::manifest::{MANIFEST, Manifest};
use super::sync::{sync_and_hash, sync_folders};
use super::{FileEntry, manifest};
use lyceum_components::disk;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How the names of folders begin that are being written.
pub(super) const ATTEMPT: &str = ".attempt-";
/// How the names of folders begin that are being removed.
pub(super) const BROKEN: &str = ".broken-";

/// A folder an artifact is being written into; removed when dropped unpublished.
#[derive(Debug)]
pub struct Attempt {
    folder: PathBuf,
    target: PathBuf,
}

impl Attempt {
    pub(super) fn new(component: &Path, key: &str) -> io::Result<Self> {
        let folder = component.join(format!("{ATTEMPT}{key}-{}", unique()));
        disk::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            target: component.join(key),
        })
    }

    /// Where to write.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Publishes what was written: files are synced and listed in `manifest`, which is written last; one rename makes all
    /// of it visible. If the artifact was published meanwhile, that one stands and its manifest is given.
    pub fn publish(self, mut manifest: Manifest) -> io::Result<Manifest> {
        let mut files = Vec::new();
        for path in sync_folders(&self.folder)? {
            let (bytes, blake3) = sync_and_hash(&self.folder.join(&path))?;
            files.push(FileEntry {
                path: path.to_string_lossy().replace('\\', "/"),
                bytes,
                blake3,
            });
        }
        manifest.format = manifest::FORMAT;
        manifest.files = files;
        let text = serde_json::to_vec_pretty(&manifest).map_err(io::Error::other)?;
        let listing = self.folder.join(MANIFEST);
        disk::write(&listing, text)?;
        disk::sync(&listing)?;
        disk::sync(&self.folder)?;

        match disk::rename(&self.folder, &self.target) {
            Err(_) if self.target.exists() => match Manifest::read(&self.target) {
                Ok(first) if first.fits(&self.target) => return Ok(first),
                _ => self.replace()?, // what stands there is damaged
            },
            done => done?,
        }
        if let Some(parent) = self.target.parent() {
            disk::sync(parent)?;
        }
        Ok(manifest)
    }

    fn replace(&self) -> io::Result<()> {
        let aside = self.target.with_file_name(format!("{BROKEN}{}", unique()));
        disk::rename(&self.target, &aside)?;
        disk::rename(&self.folder, &self.target)?;
        // If it cannot go now, the next run in this folder removes it.
        let _ = fs::remove_dir_all(&aside);
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        // After publishing there is nothing left here.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A suffix that no other process or attempt has.
pub(super) fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// The lock of an artifact, beside its folder.
pub(super) fn lock_file(component: &Path, key: &str) -> PathBuf {
    component.join(format!(".lock-{key}"))
}

/// Removes attempts whose process is gone: those of `key`, whose lock the caller holds, and those without a lock. Every
/// attempt is made under a lock and removed before it. Failing to clean is no reason to stop.
pub(super) fn clear_leftovers(component: &Path, key: &str) {
    let Ok(entries) = fs::read_dir(component) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let dead = match name.strip_prefix(ATTEMPT).and_then(|rest| rest.split('-').next()) {
            Some(other) => other == key || !lock::is_held(&lock_file(component, other)),
            None => name.starts_with(BROKEN),
        };
        if dead {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cost, MadeBy, Store};
    use super::*;
    use serde_json::json;

    const NAME: &str = "corpus.text";

    fn manifest(key: &str) -> Manifest {
        Manifest {
            format: 0,
            component: NAME.into(),
            version: 1,
            key: key.into(),
            request: json!({}),
            inputs: Vec::new(),
            outputs: vec![String::new()],
            made_by: MadeBy {
                lyceum: "0".into(),
                device: "cpu".into(),
                cpu_features: Vec::new(),
            },
            cost: Cost::default(),
            files: Vec::new(),
        }
    }

    fn written(store: &Store, key: &str, text: &str) -> Attempt {
        let attempt = store.attempt(NAME, key).unwrap();
        fs::create_dir(attempt.folder().join("train")).unwrap();
        fs::write(attempt.folder().join("train/data.txt"), text).unwrap();
        attempt
    }

    #[test]
    fn an_artifact_appears_whole_and_the_first_one_stands() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().into());
        let first = written(&store, "aa", "one");
        let second = written(&store, "aa", "other");
        assert!(store.find(NAME, "aa").is_none());
        let made = first.publish(manifest("aa")).unwrap();
        assert_eq!(made.files[0].path, "train/data.txt");
        assert_eq!(made.files[0].blake3, blake3::hash(b"one").to_hex().to_string());
        assert_eq!(second.publish(manifest("aa")).unwrap(), made);
        assert_eq!(store.find(NAME, "aa"), Some(made));
        assert_eq!(fs::read_dir(store.path().join(NAME)).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_artifact_is_not_found_and_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().into());
        written(&store, "aa", "one").publish(manifest("aa")).unwrap();
        fs::write(store.folder(NAME, "aa").join("train/data.txt"), "o").unwrap();
        assert!(store.find(NAME, "aa").is_none());
        assert_eq!(
            store.open(&format!("{NAME}/aa"), "x").unwrap_err().code(),
            "missing_artifact"
        );
        written(&store, "aa", "one").publish(manifest("aa")).unwrap();
        assert!(store.find(NAME, "aa").is_some());
    }

    #[test]
    fn locations_cannot_leave_the_store() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().into());
        for location in ["../x", "a/../b", "a/b/../../c", "/etc/passwd", ""] {
            assert_eq!(
                store.open(location, "x").unwrap_err().code(),
                "missing_artifact",
                "{location}"
            );
        }
    }

    #[test]
    fn leftovers_of_dead_attempts_go_and_those_of_living_ones_stay() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().into());
        let never = |_: Option<&super::super::Owner>| Ok::<_, io::Error>(());
        let living = store.lock(NAME, "bb", never).unwrap();
        let attempt = written(&store, "bb", "one");
        std::mem::forget(written(&store, "cc", "left behind"));
        std::mem::forget(written(&store, "dd", "left behind"));
        let lock = store.lock(NAME, "cc", never).unwrap();
        let names: Vec<_> = fs::read_dir(store.path().join(NAME))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(ATTEMPT))
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(attempt.folder().exists());
        drop((living, lock));
    }
}
