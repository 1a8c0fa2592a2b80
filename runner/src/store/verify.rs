//! Checking every stored byte against its hash.

use super::attempt::lock_file;
use super::manifest::{FORMAT, MANIFEST, Manifest};
use super::sync::hash_file;
use super::{Store, key, lock};
use lyceum_components::Artifact;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;
use std::{fs, io};

/// Something about an artifact that is not as it was published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damage {
    /// The artifact: `<component>/<key>`.
    pub location: String,
    /// The file in it, with `/`; empty for the whole.
    pub file: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A file's content is not what was written.
    Damaged,
    /// A file is gone.
    Missing,
    /// A file was added. It harms nothing.
    Extra,
    /// The manifest cannot be read, or is of another artifact.
    BadManifest,
    /// It speaks of another artifact than the one that has that place now.
    OtherSource,
}

impl Problem {
    /// The words in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Extra => "extra file",
            Self::BadManifest => "bad manifest",
            Self::OtherSource => "speaks of an artifact that has changed",
        }
    }

    /// Whether the artifact must not be used.
    pub const fn is_damage(self) -> bool {
        !matches!(self, Self::Extra)
    }
}

/// What was looked at, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Artifacts looked at.
    pub artifacts: usize,
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// What was found, in the order of locations.
    pub found: Vec<Damage>,
}

impl Store {
    /// Reads every file of every artifact. Artifacts that a process has locked are being written, and passed over.
    pub fn verify(&self) -> io::Result<Verified> {
        let queue = Mutex::new(self.artifacts()?.into_iter());
        let threads = crate::device::threads();
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut part = Verified::default();
                        loop {
                            let next = queue.lock().ok().and_then(|mut queue| queue.next());
                            let Some((component, key, manifest)) = next else {
                                return part;
                            };
                            self.verify_one(&component, &key, manifest.as_ref(), &mut part);
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(ScopedJoinHandle::join)
                .collect::<Vec<_>>()
        });
        let mut all = Verified::default();
        for part in parts {
            let part = part.map_err(|_| io::Error::other("a thread that read files panicked"))?;
            all.artifacts += part.artifacts;
            all.files += part.files;
            all.bytes += part.bytes;
            all.found.extend(part.found);
        }
        all.found.sort();
        Ok(all)
    }

    fn verify_one(&self, component: &str, key: &str, manifest: Option<&Manifest>, seen: &mut Verified) {
        let folder = self.folder(component, key);
        if lock::is_held(&lock_file(&self.path().join(component), key)) {
            return;
        }
        seen.artifacts += 1;
        let location = format!("{component}/{key}");
        let mut note = |file: &str, problem| {
            seen.found.push(Damage {
                location: location.clone(),
                file: file.to_owned(),
                problem,
            });
        };
        let own = manifest.filter(|manifest| {
            manifest.format == FORMAT
                && manifest.component == component
                && manifest.key == key
                && key::key(&manifest.request) == key
        });
        let Some(manifest) = own else {
            return note(MANIFEST, Problem::BadManifest);
        };
        for file in &manifest.files {
            match hash_file(&folder.join(&file.path)) {
                Ok((bytes, hash)) => {
                    seen.files += 1;
                    seen.bytes += bytes;
                    if hash != file.blake3 {
                        note(&file.path, Problem::Damaged);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => note(&file.path, Problem::Missing),
                Err(_) => note(&file.path, Problem::Damaged),
            }
        }
        let known: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        for file in files(&folder, "") {
            if file != MANIFEST && !known.contains(file.as_str()) {
                note(&file, Problem::Extra);
            }
        }
        for output in &manifest.outputs {
            if self.speaks_of_another(&folder.join(output)) {
                note(output, Problem::OtherSource);
            }
        }
    }

    /// Whether the artifact is a view of something that stands in the store with another fingerprint.
    fn speaks_of_another(&self, folder: &Path) -> bool {
        let source = Artifact::open(folder, "", "")
            .ok()
            .and_then(|view| view.header.source);
        source.is_some_and(|source| {
            let there = self.open(&source.location, &source.location);
            there.is_ok_and(|artifact| artifact.header.fingerprint != source.fingerprint)
        })
    }

    /// Takes an artifact away, so that the next run makes it anew. Says whether it went: a process may be at it.
    pub fn remove(&self, location: &str) -> io::Result<bool> {
        let (component, key) = location.split_once('/').unwrap_or((location, ""));
        self.remove_artifact(component, key, || false)
    }
}

/// Files under a folder, as paths relative to it with `/`, sorted.
fn files(folder: &Path, inside: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{inside}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(files(&entry.path(), &format!("{name}/")));
        } else {
            all.push(name);
        }
    }
    all.sort();
    all
}
