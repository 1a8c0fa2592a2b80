//! Finding artifacts.

use super::attempt::{self, Attempt};
use super::lock::{Lock, Owner};
use super::manifest::Manifest;
use lyceum_components::{Artifact, Error, Result, disk};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder everything is kept in: `LYCEUM_HOME`, else `.lyceum` in the root.
pub fn home(root: &Path) -> PathBuf {
    match std::env::var_os("LYCEUM_HOME") {
        Some(home) if !home.is_empty() => root.join(home),
        _ => root.join(".lyceum"),
    }
}

/// Component, key and output of a location.
fn parts(location: &str) -> [&str; 3] {
    let mut parts = location.splitn(3, '/');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The store of one home folder. Nothing is created before it is needed.
#[derive(Debug, Clone)]
pub struct Store {
    home: PathBuf,
}

impl Store {
    /// The store in `home`.
    pub fn new(home: PathBuf) -> Self {
        Self { home }
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder that locations are relative to.
    pub fn path(&self) -> PathBuf {
        self.home.join("store")
    }

    /// The location of an artifact: its place relative to [`Store::path`].
    pub fn location(component: &str, key: &str, output: &str) -> String {
        if output.is_empty() {
            format!("{component}/{key}")
        } else {
            format!("{component}/{key}/{output}")
        }
    }

    /// The folder of the artifact.
    pub fn folder(&self, component: &str, key: &str) -> PathBuf {
        self.path().join(component).join(key)
    }

    /// The folder for partial work on the artifact, which survives a restart.
    pub fn scratch(&self, key: &str) -> PathBuf {
        self.home.join("scratch").join(key)
    }

    /// The manifest, if the artifact is there and whole: cheap, it looks at sizes and not at contents.
    pub fn find(&self, component: &str, key: &str) -> Option<Manifest> {
        let folder = self.folder(component, key);
        let manifest = Manifest::read(&folder).ok()?;
        (manifest.key == key && manifest.fits(&folder)).then_some(manifest)
    }

    /// Refuses an artifact whose manifest a newer program wrote (`unknown_format`): it is neither read nor replaced.
    pub fn refuse_newer(&self, component: &str, key: &str) -> Result<()> {
        Manifest::refuse_newer(&self.folder(component, key))
    }

    /// The manifest of the artifact at a location. `missing_artifact`.
    pub fn manifest_at(&self, location: &str) -> Result<Manifest> {
        let [component, key, output] = parts(location);
        // Locations are also read from artifacts' headers: nothing outside the store may be named.
        let plain = [component, key, output]
            .iter()
            .all(|part| !part.starts_with('.') && !part.contains(['/', '\\']));
        let manifest = plain.then(|| self.find(component, key)).flatten();
        manifest.ok_or_else(|| {
            Error::data(
                "missing_artifact",
                format!("the artifact `{location}` is not in the store, or not whole"),
            )
            .hint("run again: what is missing is made anew")
        })
    }

    /// Opens the artifact at a location, under the name that the experiment has for it.
    pub fn open(&self, location: &str, label: &str) -> Result<Artifact> {
        self.manifest_at(location)?;
        let [component, key, output] = parts(location);
        let folder = self.folder(component, key).join(output);
        let real = |path: &Path| path.canonicalize().map_err(Error::io("cannot read", path));
        if !real(&folder)?.starts_with(real(&self.path())?) {
            return Err(Error::data(
                "outside_store",
                format!("the artifact `{location}` is a link out of the store"),
            )
            .in_file(&folder)
            .hint(
                "put the artifact itself into the store, or delete the link: the next run makes it again",
            ));
        }
        Artifact::open(&folder, location, label)
    }

    /// Every manifest of a component that can be read, in the order of keys.
    pub fn manifests(&self, component: &str) -> Vec<Manifest> {
        let Ok(entries) = fs::read_dir(self.path().join(component)) else {
            return Vec::new();
        };
        let mut folders: Vec<_> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .map(|entry| entry.path())
            .collect();
        folders.sort();
        folders.iter().flat_map(|folder| Manifest::read(folder)).collect()
    }

    /// Takes the lock of an artifact and clears away what dead processes left beside it. See [`Lock::acquire`].
    pub fn lock<E: From<io::Error>>(
        &self,
        component: &str,
        key: &str,
        wait: impl FnMut(Option<&Owner>) -> Result<(), E>,
    ) -> Result<Lock, E> {
        let folder = self.path().join(component);
        disk::create_dir_all(&folder)?;
        let lock = Lock::acquire(&attempt::lock_file(&folder, key), wait)?;
        attempt::clear_leftovers(&folder, key);
        Ok(lock)
    }

    /// Makes a private folder to write the artifact into. The caller holds the lock.
    pub fn attempt(&self, component: &str, key: &str) -> io::Result<Attempt> {
        Attempt::new(&self.path().join(component), key)
    }
}
