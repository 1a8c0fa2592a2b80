//! What every verb that reads an experiment does first.

use super::say;
use crate::Exit;
use crate::spec::{self, Options, Resolved};
use crate::store::{Store, home};
use crate::sweep::{PrepareError, Prepared};
use lyceum_components::COMPONENTS;
use std::path::Path;

/// Reads an experiment; its mistakes are shown.
pub(super) fn load(file: &Path, options: &Options) -> Result<Resolved, Exit> {
    spec::load(file, COMPONENTS, options).map_err(|mistakes| {
        say(mistakes.render(super::colour()).trim_end());
        Exit::Wrong
    })
}

/// Reads an experiment and the points of its sweep; mistakes are shown.
pub(super) fn prepare(file: &Path, options: &Options) -> Result<Prepared, Exit> {
    Prepared::load(file, COMPONENTS, options).map_err(|error| {
        match error {
            PrepareError::Mistakes(mistakes) => say(mistakes.render(super::colour()).trim_end()),
            PrepareError::NoSweep => {
                let hint = "declare one, as in `[sweep]` with `seeds = [1, 2, 3]`";
                say(&format!("error: {}: {error}\n  hint: {hint}", file.display()));
            }
        }
        Exit::Wrong
    })
}

/// The store of an experiment.
pub(super) fn open_store(resolved: &Resolved) -> Store {
    Store::new(home(&resolved.root))
}

/// The home folder of the place where the command was called.
pub(super) fn home_here() -> std::path::PathBuf {
    home(&spec::find_root(Path::new("here")))
}
