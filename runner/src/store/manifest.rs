//! The manifest of an artifact: what was asked, by what it was made, and every file with its size and hash.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;

/// Name of the manifest inside an artifact's folder.
pub(super) const MANIFEST: &str = "manifest.json";
/// The layout that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

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
        let text = fs::read(folder.join(MANIFEST))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Whether every file of the artifact in `folder` is there with its size.
    pub fn fits(&self, folder: &Path) -> bool {
        let same =
            |file: &FileEntry| fs::metadata(folder.join(&file.path)).is_ok_and(|m| m.len() == file.bytes);
        self.format == FORMAT && self.files.iter().all(same)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
