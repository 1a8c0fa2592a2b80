//! Records of the user's files: lines of JSON, or rows of Parquet.

use super::jsonl::reason;
use super::lines::{Line, Lines};
use super::pair_record::{Fields, missing};
use super::source::{Input, empty, existing};
use crate::artifact::InstructionPair;
use crate::untrusted::check_ratio;
use crate::untrusted::parquet::{self, corrupt};
use crate::{Context, Error, FilePath, Result};
use polars::prelude::{AnyValue, DataFrame, ParquetReader, SerReader};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Rows of a table that are held at once.
const ROWS: usize = 1 << 14;

/// What became of a record.
pub(super) enum Read {
    /// A pair.
    Pair(InstructionPair),
    /// No pair, and why.
    Bad(Error),
}

/// Hands out the records of `files` in order, numbered from 0 over all of them, until `each` says that it is enough.
///
/// # Errors
/// Those of the files themselves: `missing_file`, `empty_file`, `corrupt_gzip`, `corrupt_parquet`, ….
pub(super) fn records(
    files: &[FilePath],
    fields: &Fields,
    context: &Context,
    each: &mut dyn FnMut(Read) -> Result<bool>,
) -> Result<()> {
    let mut next = 0;
    for path in files {
        let file = existing(path, context)?;
        let go_on = if is_table(&file) {
            of_table(&file, fields, context, &mut next, each)?
        } else {
            of_lines(file, fields, context, &mut next, each)?
        };
        if !go_on {
            break;
        }
    }
    Ok(())
}

fn is_table(file: &Path) -> bool {
    file.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"))
}

fn of_lines(
    file: PathBuf,
    fields: &Fields,
    context: &Context,
    next: &mut u64,
    each: &mut dyn FnMut(Read) -> Result<bool>,
) -> Result<bool> {
    let mut lines = Lines::new(Input::at(file)?);
    let mut found = false;
    while let Some((line, input)) = lines.next()? {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        if line.number.is_multiple_of(1024) {
            context.check_cancelled()?;
        }
        found = true;
        let read = match of_line(fields, *next, &line, input) {
            Ok(pair) => Read::Pair(pair),
            Err(error) => Read::Bad(error),
        };
        *next += 1;
        if !each(read)? {
            return Ok(false);
        }
    }
    if found {
        Ok(true)
    } else {
        Err(empty(&lines.input.file))
    }
}

/// `invalid_utf8`, `bad_json`, and what [`Fields::pair`] says.
fn of_line(fields: &Fields, id: u64, line: &Line, input: &Input) -> Result<InstructionPair> {
    let text = line.text(input)?;
    let record: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
        Error::data("bad_json", format!("not a JSON object: {}", reason(&e)))
            .in_file(&input.file)
            .at(format!("line {}, column {}", line.number, e.column()))
    })?;
    let place = format!("line {}", line.number);
    let pair = fields.pair(id, &record);
    pair.map_err(|error| error.in_file(&input.file).at(place))
}

fn of_table(
    file: &Path,
    fields: &Fields,
    context: &Context,
    next: &mut u64,
    each: &mut dyn FnMut(Read) -> Result<bool>,
) -> Result<bool> {
    parquet::check(file)?;
    let (rows, header) = parquet::read(file, |source| {
        let mut reader = ParquetReader::new(source);
        let rows = reader.num_rows()?;
        Ok((rows, reader.with_slice(Some((0, 0))).finish()?))
    })?;
    if rows == 0 {
        return Err(empty(file));
    }
    let schema = header.schema();
    let mut columns: Vec<String> = Vec::new();
    for (name, parameter) in [
        (fields.prompt, "prompt_column"),
        (fields.response, "response_column"),
    ] {
        if !schema.contains(name) {
            let names = schema.iter_names().map(polars::prelude::PlSmallStr::as_str);
            return Err(missing(name, parameter, names).in_file(file));
        }
        columns.push(name.to_owned());
    }
    for name in fields.keep.iter().map(String::as_str).chain([fields.input]) {
        if schema.contains(name) && !columns.iter().any(|known| known == name) {
            columns.push(name.to_owned());
        }
    }
    let size = std::fs::metadata(file)
        .map_err(Error::io("cannot read", file))?
        .len();
    let mut bytes = 0;
    for start in (0..rows).step_by(ROWS) {
        context.check_cancelled()?;
        let frame = parquet::read(file, |source| {
            ParquetReader::new(source)
                .with_columns(Some(columns.clone()))
                .with_slice(Some((start, ROWS)))
                .finish()
        })?;
        for row in 0..frame.height() {
            let pair = of_row(&frame, &columns, row, file).and_then(|record| fields.pair(*next, &record));
            *next += 1;
            let read = match pair {
                Ok(pair) => {
                    // A text may stand in the file once and in every row.
                    bytes += pair.bytes() as u64;
                    check_ratio(bytes, size, file)?;
                    Read::Pair(pair)
                }
                Err(error) => Read::Bad(error.in_file(file).at(format!("row {}", start + row))),
            };
            if !each(read)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn of_row(frame: &DataFrame, columns: &[String], row: usize, file: &Path) -> Result<Map<String, Value>> {
    let cell = |name: &String| {
        let column = frame.column(name).map_err(|e| corrupt(file, &e.to_string()))?;
        let cell = column.get(row).map_err(|e| corrupt(file, &e.to_string()))?;
        Ok((name.clone(), value(&cell, name)?))
    };
    columns.iter().map(cell).collect()
}

/// A cell as JSON. `wrong_type`: it is none of text, number, truth value, and lists of these.
fn value(cell: &AnyValue, name: &str) -> Result<Value> {
    let number = |cell: &AnyValue| match cell.extract::<u64>() {
        Some(whole) if cell.is_integer() => Some(Value::from(whole)),
        _ if cell.is_integer() => cell.extract::<i64>().map(Value::from),
        _ => cell.extract::<f64>().map(Value::from),
    };
    Ok(match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(truth) => Value::Bool(*truth),
        AnyValue::String(text) => Value::String((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        AnyValue::List(list) => {
            let cells = list.iter().map(|cell| value(&cell, name));
            Value::Array(cells.collect::<Result<_>>()?)
        }
        other if other.is_primitive_numeric() => number(other).unwrap_or(Value::Null),
        other => {
            let found = other.dtype();
            let message =
                format!("column `{name}` holds {found}; expected text, numbers, truth values or lists");
            return Err(Error::data("wrong_type", message));
        }
    })
}
