//! Content hashes of the users' files, remembered so that large files are read once.

use lyceum_components::disk;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file changed this recently may change again without its time of change moving; its hash is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// Hashes by path, each valid while size, time of change and inode stay the same. Losing it costs only time.
#[derive(Debug)]
pub struct FileHashes {
    file: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    /// Hashes of files that changed just now: good for this process only.
    unsettled: BTreeMap<PathBuf, Known>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    stamp: Stamp,
    blake3: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    modified_ns: u64,
    inode: u64,
}

impl FileHashes {
    /// Reads what was remembered under `home`; starts anew if that is missing or damaged.
    pub fn open(home: &Path) -> Self {
        let file = home.join("hashes.json");
        let known = fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            file,
            known,
            unsettled: BTreeMap::new(),
            changed: false,
        }
    }

    /// BLAKE3 of a file's content, in hex.
    pub fn hash(&mut self, path: &Path) -> io::Result<String> {
        let opened = File::open(path)?;
        let metadata = opened.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let stamp = stamp(&metadata);
        let known = [&self.known, &self.unsettled]
            .into_iter()
            .filter_map(|all| all.get(path));
        if let Some(known) = known.into_iter().find(|known| known.stamp == stamp) {
            return Ok(known.blake3.clone());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&opened)?;
        let blake3 = hasher.finalize().to_hex().to_string();
        let age = metadata
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        let known = Known {
            stamp,
            blake3: blake3.clone(),
        };
        if age.is_some_and(|age| age > SETTLED) {
            self.known.insert(path.to_path_buf(), known);
            self.changed = true;
        } else {
            self.unsettled.insert(path.to_path_buf(), known);
        }
        Ok(blake3)
    }

    /// Remembers for the next time. A failure costs only time, so it is not reported.
    pub fn save(&mut self) {
        if self.changed
            && let Ok(text) = serde_json::to_vec(&self.known)
        {
            self.changed = disk::write_atomically(&self.file, text).is_err();
        }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let modified_ns = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos() as u64);
    Stamp {
        bytes: metadata.len(),
        modified_ns,
        inode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    #[test]
    fn a_changed_file_is_read_again_and_an_unchanged_one_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data.txt");
        fs::write(&path, "one").unwrap();
        age(&path, 60);
        let mut hashes = FileHashes::open(home.path());
        let one = hashes.hash(&path).unwrap();
        hashes.save();

        let mut again = FileHashes::open(home.path());
        assert_eq!(again.known.len(), 1);
        assert_eq!(again.hash(&path).unwrap(), one);
        assert!(!again.changed);

        fs::write(&path, "two").unwrap();
        assert_ne!(again.hash(&path).unwrap(), one);
        assert!(
            !again.changed,
            "the file was just written: its hash must not be remembered"
        );
    }

    #[test]
    fn a_damaged_memory_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("hashes.json"), "{").unwrap();
        assert!(FileHashes::open(home.path()).known.is_empty());
    }
}
