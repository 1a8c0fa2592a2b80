//! Reading and writing the tables inside artifacts: Parquet through Polars, with errors that name the file.

mod pieces;

pub(crate) use pieces::{Pieces, group_sizes};

use crate::disk::{self, Failure};
use crate::untrusted::parquet;
use crate::{Error, Result};
use polars::prelude::*;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes `frame` as Parquet, its rows in the order given.
pub fn write_parquet(file: &Path, frame: &mut DataFrame) -> Result<()> {
    let mut sink = disk::File::buffered(file).map_err(Error::io("cannot write", file))?;
    let failure = sink.get_ref().failure();
    ParquetWriter::new(&mut sink)
        .finish(frame)
        .map_err(write_error(file, &failure))?;
    sink.flush().map_err(Error::io("cannot write", file))
}

/// Reads a whole Parquet file. `bad_table`.
pub fn read_parquet(file: &Path) -> Result<DataFrame> {
    read_with(file, |source| ParquetReader::new(source).finish())
}

/// Looks at a Parquet file of an artifact, and reads from it. `bad_table`.
pub(crate) fn read_with<T>(file: &Path, work: impl FnOnce(File) -> PolarsResult<T>) -> Result<T> {
    parquet::check(file).map_err(of_artifact)?;
    read_on(file, work)
}

/// Reads from a Parquet file of an artifact that was looked at before. `bad_table`.
pub(crate) fn read_on<T>(file: &Path, work: impl FnOnce(File) -> PolarsResult<T>) -> Result<T> {
    parquet::read(file, work).map_err(of_artifact)
}

/// Rows of each row group of a Parquet file of an artifact. `bad_table`.
pub(crate) fn row_groups(file: &Path) -> Result<Vec<usize>> {
    read_with(file, |source| {
        let mut reader = ParquetReader::new(source);
        let groups = &reader.get_metadata()?.row_groups;
        Ok((0..groups.len()).map(|i| groups[i].num_rows()).collect())
    })
}

/// Reads a Parquet file of an artifact row group by row group, holding one at a time. `bad_table`.
pub(crate) fn read_groups(file: &Path, mut each: impl FnMut(DataFrame) -> Result<()>) -> Result<()> {
    let mut start = 0;
    for rows in row_groups(file)? {
        let slice = Some((start, rows));
        each(read_on(file, |source| {
            ParquetReader::new(source).with_slice(slice).finish()
        })?)?;
        start += rows;
    }
    Ok(())
}

/// A mistake in a Parquet file, which is an artifact's.
fn of_artifact(error: Error) -> Error {
    let error = error.hint("delete the artifact's folder; the next run makes it again");
    match error {
        Error::Data(mut data) => {
            data.code = "bad_table";
            Error::Data(data)
        }
        other => other,
    }
}

/// Refuses a table that is not as long as its artifact's header says. `length_mismatch`.
pub(crate) fn check_rows(frame: &DataFrame, expected: u64, file: &Path) -> Result<()> {
    let found = frame.height();
    if found as u64 == expected {
        return Ok(());
    }
    let what = format!("{found} rows were found; expected {expected}");
    Err(Error::data("length_mismatch", what)
        .in_file(file)
        .hint("delete the artifact's folder; the next run makes it again"))
}

/// The column called `name` as unsigned integers.
pub(crate) fn u64_column(frame: &DataFrame, name: &str, file: &Path) -> Result<Vec<u64>> {
    let column = column(frame, name, &DataType::UInt64, file)?;
    let values = column.u64().map_err(|e| broken("bad_table", file, &e))?;
    Ok(values.into_no_null_iter().collect())
}

/// The column called `name` as 64-bit floats.
pub(crate) fn f64_column(frame: &DataFrame, name: &str, file: &Path) -> Result<Vec<f64>> {
    let column = column(frame, name, &DataType::Float64, file)?;
    let values = column.f64().map_err(|e| broken("bad_table", file, &e))?;
    Ok(values.into_no_null_iter().collect())
}

/// The column called `name` as 32-bit floats.
pub(crate) fn f32_column(frame: &DataFrame, name: &str, file: &Path) -> Result<Vec<f32>> {
    let column = column(frame, name, &DataType::Float32, file)?;
    let values = column.f32().map_err(|e| broken("bad_table", file, &e))?;
    Ok(values.into_no_null_iter().collect())
}

/// One column of the Parquet file as text; cells of other types as they print. `unknown_column` names the known ones.
pub(crate) fn read_text_column(file: &Path, name: &str) -> Result<Vec<Option<String>>> {
    let schema = read_with(file, |source| ParquetReader::new(source).schema())?;
    if !schema.contains(name) {
        let names: Vec<_> = schema.iter_names().map(|name| format!("`{name}`")).collect();
        return Err(
            Error::data("unknown_column", format!("there is no column `{name}`"))
                .in_file(file)
                .hint(format!("take one of {}", names.join(", "))),
        );
    }
    read_with(file, |source| {
        let wanted = Some(vec![name.to_owned()]);
        let frame = ParquetReader::new(source).with_columns(wanted).finish()?;
        let column = frame.column(name)?.cast(&DataType::String)?;
        let text = column.str()?.iter().map(|cell| cell.map(str::to_owned)).collect();
        Ok(text)
    })
}

