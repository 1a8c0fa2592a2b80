//! What an unfinished run counts on: artifacts that it took for cached, or will make, and has no record of yet.

use super::record::RunFolder;
use lyceum_components::disk;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::{fs, io};

use crate::store::Owner;

/// `runs/<id>/needs.json`; it goes when the run is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// The process that runs it.
    pub owner: Owner,
    /// Locations of every step's artifact, in order.
    pub locations: Vec<String>,
}

fn file(folder: &RunFolder) -> PathBuf {
    folder.path.join("needs.json")
}

impl Needs {
    /// Notes what this process is going to need, before it looks whether it is there.
    pub(super) fn write(folder: &RunFolder, locations: Vec<String>) -> io::Result<()> {
        let owner = Owner::this();
        let text = serde_json::to_vec(&Self { owner, locations }).map_err(io::Error::other)?;
        disk::write_atomically(&file(folder), text)
    }

    /// What a run that is not done needs; none if it did not say.
    pub fn read(folder: &RunFolder) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(folder)).ok()?).ok()
    }

    /// Forgets it: the record tells all that was needed.
    pub(super) fn remove(folder: &RunFolder) {
        // Left behind it is only in the way of nothing: a finished run's needs are not asked for.
        let _ = fs::remove_file(file(folder));
    }
}
