//! A Parquet table written piece by piece, with the bytes of one that is written whole.

use super::{frame, write_error};
use crate::disk::{self, Failure};
use crate::{Error, Result};
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column, ParquetWriter, Schema};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// A row group has this many rows or somewhat more: what [`super::write_parquet`] leaves to Polars.
const GROUP_ROWS: usize = 512 * 512;

/// A table being written, a row group at a time.
pub(crate) struct Pieces {
    file: PathBuf,
    writer: BatchedWriter<BufWriter<disk::File>>,
    failure: Failure,
}

impl Pieces {
    /// Starts a table with these columns.
    pub(crate) fn create(file: &Path, schema: &Schema) -> Result<Self> {
        let sink = disk::File::buffered(file).map_err(Error::io("cannot write", file))?;
        let failure = sink.get_ref().failure();
        let writer = ParquetWriter::new(sink)
            .batched(schema)
            .map_err(write_error(file, &failure))?;
        Ok(Self {
            file: file.to_path_buf(),
            writer,
            failure,
        })
    }

    /// Adds a row group.
    pub(crate) fn group(&mut self, columns: Vec<Column>) -> Result<()> {
        self.writer
            .write_batch(&frame(columns))
            .map_err(write_error(&self.file, &self.failure))
    }

    /// Writes the footer.
    pub(crate) fn finish(self) -> Result<()> {
        self.writer
            .finish()
            .map(drop)
            .map_err(write_error(&self.file, &self.failure))
    }
}

/// How many rows each group of a table of `rows` has: equal numbers, the last with what is over.
pub(crate) fn group_sizes(rows: usize) -> impl Iterator<Item = usize> {
    let count = (rows / GROUP_ROWS).max(1);
    let size = rows / count;
    (1..=count).map(move |group| {
        if group < count {
            size
        } else {
            rows - size * (count - 1)
        }
    })
}