fn column(frame: &DataFrame, name: &str, dtype: &DataType, file: &Path) -> Result<Column> {
    let column = frame.column(name).map_err(|e| broken("bad_table", file, &e))?;
    if column.dtype() != dtype || column.null_count() > 0 {
        let found = column.dtype();
        let nulls = column.null_count();
        return Err(Error::data(
            "bad_table",
            format!("column `{name}` is {found} with {nulls} empty cells; expected {dtype} and none"),
        )
        .in_file(file));
    }
    Ok(column.clone())
}

/// Makes the frame of columns that were built with equal lengths.
pub(crate) fn frame(columns: Vec<Column>) -> DataFrame {
    DataFrame::new_infer_height(columns).expect("columns are built with equal lengths")
}

/// BLAKE3 in hex of `files`' bytes, one after the other, and of what they speak of.
pub(crate) fn fingerprint(folder: &Path, files: &[&str], speaks_of: &str) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(speaks_of.as_bytes());
    for name in files {
        let file = folder.join(name);
        let source = File::open(&file).map_err(Error::io("cannot read", &file))?;
        hasher
            .update_reader(source)
            .map_err(Error::io("cannot read", &file))?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// What went wrong while Polars wrote `file`; of the system's errors it keeps only the text.
pub(crate) fn write_error(file: &Path, failure: &Failure) -> impl FnOnce(PolarsError) -> Error {
    move |error| match failure.take() {
        Some(source) => Error::io("cannot write", file)(source),
        None => broken("cannot_write_table", file, &error),
    }
}

/// What went wrong while Polars read `file`.
pub(crate) fn read_error(file: &Path) -> impl FnOnce(PolarsError) -> Error {
    move |error| broken("bad_table", file, &error)
}

/// The mistake of a table of an artifact that cannot be read.
pub(crate) fn damaged(what: &str, file: &Path) -> Error {
    Error::data("bad_table", what)
        .in_file(file)
        .hint("delete the artifact's folder; the next run makes it again")
}

fn broken(code: &'static str, file: &Path, error: &PolarsError) -> Error {
    Error::data(code, error.to_string()).in_file(file)
}

/// The weighted mean Σwx / Σw, with every item's part in it. The mean of the parts is the value, and their spread is
/// that of the value when items are drawn again (the linearised ratio), so that parts of two variants can be paired.
pub fn ratio(values: &[f64], weights: &[f64]) -> (f64, Vec<f64>) {
    let total: f64 = weights.iter().sum();
    let value = values.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total;
    let scale = values.len() as f64 / total;
    let part = |(x, w): (&f64, &f64)| value + scale * w * (x - value);
    (value, values.iter().zip(weights).map(part).collect())
}

/// The bootstrap's standard error of the mean of `parts`. Its limit for many resamples has a closed form,
/// √(Σ(x − x̄)²) / n, so nothing is drawn. None for fewer than two.
pub fn bootstrap_error(parts: &[f64]) -> Option<f64> {
    let n = parts.len() as f64;
    let mean = parts.iter().sum::<f64>() / n;
    let squares: f64 = parts.iter().map(|x| (x - mean).powi(2)).sum();
    (parts.len() > 1).then(|| squares.sqrt() / n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn the_closed_form_is_what_resampling_gives() {
        let mut stream = Stream::new(3, "sample");
        let values: Vec<f64> = (0..60).map(|_| stream.normal()).collect();
        let weights: Vec<f64> = (0..60).map(|_| 0.5 + stream.uniform()).collect();
        let (value, parts) = ratio(&values, &weights);
        let mean = parts.iter().sum::<f64>() / 60.0;
        assert!((mean - value).abs() < 1e-12);

        let resample = |stream: &mut Stream| {
            let drawn: Vec<usize> = (0..60).map(|_| stream.below(60) as usize).collect();
            let total: f64 = drawn.iter().map(|&i| weights[i]).sum();
            drawn.iter().map(|&i| values[i] * weights[i]).sum::<f64>() / total
        };
        let means: Vec<f64> = (0..4000).map(|_| resample(&mut stream)).collect();
        let centre = means.iter().sum::<f64>() / 4000.0;
        let spread = (means.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / 4000.0).sqrt();
        let error = bootstrap_error(&parts).expect("60 items");
        assert!((error / spread - 1.0).abs() < 0.06, "{error} {spread}");
    }

    #[test]
    fn one_item_has_no_standard_error() {
        assert_eq!(bootstrap_error(&[1.0]), None);
        assert_eq!(bootstrap_error(&[]), None);
    }

    #[test]
    fn a_file_that_is_no_table_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("scores.parquet");
        std::fs::write(&file, "not parquet").expect("writes");
        let error = read_parquet(&file).expect_err("no table");
        assert_eq!(error.code(), "bad_table");
        assert!(error.to_string().contains("scores.parquet"), "{error}");
    }
}
