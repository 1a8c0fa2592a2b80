//! What the user expects of files, compared with what was read from them.

use crate::plan::Planned;
use crate::store::Store;
use lyceum_components::{Error, Result};

/// The code of data that is not what the experiment expects of it.
pub const UNEXPECTED: &str = "unexpected_data";

/// Compares a finished step's `expect`, if it has one, with the artifact's header. A step that a limit cut short is not
/// compared, as its files may hold more. Nothing is unpublished: the artifact is what is in the files.
pub(super) fn check(planned: &Planned, store: &Store) -> Result<()> {
    let params = &planned.step.params;
    let Some(expect) = params.get("expect").and_then(|expect| expect.as_object()) else {
        return Ok(());
    };
    if params.get("limit").is_some_and(|limit| !limit.is_null()) {
        return Ok(());
    }
    // Every part of a split says the same of the files.
    let part = planned.step.outputs.first().map_or("", |output| &output.name);
    let location = Store::location(planned.step.component.name, &planned.key, part);
    let details = store.open(&location, &planned.step.id)?.header.details;
    let differs = |name: &str| {
        let (expected, found) = (expect.get(name)?.as_u64()?, details.get(name)?.as_u64()?);
        (expected != found).then(|| format!("`{name}` is {found}; {expected} is expected"))
    };
    let differences: Vec<_> = ["documents", "bytes", "vocab_size", "parameters"]
        .into_iter()
        .filter_map(differs)
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::data(UNEXPECTED, differences.join(", "))
        .hint("mend `expect` in the experiment, or fetch the files that it was written for"))
}
