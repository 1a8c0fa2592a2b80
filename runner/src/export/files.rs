//! Files of artifacts, copied or turned into another form.

use super::Form;
use crate::store::{FileEntry, hash_file};
use lyceum_components::table::read_parquet;
use lyceum_components::{Error, Result, disk};
use polars::prelude::{CsvWriter, DataFrame, JsonFormat, JsonWriter, PolarsResult, SerWriter};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Copies one stored file, or writes the table in it in another form. What is damaged is not passed on.
pub(super) fn checked(from: &Path, to: &Path, entry: &FileEntry, form: Form) -> Result<()> {
    let damaged = || {
        Error::data("damaged_artifact", "the file is not what was written".to_owned())
            .in_file(from)
            .hint("`lyceum verify --remove` takes damaged artifacts away; the next run makes them anew")
    };
    if is_table(to) && form != Form::Parquet {
        let (_, hash) = hash_file(from).map_err(Error::io("cannot read", from))?;
        if hash != entry.blake3 {
            return Err(damaged());
        }
        return table(from, to, form);
    }
    if copy(from, to)? != entry.blake3 {
        // What stands there now is not to be taken for the file.
        let _ = std::fs::remove_file(to);
        return Err(damaged());
    }
    Ok(())
}

fn is_table(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "parquet")
}

/// Copies a file and gives the BLAKE3 of what was read, in hex.
fn copy(from: &Path, to: &Path) -> Result<String> {
    let (reading, writing) = (
        || Error::io("cannot read", from),
        || Error::io("cannot write", to),
    );
    let mut source = File::open(from).map_err(reading())?;
    let mut out = disk::File::create(to).map_err(writing())?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut buffer).map_err(reading())?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(writing())?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Writes a Parquet file's table in a form; the file's name gets the form's ending.
pub(super) fn table(from: &Path, to: &Path, form: Form) -> Result<()> {
    let (end, write): (_, fn(disk::File, &mut DataFrame) -> PolarsResult<()>) = match form {
        Form::Csv => ("csv", |out, frame| CsvWriter::new(out).finish(frame)),
        Form::Json => ("json", |out, frame| {
            JsonWriter::new(out)
                .with_json_format(JsonFormat::Json)
                .finish(frame)
        }),
        Form::Parquet | Form::Tensorboard => return copy(from, to).map(drop),
    };
    let broken = |file: &Path, error: polars::prelude::PolarsError| {
        Error::data("cannot_write_table", error.to_string())
            .in_file(file)
            .hint("columns that hold lists have no form in CSV: take `--as json` or `--as parquet`")
    };
    let mut frame = read_parquet(from)?;
    let to = to.with_extension(end);
    let out = disk::File::create(&to).map_err(Error::io("cannot write", &to))?;
    write(out, &mut frame).map_err(|error| broken(&to, error))
}
