//! What a source draws from the model as it is at some step, kept so that a training that was stopped goes on with it.

use crate::{Error, Result, disk};
use serde::{Serialize, de::DeserializeOwned};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbered collections; each is made once, from the model at its first pass, and lies in the scratch folder until a
/// checkpoint stands beyond it. A training that goes back to an older checkpoint meets the model that made it again.
#[derive(Debug)]
pub(super) struct Collections<T> {
    folder: PathBuf,
    prefix: String,
    last: Mutex<Option<(u64, Arc<T>)>>,
}

impl<T: Serialize + DeserializeOwned> Collections<T> {
    /// Collections called `name`, in `scratch`.
    pub(super) fn new(scratch: &Path, name: &str) -> Self {
        Self {
            folder: scratch.to_path_buf(),
            prefix: format!("{name}-"),
            last: Mutex::new(None),
        }
    }

    /// Collection number `index`, made if there is none yet.
    pub(super) fn get(&self, index: u64, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = last.as_ref().filter(|(number, _)| *number == index) {
            return Ok(found.clone());
        }
        let file = self.folder.join(format!("{}{index}.json", self.prefix));
        // A file is written whole or not at all; one that cannot be read is made again.
        let stored = fs::read(&file).ok();
        let stored = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let collection = match stored {
            Some(collection) => collection,
            None => {
                let collection = make()?;
                let bytes = serde_json::to_vec(&collection)
                    .map_err(|error| Error::data("cannot_keep", error.to_string()).in_file(&file))?;
                disk::write_atomically(&file, bytes).map_err(Error::io("cannot write", &file))?;
                collection
            }
        };
        let collection = Arc::new(collection);
        *last = Some((index, collection.clone()));
        Ok(collection)
    }

    /// Removes the files of collections before `index`, which nobody will ask for.
    pub(super) fn forget_before(&self, index: u64) -> Result<()> {
        let io = |what| Error::io(what, &self.folder);
        for entry in fs::read_dir(&self.folder).map_err(io("cannot read"))? {
            let entry = entry.map_err(io("cannot read"))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&self.prefix));
            let number = number.and_then(|rest| rest.strip_suffix(".json")?.parse::<u64>().ok());
            if number.is_some_and(|number| number < index) {
                fs::remove_file(entry.path()).map_err(Error::io("cannot remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_made_once_and_survives_until_it_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let collections = || Collections::<Vec<f32>>::new(folder.path(), "drawn");
        let made = collections().get(3, || Ok(vec![0.1, -2.5e-30])).expect("makes");
        let again = collections().get(3, || panic!("it is there"));
        assert_eq!(made, again.expect("reads"));
        collections().get(4, || Ok(vec![1.0])).expect("makes");
        collections().forget_before(4).expect("removes");
        let anew = collections().get(3, || Ok(vec![7.0])).expect("makes");
        assert_eq!(*anew, [7.0]);
        let kept = collections().get(4, || panic!("it is there")).expect("reads");
        assert_eq!(*kept, [1.0]);
    }
}
