//! The records of a task: JSON objects out of a file.

use super::file::Source;
use crate::corpus::{Input, Lines};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One record, and the line it stands in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) line: u64,
    pub(super) fields: Value,
}

/// Where a file named in a task file lies: beside it, else under `data`, the folder that LYCEUM_DATA names.
/// `missing_file`.
pub fn data_file(task: &Path, name: &str, data: Option<&Path>) -> Result<PathBuf> {
    let beside = task.parent().unwrap_or(Path::new("")).join(name);
    if beside.is_file() {
        return Ok(beside);
    }
    let under = data.map(|data| data.join(name));
    if let Some(under) = under.as_ref().filter(|file| file.is_file()) {
        return Ok(under.clone());
    }
    let (looked, hint) = match under {
        Some(under) => (
            format!("{} and {}", beside.display(), under.display()),
            "put the file there",
        ),
        None => (
            beside.display().to_string(),
            "set LYCEUM_DATA to the folder that holds it; docs/tasks.md says where data come from",
        ),
    };
    let message = format!("there is no data file `{name}`: looked for {looked}");
    Err(Error::data("missing_file", message).in_file(task).hint(hint))
}

/// Reads the records of a source that lies at `file`. `empty_file`, `bad_json`, `invalid_utf8`, `no_records`.
pub(super) fn read(file: &Path, source: &Source) -> Result<Vec<Record>> {
    let mut lines = Lines::new(Input::at(file.to_path_buf())?);
    let mut records = Vec::new();
    let mut seen = false;
    while let Some((line, input)) = lines.next()? {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        seen = true;
        let fields: Map<String, Value> = serde_json::from_str(line.text(input)?).map_err(|error| {
            Error::data("bad_json", format!("not a JSON object: {error}"))
                .in_file(file)
                .at(format!("line {}", line.number))
                .hint("mend the line; a task's data hold one JSON object a line")
        })?;
        if source
            .only
            .iter()
            .all(|(name, value)| fields.get(name) == Some(value))
        {
            records.push(Record {
                line: line.number,
                fields: Value::Object(fields),
            });
        }
    }
    if records.is_empty() {
        let (message, hint) = if seen {
            ("no record has the values that `only` asks for", "mend `only`")
        } else {
            ("the file holds no record", "fetch it again")
        };
        return Err(Error::data("no_records", message).in_file(file).hint(hint));
    }
    Ok(records)
}
