//! Getting bytes safely onto the disk.

use lyceum_components::disk;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Every file under `folder`, as sorted paths relative to it, after syncing each folder's list of names.
pub(super) fn sync_folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inside))? {
            let entry = entry?;
            let path = inside.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
        disk::sync(&folder.join(&inside))?;
    }
    files.sort();
    Ok(files)
}

/// Makes everything under `folder` durable.
pub(crate) fn sync_tree(folder: &Path) -> io::Result<()> {
    let files = sync_folders(folder)?;
    files.iter().try_for_each(|file| disk::sync(&folder.join(file)))
}

/// Makes a file's content durable and gives its size and BLAKE3.
pub(super) fn sync_and_hash(file: &Path) -> io::Result<(u64, String)> {
    disk::sync(file)?;
    let content = File::open(file)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&content)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}

/// Size and BLAKE3 of a file's content.
pub(crate) fn hash_file(file: &Path) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    Ok((hasher.count(), hasher.finalize().to_hex().to_string()))
}
