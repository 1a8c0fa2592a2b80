//! The manifest of an artifact: what was asked, by what it was made, and every file with its size and hash.

use lyceum_components::format::newer_format;
use lyceum_components::lineage::Made;
use lyceum_components::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Component, Path};

/// Name of the manifest inside an artifact's folder.
pub(super) const MANIFEST: &str = "manifest.json";
/// The layout that this program writes and reads.
pub(super) const FORMAT: u32 = 1;
/// Manifests of real artifacts have kilobytes.
const LARGEST: u64 = 64 << 20;

/// What `manifest.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    /// The component.
    pub component: String,
    /// Its version.
    pub version: u32,
    /// The key.
    pub key: String,
    /// What was asked: the key is its hash.
    pub request: Value,
    /// Locations of the artifacts it was made from.
    pub inputs: Vec<String>,
    /// Names of the outputs; the main one's is empty.
    pub outputs: Vec<String>,
    /// By what it was made.
    pub made_by: MadeBy,
    /// What making it cost.
    pub cost: Cost,
    /// Every file but this one, by path.
    pub files: Vec<FileEntry>,
}

/// By what an artifact was made: what may change the last bits of numbers, but is not part of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// The program's version.
    pub lyceum: String,
    /// The device class, as in `cpu`.
    pub device: String,
    /// The processor's extensions that change how sums are ordered.
    pub cpu_features: Vec<String>,
}

/// What making an artifact cost; equal for equal requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Tokens processed.
    pub tokens: u64,
    /// FLOPs.
    pub flops: f64,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Hash of its content, in hex.
    pub blake3: String,
}

impl Manifest {
    /// Reads the manifest of the artifact in `folder`.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let file = folder.join(MANIFEST);
        let about = fs::symlink_metadata(&file)?;
        if !about.is_file() || about.len() > LARGEST {
            return Err(io::Error::other("it is no manifest"));
        }
        serde_json::from_slice(&fs::read(file)?).map_err(io::Error::other)
    }

    /// Refuses the manifest in `folder` if a newer program wrote it (`unknown_format`).
    pub fn refuse_newer(folder: &Path) -> Result<()> {
        let file = folder.join(MANIFEST);
        let newer = fs::read(&file).ok().and_then(|text| newer_format(&text, FORMAT));
        newer.map_or(Ok(()), |format| Err(Error::newer(&file, format, FORMAT)))
    }

    /// Whether every file of the artifact in `folder` is there with its size, inside the folder and as a file of its own.
    pub fn fits(&self, folder: &Path) -> bool {
        let same = |file: &FileEntry| {
            is_inside(&file.path)
                && fs::symlink_metadata(folder.join(&file.path))
                    .is_ok_and(|about| about.is_file() && about.len() == file.bytes)
        };
        self.format == FORMAT && self.files.iter().all(same)
    }

    /// How the artifact was made.
    pub fn made(&self) -> Made {
        Made::new(&self.component, &self.request["params"], self.cost.flops)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// Whether a path that was read from a file leads further in and nowhere else.
pub(crate) fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files_cannot_lead_out() {
        assert!(is_inside("train/tokens.bin"));
        for path in ["", "/etc/passwd", "../other/a", "train/../../a", "./.."] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
