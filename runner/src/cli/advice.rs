//! Showing why something failed: what, where, and what to do.

use super::say;
use crate::plan::free_space;
use crate::units::bytes;
use lyceum_components::{Error, disk};
use std::io::ErrorKind;

/// Shows an error; `doing` says what was being done, as in "step `pool`: ", or nothing.
pub(super) fn show_error(doing: &str, error: &Error) {
    say(&format!("error[{}]: {doing}{error}", error.code()));
    if let Some(advice) = advice(error) {
        say(&format!("  hint: {advice}"));
    }
}

fn advice(error: &Error) -> Option<String> {
    const AGAIN: &str = "run the same command again: what is finished is kept";
    match error {
        Error::Data(data) => data.hint.clone(),
        Error::Io { path, source, .. } if disk::is_full(source) => {
            let free =
                free_space(path).map_or("an unknown number of bytes".to_owned(), |free| bytes(free as f64));
            Some(format!("{free} are free there; make room and {AGAIN}"))
        }
        Error::Io { source, .. }
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            Some("see that it is there and that you may read and write it".to_owned())
        }
        Error::Io { .. } => Some(format!(
            "see to the disk (the system's log says more), then {AGAIN}"
        )),
        Error::Interrupted => None,
    }
}
